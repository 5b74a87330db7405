"""What the page asks for: a photograph and its trimap, as files hold them, to alpha and cut-out as PNGs."""

from __future__ import annotations

import base64
import binascii
import io
import json
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...arrays import UInt8Image, UInt8Mask
from ...composer.pixels.trimap import UNKNOWN
from ...composer.sources.images import read_photograph
from ...composer.sources.mattes import read_trimap
from ...errors import DimtoolError
from ...text import sides
from ..inference.extras import MissingExtraError
from ..inference.foreground import check_estimator, cut_out, estimate_foreground
from ..inference.inputs import as_trimap
from ..inference.matter import Alpha, Matter, to_uint8

MOST_PIXELS = 24_000_000
"""Of a photograph. A browser holds it several times over, and on a CPU it takes a minute as it is."""

# What messages call what has no file's name.
_PHOTOGRAPH, _TRIMAP = Path("the photograph"), Path("the trimap")


class RequestError(DimtoolError):
    """What was sent cannot be matted; one line that says why."""


class Studio:
    """A model that mattes what a page sends, one picture at a time; it keeps nothing of it."""

    def __init__(self, matter: Matter) -> None:
        """Finds out whether foreground colours can be estimated, which the first time takes a minute."""
        self._matter = matter
        self.notes: list[str] = []
        try:
            self.notes += check_estimator()
            estimate_foreground(np.zeros((4, 4, 3), np.uint8), np.full((4, 4), 0.5, np.float32))
            self._estimates = True
        except MissingExtraError as error:
            self.notes.append(f"cut-outs keep the photograph's colours at their edges: {error}")
            self._estimates = False

    def make(self, body: bytes) -> bytes:
        """JSON of `image` and `trimap`, files in base64, to JSON of `alpha` and `cutout`, PNGs in base64.

        The alpha is 8 bits, as `dimtool predict` writes it; the cut-out is RGBA. `seconds` is what the model
        took, `note` what else to say. Raises DimtoolError.
        """
        image, trimap = _read(body)
        start = time.perf_counter()
        alpha = self._matter.matte(image, trimap)
        seconds = time.perf_counter() - start
        foreground = self._foreground(image, alpha)
        return json.dumps(
            {
                "alpha": _as_png(to_uint8(alpha)),
                "cutout": _as_png(cut_out(foreground, alpha)),
                "seconds": round(seconds, 2),
                "note": "" if (trimap == UNKNOWN).any() else "nothing is unknown: the alpha is the trimap",
            }
        ).encode()

    def _foreground(self, image: UInt8Image, alpha: Alpha) -> UInt8Image:
        return estimate_foreground(image, alpha) if self._estimates else image


def _read(body: bytes) -> tuple[UInt8Image, UInt8Mask]:
    """What was sent, (h, w, 3) and (h, w) of 0, 128, 255. Raises DimtoolError."""
    files = _files(body)
    image = read_photograph(_PHOTOGRAPH, files["image"]).pixels
    trimap = read_trimap(_TRIMAP, files["trimap"]).pixels
    if image.shape[:2] != trimap.shape:
        raise RequestError(
            f"the trimap is {sides(trimap.shape)} and the photograph {sides(image.shape)} pixels: paint it "
            "over this photograph"
        )
    if trimap.size > MOST_PIXELS:
        raise RequestError(
            f"the photograph has {trimap.size:,} pixels, more than the {MOST_PIXELS:,} that this page takes: "
            "scale it down, or use dimtool predict"
        )
    try:
        return image, as_trimap(trimap)
    except ValueError as error:
        raise RequestError(str(error)) from error


def _files(body: bytes) -> dict[str, bytes]:
    """The two files that a request holds."""
    wanted = 'send JSON of "image" and "trimap", each a file in base64'
    try:
        values = json.loads(body)
        return {name: base64.b64decode(values[name], validate=True) for name in ("image", "trimap")}
    except (ValueError, KeyError, TypeError, RecursionError, binascii.Error) as error:
        raise RequestError(f"the request cannot be read: {wanted}") from error


def _as_png(pixels: NDArray[np.uint8]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)  # for one look: time counts, not bytes
    return base64.b64encode(buffer.getvalue()).decode()
