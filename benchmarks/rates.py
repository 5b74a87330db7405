"""What a step computes, what a card can, and the one meaning of "share" in all of these benchmarks.

share = counted FLOPs a second / the rate of a bf16 matrix product on the same card

Counted are the convolutions' multiplications and additions, forward and backward, as PyTorch counts them;
what else a step does costs time and counts for nothing. The rate is measured where a card is at hand; else it
is 790 TFLOP/s, which such a product is known to reach on an H100 or H200 of 989 TFLOP/s by the data sheet.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from dimtool.model.network.dim import DeepImageMatting, ModelConfig, Stage

MATRIX_RATE = 790e12  # FLOP/s of a large bf16 product, reached on either card
TARGET = 0.4  # share that a training step is to reach


@dataclass(frozen=True)
class Card:
    """A GPU: its memory's bytes a second by the data sheet, and its matrix rate in FLOP/s."""

    name: str
    bandwidth: float
    rate: float = MATRIX_RATE


H100 = Card("H100", 3.35e12)
H200 = Card("H200", 4.8e12)


def share(crops_per_second: float, flops_a_crop: float, rate: float = MATRIX_RATE) -> float:
    """What part of a matrix product's rate a training or a forward pass reaches."""
    return crops_per_second * flops_a_crop / rate


def crops_at(part: float, flops_a_crop: float, rate: float = MATRIX_RATE) -> float:
    """Crops a second at a share."""
    return part * rate / flops_a_crop


def flops(network: DeepImageMatting, size: int) -> tuple[int, int]:
    """FLOPs of one crop, forward and whole step, counted on tensors without content."""
    network = deepcopy(network).to("meta")
    image, trimap = (torch.empty(1, channels, size, size, device="meta") for channels in (3, 1))
    with FlopCounterMode(display=False) as forward, torch.no_grad():
        network(image, trimap)
    with FlopCounterMode(display=False) as step:
        network(image, trimap).refined.sum().backward()
    return forward.get_total_flops(), step.get_total_flops()


def flops_of_a_step(stage: Stage, *, config: ModelConfig | None = None, size: int = 320) -> int:
    """FLOPs of one crop's training step."""
    with torch.device("meta"):
        network = DeepImageMatting(config or ModelConfig())
    network.set_stage(stage)
    return flops(network, size)[1]
