"""The foreground's own colours, and what is made of them: a cut-out, a new composition."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from ...arrays import UInt8Image
from .extras import pymatting
from .matter import Alpha

_MODULE = "foreground.estimate_foreground_ml"


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


def _to_uint8(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    rounded: NDArray[np.float32] = np.floor(values * np.float32(255) + np.float32(0.5))
    return rounded.astype(np.uint8)
