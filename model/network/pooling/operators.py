"""Pooling as operators that no compiler looks into, so that none keeps or computes anew what they took in.

A compiler that sees the comparisons of a pooling keeps its whole input for the backward pass: four values a
window where the pooled one and a byte are enough. On a GPU the operators are Triton's kernels; elsewhere
PyTorch's own pooling computes them, with its int64 indices made into codes and back.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .codes import is_channels_last

Pooled = tuple[Tensor, Tensor]


@torch.library.custom_op("dimtool::relu_max_pool", mutates_args=())
def relu_max_pool(x: Tensor, bias: Tensor | None) -> Pooled:
    """Maxima of relu(x + bias) in windows of 2 x 2, and their codes; see `codes.pool`.

    x: (n, c, h, w), h and w even; bias: (c,) of any float type, or None. Its gradients need the results only.
    """
    if kernels := _kernels(x):
        return kernels.relu_max_pool(x, bias)  # type: ignore[no-any-return]
    if bias is not None:
        x = x + bias.to(x.dtype).view(1, -1, 1, 1)
    value, index = F.max_pool2d(x, 2, return_indices=True)
    # Of values that the ReLU makes equal the first wins; the pooling has seen them before.
    return F.relu(value, inplace=True), _as_codes(index, x.shape[-1]).masked_fill_(value <= 0, 0)


@torch.library.custom_op("dimtool::spread", mutates_args=())
def spread(x: Tensor, code: Tensor) -> Tensor:
    """`codes.spread`: each value at its code's place, zero at the others."""
    if kernels := _kernels(x):
        return kernels.spread(x, code)  # type: ignore[no-any-return]
    y = F.max_unpool2d(x, _as_indices(code), [2, 2])
    return y.contiguous(memory_format=_layout(x))


@torch.library.custom_op("dimtool::gather", mutates_args=())
def gather(x: Tensor, code: Tensor) -> Tensor:
    """`codes.gather`: the value at each code's place."""
    if kernels := _kernels(x):
        return kernels.gather(x, code)  # type: ignore[no-any-return]
    n, c, h, w = code.shape
    if is_channels_last(x):
        flat, index = (each.permute(0, 2, 3, 1).flatten(1, 2) for each in (x, _as_indices(code)))
        return flat.gather(1, index).view(n, h, w, c).permute(0, 3, 1, 2)
    return x.flatten(2).gather(2, _as_indices(code).flatten(2)).view(n, c, h, w)


def _kernels(x: Tensor) -> Any:
    """Triton's kernels where they can work on `x`, else None. Triton comes with PyTorch for CUDA on Linux."""
    if not x.is_cuda:
        return None
    try:
        from . import kernels  # noqa: PLC0415
    except ImportError:
        return None
    return kernels if kernels.fits(x) else None


def _as_codes(index: Tensor, width: int) -> Tensor:
    """uint8 codes of PyTorch's indices into planes of `width` columns."""
    index = index.to(torch.int32)
    height = index.shape[-2]
    below = (2 * torch.arange(height, dtype=torch.int32, device=index.device) + 1) * width
    return (index & 1).to(torch.uint8).add_((index >= below[:, None]).to(torch.uint8), alpha=2)


def _as_indices(code: Tensor) -> Tensor:
    """PyTorch's int64 indices of codes. Computed in 32 bits: four times as fast, and planes are smaller."""
    height, width = code.shape[-2:]
    rows, columns = (torch.arange(n, dtype=torch.int32, device=code.device) for n in (height, width))
    # The code itself counts the column, and one row less two columns for each of the row's.
    offset = (code >> 1).to(torch.int32).mul_(2 * width - 2).add_(code)
    return offset.add_(4 * width * rows[:, None] + 2 * columns).to(torch.int64)


def _layout(x: Tensor) -> torch.memory_format:
    return torch.channels_last if is_channels_last(x) else torch.contiguous_format


# ---- for tracing: shapes and layouts -----------------------------------------------------------------------


@relu_max_pool.register_fake
def _(x: Tensor, bias: Tensor | None) -> Pooled:
    n, c, h, w = x.shape
    value = x.new_empty((n, c, h // 2, w // 2)).to(memory_format=_layout(x))
    return value, torch.empty_like(value, dtype=torch.uint8)


@spread.register_fake
def _(x: Tensor, code: Tensor) -> Tensor:
    n, c, h, w = x.shape
    return x.new_empty((n, c, 2 * h, 2 * w)).to(memory_format=_layout(x))


@gather.register_fake
def _(x: Tensor, code: Tensor) -> Tensor:
    return x.new_empty(code.shape).to(memory_format=_layout(x))


# ---- gradients ---------------------------------------------------------------------------------------------


def _keep_results(ctx: Any, inputs: tuple[Tensor, Tensor | None], output: Pooled) -> None:
    ctx.save_for_backward(*output)
    ctx.bias_type = None if inputs[1] is None else inputs[1].dtype


def _pool_backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor, Tensor | None]:
    value, code = ctx.saved_tensors
    gradient = torch.ops.aten.threshold_backward(gradient, value, 0)  # the ReLU's
    bias = None
    if ctx.bias_type is not None:
        precise = torch.promote_types(gradient.dtype, torch.float32)
        bias = gradient.sum((0, 2, 3), dtype=precise).to(ctx.bias_type)
    return spread(gradient, code), bias


def _keep_code(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(inputs[1])


def _spread_backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
    return gather(gradient, *ctx.saved_tensors), None


def _gather_backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
    return spread(gradient, *ctx.saved_tensors), None


relu_max_pool.register_autograd(_pool_backward, setup_context=_keep_results)
spread.register_autograd(_spread_backward, setup_context=_keep_code)
gather.register_autograd(_gather_backward, setup_context=_keep_code)
