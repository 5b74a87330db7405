"""Tiles read as every program reads them, through HDF5, and each looked at before it is decoded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import h5py
import numpy as np
from numpy.typing import NDArray

from ...arrays import UInt8Image
from .tiles import Corner, muted, stream_header, tile_corners, tile_shape
from .windows import Mask, TileGrid

_NOT_THERE = "chunk storage is not allocated"  # in words alone; of a dataset of one tile, MemoryError


class TileError(ValueError):
    """A tile cannot be read: it is missing, or its code stream is damaged."""


class _NoTileError(ValueError):
    """Nothing was written there."""


def read_window(
    dataset: h5py.Dataset,
    into: NDArray[np.uint8],
    grid: TileGrid,
    *,
    layer: int | None = None,
    tiles: Mask | None = None,
    sparse: bool = False,
) -> None:
    """Read the window of `grid`, or the chosen tiles of it, into an array of its size.

    layer: the number of the composite, in a stack, whose tiles are looked at; what is stored once was when it
    was opened. sparse: a tile that is not there is no fault, and what is in `into` stays. Raises TileError.
    """
    if layer is not None:
        every = np.ones(grid.shape, bool) if tiles is None else tiles
        tiles = _looked_at(dataset, grid, layer, every, sparse=sparse)
    with muted():
        grid.read(dataset, into, tiles=None if tiles is None or tiles.all() else tiles, layer=layer)


def _looked_at(dataset: h5py.Dataset, grid: TileGrid, layer: int, tiles: Mask, *, sparse: bool) -> Mask:
    """The chosen tiles of a stack that are there, once each has been looked at. Raises TileError."""
    begin, missing = stream_header(*dataset.chunks[1:3]), []
    for place, corner in grid.corners(tiles):
        try:
            look_at(dataset, (layer, *corner, 0), begin)
        except _NoTileError as error:
            if not sparse:
                raise TileError(f"{_where(corner)}: {error}") from error
            missing.append(place)
        except (RuntimeError, ValueError, OSError) as error:
            raise TileError(f"{_where(corner)}: {error}") from error
    if missing:
        tiles = tiles.copy()
        tiles[tuple(np.transpose(missing))] = False
    return tiles


def look_at(dataset: h5py.Dataset, place: tuple[int, ...], begin: bytes) -> bytes:
    """The stream of the tile at `place`, as it is stored. Raises ValueError unless it begins like ours."""
    try:
        skipped_filters, stream = dataset.id.read_direct_chunk(place)
    except (MemoryError, RuntimeError) as error:
        if _NOT_THERE in str(error) or dataset.id.get_chunk_info_by_coord(place).byte_offset is None:
            raise _NoTileError("it is missing") from error
        raise ValueError(f"it cannot be read: {error}") from error
    # One flipped bit there asks for gigabytes; others crash OpenJPH, or send it round for ever.
    if skipped_filters or not stream.startswith(begin):
        raise ValueError("it does not begin as our code streams do")
    return bytes(stream)


def _where(corner: Corner | None) -> str:
    return "a tile" if corner is None else f"the tile at row {corner[0]}, column {corner[1]}"


class TileDecoder:
    """Reads a stack image by image, as a verification must.

    corners: the tiles that must be there; all of them where it is not given. What lies in others is not
    looked at, and comes as 0. constant: those that are likely to repeat, because the foreground is opaque
    there: one whose stream is, byte for byte, that of the image before is not decoded again.
    """

    def __init__(
        self, stack: h5py.Dataset, corners: Sequence[Corner] | None = None, *, constant: Iterable[Corner] = ()
    ) -> None:
        _, height, width, _ = stack.shape
        self._stack = stack
        self._grid = TileGrid(height, width)
        self._tile = tile_shape(height, width)
        self._header = stream_header(*self._tile)
        self._corners = tile_corners(height, width) if corners is None else corners
        self._constant = frozenset(constant)
        self._last: dict[Corner, bytes] = {}
        self._image = np.zeros((height, width, 3), np.uint8)

    def __call__(self, i: int) -> UInt8Image:
        """Image `i`, (h, w, 3), in an array that the next call uses again. Raises TileError."""
        tiles = self._new_tiles(i)
        try:
            with muted():
                self._grid.read(self._stack, self._image, tiles=tiles, layer=i)
        except OSError as error:
            raise self._blamed(i, error) from error
        return self._image

    def _new_tiles(self, i: int) -> Mask:
        """Look at each tile's stream; those that must be decoded."""
        new = np.zeros(self._grid.shape, bool)
        for y, x in self._corners:
            try:
                new[y // self._tile[0], x // self._tile[1]] = self._is_new(i, (y, x))
            except (RuntimeError, ValueError, OSError) as error:
                raise self._error((y, x), error) from error
        return new

    def _is_new(self, i: int, corner: Corner) -> bool:
        """Whether a tile must be decoded, once its stream has been looked at."""
        stream = look_at(self._stack, (i, *corner, 0), self._header)
        if corner not in self._constant:
            return True
        same = self._last.get(corner) == stream
        self._last[corner] = stream
        return not same

    def _blamed(self, i: int, error: OSError) -> TileError:
        """HDF5 does not say which tile it was."""
        for y, x in self._corners:
            try:
                with muted():
                    self._stack[i, y : y + self._tile[0], x : x + self._tile[1]]
            except OSError as again:
                return self._error((y, x), again)
        return self._error(None, error)

    def _error(self, corner: Corner | None, error: Exception) -> TileError:
        self._last.clear()  # of an image that is now of neither
        return TileError(f"{_where(corner)}: {error}")
