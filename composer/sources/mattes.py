"""What a matte is: which band of its file holds it, and which value means opaque.

Adobe's code takes band 0 of whatever it opens. That is right where all bands agree, as in Adobe's own
files; of a photograph or a cut-out it would make a matte as well, so the rule says when band 0 is the matte.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...storage.remote import Place
from .images import Source, SourceError, grey_values, read_source, turn
from .reading import ADOBE, ANY_ALPHA, Reading

GREY_SPREAD = 8
"""Colour bands that differ by no more are grey. Measured: grey saved as RGB in JPEG of quality 5 to 100
differs by 0, in lossy WebP by 1; what is left is room for other encoders. Photographs differ by far more."""

_SAVE_GREY = "save it as 8-bit grey"
_AS_STORED = Reading(exif_transpose=False)
# What people's files count to, for the message that offers a scale.
_SCALES = (1, 2, 10, 15, 20, 100, 127, 255, 1023, 4095, 16_383, 32_767, 32_768)


class _Values(NamedTuple):
    """Values of one band, (h, w), from 0 to `full` at most."""

    values: NDArray[np.uint8] | NDArray[np.uint32]
    full: int


def read_alpha(path: Place, reading: Reading = ADOBE) -> Source:
    """The matte, (h, w), 0 to 255.

    Band 0 of L, LA, RGB, RGBA, P and PA where all colour bands agree and A, if there is one, is constant
    (the official test mattes are RGBA with A = 255 everywhere) or the same. 1: 0 and 255. 16-bit: v / 257,
    rounded to nearest. With `alpha_max`, v * 255 / alpha_max, rounded to nearest, of a coloured palette
    the indices; with `alpha_from` other than `alpha`, the A band. Raises SourceError for a file that is
    something else, that counts to far less than it could, or to more than alpha_max.
    """
    return read_source(path, partial(_matte, reading=reading), partial(turn, reading=reading))


def read_truth(path: Place) -> Source:
    """A true alpha to score by, (h, w), 0 to 255: as `read_alpha`, where no option can be given."""

    def convert(image: Image.Image) -> NDArray[np.uint8]:
        found = _grey(image, f": {_SAVE_GREY}", _SAVE_GREY)
        if dark := _darkness(found):
            raise SourceError(f"{dark}: save it from 0 to {found.full}")
        return _to_8_bit(found, found.full)

    return read_source(path, convert, partial(turn, reading=_AS_STORED), listed=False)


def read_prediction(path: Place) -> Source:
    """A predicted alpha, (h, w), 0 to 255: as `read_truth`, but it may be as dark as it will."""
    return _read_grey(path, _SAVE_GREY, _AS_STORED)


def read_trimap(path: Place, data: bytes | None = None) -> Source:
    """A trimap, (h, w): as `read_prediction`, but turned as its EXIF tag says. data: as in `read_source`."""
    advice = "save it in grey, 0 background, 128 unknown, 255 foreground"
    return _read_grey(path, advice, Reading(exif_transpose=True), data)


def _read_grey(path: Place, advice: str, reading: Reading, data: bytes | None = None) -> Source:
    def convert(image: Image.Image) -> NDArray[np.uint8]:
        found = _grey(image, f": {advice}", advice)
        return _to_8_bit(found, found.full)

    return read_source(path, convert, partial(turn, reading=reading), listed=False, data=data)


def _matte(image: Image.Image, *, reading: Reading) -> NDArray[np.uint8]:
    if reading.alpha_from != "alpha":
        found = _Values(_a_band(image), 255)
    elif (reading.alpha_max or ANY_ALPHA) <= 255 and _is_label_map(image):
        found = _Values(np.asarray(image), 255)
    else:
        found = _grey(image, _coloured_advice(image), _A_ADVICE)
    highest = int(found.values.max())
    opaque = min(reading.alpha_max or found.full, found.full)
    if highest > opaque:
        raise SourceError(
            f"its values reach {highest}, over --alpha-max {opaque}: give what means opaque in all mattes"
        )
    if reading.alpha_max is None and (dark := _darkness(found)):
        raise SourceError(f"{dark}: {_scale_advice(highest, found.full)}")
    return _to_8_bit(found, opaque)


def _to_8_bit(found: _Values, opaque: int) -> NDArray[np.uint8]:
    """Values scaled to 0 to 255, rounded to nearest."""
    if opaque == 255:
        return found.values.astype(np.uint8)
    return ((found.values.astype(np.uint32) * 510 + opaque) // (2 * opaque)).astype(np.uint8)


def _darkness(found: _Values) -> str:
    """That the values stay far below opaque; empty where they do not, or are one value, which says more."""
    lowest, highest = int(found.values.min()), int(found.values.max())
    if lowest < highest <= (found.full + 1) // 2:
        return f"its values go from {lowest} to {highest}, and {found.full:,} would be opaque"
    return ""


def _scale_advice(highest: int, full: int) -> str:
    scale = next(each for each in _SCALES if each >= highest)
    return (
        f"if {scale} is opaque in all mattes pass --alpha-max {scale}, if this is a faint one --alpha-max "
        f"{ANY_ALPHA}, which takes any, else save it from 0 to {full}"
    )


def _grey(image: Image.Image, if_coloured: str, if_in_a: str) -> _Values:
    """Band 0, where it is what all bands say. Raises SourceError, with one of the two advices."""
    if image.mode.startswith("I") or image.mode == "F":
        return _Values(grey_values(image), 65_535)
    if image.mode in ("L", "1"):
        return _Values(np.asarray(image.convert("L")), 255)
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    if image.mode not in ("RGB", "RGBA", "RGBX", "LA"):
        raise SourceError(f"its mode is {image.mode}, which is no matte: {_SAVE_GREY}")
    bands = [np.asarray(image.getchannel(i)) for i in range(1 if image.mode == "LA" else 3)]
    spread = max(_spread(bands[0], bands[1]), _spread(bands[0], bands[2])) if len(bands) == 3 else 0
    has_a = image.mode.endswith("A") and _differs(bands[0], np.asarray(image.getchannel("A")))
    if has_a:
        colours = "its colours and its A differ" if spread > GREY_SPREAD else "its A is not constant"
        raise SourceError(f"{colours}, as in a cut-out, whose matte is in A: {if_in_a}")
    if spread > GREY_SPREAD:
        raise SourceError(f"it is coloured (its bands differ by up to {spread}){if_coloured}")
    return _Values(bands[0], 255)


def _spread(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> int:
    """The largest difference of two bands, (h, w) each."""
    return int((np.maximum(one, other) - np.minimum(one, other)).max())


def _differs(band: NDArray[np.uint8], a: NDArray[np.uint8]) -> bool:
    """Whether A, (h, w), says something that band 0 does not: it is neither constant nor the same."""
    return bool(a.min() != a.max()) and not np.array_equal(band, a)


def _a_band(image: Image.Image) -> NDArray[np.uint8]:
    """A, (h, w), of whatever has one. Raises SourceError."""
    if not image.has_transparency_data:
        raise SourceError(
            f"it has no A band to take the matte from (its mode is {image.mode}): bring a cut-out with A, "
            "or leave --alpha-from away and name the mattes with --alpha-dir"
        )
    return np.asarray(image.convert("RGBA").getchannel("A"))


def _is_label_map(image: Image.Image) -> bool:
    """Whether its palette is coloured where it is used: then the indices are what it says."""
    if image.mode != "P":
        return False
    colours = np.asarray(image.convert("RGB")).reshape(-1, 3)
    return bool((colours.max(axis=1) - colours.min(axis=1)).max() > GREY_SPREAD)


_A_ADVICE = (
    "pass --alpha-from fg if these are the foregrounds, --alpha-from alpha-a if they are other files, "
    "or save A as 8-bit grey"
)


def _coloured_advice(image: Image.Image) -> str:
    if image.mode != "P":
        instead = "name the mattes instead (a build's: --alpha-dir)"
        return f": if it is a photograph, {instead}; if a matte, {_SAVE_GREY}"
    highest = int(np.asarray(image).max())
    return (
        f", by a palette, as a label map of 0 to {highest}: pass --alpha-max {highest} to take these as the "
        f"matte, or {_SAVE_GREY}"
    )
