"""The pixel rules of Adobe's Composition-1k code, as pure functions: what every score depends on."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from ...arrays import UInt8Image, UInt8Mask
from ..sources.images import check_pixels

# Rows worked on at a time: the float64 temporaries stay in the processor's cache.
_ROWS = 16


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
    (OpenCV's differs in a third of the values); the top left corner is cut out. Raises SourceError where
    the enlarged image would be a bomb: one pixel of width behind 4,000 asks for 4,000 times the height.
    """
    old = background.shape[:2]
    new = fitted_size(height, width, *old)
    if new != old:
        check_pixels(*new, f"a background of {old[1]} x {old[0]} enlarged for {width} x {height}")
        resized = Image.fromarray(background).resize((new[1], new[0]), Image.Resampling.BICUBIC)
        return np.asarray(resized.crop((0, 0, width, height)))
    return np.ascontiguousarray(background[:height, :width])


def composite(foreground: UInt8Image, alpha: UInt8Mask, background: UInt8Image) -> UInt8Image:
    """Blend `foreground` over `background`, bit for bit as Adobe's Composition-1k code does.

    foreground, background: (h, w, 3); alpha: (h, w), 0 to 255. Returns (h, w, 3).
    C = trunc(a F + (1 - a) B), a = alpha / 255, in float64 and in this order: float32 would differ in
    0.15 % of all (alpha, F, B), exact integers in 0.07 %, rounding in 49 %. Where alpha is 0 or 255 the
    rule gives B or F itself, so only the pixels between need arithmetic. Raises ValueError for shapes
    that do not belong together.
    """
    if foreground.shape != background.shape or foreground.shape != (*alpha.shape, 3):
        raise ValueError(
            f"foreground {foreground.shape}, alpha {alpha.shape} and background {background.shape} must be "
            "(h, w, 3), (h, w) and (h, w, 3): fit the background first"
        )
    foreground, alpha = np.ascontiguousarray(foreground), np.ascontiguousarray(alpha)
    result = np.array(background, order="C")
    for top in range(0, alpha.shape[0], _ROWS):
        rows = slice(top, top + _ROWS)
        _blend_rows(foreground[rows], alpha[rows], result[rows])
    return result


def _blend_rows(foreground: UInt8Image, alpha: UInt8Mask, result: UInt8Image) -> None:
    """Blend in place, rows that lie together in memory: `result` holds the background, then the composite."""
    np.copyto(result.reshape(-1), foreground.reshape(-1), where=np.repeat(alpha.ravel() == 255, 3))
    alpha, foreground, result = alpha.ravel(), foreground.reshape(-1, 3), result.reshape(-1, 3)
    inside = np.flatnonzero((alpha > 0) & (alpha < 255))
    if not inside.size:
        return
    # Gathering costs more than it saves where many are inside; at 0 and 255 the formula is exact as well.
    between = inside if 4 * inside.size < alpha.size else slice(None)
    a = np.repeat(alpha[between] / 255.0, 3)
    blended = a * foreground[between].ravel() + (1 - a) * result[between].ravel()
    result[between] = blended.reshape(-1, 3)  # float64 to uint8 truncates, as int() in the official loop
