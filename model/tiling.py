"""An image cut into overlapping tiles, and how much each tile counts where it overlaps another."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .network import STRIDE, ModelConfig

RAMP = 32
"""Pixels over which one tile's result gives way to its neighbour's."""

Window = tuple[slice, slice]
Weights = NDArray[np.float32]  # (h, w)


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Tiles of an image: the rows and columns of each, and along both sides what each counts.

    The weights of all tiles at a pixel sum to 1.
    """

    rows: tuple[slice, ...]
    columns: tuple[slice, ...]
    row_weights: tuple[NDArray[np.float32], ...]
    column_weights: tuple[NDArray[np.float32], ...]

    def __len__(self) -> int:
        return len(self.rows) * len(self.columns)

    def tiles(self) -> Iterator[tuple[Window, Weights]]:
        """Each tile's place in the image, and its weights."""
        by_row = zip(self.rows, self.row_weights, strict=True)
        by_column = zip(self.columns, self.column_weights, strict=True)
        for (rows, down), (columns, across) in itertools.product(by_row, by_column):
            yield (rows, columns), np.outer(down, across)


def receptive_margin(config: ModelConfig) -> int:
    """How far a pixel's alpha can depend on the image, in pixels, rounded up to a multiple of 32.

    Encoder: two 3 x 3 convolutions at full size, two at 1/2, three at 1/4, 1/8 and 1/16, and five poolings,
    121 in all; a 7 x 7 bottleneck at 1/32, 96; decoder: 5 x 5 at 1/16, 1/8, 1/4, 1/2, 1 and 1, 64;
    refinement: 4.
    """
    reach = 121 + 64 + 4 + (96 if config.bottleneck == "fc6" else 0)
    return STRIDE * -(-reach // STRIDE)


def plan_tiles(height: int, width: int, *, pixels: int, margin: int) -> Grid | None:
    """The grid with the least work, of tiles of at most `pixels`; one tile if the image fits.

    A tile's outermost `margin` pixels count nothing where another tile has them further inside. Tiles start
    at multiples of 32, so that the poolings' windows lie as in the whole image. None where not even the
    smallest tile fits.
    """
    overlap = 2 * margin + RAMP
    whole = _padded(height), _padded(width)
    best: tuple[int, int, int] | None = None
    for tall in range(min(overlap + STRIDE, whole[0]), whole[0] + 1, STRIDE):
        wide = min(pixels // tall // STRIDE * STRIDE, whole[1])
        if wide < min(overlap + STRIDE, whole[1]):
            break
        work = tall * _count(whole[0], tall, overlap) * wide * _count(whole[1], wide, overlap)
        best = min(best or (work, tall, wide), (work, tall, wide))
    if best is None:
        return None
    rows, columns = _spans(height, best[1], overlap), _spans(width, best[2], overlap)
    return Grid(
        rows=rows,
        columns=columns,
        row_weights=_weights(rows, margin),
        column_weights=_weights(columns, margin),
    )


def _padded(side: int) -> int:
    return STRIDE * -(-side // STRIDE)


def _count(length: int, side: int, overlap: int) -> int:
    """How many tiles of `side` cover `length`, both multiples of 32."""
    return 1 if side >= length else -(-(length - overlap) // (side - overlap))


def _spans(length: int, side: int, overlap: int) -> tuple[slice, ...]:
    """Spans that cover `length`, spread evenly; each overlaps the next by `overlap` or more."""
    padded = _padded(length)
    last = _count(padded, side, overlap) - 1
    starts = [i * ((padded - side) // STRIDE) // max(last, 1) * STRIDE for i in range(last + 1)]
    return tuple(slice(start, min(start + side, length)) for start in starts)


def _weights(spans: tuple[slice, ...], margin: int) -> tuple[NDArray[np.float32], ...]:
    """0 within `margin` of an end that another span covers, then up to 1 over RAMP pixels; sums are 1."""
    length = spans[-1].stop
    ramps = []
    for span in spans:
        place = np.arange(span.start, span.stop) + 0.5
        before = place - span.start - margin if span.start else np.inf
        after = span.stop - margin - place if span.stop < length else np.inf
        ramps.append(np.clip(np.minimum(before, after) / RAMP, 0, 1) * np.ones(len(place)))
    total = np.zeros(length)
    for span, ramp in zip(spans, ramps, strict=True):
        total[span] += ramp
    return tuple((ramp / total[span]).astype(np.float32) for span, ramp in zip(spans, ramps, strict=True))
