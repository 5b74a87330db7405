"""One prediction beside its truth, as worker processes score it; no torch, so that they start fast."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...arrays import UInt8Image, UInt8Mask
from ...composer.pixels.trimap import UNKNOWN
from ...composer.sources.mattes import read_prediction
from ...text import sides
from ..metrics import Scores, matting_scores, whole_image_mse, whole_image_sad
from .pairing import EvaluationError


class Item(NamedTuple):
    """One image to score: (h, w, 3) or None where it is not needed, (h, w) trimap and truth."""

    number: int
    name: str
    image: UInt8Image | None
    trimap: UInt8Mask
    truth: UInt8Mask


@dataclass(frozen=True)
class Alpha:
    """A prediction, (h, w); `instead`: the trivial one, of a method that cannot do this image."""

    pixels: UInt8Mask
    instead: bool = False


class Entry(NamedTuple):
    """An image's scores; `instead`: of the trivial answer, where a method could not do it."""

    scores: Scores
    instead: bool


Task = Callable[[Item], Alpha]
"""What makes or reads a prediction, and can be sent to another process."""


@dataclass(frozen=True)
class ReadAlpha:
    """The prediction that a file holds. Raises SourceError, EvaluationError for another size."""

    path: Path

    def __call__(self, item: Item) -> Alpha:
        pixels = read_prediction(self.path).pixels
        if pixels.shape != item.truth.shape:
            raise EvaluationError(
                f"{self.path} is {sides(pixels.shape)} and its truth {sides(item.truth.shape)}: give one size"
            )
        return Alpha(pixels)


@dataclass(frozen=True)
class Given:
    """A prediction that is there already."""

    pixels: UInt8Mask

    def __call__(self, _: Item) -> Alpha:
        return Alpha(self.pixels)


def score_item(task: Task, item: Item) -> Entry:
    """The scores of what a task gives. Raises EvaluationError, and what the task raises."""
    alpha = task(item)
    try:
        return Entry(score(alpha.pixels, item.truth, item.trimap), alpha.instead)
    except ValueError as error:
        raise EvaluationError(f"{item.name} cannot be scored: {error}") from error


def score(prediction: UInt8Mask, truth: UInt8Mask, trimap: UInt8Mask) -> Scores:
    """The official metrics of a prediction as it is, and mmagic's of one that is right where it is known.

    mmagic sets known pixels before it measures; the official code does not look at them, but for the
    gradient's normalisation. Raises ValueError.
    """
    scores = matting_scores(prediction, truth, trimap)
    as_known = np.where(trimap == UNKNOWN, prediction, trimap)
    if np.array_equal(as_known, prediction):
        return scores
    return replace(
        scores,
        whole_image_sad=whole_image_sad(as_known, truth),
        whole_image_mse=whole_image_mse(as_known, truth, trimap),
    )
