"""The pooling operators as Triton's kernels: each reads and writes every value once.

A window is found from its number in the order of memory. With `inner` values a pixel that lie together (c in
channels-last memory, 1 else) and rows of `width` windows, window number p is at row p // inner // width of
windows, through all images (and planes), and at column p // inner % width.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from .codes import is_channels_last

_BLOCK = 1024
_TYPES = (torch.float32, torch.bfloat16, torch.float16)
_MOST = 2**31 - 1  # values: places are counted in 32 bits


def fits(x: Tensor) -> bool:
    """Whether the kernels take a tensor of such a type and size."""
    return x.dtype in _TYPES and 4 * x.numel() <= _MOST


def relu_max_pool(x: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """`operators.relu_max_pool`."""
    x = _dense(x)
    n, c, h, w = x.shape
    value = torch.empty((n, c, h // 2, w // 2), dtype=x.dtype, device=x.device, memory_format=_layout(x))
    code = torch.empty_like(value, dtype=torch.uint8)
    plane = 1 if is_channels_last(x) else h * w // 4
    _launch(_pool, value, x, x if bias is None else bias, value, code, c, plane, bias is not None)
    return value, code


def spread(x: Tensor, code: Tensor) -> Tensor:
    """`operators.spread`."""
    x = _dense(x)
    n, c, h, w = x.shape
    y = torch.empty((n, c, 2 * h, 2 * w), dtype=x.dtype, device=x.device, memory_format=_layout(x))
    _launch(_spread, x, x, code.contiguous(memory_format=_layout(x)), y)
    return y


def gather(x: Tensor, code: Tensor) -> Tensor:
    """`operators.gather`."""
    x = _dense(x)
    y = torch.empty(code.shape, dtype=x.dtype, device=x.device, memory_format=_layout(x))
    _launch(_gather, y, x, code.contiguous(memory_format=_layout(x)), y)
    return y


def _launch(kernel: Any, small: Tensor, *arguments: Any) -> None:
    """Run a kernel over the windows; `small` has a value for each."""
    inner = small.shape[1] if is_channels_last(small) else 1
    count = small.numel()
    if count:
        kernel[(triton.cdiv(count, _BLOCK),)](
            *arguments, count, inner=inner, width=small.shape[3], block=_BLOCK
        )


def _layout(x: Tensor) -> torch.memory_format:
    return torch.channels_last if is_channels_last(x) else torch.contiguous_format


def _dense(x: Tensor) -> Tensor:
    return x if is_channels_last(x) else x.contiguous()


@triton.jit
def _windows(count, inner: tl.constexpr, width: tl.constexpr, block: tl.constexpr):
    """Numbers of this program's windows, which of them exist, and where their first values are."""
    window = tl.program_id(0) * block + tl.arange(0, block)
    pixel = window // inner
    row, column = pixel // width, pixel % width
    first = (row * 4 * width + 2 * column) * inner + window % inner
    return window, window < count, first


@triton.jit
def _pool(
    x,
    bias,
    value,
    code,
    channels: tl.constexpr,
    plane: tl.constexpr,
    biased: tl.constexpr,
    count,
    inner: tl.constexpr,
    width: tl.constexpr,
    block: tl.constexpr,
):
    window, real, first = _windows(count, inner, width, block)
    kind = x.dtype.element_ty
    shift = tl.zeros((block,), tl.float32)
    if biased:
        channel = window // plane % channels
        shift = tl.load(bias + channel, mask=real, other=0).to(kind).to(tl.float32)
    best = tl.zeros((block,), tl.float32)
    place = tl.zeros((block,), tl.int32)
    for k in tl.static_range(4):
        at = first + (k % 2) * inner + (k // 2) * 2 * width * inner
        each = tl.load(x + at, mask=real, other=0).to(tl.float32)
        if biased:
            each = (each + shift).to(kind).to(tl.float32)  # rounded, as it would have been stored
        each = tl.where(each <= 0, 0.0, each)  # which lets NaN through, as PyTorch's ReLU
        wins = (each > best) | (each != each)  # noqa: PLR0124  NaN; best starts at 0, which the first of zeros has
        best = tl.where(wins, each, best)
        place = tl.where(wins, k, place)
    tl.store(value + window, best.to(kind), mask=real)
    tl.store(code + window, place.to(tl.uint8), mask=real)


@triton.jit
def _spread(x, code, y, count, inner: tl.constexpr, width: tl.constexpr, block: tl.constexpr):
    window, real, first = _windows(count, inner, width, block)
    each = tl.load(x + window, mask=real, other=0)
    place = tl.load(code + window, mask=real, other=0).to(tl.int32)
    for k in tl.static_range(4):
        at = first + (k % 2) * inner + (k // 2) * 2 * width * inner
        tl.store(y + at, tl.where(place == k, each, 0.0), mask=real)


@triton.jit
def _gather(x, code, y, count, inner: tl.constexpr, width: tl.constexpr, block: tl.constexpr):
    window, real, first = _windows(count, inner, width, block)
    place = tl.load(code + window, mask=real, other=0).to(tl.int32)
    at = first + (place % 2) * inner + (place // 2) * 2 * width * inner
    tl.store(y + window, tl.load(x + at, mask=real, other=0), mask=real)
