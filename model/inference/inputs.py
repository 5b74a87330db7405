"""What a program may give as an image and its trimap: arrays, and what becomes arrays without a guess."""

from __future__ import annotations

from os import PathLike
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from ...arrays import UInt8Image, UInt8Mask
from ...composer.pixels.trimap import UNKNOWN

Pixels = ArrayLike | torch.Tensor | Image.Image
"""A NumPy array, a list, a tensor of PyTorch, or an image of Pillow."""

_ORIENTATION = 0x0112


def as_image(given: Pixels) -> UInt8Image:
    """An image as (h, w, 3) uint8. Raises ValueError for what would have to be guessed; it says what to give.

    Whole numbers of any type in 0 to 255 are taken as they are; of Pillow's images those of mode RGB.
    """
    pixels = _pixels(given, "image", "RGB")
    if pixels.ndim == 2:
        raise ValueError(f"image {pixels.shape} is grey: give (h, w, 3), as in np.dstack([image] * 3)")
    if pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ValueError(f"image {pixels.shape} does not fit; give (h, w, 3), not empty{_why_not(pixels)}")
    return _as_uint8(pixels, "image", "(image * 255).round() where it is 0 to 1")


def as_trimap(given: Pixels) -> UInt8Mask:
    """A trimap as (h, w) uint8 of 0, 128, 255. Raises ValueError as `as_image`; of Pillow's modes takes L."""
    pixels = _pixels(given, "trimap", "L")
    if pixels.ndim != 2:
        raise ValueError(f"trimap {pixels.shape} does not fit; give (h, w), as in trimap[..., 0]")
    trimap = _as_uint8(pixels, "trimap", "0 background, 128 unknown, 255 foreground")
    if others := trimap_values(trimap):
        named = ", ".join(map(str, others[:8]))
        raise ValueError(f"trimap has the values {named}; make each pixel 0, 128 (unknown) or 255")
    return trimap


def trimap_values(trimap: UInt8Mask) -> list[int]:
    """The values of a trimap that are none of 0, 128 and 255, in order."""
    found = np.bincount(trimap.ravel(), minlength=256) > 0
    found[[0, UNKNOWN, 255]] = False
    values: list[int] = np.flatnonzero(found).tolist()
    return values


def _pixels(given: Any, name: str, mode: str) -> NDArray[Any]:
    if isinstance(given, str | bytes | PathLike):
        opened = f"np.asarray(Image.open(path).convert({mode!r}))"
        raise ValueError(f"{name} is a path: open it, as in {opened}")  # noqa: TRY004 -- one kind for all
    if isinstance(given, Image.Image):
        return _of_pillow(given, name, mode)
    if isinstance(given, torch.Tensor):
        return np.asarray(given.detach().cpu().numpy())
    try:
        return np.asarray(given)
    except (TypeError, ValueError) as error:  # rows of unequal length
        raise ValueError(f"{name} is no array of pixels ({error})") from error


def _of_pillow(image: Image.Image, name: str, mode: str) -> NDArray[Any]:
    if image.getexif().get(_ORIENTATION, 1) != 1:
        raise ValueError(
            f"{name} is to be turned by its EXIF tag: give ImageOps.exif_transpose({name}), or the array of "
            "its pixels as they are stored"
        )
    if image.mode != mode:
        raise ValueError(f"{name} is of Pillow's mode {image.mode}: give {name}.convert({mode!r})")
    return np.asarray(image)


def _why_not(pixels: NDArray[Any]) -> str:
    """What the shape of an image looks like."""
    if pixels.ndim == 3 and pixels.shape[0] == 3:
        return "; its channels come first: image.transpose(1, 2, 0), or permute with PyTorch"
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        return "; it has an alpha: image[..., :3]"
    return "; of a batch give one at a time" if pixels.ndim == 4 else ""


def _as_uint8(pixels: NDArray[Any], name: str, instead: str) -> NDArray[np.uint8]:
    """Whole numbers as uint8. A float, a bool or more than 8 bits could mean several things."""
    if pixels.dtype == np.uint8:
        return pixels.astype(np.uint8, copy=False)
    if not np.issubdtype(pixels.dtype, np.integer):
        raise ValueError(f"{name} is {pixels.dtype}; give uint8, 0 to 255: {instead}")
    if pixels.size and not (pixels.min() >= 0 and pixels.max() <= 255):
        raise ValueError(
            f"{name} spans {pixels.min()} to {pixels.max()}; give uint8, 0 to 255 (16 bits: divide by 257)"
        )
    return pixels.astype(np.uint8)
