"""ReLU and max-pooling that keep where each maximum was, and the unpooling that puts it back.

Where, in the way that is fastest for what is asked: for a gradient two-bit codes, which are all that it needs
beside the pooled values; without one PyTorch's own int64 indices; for an exporter codes in plain operations.
All give the same values.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from . import codes, operators


def relu_max_pool(x: Tensor, bias: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Max-pool relu(x + bias) 2 x 2 with stride 2, and where in its window each maximum was.

    x: (n, c, h, w), h and w even, which may be overwritten; bias: (c,). Returns the maxima,
    (n, c, h / 2, w / 2), and as many places for `max_unpool`: codes, uint8, or indices, int64. As
    `nn.MaxPool2d` has it, the first of equal values wins, and of NaNs the last; only the winner has a
    gradient.
    """
    if x.shape[-2] % 2 or x.shape[-1] % 2:
        raise ValueError(f"cannot pool {tuple(x.shape)} by 2 x 2; pad height and width to even numbers")
    if torch.is_grad_enabled() and x.requires_grad and not torch.compiler.is_exporting():
        value, code = operators.relu_max_pool(x, bias)
        return value, code
    if bias is not None:
        x = x + bias.to(x.dtype).view(1, -1, 1, 1)
    if torch.compiler.is_compiling():
        return codes.pool(F.relu(x))
    return F.max_pool2d(F.relu(x, inplace=True), 2, return_indices=True)


def max_unpool(x: Tensor, places: Tensor) -> Tensor:
    """Put each value where `relu_max_pool` had found one, and zero elsewhere.

    x, places: (n, c, h, w), as it gave them. Returns (n, c, 2 h, 2 w), what `nn.MaxUnpool2d` gives. Compiled
    it is an elementwise expansion, which the backward pass computes anew from the codes.
    """
    if x.shape != places.shape:
        raise ValueError(
            f"values are {tuple(x.shape)} and places {tuple(places.shape)}; give one place a value"
        )
    if places.dtype == torch.int64:
        return F.max_unpool2d(x, places, [2, 2])
    if torch.compiler.is_compiling():
        return codes.spread(x, places)
    y: Tensor = operators.spread(x, places)
    return y
