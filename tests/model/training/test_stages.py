"""From stage to stage, and back: what a run that stands in one of them takes and refuses."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dimtool.model.network.checkpoint import load_checkpoint, read_progress
from dimtool.model.network.dim import DeepImageMatting
from dimtool.model.runs.beginning import RunError
from dimtool.model.runs.config import TrainConfig
from dimtool.model.training.reporting import Silent, StoppedError
from dimtool.model.training.stages import train

Configure = Callable[..., TrainConfig]


class Stopping(Silent):
    """A reporter that has the training stopped, as Ctrl-C would, after so many steps."""

    def __init__(self, steps: int) -> None:
        self._left = steps

    def step(self, steps: int, values: dict[str, float]) -> None:
        self._left -= steps
        if self._left == 0:
            signal.raise_signal(signal.SIGINT)


def _stages(config: TrainConfig) -> Any:
    return json.loads((config.out / "stages.json").read_text())


def _refusal(config: TrainConfig) -> str:
    with pytest.raises(RunError) as caught:
        train(config, Silent())
    return str(caught.value)


def test_stage_2_does_not_end_an_unfinished_stage_1(tiny: Configure) -> None:
    """And what the refusal says works: to let it go on, or to end it there."""
    config = tiny(steps=5)
    with pytest.raises(StoppedError):
        train(config, Stopping(3))
    assert _stages(config)["1"]["planned"] == 5
    done = _stages(config)["1"]["done"]
    assert done in (3, 4)
    line = _refusal(tiny(steps=5, stages=(2,)))
    assert line == (
        f"stage 1 has {done} of its 5 steps: let it go on with --stage 1, or end it there with --stage 1 "
        f"--steps {done}"
    )
    train(tiny(steps=done, stages=(1,)), Silent())
    train(tiny(steps=5, stages=(2,)), Silent())
    assert _stages(config) == {"1": {"planned": done, "done": done}, "2": {"planned": 5, "done": 5}}


def test_a_stage_that_is_over_gets_no_more_steps(tiny: Configure) -> None:
    config = tiny(stages=(1, 2))
    train(config, Silent())
    train(tiny(stages=(1,)), Silent())  # it has them
    line = _refusal(tiny(stages=(1,), steps=3))
    assert line.startswith(
        "stage 1 ended after 2 steps, and the run is in stage 2: 3 steps need another --out"
    )
    train(tiny(stages=(1,), steps=3, out=config.out.parent / "b", init=config.out), Silent())  # as it says


def test_steps_rate_and_batch_of_each_stage(tiny: Configure, positions: list[Any], metrics: Any) -> None:
    config = tiny(steps=(3, 1, 2), batch_size=(2, 4, 1), learning_rate=(1e-3, 1e-2, 1e-4), keep=9)
    train(config, Silent())
    assert _stages(config) == {
        str(stage): {"planned": steps, "done": steps} for stage, steps in ((1, 3), (2, 1), (3, 2))
    }
    assert len(positions) == 3 * 2 + 1 * 4 + 2 * 1
    crops = [
        read_progress(config.out / "checkpoints" / name).crops
        for name in ("stage1-step00000003", "stage2-step00000001", "stage3-step00000002")
    ]
    assert crops == [6, 4, 2]


def test_a_batch_that_changes_goes_on_in_the_data(tiny: Configure, positions: list[tuple[int, int]]) -> None:
    """18 composites: 3 steps of 2, then 2 epochs' rest in batches of 5. Each twice, none left out."""
    first = tiny(stages=(1,), steps=3)
    train(first, Silent())
    train(tiny(stages=(1,), steps=None, epochs=2, batch_size=5, learning_rate=1e-4), Silent())
    assert len(positions) == 6 + 5 * 6
    assert sorted(positions) == sorted((epoch, index) for epoch in (0, 1) for index in range(18))
    rows = [json.loads(line) for line in (first.out / "history.jsonl").read_text().splitlines()]
    lengths = {"steps": None, "epochs": 2}
    assert rows[1] == {"stage": 1, "step": 3, "batch_size": 5, "learning_rate": 1e-4, **lengths}


def test_a_run_that_goes_on_needs_no_file_that_it_started_from(tiny: Configure, start: Path) -> None:
    config = tiny(init=start, stages=(1,), steps=2)
    train(config, Silent())
    start.unlink()
    train(tiny(init=start, stages=(1,), steps=3), Silent())  # the same command
    train(tiny(stages=(1,), steps=4), Silent())  # and without it


def test_a_damaged_newest_checkpoint_costs_its_steps_alone(tiny: Configure, checkpoints: Any) -> None:
    config = tiny(stages=(1,), steps=4, save_every=2)
    result = train(config, Silent()).model
    whole = result.read_bytes()
    weights = config.out / "checkpoints" / "stage1-step00000004" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert train(config, Silent()).model.read_bytes() == whole
    assert checkpoints(config.out) == [
        "stage1-step00000002",
        "stage1-step00000004",
        "stage1-step00000004.broken",
    ]
    model = DeepImageMatting(config.model)
    assert load_checkpoint(config.out / "checkpoints" / "stage1-step00000004", model).step == 4
