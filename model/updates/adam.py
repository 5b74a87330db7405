"""The optimiser of a stage."""

from __future__ import annotations

from typing import Any

import torch

from ..network.dim import DeepImageMatting
from .layers import learning, partly_frozen


def make_adam(
    model: DeepImageMatting, *, weight_decay: float, fused: bool | None = None
) -> torch.optim.AdamW:
    """Adam with decoupled decay over what learns; no decay on biases, nor on a layer that is partly frozen.

    Without decay it is Adam, to the bit. The rate is for each step to say.
    """
    partly = partly_frozen(model)
    every = learning(model)
    decayed = [each for each in every if each.ndim > 1 and each is not partly]
    others = [each for each in every if each.ndim == 1 or each is partly]
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], fused=fused)
