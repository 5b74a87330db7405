"""An image cut into overlapping tiles whose alpha, put together, is the whole image's."""

from __future__ import annotations

import itertools
from typing import NamedTuple

from ..network.dim import STRIDE, ModelConfig


class Span(NamedTuple):
    """A tile along one side of the image: what the network sees, and what of it is kept."""

    seen: slice
    kept: slice


class Tile(NamedTuple):
    """A tile's rows and columns."""

    rows: Span
    columns: Span

    @property
    def pixels(self) -> int:
        """How many the network works on."""
        return padded_pixels(*(side.seen.stop - side.seen.start for side in self))


def padded_pixels(height: int, width: int) -> int:
    """How many pixels the network works on for an image: its sides are rounded up to multiples of 32."""
    return _padded(height) * _padded(width)


def receptive_margin(config: ModelConfig) -> int:
    """How far a pixel's alpha can depend on the image, in pixels, rounded up to a multiple of 32.

    Encoder: two 3 x 3 convolutions at full size, two at 1/2, three at 1/4, 1/8 and 1/16, and five poolings
    reach 121 pixels; a 7 x 7 bottleneck at 1/32 another 96; the decoder's 5 x 5 at 1/16, 1/8, 1/4, 1/2, 1
    and 1, 64; the refinement 4. So 192, or 288 with the bottleneck "fc6".
    """
    reach = 121 + 64 + 4 + (96 if config.bottleneck == "fc6" else 0)
    return _padded(reach)


def plan_tiles(height: int, width: int, *, pixels: int, margin: int) -> list[Tile]:
    """The tiles with the least work, each of at most `pixels`; one if the image fits, none if no tile does.

    What a tile keeps lies `margin` pixels or more inside it, or at the image's border. Tiles begin at
    multiples of 32, so that the poolings' windows lie as in the whole image. margin: a multiple of 32.
    """
    fitting = _fitting(height, width, pixels=pixels, margin=margin)
    if not fitting:
        return []
    _, _, tall, wide = min(fitting)
    return [
        Tile(*both) for both in itertools.product(_spans(height, tall, margin), _spans(width, wide, margin))
    ]


def frugal_pixels(height: int, width: int, *, pixels: int, margin: int) -> int:
    """The least pixels at a time, of at most `pixels`, whose overlaps add an eighth to the work or less.

    `pixels` where there are none: the image is cut as it must be.
    """
    most = 9 * padded_pixels(height, width) // 8
    some = _fitting(height, width, pixels=pixels, margin=margin)
    return min((tall * wide for work, _, tall, wide in some if work <= most), default=pixels)


def smallest_tile(height: int, width: int, *, margin: int) -> int:
    """Pixels of the smallest tile that can be cut from an image of this size."""
    least = 2 * margin + STRIDE
    return padded_pixels(min(least, height), min(least, width))


def _fitting(height: int, width: int, *, pixels: int, margin: int) -> list[tuple[int, int, int, int]]:
    """What tiles of at most `pixels` there are: the work with them, how many, their height and width."""
    return [
        (tall * down * wide * across, down * across, tall, wide)
        for (tall, down), (wide, across) in itertools.product(_sides(height, margin), _sides(width, margin))
        if tall * wide <= pixels
    ]


def _padded(side: int) -> int:
    return STRIDE * -(-side // STRIDE)


def _sides(length: int, margin: int) -> list[tuple[int, int]]:
    """The sides that a tile can have, and how many of each cover `length`."""
    padded = _padded(length)
    least = min(2 * margin + STRIDE, padded)
    return [(side, _count(padded, side, margin)) for side in range(least, padded + 1, STRIDE)]


def _count(length: int, side: int, margin: int) -> int:
    """How many tiles of `side` cover `length`; both are multiples of 32."""
    return 1 if side >= length else -(-(length - 2 * margin) // (side - 2 * margin))


def _spans(length: int, side: int, margin: int) -> list[Span]:
    """Tiles along one side, spread evenly; where two overlap, the cut is in the middle."""
    padded = _padded(length)
    last = _count(padded, side, margin) - 1
    starts = [i * ((padded - side) // STRIDE) // max(last, 1) * STRIDE for i in range(last + 1)]
    cuts = [0, *((start + before + side) // 2 for before, start in itertools.pairwise(starts)), length]
    return [
        Span(slice(start, min(start + side, length)), slice(*cut))
        for start, cut in zip(starts, itertools.pairwise(cuts), strict=True)
    ]
