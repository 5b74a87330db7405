"""One change of the weights."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ..network.dim import DeepImageMatting
from .average import Average
from .layers import learning, mask_frozen
from .rate import LearningRate


@dataclass(kw_only=True)
class Update:
    """What happens to the weights once a step's gradients are there.

    clip: the greatest length of all weights' gradient together; a longer one is shortened to it. 0: any.
    scaler: fp16's, which leaves a step out whose gradients overflowed. skip_bad: leave out those too that are
    not finite in any other precision.
    """

    model: DeepImageMatting
    adam: torch.optim.AdamW
    rate: LearningRate
    clip: float = 0.0
    skip_bad: bool = False
    average: Average | None = None
    scaler: torch.amp.GradScaler = field(default_factory=lambda: torch.amp.GradScaler(enabled=False))

    def backward(self, loss: Tensor) -> None:
        """Add a loss's gradients to those that are there."""
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]

    def step(self, step: int, steps: int) -> Tensor | None:
        """Move the weights by the gradients of step `step`, from 0, of `steps`, and drop those.

        Returns the gradient's length before it was clipped, on the device; None where nothing clips.
        """
        self.scaler.unscale_(self.adam)
        mask_frozen(self.model)
        length = nn.utils.clip_grad_norm_(learning(self.model), self.clip) if self.clip else None
        for group in self.adam.param_groups:
            group["lr"] = self.rate.at(step, steps)
        if not self.skip_bad or self.scaler.is_enabled():
            self.scaler.step(self.adam)
        else:
            self._step_if_finite()
        self.scaler.update()
        self.adam.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update(step)
        return length

    def _step_if_finite(self) -> None:
        """All processes have the same gradients, so they leave out the same steps."""
        gradients = [each.grad for each in learning(self.model) if each.grad is not None]
        finite = torch.isfinite(nn.utils.get_total_norm(gradients))
        if finite.is_cuda:  # which is not waited for: the fused Adam looks at this itself, as for a scaler
            self.adam.found_inf = (~finite).float()  # type: ignore[attr-defined]
            self.adam.step()
        elif finite:
            self.adam.step()

    @property
    def result(self) -> DeepImageMatting:
        """The model to validate and to use: the average, where there is one."""
        return self.model if self.average is None else self.average.model
