"""Pooling's codes in plain elementwise operations, which any compiler or exporter can trace and fuse.

A code says where in its 2 x 2 window a maximum was: 0 top left, 1 top right, 2 bottom left, 3 bottom right.
Eagerly each of these passes over the data more than ten times as long as PyTorch's own pooling.
"""

from __future__ import annotations

import torch
from torch import Tensor


def pool(x: Tensor) -> tuple[Tensor, Tensor]:
    """Maxima and codes, (n, c, h / 2, w / 2), of (n, c, h, w). Of equals the first wins, of NaNs the last."""
    windows = _windows(x)
    row, right = _larger(windows[..., 0], windows[..., 1])
    value, below = _larger(row[..., 0, :], row[..., 1, :])
    code = right.to(torch.uint8)
    return value, torch.where(below, code[..., 1, :] + 2, code[..., 0, :])


def spread(x: Tensor, code: Tensor) -> Tensor:
    """Each value at its code's place in a window, zero at the others: (n, c, h, w) to (n, c, 2 h, 2 w).

    Written in x's order of memory: another would cost a copy.
    """
    place = torch.arange(4, dtype=torch.uint8, device=x.device).view(2, 1, 2, 1)
    if is_channels_last(x):
        x, code = x.permute(0, 2, 3, 1), code.permute(0, 2, 3, 1)
        windows = torch.where(code[:, :, None, :, None] == place, x[:, :, None, :, None], 0)
        return windows.flatten(3, 4).flatten(1, 2).permute(0, 3, 1, 2)
    windows = torch.where(code[..., None, :, None] == place[..., 0], x[..., None, :, None], 0)
    return windows.flatten(4, 5).flatten(2, 3)


def gather(x: Tensor, code: Tensor) -> Tensor:
    """The value at each code's place: (n, c, 2 h, 2 w) to (n, c, h, w). What `spread` has for a gradient."""
    windows = _windows(x)
    above = torch.where(code == 0, windows[..., 0, :, 0], windows[..., 0, :, 1])
    below = torch.where(code == 2, windows[..., 1, :, 0], windows[..., 1, :, 1])
    return torch.where(code < 2, above, below)


def is_channels_last(x: Tensor) -> bool:
    return x.is_contiguous(memory_format=torch.channels_last)


def _windows(x: Tensor) -> Tensor:
    """View (n, c, h, w) as (n, c, h / 2, 2, w / 2, 2)."""
    n, c, h, w = x.shape
    return x.view(n, c, h // 2, 2, w // 2, 2)


def _larger(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """The larger of two, and whether it is the second. The first of equals; the second if it is NaN."""
    second_wins = (second > first) | second.isnan()
    return torch.where(second_wins, second, first), second_wins
