"""Lossless tiles: what an image dataset of a shard is cut into, and the codec of each.

A tile is a bare HTJ2K code stream with the reversible colour transform, written as a direct chunk: a
fifth smaller than what the HDF5 filter would write by itself, and encoded outside HDF5's lock. The same
filter (hdf5plugin's, id 32033) decodes it.
"""

from __future__ import annotations

import ctypes
import os
import struct
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

import h5py
import hdf5plugin
import imagecodecs
import numpy as np
from numpy.typing import NDArray

from ...arrays import UInt8Image, UInt8Mask

TILE = 128  # rows and columns of a tile, at most
Corner = tuple[int, int]  # y, x of a tile's top left pixel
HTJ2K = 32033  # the filter's number at the HDF Group's registry

# What follows the size in each code stream of `encode`: its capabilities, coding style and quantization.
_CODING = bytes.fromhex(
    "ff500008000200000003 ff52000c00020001010504044001 ff5c00132050" + 4 * "585858" + "505050"
)


def tile_shape(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of a tile in an image of that size: 128 at most, and as even as can be.

    A side of 130 has two tiles of 65, not one of 128 and one that is nearly all padding.
    """
    return _even(height), _even(width)


def _even(side: int) -> int:
    count = -(-side // TILE)
    return -(-side // count)


def tile_corners(height: int, width: int) -> list[Corner]:
    """Top left corners (y, x) of an image's tiles, in raster order."""
    rows, columns = tile_shape(height, width)
    return [(y, x) for y in range(0, height, rows) for x in range(0, width, columns)]


def encode(tile: UInt8Image) -> bytes:
    """A (rows, columns, 3) tile as a lossless HTJ2K code stream."""
    return bytes(imagecodecs.htj2k_encode(np.ascontiguousarray(tile), reversible=True, rgb=True))


def decode(stream: bytes) -> UInt8Image:
    """The tile that `encode` was given."""
    return np.asarray(imagecodecs.htj2k_decode(stream))


def stream_header(rows: int, columns: int) -> bytes:
    """How the code stream of every (rows, columns, 3) tile begins: size and coding (ISO/IEC 15444-1, A)."""
    size = (columns, rows, 0, 0)
    return struct.pack(">4H8IH9B", 0xFF4F, 0xFF51, 47, 0x4000, *size, *size, 3, *(7, 1, 1) * 3) + _CODING


class TileEncoder:
    """Encodes images of one size, (h, w, 3), one after the other.

    corners: which tiles; all of them where it is not given. constant: those that are likely to repeat,
    because the foreground is opaque there: one that equals the tile of the image before is not encoded
    again.
    """

    def __init__(
        self,
        height: int,
        width: int,
        corners: Sequence[Corner] | None = None,
        *,
        constant: Iterable[Corner] = (),
    ) -> None:
        self._shape = (height, width, 3)
        self._tile = tile_shape(height, width)
        self._corners = tile_corners(height, width) if corners is None else corners
        self._constant = frozenset(constant)
        self._last: dict[Corner, tuple[UInt8Image, bytes]] = {}

    def __call__(self, image: UInt8Image) -> list[tuple[Corner, bytes]]:
        """((y, x), code stream) of each tile; the last row and column reach over the edge, repeated.

        Raises ValueError for an image of another size: HDF5 would store its tiles, and read back garbage.
        """
        if image.shape != self._shape:
            raise ValueError(f"an image is {image.shape}, not {self._shape}: fit the background first")
        return [(corner, self._stream(corner, self._cut(image, corner))) for corner in self._corners]

    def _stream(self, corner: Corner, tile: UInt8Image) -> bytes:
        if corner not in self._constant:
            return encode(tile)
        last = self._last.get(corner)
        if last is None or not np.array_equal(tile, last[0]):
            last = self._last[corner] = tile.copy(), encode(tile)
        return last[1]

    def _cut(self, image: UInt8Image, corner: Corner) -> UInt8Image:
        (y, x), (rows, columns) = corner, self._tile
        tile = image[y : y + rows, x : x + columns]
        height, width = tile.shape[:2]
        if (height, width) == (rows, columns):
            return tile
        # Repeating the edge costs fewer bytes than zeros, and HDF5 cuts it off again.
        whole = np.empty((rows, columns, 3), np.uint8)
        whole[:height, :width] = tile
        whole[:height, width:] = tile[:, -1:]
        whole[height:] = whole[height - 1]
        return whole


def used_tiles(mask: NDArray[np.bool_]) -> list[Corner]:
    """Corners of the tiles in which `mask`, (h, w), holds anywhere."""
    rows, columns = tile_shape(*mask.shape)
    return [(y, x) for y, x in tile_corners(*mask.shape) if mask[y : y + rows, x : x + columns].any()]


def opaque_tiles(alpha: UInt8Mask) -> set[Corner]:
    """Corners of the tiles in which alpha, (h, w), is 255 everywhere: all composites agree there."""
    return set(tile_corners(*alpha.shape)) - set(used_tiles(alpha < 255))


def create_image_stack(file: h5py.File, name: str, count: int, height: int, width: int) -> h5py.Dataset:
    """An empty (count, height, width, 3) dataset for direct chunk writes; unwritten tiles read as zeros."""
    return file.create_dataset(
        name,
        shape=(count, height, width, 3),
        dtype=np.uint8,
        chunks=(1, *tile_shape(height, width), 3),
        compression=HTJ2K,
    )


# OpenJPH writes to C's own streams what it thinks of a damaged tile. That would break what a command prints
# for programs, and says nothing that our error does not say better.


def _streams() -> tuple[list[ctypes.c_void_p], list[int | None], int | None]:
    """C's `stdout` and `stderr` as variables, what they are, and a stream that keeps nothing.

    Python's own streams do not use them. Empty where the C library has no such variables.
    """
    try:
        library = ctypes.CDLL(None)
        variables = [ctypes.c_void_p.in_dll(library, name) for name in ("stdout", "stderr")]
        library.fopen.restype = ctypes.c_void_p
        return variables, [each.value for each in variables], library.fopen(os.devnull.encode(), b"w")
    except (AttributeError, OSError, TypeError, ValueError):
        return [], [], None


def _silence_library(nowhere: int) -> None:
    """OpenJPH keeps the streams of the moment when it was loaded; it takes others."""
    with suppress(AttributeError, KeyError, OSError):
        library = ctypes.CDLL(hdf5plugin.get_config().registered_filters["htj2k"])
        for kind, length in (("info", 15), ("warning", 18), ("error", 16)):
            getattr(library, f"_ZN4ojph{length}set_{kind}_streamEP8_IO_FILE")(ctypes.c_void_p(nowhere))


class _Mute:
    """Points C's streams to nowhere while any thread is in the block."""

    def __init__(self) -> None:
        self._variables, self._own, self._nowhere = _streams()
        self._lock, self._inside = threading.Lock(), 0
        if self._nowhere is not None:
            _silence_library(self._nowhere)

    def step(self, by: int) -> None:
        """One thread more in the block, or less."""
        if self._nowhere is None:
            return
        with self._lock:
            self._inside += by
            for variable, own in zip(self._variables, self._own, strict=True):
                variable.value = self._nowhere if self._inside else own


_MUTE = _Mute()


@contextmanager
def muted() -> Iterator[None]:
    """In the block, C code that prints is not heard; what Python writes is."""
    _MUTE.step(+1)
    try:
        yield
    finally:
        _MUTE.step(-1)
