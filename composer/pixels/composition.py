"""The pixel rules of Adobe's Composition-1k code, as pure functions: what every score depends on."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...arrays import UInt8Image, UInt8Mask
from ..sources.images import check_pixels

# Rows worked on at a time: the float64 temporaries stay in the processor's cache.
_ROWS = 32


def fitted_size(height: int, width: int, background_height: int, background_width: int) -> tuple[int, int]:
    """(height, width) to which the official code resizes a background before it cuts: never smaller.

    `ratio = max(w / w_bg, h / h_bg)`; only where it is over 1 the background grows, to the ceilings of
    `h_bg * ratio` and `w_bg * ratio`, in float64 as written (the rounding of these decides one row more
    or less).
    """
    ratio = max(width / background_width, height / background_height)
    if ratio <= 1:
        return background_height, background_width
    return math.ceil(background_height * ratio), math.ceil(background_width * ratio)


def fit_background(background: UInt8Image, height: int, width: int) -> UInt8Image:
    """The (height, width, 3) piece of `background`, (H, W, 3), that lies behind a foreground of that size.

    A background smaller than the foreground in either direction is enlarged with Pillow's bicubic filter
    (OpenCV's differs in a third of the values); the top left corner is cut out. Pillow goes along the rows,
    rounds to 8 bits, and goes along the columns, each by itself: so what lies right of the cut is taken off
    in between. Raises SourceError where the enlarged image would be a bomb: one pixel of width behind 4,000
    asks for 4,000 times the height.
    """
    old = background.shape[:2]
    new = fitted_size(height, width, *old)
    if new != old:
        check_pixels(*new, f"a background of {old[1]} x {old[0]} enlarged for {width} x {height}")
        wide = Image.fromarray(background).resize((new[1], old[0]), Image.Resampling.BICUBIC)
        cut = wide.crop((0, 0, width, old[0])) if new[1] > width else wide
        return np.asarray(cut.resize((width, new[0]), Image.Resampling.BICUBIC))[:height]
    return np.ascontiguousarray(background[:height, :width])


def composite(foreground: UInt8Image, alpha: UInt8Mask, background: UInt8Image) -> UInt8Image:
    """Blend `foreground` over `background`, bit for bit as Adobe's Composition-1k code does.

    foreground, background: (h, w, 3); alpha: (h, w), 0 to 255. Returns (h, w, 3). `Compositor` has the
    rule; it is faster where a foreground is blended over many backgrounds. Raises ValueError for shapes
    that do not belong together.
    """
    return Compositor(foreground, alpha, keep=0)(background)


class _Rows(NamedTuple):
    """Some rows of a foreground, ready to be blended.

    opaque: the foreground's values where alpha is 255, else 0. seen: 0 there and else 255, as bits. between:
    the pixels to be computed, by number. share: a F of those, rest: 1 - a, each for every value, in float64.
    """

    opaque: UInt8Image
    seen: UInt8Image
    between: NDArray[np.intp] | slice
    share: NDArray[np.float64]
    rest: NDArray[np.float64]


class Compositor:
    """Blends one foreground over backgrounds, bit for bit as Adobe's Composition-1k code does.

    foreground: (h, w, 3); alpha: (h, w), 0 to 255. C = trunc(a F + (1 - a) B), a = alpha / 255, in float64
    and in this order: float32 would differ in 0.15 % of all (alpha, F, B), exact integers in 0.07 %,
    rounding in 49 %. Where alpha is 0 or 255 the rule gives B or F itself, so only the pixels between need
    arithmetic. What does not depend on the background is computed once and kept, in at most `keep` bytes;
    rows beyond that are prepared anew for each background.
    """

    def __init__(self, foreground: UInt8Image, alpha: UInt8Mask, *, keep: int = 64_000_000) -> None:
        self._foreground, self._alpha = np.ascontiguousarray(foreground), np.ascontiguousarray(alpha)
        self._keep = keep
        self._kept: dict[int, _Rows] = {}

    def __call__(self, background: UInt8Image) -> UInt8Image:
        """The composite over `background`, (h, w, 3), fitted before. Raises ValueError for another shape."""
        foreground, alpha = self._foreground, self._alpha
        if foreground.shape != background.shape or foreground.shape != (*alpha.shape, 3):
            raise ValueError(
                f"foreground {foreground.shape}, alpha {alpha.shape} and background {background.shape} must "
                "be (h, w, 3), (h, w) and (h, w, 3): fit the background first"
            )
        background = np.ascontiguousarray(background)
        result = np.empty_like(background)
        for top in range(0, alpha.shape[0], _ROWS):
            rows = slice(top, top + _ROWS)
            _blend(self._prepared(top), background[rows], result[rows])
        return result

    def _prepared(self, top: int) -> _Rows:
        if top in self._kept:
            return self._kept[top]
        rows = _prepare(self._foreground[top : top + _ROWS], self._alpha[top : top + _ROWS])
        size = sum(part.nbytes for part in (rows.opaque, rows.seen, rows.share, rows.rest))
        if size <= self._keep:
            self._keep -= size
            self._kept[top] = rows
        return rows


def _prepare(foreground: UInt8Image, alpha: UInt8Mask) -> _Rows:
    alpha = alpha.ravel()
    inside = np.flatnonzero((alpha > 0) & (alpha < 255))
    # Gathering costs more than it saves where many are inside; at 0 and 255 the formula is exact as well.
    between = inside if 4 * inside.size < alpha.size else slice(None)
    a = np.repeat(alpha[between] / 255.0, 3)
    share = a * foreground.reshape(-1, 3)[between].ravel()
    seen = np.where(alpha == 255, np.uint8(0), np.uint8(255)).repeat(3).reshape(foreground.shape)
    return _Rows(foreground & ~seen, seen, between, share, 1 - a)


def _blend(rows: _Rows, background: UInt8Image, result: UInt8Image) -> None:
    """Rows of the composite into `result`, rows that lie together in memory."""
    # As bits, since choosing by flags goes value by value.
    np.bitwise_or(np.bitwise_and(background, rows.seen, out=result), rows.opaque, out=result)
    if rows.share.size:
        blended = rows.share + rows.rest * background.reshape(-1, 3)[rows.between].ravel()
        # float64 to uint8 truncates, as int() does in the official loop
        result.reshape(-1, 3)[rows.between] = blended.reshape(-1, 3)
