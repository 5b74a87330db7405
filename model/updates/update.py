"""One change of the weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..network.dim import DeepImageMatting
from .average import Average
from .layers import learning, mask_frozen
from .rate import LearningRate


@dataclass(kw_only=True)
class Update:
    """What happens to the weights once a step's gradients are there.

    clip: the greatest length of the gradient of all weights together; a longer one is shortened to it.
    """

    model: DeepImageMatting
    adam: torch.optim.AdamW
    rate: LearningRate
    clip: float | None = None
    average: Average | None = None

    def step(self, step: int) -> Tensor | None:
        """Move the weights by the gradients of step `step`, from 0, and drop those.

        Returns the gradient's length before it was clipped, on the device; None where nothing clips.
        """
        mask_frozen(self.model)
        length = nn.utils.clip_grad_norm_(learning(self.model), self.clip) if self.clip else None
        for group in self.adam.param_groups:
            group["lr"] = self.rate.at(step)
        self.adam.step()
        self.adam.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update(step)
        return length

    @property
    def result(self) -> DeepImageMatting:
        """The model to validate and to use: the average, where there is one."""
        return self.model if self.average is None else self.average.model
