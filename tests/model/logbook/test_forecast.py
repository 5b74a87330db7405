"""What a training is said to take, and that the advice fits the time."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dimtool.cli import cli
from dimtool.model.logbook.forecast import Forecast, operations
from dimtool.model.network.dim import ModelConfig
from dimtool.model.runs.config import TrainConfig
from dimtool.text import about

CPU = torch.device("cpu")
DAY = 86_400


def told(
    config: TrainConfig, clock: Callable[[float], None], *, step: float, done: int = 0, pause: float = 0
) -> list[str]:
    """The lines of the first 20 steps, of so many seconds each; the first takes a minute."""
    forecast, lines = Forecast(config, CPU, composites=1000), []
    planned = config.plan(1).in_all(1000)
    clock(60)
    for number in range(1, 21):
        clock(step)
        lines.append(forecast.after_step(1, done=done + number, planned=planned))
        with forecast.aside():
            clock(pause)
    return [line for line in lines if line is not None]


def test_operations_are_those_of_the_layers() -> None:
    """Counted by hand: a convolution has 2 k k c_in c_out of them a pixel of its result."""
    model = ModelConfig(bottleneck="slim", width=1)
    side, channels = 64, 4
    coarse = 0
    for block, (width, count) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))):
        for _ in range(count):
            coarse += 2 * 9 * channels * width * (side >> block) ** 2
            channels = width
    coarse += 2 * 512 * 512 * 2**2 * 2  # the bottleneck and the decoder's first
    for block, width in enumerate((512, 256, 128, 64, 64)):
        coarse += 2 * 25 * channels * width * (side >> (4 - block)) ** 2
        channels = width
    coarse += 2 * 25 * 64 * side**2
    refinement = 2 * 9 * (4 * 64 + 64 * 64 + 64 * 64 + 64) * side**2
    assert operations(model, side) == {
        1: 3 * coarse,
        2: coarse + 3 * refinement,
        3: 3 * (coarse + refinement),
    }


def test_counting_draws_nothing() -> None:
    before = torch.get_rng_state()
    operations(ModelConfig(bottleneck="slim", width=0.0625), 32)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_paper_s_training_on_a_cpu(clock: Callable[[float], None]) -> None:
    """30 passes over 1000 composites, 6 s each, take 50 hours; stage 3 a little more, stage 2 less."""
    (line,) = told(TrainConfig(shards=Path("s"), out=Path("runs/my")), clock, step=6)
    found = re.fullmatch(
        r"at this rate the rest of stage 1 takes about 2 days on this CPU, with the stages after it 5 days; "
        r"with (--recipe fast --width 0.125 --bottleneck slim .* --out runs/my-small) a small network is "
        r"trained in about half a day",
        line,
    )
    assert found, line
    command = cli.commands["train"]
    with command.make_context("train", shlex.split(found[1])) as context:  # the options are real ones
        options = context.params
    steps, small = options["steps"], ModelConfig(bottleneck="slim", width=0.125)
    costs, here = operations(small, 320), operations(ModelConfig(), 320)
    seconds = sum(16 * n * costs[stage] * 6 / here[1] for stage, n in zip((1, 2, 3), steps, strict=True))
    assert 0.9 * DAY / 6 < seconds <= DAY / 6  # a third of half a day: small networks are slower than that


def test_a_small_network_is_told_of_fewer_steps(clock: Callable[[float], None]) -> None:
    config = TrainConfig(bottleneck="slim", width=0.125, steps=10**6)
    (line,) = told(config, clock, step=1, done=500)
    steps = [int(each) for each in re.search(r"with --steps (\S+) it ends", line)[1].split(",")]  # type: ignore[index]
    assert len(steps) == 3
    assert 500 < steps[0] < 43_200
    alone = replace(config, stages=(1,))
    (line,) = told(alone, clock, step=1, done=500)
    assert line.endswith("; with --steps 43513 it ends in about half a day")
    assert "stages after it" not in line


def test_what_is_no_step_is_not_timed(clock: Callable[[float], None]) -> None:
    config = TrainConfig(bottleneck="slim", width=0.125, steps=2000, stages=(1,))
    (line,) = told(config, clock, step=1, pause=100)
    assert line == "at this rate the rest of stage 1 takes about 33 minutes on this CPU"


def test_a_short_training_is_told_nothing(clock: Callable[[float], None]) -> None:
    assert told(TrainConfig(steps=30, stages=(1,)), clock, step=1) == []
    assert told(TrainConfig(steps=10**6), clock, step=0.1) == []  # not after so short a look


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "1 second"),
        (89, "89 seconds"),
        (90, "2 minutes"),
        (5400, "2 hours"),
        (172_799, "48 hours"),
        (2.6 * DAY, "3 days"),
        (1500 * DAY, "1,500 days"),
    ],
)
def test_times_that_are_not_known_to_the_second(seconds: float, text: str) -> None:
    assert about(seconds) == text
