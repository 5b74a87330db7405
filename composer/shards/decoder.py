"""Reading a stack image by image, as a verification must: every tile looked at before it is decoded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import h5py
import numpy as np

from ...arrays import UInt8Image
from .tiles import Corner, stream_header, tile_corners, tile_shape
from .windows import Mask, TileGrid


class TileError(ValueError):
    """A tile cannot be read: it is missing, or its code stream is damaged."""


class TileDecoder:
    """Reads the images of a stack through HDF5, as every program does, but first looks at what it decodes.

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
        try:
            self._grid.read(self._stack, self._image, tiles=self._new_tiles(i), layer=i)
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
        skipped_filters, stream = self._stack.id.read_direct_chunk((i, *corner, 0))
        # One flipped bit there asks for gigabytes; others crash OpenJPH, or send it round for ever.
        if skipped_filters or not stream.startswith(self._header):
            raise ValueError("it does not begin as our code streams do")
        if corner not in self._constant:
            return True
        same = self._last.get(corner) == stream
        self._last[corner] = stream
        return not same

    def _blamed(self, i: int, error: OSError) -> TileError:
        """HDF5 does not say which tile it was."""
        for y, x in self._corners:
            try:
                self._stack[i, y : y + self._tile[0], x : x + self._tile[1]]
            except OSError as again:
                return self._error((y, x), again)
        return self._error(None, error)

    def _error(self, corner: Corner | None, error: Exception) -> TileError:
        self._last.clear()  # of an image that is now of neither
        where = "a tile" if corner is None else f"the tile at row {corner[0]}, column {corner[1]}"
        return TileError(f"{where}: {error}")
