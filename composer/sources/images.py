"""One source file -> one array, by the mode rules of Adobe's Composition-1k code.

No ICC conversion is applied and, unless it is asked for, no EXIF rotation: the official code opens files
with Pillow and takes the pixels as they are stored. What it leaves open (16-bit files) is settled here,
once; what a matte may be, in `mattes`. A photograph to matte is no part of that set: it is turned upright.
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
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from blake3 import blake3
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError, features
from PIL.TiffImagePlugin import PHOTOMETRIC_INTERPRETATION, TiffImageFile

from ...errors import DimtoolError
from ...names import image_formats
from ...storage.cache import local_file
from ...storage.remote import Place
from .formats import jpeg
from .formats.foreign import DEVELOP, special_kind, what_begins, what_is
from .formats.jpeg import JpegStream
from .formats.png import without_texts
from .reading import ADOBE, Reading

# Pillow's own limit against decompression bombs; enlarged backgrounds are held to it as well.
MAX_PIXELS = 89_478_485
MAX_SIDE = 65_535  # positions are stored in 16 bits

# TIFF's tag of what a picture is, and the bit that says that it is a smaller one of another.
_SUBFILE, _REDUCED = 254, 1

# What Pillow's decoders raise for a damaged file; anything else is a fault of ours and must show.
# (AVIF's raises RuntimeError.)
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, RuntimeError, struct.error, zlib.error)


Convert = Callable[[Image.Image], Image.Image | NDArray[np.uint8]]
Turn = Callable[[NDArray[np.uint8], Image.Image], NDArray[np.uint8]]


class SourceError(DimtoolError, ValueError):
    """A source file cannot be used; the message is one line that names it and says what to do."""


@dataclass(frozen=True)
class Source:
    """A decoded file: `pixels`, (h, w, 3) or (h, w) uint8, and the SHA-256 of the file's bytes."""

    path: Place
    pixels: NDArray[np.uint8]
    file_sha256: bytes

    @cached_property
    def digests(self) -> NDArray[np.uint8]:
        """(2, 32) uint8: SHA-256 of the file's bytes, and the digest of the decoded pixels."""
        return np.frombuffer(self.file_sha256 + pixel_digest(self.pixels), np.uint8).reshape(2, 32)


def pixel_digest(pixels: NDArray[Any]) -> bytes:
    """BLAKE3 (32 bytes) of an array's values in C order.

    A quarter of SHA-256's time; files, which people hold against `sha256sum`, have that. One thread: the
    cores are the workers'.
    """
    return blake3(np.ascontiguousarray(pixels).view(np.uint8).data, max_threads=1).digest()


def decoder_versions() -> dict[str, str]:
    """Versions of what turns files into pixels: two sets built with the same ones agree bit for bit."""
    return {
        "pillow": PIL.__version__,
        "libjpeg": str(features.version("libjpeg_turbo") or features.version("jpg")),
        "numpy": np.__version__,
    }


def read_foreground(path: Place, reading: Reading = ADOBE) -> Source:
    """The foreground's colours, (h, w, 3): RGB and RGBA as they are (A is not used), the rest converted."""
    return read_source(path, _to_rgb, partial(turn, reading=reading))


def read_background(path: Place, reading: Reading = ADOBE) -> Source:
    """A background photograph, (h, w, 3): converted to RGB by Pillow whatever its mode.

    Its EXIF tag is not looked at, as in the official code, unless all sources are to be upright.
    """
    return read_source(path, _to_rgb, partial(turn, reading=reading.recorded))


def read_photograph(path: Place, data: bytes | None = None) -> Source:
    """A photograph as viewers show it, (h, w, 3): as a background, but turned as its EXIF tag says.

    data: as in `read_source`.
    """
    upright = Reading(exif_transpose=True)
    return read_source(path, _to_rgb, partial(turn, reading=upright), listed=False, data=data)


def image_size(path: Place) -> tuple[int, int]:
    """(height, width) from the file's header alone. Raises SourceError."""
    with _blamed(path):
        file = local_file(path)
        _refuse_special(file, path)
        try:
            return _size(path, file)
        except ValueError as error:
            if isinstance(error, SourceError):
                raise
            return _size(path, io.BytesIO(without_texts(file.read_bytes())))


def _size(path: Place, stream: Path | io.BytesIO) -> tuple[int, int]:
    with _opened(path, stream) as image:
        return image.height, image.width


def check_pixels(height: int, width: int, what: str) -> None:
    """Raise SourceError where an image of this size would not fit memory or the format; `what` names it."""
    if height * width > MAX_PIXELS or max(height, width) > MAX_SIDE:
        raise SourceError(
            f"{what} is {width} x {height} pixels; at most {MAX_PIXELS:,} pixels and {MAX_SIDE:,} a side "
            "are taken: scale it down or leave it out"
        )


def read_source(
    path: Place, convert: Convert, turn: Turn, *, listed: bool = True, data: bytes | None = None
) -> Source:
    """A file's pixels, as `convert` takes them from Pillow's image and `turn` lays them.

    listed: whether it was found by a list, which may leave it out. data: its content, where that came another
    way; `path` then only says what messages call it.
    """
    with _blamed(path, data, listed=listed):
        data = _contents(path) if data is None else data
        try:
            pixels = _decoded(path, data, convert, turn)
        except ValueError as error:
            plain = without_texts(data)
            if isinstance(error, SourceError) or len(plain) == len(data):
                raise
            pixels = _decoded(path, plain, convert, turn)
    return Source(path, pixels, hashlib.sha256(data).digest())


def _decoded(path: Place, data: bytes, convert: Convert, turn: Turn) -> NDArray[np.uint8]:
    """A file's content -> pixels. Raises SourceError for codes that are not those of a whole picture."""
    stream = JpegStream(data) if data.startswith(jpeg.SIGNATURE) else io.BytesIO(data)
    with _opened(path, stream) as image:
        pixels = turn(np.asarray(convert(image)), image)
    if isinstance(stream, JpegStream) and (damage := stream.damage()):
        raise SourceError(f"{path} is damaged ({damage}): bring the file again, or save it anew as it is")
    return pixels


def _contents(path: Place) -> bytes:
    file = local_file(path)
    _refuse_special(file, path)
    return file.read_bytes()


def _refuse_special(file: Path, path: Place) -> None:
    if kind := special_kind(file):
        raise SourceError(f"{path} is {kind}, not a file: bring the file itself")


def turn(pixels: NDArray[np.uint8], image: Image.Image, *, reading: Reading) -> NDArray[np.uint8]:
    """(h, w, ...) of a loaded image as `reading` wants it. Raises SourceError for a tag left open."""
    if reading.exif_transpose is False or (orientation := _orientation(image)) == 1:
        return pixels
    if reading.exif_transpose is None:
        raise SourceError(
            f"its EXIF tag says that it is turned (orientation {orientation}): pass --exif-transpose to turn "
            "all sources upright, or --no-exif-transpose to take all as they are stored"
        )
    return np.ascontiguousarray(_UPRIGHT[orientation](pixels))


# EXIF's orientations, by what makes the stored rows and columns upright.
_UPRIGHT: dict[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: pixels[::-1].swapaxes(0, 1),
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: lambda pixels: pixels[:, ::-1].swapaxes(0, 1),
}


def _orientation(image: Image.Image) -> int:
    """The EXIF tag of a loaded image: 1 to 8, 1 where there is none or one that means nothing."""
    found = image.getexif().get(ExifTags.Base.Orientation)
    return found if found in _UPRIGHT else 1


@contextmanager
def _opened(path: Place, stream: Path | io.BytesIO) -> Iterator[Image.Image]:
    """Pillow's image of a file, of a size that can be taken."""
    # Its warnings speak of metadata and of sizes that check_pixels refuses: neither is in the pixels.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(stream, formats=image_formats()) as image:
            check_pixels(image.height, image.width, str(path))
            if isinstance(image, TiffImageFile) and image.tag_v2.get(_SUBFILE, 0) & _REDUCED:
                raise SourceError(f"{path} has a reduced picture first, as raw files of cameras: {DEVELOP}")
            yield image


@contextmanager
def _blamed(path: Place, data: bytes | None = None, *, listed: bool = True) -> Iterator[None]:
    """Whatever the system or Pillow finds wrong with `path` in the block becomes a SourceError."""
    instead = ", or take it off the list" if listed else ""
    try:
        yield
    except SourceError as error:
        raise SourceError(str(error) if str(error).startswith(f"{path} ") else f"{path}: {error}") from error
    except Image.DecompressionBombError as error:
        raise SourceError(f"{path} is too large to open: {error}; scale it down or leave it out") from error
    except FileNotFoundError as error:
        raise SourceError(f"{path} does not exist: bring the file{instead}") from error
    except UnidentifiedImageError as error:
        found = what_is(local_file(path)) if data is None else what_begins(data)
        raise SourceError(f"{path} is {found}") from error
    except _DAMAGE as error:
        if isinstance(error, OSError) and error.strerror:  # the system's, not a decoder's
            raise SourceError(f"{path} cannot be read ({error.strerror}): check it{instead}") from error
        raise SourceError(f"{path} is damaged ({error}): bring the file again") from error


def _to_rgb(image: Image.Image) -> Image.Image | NDArray[np.uint8]:
    if image.mode.startswith("I") or image.mode == "F":
        grey = (grey_values(image) + np.uint32(128)) // np.uint32(257)
        return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)
    if image.mode == "RGBA":
        return np.ascontiguousarray(np.asarray(image)[..., :3])
    return image if image.mode == "RGB" else image.convert("RGB")


def grey_values(image: Image.Image) -> NDArray[np.uint32]:
    """16-bit grey, (h, w), 0 black to 65535 white; Pillow's own conversion would clip at 255.

    Raises SourceError for values that are none (modes F and I).
    """
    values = np.asarray(image)
    if image.mode == "F" or values.min() < 0 or values.max() > 65_535:
        raise SourceError(f"its values (mode {image.mode}) are no 8 or 16-bit grey: save it as 8-bit grey")
    # Pillow turns round a TIFF whose white is 0 where it has 1 or 8 bits, not where it has 16.
    white_is_zero = isinstance(image, TiffImageFile) and image.tag_v2.get(PHOTOMETRIC_INTERPRETATION) == 0
    return 65_535 - values.astype(np.uint32) if white_is_zero else values.astype(np.uint32)
