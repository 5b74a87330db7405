"""An average of the weights over the last steps, which is steadier than the last of them."""

from __future__ import annotations

from copy import deepcopy

from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from ..network.dim import DeepImageMatting
from ..network.layers import NormalisedConvolution


class Average:
    """An exponential moving average of a model's learning weights, as a model of its own.

    decay: the share that stays at each step; at first less, (1 + n) / (10 + n) after n steps, so that a short
    stage is not the average of its beginning. The model shares nothing with the one that learns.
    """

    def __init__(self, model: DeepImageMatting, decay: float) -> None:
        self.model = deepcopy(model).requires_grad_(False)
        self.decay = decay
        self._pairs: list[tuple[Tensor, Tensor]] = [
            (mine, theirs)
            for mine, theirs in zip(self.model.parameters(), model.parameters(), strict=True)
            if theirs.requires_grad
        ]
        # Normalisations' statistics move as weights do; where there are none, nothing is added.
        for ours, layer in zip(self.model.modules(), model.modules(), strict=True):
            if isinstance(ours, NormalisedConvolution) and isinstance(layer, NormalisedConvolution):
                learns = layer.weight.requires_grad
                self._pairs += zip(ours.statistics(), layer.statistics(), strict=True) if learns else ()

    def update(self, step: int) -> None:
        """Take the weights in after step `step` of the stage, counted from 0."""
        average = get_ema_multi_avg_fn(self.decay_after(step))  # type: ignore[no-untyped-call]
        average(*zip(*self._pairs, strict=True), None)

    def decay_after(self, step: int) -> float:
        """The share that stays at step `step`."""
        return min(self.decay, (1 + step) / (10 + step))
