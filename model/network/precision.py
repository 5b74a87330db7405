"""The arithmetic of a network: what its convolutions compute in, and how they are chosen on a GPU.

Weights, losses and the optimizer are float32 in each; an alpha is never rounded to 16 bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

Precision = Literal["fp32", "tf32", "bf16", "fp16"]
"""fp32: float32 throughout. tf32: float32 whose products a GPU rounds to TF32's 10 bits of fraction, some
eight times as fast there; no other device has it, which then computes in float32. bf16 and fp16: the
convolutions in 16 bits. fp16 is for cards without bf16: its gradients need a scaler."""

_HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """The context in which a forward pass computes its convolutions in `precision`."""
    # The type must be one that autocast knows even where it is off.
    dtype = _HALF.get(precision, torch.bfloat16)
    return torch.autocast(device.type, dtype, enabled=precision in _HALF)


def best_precision() -> Precision:
    """bf16 on a GPU that has its instructions, elsewhere tf32."""
    has_bf16 = torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bf16" if has_bf16 else "tf32"


def gradient_scaler(precision: Precision, device: torch.device) -> torch.amp.GradScaler:
    """What keeps the gradients of fp16 within its range; with every other precision it does nothing."""
    return torch.amp.GradScaler(device.type, enabled=precision == "fp16")


@contextmanager
def float32_products(precision: Precision) -> Iterator[None]:
    """In here a GPU's float32 products are TF32's, or with "fp32" float32's own."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    tf32 = precision != "fp32"
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = tf32, tf32
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


@contextmanager
def cudnn_search(on: bool) -> Iterator[None]:
    """In here cuDNN tries all its algorithms once for each new shape, or, with False, guesses one.

    A search pays where shapes repeat, as in training; whole images each have a shape of their own.
    """
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = on
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before
