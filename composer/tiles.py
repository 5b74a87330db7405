"""Lossless tiles: what an image dataset of a shard is cut into, and the codec of each.

A tile is a bare HTJ2K code stream with the reversible colour transform, written as a direct chunk: a
fifth smaller than what the HDF5 filter would write by itself, and encoded outside HDF5's lock. The same
filter (hdf5plugin's, id 32033) decodes it.
"""

from __future__ import annotations

from collections.abc import Sequence

import h5py
import imagecodecs
import numpy as np
from numpy.typing import NDArray

from .images import UInt8Image

TILE = 128
Corner = tuple[int, int]  # y, x of a tile's top left pixel
HTJ2K = 32033  # the filter's number at the HDF Group's registry


def tile_shape(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of a tile in an image of that size: 128, or the image's side where that is less."""
    return min(TILE, height), min(TILE, width)


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


class TileEncoder:
    """Encodes images of one size, (h, w, 3), one after the other.

    A tile that equals the one at the same place of the image before is not encoded again: where a
    foreground is opaque, all its composites agree.
    """

    def __init__(self, height: int, width: int, corners: Sequence[Corner] | None = None) -> None:
        """`corners`: which tiles to encode; all of them where it is not given."""
        rows, columns = tile_shape(height, width)
        self._corners = tile_corners(height, width) if corners is None else corners
        self._tile = (rows, columns)
        self._padding = ((0, -height % rows), (0, -width % columns), (0, 0))
        self._last: UInt8Image | None = None
        self._streams: dict[Corner, bytes] = {}

    def __call__(self, image: UInt8Image) -> list[tuple[Corner, bytes]]:
        """((y, x), code stream) of each tile; the last row and column reach over the edge, repeated."""
        # Repeating the edge costs fewer bytes than zeros, and HDF5 cuts it off again.
        padded = np.pad(image, self._padding, mode="edge")
        for corner in self._corners:
            tile = self._cut(padded, corner)
            if self._last is None or not np.array_equal(tile, self._cut(self._last, corner)):
                self._streams[corner] = encode(tile)
        self._last = padded
        return [(corner, self._streams[corner]) for corner in self._corners]

    def _cut(self, image: UInt8Image, corner: Corner) -> UInt8Image:
        y, x = corner
        return image[y : y + self._tile[0], x : x + self._tile[1]]


def used_tiles(mask: NDArray[np.bool_]) -> list[Corner]:
    """Corners of the tiles in which `mask`, (h, w), holds anywhere."""
    rows, columns = tile_shape(*mask.shape)
    return [(y, x) for y, x in tile_corners(*mask.shape) if mask[y : y + rows, x : x + columns].any()]


def create_image_stack(file: h5py.File, name: str, count: int, height: int, width: int) -> h5py.Dataset:
    """An empty (count, height, width, 3) dataset for direct chunk writes; unwritten tiles read as zeros."""
    return file.create_dataset(
        name,
        shape=(count, height, width, 3),
        dtype=np.uint8,
        chunks=(1, *tile_shape(height, width), 3),
        compression=HTJ2K,
    )


def filters_of(dataset: h5py.Dataset) -> list[int]:
    """The numbers of a dataset's HDF5 filters, in the order in which they are applied."""
    properties = dataset.id.get_create_plist()
    return [int(properties.get_filter(i)[0]) for i in range(properties.get_nfilters())]


class TileError(ValueError):
    """A tile cannot be read: it is missing, or its code stream is damaged."""


class TileDecoder:
    """Decodes the images of a stack, one after the other, tile by tile outside of HDF5's filter.

    A tile whose code stream equals the one at the same place of the image before is not decoded again.
    `corners`: the tiles that must be there; all of them where it is not given. Elsewhere the image is 0.
    """

    def __init__(self, stack: h5py.Dataset, corners: Sequence[Corner] | None = None) -> None:
        _, height, width, _ = stack.shape
        self._stack = stack.id
        self._shape = (height, width)
        self._tile = tile_shape(height, width)
        self._corners = tile_corners(height, width) if corners is None else corners
        rows, columns = self._tile
        self._canvas = np.zeros((height + -height % rows, width + -width % columns, 3), np.uint8)
        self._streams: dict[Corner, bytes] = {}

    def __call__(self, i: int) -> UInt8Image:
        """Image `i`, (h, w, 3). Raises TileError, naming the tile."""
        rows, columns = self._tile
        for y, x in self._corners:
            try:
                stream = self._stack.read_direct_chunk((i, y, x, 0))[1]
                if stream != self._streams.get((y, x)):
                    self._canvas[y : y + rows, x : x + columns] = decode(stream)
            except (RuntimeError, ValueError, OSError) as error:
                self._streams.pop((y, x), None)
                raise TileError(f"the tile at row {y}, column {x}: {error}") from error
            self._streams[y, x] = stream
        height, width = self._shape
        return np.ascontiguousarray(self._canvas[:height, :width])
