"""Max-pooling that keeps where each maximum was in two bits, and the unpooling that puts it back."""

from typing import Any

import torch
from torch import Tensor


def max_pool(x: Tensor) -> tuple[Tensor, Tensor]:
    """Max-pool 2 x 2 with stride 2, and where in its window each maximum was.

    x: (n, c, h, w), h and w even. Returns the maxima, (n, c, h / 2, w / 2), and as many codes, uint8:
    0 top left, 1 top right, 2 bottom left, 3 bottom right. As `nn.MaxPool2d` has it, the first of equal
    values wins, and of NaNs the last; only the winner has a gradient.
    """
    if x.shape[-2] % 2 or x.shape[-1] % 2:
        raise ValueError(f"cannot pool {tuple(x.shape)} by 2 x 2; pad height and width to even numbers")
    value, code = _MaxPool.apply(x)  # type: ignore[no-untyped-call]
    return value, code


def max_unpool(x: Tensor, code: Tensor) -> Tensor:
    """Put each value where `max_pool` had found one, and zero elsewhere.

    x, code: (n, c, h, w), the code uint8 in 0..3. Returns (n, c, 2 h, 2 w), what `nn.MaxUnpool2d` gives.
    An elementwise expansion, not a scatter: the same on every run, one byte a position where int64
    indices have eight, and a compiler fuses it with its neighbours.
    """
    if x.shape != code.shape:
        raise ValueError(f"values are {tuple(x.shape)} and codes {tuple(code.shape)}; give one code a value")
    y: Tensor = _MaxUnpool.apply(x, code)  # type: ignore[no-untyped-call]
    return y


class _MaxPool(torch.autograd.Function):
    """A function of its own, so that the backward pass needs the codes only, no masks and no indices."""

    @staticmethod
    def forward(x: Tensor) -> tuple[Tensor, Tensor]:
        windows = _windows(x)
        row, right = _larger(windows[..., 0], windows[..., 1])
        value, below = _larger(row[..., 0, :], row[..., 1, :])
        code = right.to(torch.uint8)
        return value, torch.where(below, code[..., 1, :] + 2, code[..., 0, :])

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: tuple[Tensor, Tensor]) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(output[1])
        ctx.channels_last = _is_channels_last(*inputs)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return _expand(grads[0], *ctx.saved_tensors, channels_last=ctx.channels_last)


class _MaxUnpool(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, code: Tensor) -> Tensor:
        return _expand(x, code, channels_last=_is_channels_last(x))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(inputs[1])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (code,) = ctx.saved_tensors
        windows = _windows(grads[0])
        above = torch.where(code == 0, windows[..., 0, :, 0], windows[..., 0, :, 1])
        below = torch.where(code == 2, windows[..., 1, :, 0], windows[..., 1, :, 1])
        return torch.where(code < 2, above, below), None


def _expand(x: Tensor, code: Tensor, *, channels_last: bool) -> Tensor:
    """`max_unpool`, writing in the order of memory that is asked for: another would cost a copy."""
    place = torch.arange(4, dtype=torch.uint8, device=x.device).view(2, 1, 2, 1)
    if channels_last:
        x, code = x.permute(0, 2, 3, 1), code.permute(0, 2, 3, 1)
        windows = torch.where(code[:, :, None, :, None] == place, x[:, :, None, :, None], 0)
        return windows.flatten(3, 4).flatten(1, 2).permute(0, 3, 1, 2)
    windows = torch.where(code[..., None, :, None] == place[..., 0], x[..., None, :, None], 0)
    return windows.flatten(4, 5).flatten(2, 3)


def _is_channels_last(x: Tensor) -> bool:
    return x.is_contiguous(memory_format=torch.channels_last)


def _windows(x: Tensor) -> Tensor:
    """View (n, c, h, w) as (n, c, h / 2, 2, w / 2, 2)."""
    n, c, h, w = x.shape
    return x.view(n, c, h // 2, 2, w // 2, 2)


def _larger(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """The larger of two, and whether it is the second. The first of equals; the second if it is NaN."""
    second_wins = (second > first) | second.isnan()
    return torch.where(second_wins, second, first), second_wins
