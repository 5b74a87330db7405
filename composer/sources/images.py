"""One source file -> one array, by the mode rules of Adobe's Composition-1k code.

No EXIF rotation and no ICC conversion is applied: the official code opens files with Pillow and takes the
pixels as they are stored. What it leaves open (16-bit files, palettes in a matte) is settled here, once.
A photograph to matte is no part of that set: it and its trimap are turned upright.
"""

from __future__ import annotations

import hashlib
import io
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError, features

from ...errors import DimtoolError

# Pillow's own limit against decompression bombs; enlarged backgrounds are held to it as well.
MAX_PIXELS = 89_478_485
MAX_SIDE = 65_535  # positions are stored in 16 bits

# What Pillow's decoders raise for a damaged file; anything else is a fault of ours and must show.
# (AVIF's raises RuntimeError.)
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, RuntimeError, struct.error, zlib.error)


class SourceError(DimtoolError, ValueError):
    """A source file cannot be used; the message is one line that names it and says what to do."""


@dataclass(frozen=True)
class Source:
    """A decoded file: `pixels`, (h, w, 3) or (h, w) uint8, and the SHA-256 of the file's bytes."""

    path: Path
    pixels: NDArray[np.uint8]
    file_sha256: bytes

    @cached_property
    def digests(self) -> NDArray[np.uint8]:
        """(2, 32) uint8: SHA-256 of the file's bytes and of the decoded pixels, row by row."""
        return np.frombuffer(self.file_sha256 + sha256(self.pixels), np.uint8).reshape(2, 32)


def sha256(pixels: NDArray[Any]) -> bytes:
    """SHA-256 (32 bytes) of an array's values in C order."""
    return hashlib.sha256(np.ascontiguousarray(pixels).data).digest()


def decoder_versions() -> dict[str, str]:
    """Versions of what turns files into pixels: two sets built with the same ones agree bit for bit."""
    return {
        "pillow": PIL.__version__,
        "libjpeg": str(features.version("libjpeg_turbo") or features.version("jpg")),
        "numpy": np.__version__,
    }


def read_foreground(path: Path) -> Source:
    """The foreground's colours, (h, w, 3): RGB and RGBA as they are (A is not used), the rest converted."""
    return _read(path, _to_rgb)


def read_background(path: Path) -> Source:
    """A background photograph, (h, w, 3): converted to RGB by Pillow whatever its mode, never rotated."""
    return _read(path, _to_rgb)


def read_alpha(path: Path) -> Source:
    """The matte, (h, w): band 0 of the file, whatever its mode.

    L, LA, RGB, RGBA: the first band (the official code's rule: test mattes are RGBA with A = 255
    everywhere). 1: 0 and 255. P, PA: the palette's red, not its indices. 16-bit: v / 257 rounded to
    nearest, so that 65535 is 255 and each value is at most half a step off.
    """
    return _read(path, _to_band_0)


def read_photograph(path: Path) -> Source:
    """A photograph as viewers show it, (h, w, 3): as a background, but turned as its EXIF tag says."""
    return _read(path, lambda image: _to_rgb(ImageOps.exif_transpose(image)))


def read_trimap(path: Path) -> Source:
    """A trimap, (h, w): as a matte, but turned as its EXIF tag says; colours are refused."""
    return _read(path, lambda image: _to_grey(ImageOps.exif_transpose(image)))


def image_size(path: Path) -> tuple[int, int]:
    """(height, width) from the file's header alone. Raises SourceError."""
    with _blamed(path), _opened(path, path) as image:
        return image.height, image.width


def check_pixels(height: int, width: int, what: str) -> None:
    """Raise SourceError where an image of this size would not fit memory or the format; `what` names it."""
    if height * width > MAX_PIXELS or max(height, width) > MAX_SIDE:
        raise SourceError(
            f"{what} is {width} x {height} pixels; at most {MAX_PIXELS:,} pixels and {MAX_SIDE:,} a side "
            "are taken: scale it down or leave it out"
        )


def _read(path: Path, convert: Callable[[Image.Image], Image.Image | NDArray[np.uint8]]) -> Source:
    with _blamed(path):
        data = path.read_bytes()
        with _opened(path, io.BytesIO(data)) as image:
            pixels = np.asarray(convert(image))
    return Source(path, pixels, hashlib.sha256(data).digest())


@contextmanager
def _opened(path: Path, stream: Path | io.BytesIO) -> Iterator[Image.Image]:
    """Pillow's image of a file, of a size that can be taken."""
    # Its warnings speak of metadata and of sizes that check_pixels refuses: neither is in the pixels.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(stream) as image:
            check_pixels(image.height, image.width, str(path))
            yield image


@contextmanager
def _blamed(path: Path) -> Iterator[None]:
    """Whatever the system or Pillow finds wrong with `path` in the block becomes a SourceError."""
    try:
        yield
    except SourceError as error:
        raise SourceError(str(error) if str(error).startswith(f"{path} ") else f"{path}: {error}") from error
    except Image.DecompressionBombError as error:
        raise SourceError(f"{path} is too large to open: {error}; scale it down or leave it out") from error
    except FileNotFoundError as error:
        raise SourceError(f"{path} does not exist: bring the file, or take it off the list") from error
    except UnidentifiedImageError as error:
        raise SourceError(f"{path} is {_what_is(path)}: bring the file again") from error
    except _DAMAGE as error:
        if isinstance(error, OSError) and error.strerror:  # the system's, not a decoder's
            message = f"{path} cannot be read ({error.strerror}): check it, or take it off the list"
            raise SourceError(message) from error
        raise SourceError(f"{path} is damaged ({error}): bring the file again") from error


def _what_is(path: Path) -> str:
    return "not an image that Pillow knows" if path.stat().st_size else "empty (0 bytes)"


def _to_rgb(image: Image.Image) -> Image.Image | NDArray[np.uint8]:
    if image.mode.startswith("I") or image.mode == "F":
        return np.repeat(_to_8_bit(image)[..., None], 3, axis=2)
    if image.mode == "RGBA":
        return np.ascontiguousarray(np.asarray(image)[..., :3])
    return image if image.mode == "RGB" else image.convert("RGB")


def _to_band_0(image: Image.Image) -> Image.Image | NDArray[np.uint8]:
    if image.mode.startswith("I") or image.mode == "F":
        return _to_8_bit(image)
    if image.mode in ("L", "1"):
        return image if image.mode == "L" else image.convert("L")
    if image.mode in ("P", "PA"):
        image = image.convert("RGB")
    if image.mode in ("RGB", "RGBA", "RGBX", "LA"):
        return image.getchannel(0)
    raise SourceError(f"its mode is {image.mode}, which is no matte: save it as 8-bit grey")


def _to_grey(image: Image.Image) -> Image.Image | NDArray[np.uint8]:
    """Band 0 of what is grey in all its bands: of a coloured trimap no band tells enough."""
    if image.mode not in ("1", "L", "LA", "F") and not image.mode.startswith("I"):
        colours = np.asarray(image.convert("RGB"))
        if (colours != colours[..., :1]).any():
            raise SourceError("it is coloured: save it in grey, 0 background, 128 unknown, 255 foreground")
    return _to_band_0(image)


def _to_8_bit(image: Image.Image) -> NDArray[np.uint8]:
    """16-bit grey to 8: v / 257, rounded to nearest. Pillow's own conversion would clip at 255."""
    values = np.asarray(image)
    if image.mode == "F" or values.min() < 0 or values.max() > 65_535:
        raise SourceError(f"its values (mode {image.mode}) are no 8 or 16-bit grey: save it as 8-bit grey")
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
