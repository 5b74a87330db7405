"""How long a training will take, told from its first steps; and what to do where that is too long."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch.utils.flop_counter import FlopCounterMode

from ...text import about
from ..network.dim import DeepImageMatting, ModelConfig, Stage
from ..runs.config import TrainConfig

_WARM_UP = 3  # steps: the first ones compile, search and fill caches
_ENOUGH = 10  # seconds that the speed is taken from
_WORTH_A_LINE = 60  # seconds
_TOO_LONG = 2 * 86_400
_ADVISED = 43_200  # half a day
_SMALL = ModelConfig(bottleneck="slim", width=0.125)
_SMALL_RATE = "1e-3"  # measured for it: docs/results.md
_SMALL_LOSS = 3.0  # as many times fewer operations a second: measured, a small network fills no core
_SMALL_BATCH = 16  # the recipe's
_SHARES: Mapping[Stage, float] = {1: 2 / 3, 2: 2 / 15, 3: 1 / 5}  # of the steps, as 500, 100, 150


def operations(model: ModelConfig, crop_size: int) -> dict[Stage, float]:
    """Floating-point operations of a crop's training step in each stage.

    A backward pass counts as two forward passes, of what learns. Nothing is computed, nothing drawn.
    """
    forward = {}
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        network = DeepImageMatting(model)
        image, trimap = (torch.empty(1, channels, crop_size, crop_size) for channels in (3, 1))
        for stage in (1, 3):
            network.set_stage(stage)
            with FlopCounterMode(display=False) as counter, torch.no_grad():
                network(image, trimap)
            forward[stage] = float(counter.get_total_flops())
    coarse, refinement = forward[1], forward[3] - forward[1]
    return {1: 3 * coarse, 2: coarse + 3 * refinement, 3: 3 * forward[3]}


class Forecast:
    """Times the first steps of a start, and tells once what all its stages will take.

    composites: how many the training has. Nothing waits for a GPU but twice.
    """

    def __init__(self, config: TrainConfig, device: torch.device, *, composites: int) -> None:
        self._config, self._device, self._composites = config, device, composites
        self._to_warm, self._steps, self._seconds = _WARM_UP, 0, 0.0
        self._since: float | None = None
        self._told = False

    def after_step(self, stage: Stage, *, done: int, planned: int) -> str | None:
        """Take in that `done` of a stage's steps are done; a line, when one is due."""
        if self._told:
            return None
        if self._since is None:
            self._to_warm -= 1
            if self._to_warm <= 0:
                self._since = self._now()
            return None
        self._steps += 1
        seconds = self._seconds + time.perf_counter() - self._since
        if seconds < _ENOUGH or self._steps < 2:
            return None
        self._told = True
        a_step = (self._seconds + self._now() - self._since) / self._steps
        return self._line(stage, done, planned, a_step)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """What is done in the block is no step, and not timed."""
        timing = self._since is not None and not self._told
        if self._since is not None and timing:
            self._seconds += self._now() - self._since
        try:
            yield
        finally:
            if timing:
                self._since = self._now()

    def _now(self) -> float:
        if self._device.type != "cpu":
            torch.accelerator.synchronize(self._device)
        return time.perf_counter()

    def _line(self, stage: Stage, done: int, planned: int, a_step: float) -> str | None:
        """What is to be told, where a step of a stage takes so many seconds."""
        costs = operations(self._config.model, self._config.crop_size)
        a_crop = a_step / self._config.plan(stage).batch_size / costs[stage]  # seconds an operation
        times = {stage: (planned - done) * a_step}
        for later in self._config.stages:
            if later > stage:
                plan = self._config.plan(later)
                steps = plan.in_all(self._composites)
                times[later] = steps * plan.batch_size * costs[later] * a_crop
        total = sum(times.values())
        if total < _WORTH_A_LINE:
            return None
        where = "this CPU" if self._device.type == "cpu" else "this GPU"
        text = f"at this rate the rest of stage {stage} takes about {about(times[stage])} on {where}"
        if len(times) > 1:
            text += f", with the stages after it {about(total)}"
        return text + (self._advice(stage, done, a_crop, costs) if total > _TOO_LONG else "")

    def _advice(self, stage: Stage, done: int, seconds: float, costs: Mapping[Stage, float]) -> str:
        """What half a day is enough for, where an operation takes so long."""
        config = self._config
        small = operations(_SMALL, config.crop_size)
        if self._device.type == "cpu" and small[1] * 2 < costs[1]:
            steps = self._steps_for_half_a_day(small, seconds * _SMALL_LOSS, [_SMALL_BATCH] * 3)
            options = (
                f"--recipe fast --width {_SMALL.width:g} --bottleneck {_SMALL.bottleneck} "
                f"--normalisation batch --learning-rate {_SMALL_RATE} --steps {_listed(steps)} "
                f"--out {config.out}-small"
            )
            return f"; with {options} a small network is trained in about half a day"
        steps = self._steps_for_half_a_day(
            costs, seconds, [config.plan(each).batch_size for each in (1, 2, 3)]
        )
        steps[stage] += done
        return f"; with --steps {_listed(steps)} it ends in about half a day"

    def _steps_for_half_a_day(
        self, costs: Mapping[Stage, float], seconds: float, sizes: list[int]
    ) -> dict[Stage, int]:
        """Of each planned stage, for batches of these sizes; an operation takes so many seconds."""
        stages = self._config.stages
        a_step = {stage: costs[stage] * seconds * sizes[stage - 1] for stage in stages}
        in_all = _ADVISED / sum(_SHARES[stage] * a_step[stage] for stage in stages)
        return {stage: _rounded(in_all * _SHARES[stage]) for stage in stages}


def _listed(steps: Mapping[Stage, int]) -> str:
    return ",".join(map(str, steps.values()))


def _rounded(steps: float) -> int:
    """Down to two digits, and one step at least."""
    whole = max(1, int(steps))
    unit = int(10 ** max(0, len(str(whole)) - 2))
    return whole - whole % unit
