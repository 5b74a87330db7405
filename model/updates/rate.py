"""The learning rate over a stage."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Schedule = Literal["constant", "cosine", "step"]

# Where the rate falls to a tenth, as shares of the stage: Detectron's for its usual training.
_FALLS = (2 / 3, 8 / 9)


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
