"""The foreground's own colours, and what is made of them: a cut-out, a new composition."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageOps

from ...arrays import UInt8Image, UInt8Mask
from .extras import pymatting
from .matter import Alpha, to_uint8

_MODULE = "foreground.estimate_foreground_ml"

# Of a contact sheet: pixels of a picture's longer side, between pictures, of a label, and of a check.
_CELL, _GAP, _LABEL, _CHECK = 240, 8, 18, 12
_PAPER, _INK = (24, 24, 26), (200, 200, 200)
_BEHIND = ((255, 255, 255), (0, 150, 70), (200, 30, 90))  # white hides light fringes, colours show all


def check_estimator() -> list[str]:
    """What to say of `estimate_foreground`; MissingExtraError now, not after the first alpha."""
    return pymatting(_MODULE)[1]


def estimate_foreground(image: UInt8Image, alpha: Alpha) -> UInt8Image:
    """The colours of the foreground alone, (h, w, 3), without what shines through from the background.

    image: (h, w, 3); alpha: (h, w) in 0..1. The multi-level method of Germer et al. (ICPR 2020), as
    pymatting has it; where alpha is 1 the image's own colours, exactly. Where alpha is 0 any colour would
    do: it is a continuation of those nearby. Raises MissingExtraError.
    """
    if alpha.size == 1:  # its levels start at one pixel, and it divides by their number
        return image
    estimate = pymatting(_MODULE)[0].estimate_foreground_ml
    colours: NDArray[np.float32] = estimate(image / np.float32(255), alpha)
    return np.where((alpha == 1)[..., None], image, _to_uint8(colours))


def cut_out(foreground: UInt8Image, alpha: Alpha) -> NDArray[np.uint8]:
    """(h, w, 4) RGBA, not premultiplied, as PNG has it."""
    return np.dstack([foreground, _to_uint8(alpha)])


def put_onto(foreground: UInt8Image, alpha: Alpha, background: UInt8Image) -> UInt8Image:
    """The foreground before another background, (h, w, 3), rounded to nearest.

    The background, of any size, is scaled until it covers the image, and cut in the middle.
    """
    height, width = alpha.shape
    fitted = np.asarray(ImageOps.fit(Image.fromarray(background), (width, height)))
    return _to_uint8((alpha[..., None] * foreground + (1 - alpha[..., None]) * fitted) / np.float32(255))


def sheet_row(name: str, image: UInt8Image, trimap: UInt8Mask, alpha: Alpha) -> Image.Image:
    """A row of a contact sheet: photograph, trimap, alpha, and the cut-out on checks and on colours.

    The foreground is estimated at the size that is shown, in a hundredth of the time. Raises
    MissingExtraError.
    """
    small = _smaller(Image.fromarray(image))
    shown = _smaller(Image.fromarray(to_uint8(alpha)))
    seen = (np.asarray(shown) / 255).astype(np.float32)
    foreground = estimate_foreground(np.asarray(small), seen)
    pictures = [small, _smaller(Image.fromarray(trimap)), shown]
    behind = [_checks(*seen.shape), *(np.full((*seen.shape, 3), colour, np.uint8) for colour in _BEHIND)]
    pictures += [Image.fromarray(put_onto(foreground, seen, each)) for each in behind]
    row = Image.new("RGB", (len(pictures) * (_CELL + _GAP) + _GAP, small.height + _LABEL + 2 * _GAP), _PAPER)
    text = name.encode("ascii", "backslashreplace").decode()  # what Pillow's own font can draw
    ImageDraw.Draw(row).text((_GAP, _GAP), text, fill=_INK)
    for column, picture in enumerate(pictures):
        left = _GAP + column * (_CELL + _GAP) + (_CELL - picture.width) // 2
        row.paste(picture, (left, _LABEL + _GAP))
    return row


def contact_sheet(rows: Sequence[Image.Image]) -> Image.Image:
    """Rows below each other."""
    sheet = Image.new("RGB", (rows[0].width, sum(row.height for row in rows)), _PAPER)
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    return sheet


def _smaller(picture: Image.Image) -> Image.Image:
    return ImageOps.contain(picture, (_CELL, _CELL), Image.Resampling.LANCZOS)


def _checks(height: int, width: int) -> UInt8Image:
    """Grey and white squares, as programs show what is transparent."""
    y, x = np.mgrid[:height, :width] // _CHECK
    return np.where(((y + x) % 2)[..., None], 255, 190).repeat(3, axis=2).astype(np.uint8)


def _to_uint8(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    rounded: NDArray[np.float32] = np.floor(values * np.float32(255) + np.float32(0.5))
    return rounded.astype(np.uint8)
