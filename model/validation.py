"""Validation: the mean SAD of whole composites of foregrounds that the training never sees."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..composer.dataset import CompositeDataset, Sample
from ..composer.images import UInt8Image, UInt8Mask
from ..composer.trimap import trimap_of
from ..errors import WrongUseError
from .metrics import sad
from .network import DeepImageMatting


class Validated(NamedTuple):
    """Mean SAD (thousands of pixels) over the set, and one sample to look at."""

    sad: float
    example: Example


class Example(NamedTuple):
    """Image (h, w, 3), trimap, prediction and truth (h, w), uint8."""

    image: UInt8Image
    trimap: UInt8Mask
    prediction: UInt8Mask
    truth: UInt8Mask


@dataclass(frozen=True)
class ValidationSet:
    """Composites of a dataset, by number, with trimaps of one radius."""

    composites: CompositeDataset
    numbers: Sequence[int]
    radius: int


def split_foregrounds(count: int, share: float, seed: int) -> tuple[list[int], list[int]]:
    """Numbers of the shards to train on and to validate on: a share of the foregrounds, one at least.

    A foreground is in one of them with all its composites. Raises WrongUseError where nothing would be
    left to train on.
    """
    held = max(1, round(share * count)) if share else 0
    if held >= count:
        raise WrongUseError(
            f"{count} foregrounds cannot be split for validation: add some, or give --val-shards or --val-share 0"
        )
    validation = set(random.Random(seed).sample(range(count), held))
    return [i for i in range(count) if i not in validation], sorted(validation)


def pick(composites: CompositeDataset, shards: Sequence[int], count: int) -> list[int]:
    """Numbers of about `count` composites, spread evenly over the shards."""
    starts = np.cumsum([0] + [record.composites for record in composites.index.shards])
    every = [
        int(starts[number]) + i for number in shards for i in range(composites.record(number).composites)
    ]
    chosen = np.linspace(0, len(every) - 1, min(count, len(every))).round().astype(int)
    return [every[i] for i in dict.fromkeys(chosen.tolist())]


@torch.no_grad()
def validate(model: DeepImageMatting, data: ValidationSet, device: torch.device) -> Validated:
    """The model's mean SAD over the set. The model stays in the mode that it is in."""
    errors, example = [], None
    for number in data.numbers:
        sample = data.composites.sample(number)
        trimap = trimap_of(sample.alpha, sample.distance, data.radius, data.radius)
        prediction = predict(model, sample, trimap, device)
        errors.append(sad(prediction, sample.alpha, trimap))
        example = example or Example(sample.composite, trimap, prediction, sample.alpha)
    if example is None:
        raise WrongUseError(
            "there is no composite to validate on: give a greater --val-share or --val-shards"
        )
    return Validated(sum(errors) / len(errors), example)


def predict(model: DeepImageMatting, sample: Sample, trimap: UInt8Mask, device: torch.device) -> UInt8Mask:
    """The alpha of a whole composite, (h, w) uint8, with the trimap's known pixels as they are known."""
    image = to_input(sample.composite, device)
    alpha = model(image, to_input(trimap, device)).alpha[0, 0]
    result = (alpha.float() * 255).round().to(torch.uint8).cpu().numpy()
    return np.where(trimap == 128, result, trimap)


def to_input(pixels: UInt8Image | UInt8Mask, device: torch.device) -> Tensor:
    """(h, w) or (h, w, 3) uint8 to (1, c, h, w) in 0..1."""
    tensor = torch.from_numpy(np.ascontiguousarray(pixels)).to(device)
    tensor = tensor[None, None] if tensor.ndim == 2 else tensor.permute(2, 0, 1)[None]
    return tensor.float() / 255
