"""The learning rate over a stage."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Schedule = Literal["constant", "cosine", "step"]

# Where the rate falls to a tenth, as shares of the stage: Detectron's for its usual training.
_FALLS = (2 / 3, 8 / 9)


PAPERS_RATE = 1e-5
"""Of the paper's, constant, with one crop at a time."""


@dataclass(frozen=True, kw_only=True)
class LearningRate:
    """The learning rate of each of a stage's steps.

    peak: the greatest. warmup: the share of the steps in which it rises to that in a straight line. Then
    "constant" stays there, "cosine" falls to nothing at the end of the stage along half a wave, "step" has a
    tenth after two thirds of the stage and a hundredth after eight ninths.
    """

    peak: float
    schedule: Schedule = "constant"
    warmup: float = 0.0

    def too_few(self, steps: int, batch_size: int) -> str | None:
        """What to say where the paper's rate meets a greater batch, which makes fewer updates; else None."""
        if batch_size == 1 or self.schedule != "constant" or self.peak > PAPERS_RATE:
            return None
        return (
            f"{steps:,} updates of {batch_size} crops each, where the paper makes {steps * batch_size:,} of "
            f"as many crops at this rate of {self.peak:g}: raise --learning-rate with the batch, or take "
            "--recipe fast"
        )

    def at(self, step: int, steps: int) -> float:
        """The rate of step `step`, from 0, of `steps` that are planned; above 0 up to the last."""
        rising = round(self.warmup * steps)
        if step < rising:
            return self.peak * ((step + 1) / rising)
        if self.schedule == "cosine":
            return self.peak * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising))) / 2
        if self.schedule == "step":
            falls = sum(step >= share * steps for share in _FALLS)
            return self.peak * (1.0, 0.1, 0.01)[falls]
        return self.peak
