"""Where two images of one size differ, as pictures that do not lose a single pixel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...arrays import UInt8Image, UInt8Mask
from ..shards.windows import Window

_FAINTEST = 96  # what a difference of 1 becomes: well visible on black
# Black for no difference; from dark orange to nearly white for the others.
_COLOURS = ((0, 0, 0), (214, 78, 18), (255, 170, 40), (255, 246, 214))


def difference(expected: NDArray[np.uint8], found: NDArray[np.uint8]) -> UInt8Mask:
    """How far two (h, w) or (h, w, 3) images are apart, (h, w): in the channel that differs most.

    Raises ValueError for images of two shapes.
    """
    if expected.shape != found.shape:
        raise ValueError(f"images of {expected.shape} and {found.shape} have no difference: give one size")
    apart = np.where(expected > found, expected - found, found - expected)
    return apart if apart.ndim == 2 else apart.max(axis=2)


def amplified(apart: UInt8Mask) -> UInt8Mask:
    """(h, w): 0 stays 0, the rest is stretched linearly: 1 becomes 96 and the greatest 255."""
    greatest = max(int(apart.max(initial=0)), 2)
    steps = np.interp(np.arange(256), [1, greatest], [_FAINTEST, 255]).round().astype(np.uint8)
    steps[0] = 0
    return np.asarray(steps[apart])


def palette() -> UInt8Image:
    """(1, 256, 3): the colour of each amplified difference."""
    stops = np.linspace(0, 255, len(_COLOURS))
    stops[1] = _FAINTEST
    channels = [np.interp(np.arange(256), stops, channel) for channel in zip(*_COLOURS, strict=True)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)[None]


def shrunk(apart: UInt8Mask, side: int) -> UInt8Mask:
    """At most side x side pixels, each the greatest of those that it stands for.

    An average, as in any other reduced picture, would hide a single wrong pixel.
    """
    scale = min(1, side / max(apart.shape))
    starts = [np.arange(size) * length // size for length in apart.shape if (size := _scaled(length, scale))]
    return np.asarray(np.maximum.reduceat(np.maximum.reduceat(apart, starts[0], axis=0), starts[1], axis=1))


def _scaled(length: int, scale: float) -> int:
    return max(1, round(length * scale))


def close_up(apart: UInt8Mask, side: int) -> Window:
    """(rows, columns) around the greatest difference, of the image's proportions and inside it.

    The longer side has `side` pixels, or all that there are.
    """
    scale = min(1, side / max(apart.shape))
    centre = np.unravel_index(int(apart.argmax()), apart.shape)
    rows, columns = (
        _around(int(middle), _scaled(length, scale), length)
        for middle, length in zip(centre, apart.shape, strict=True)
    )
    return rows, columns


def _around(middle: int, size: int, length: int) -> slice:
    start = max(0, min(middle - size // 2, length - size))
    return slice(start, start + size)
