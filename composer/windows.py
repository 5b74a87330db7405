"""How a window of an image meets the tiles that it is stored in, and how to read only some of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from .tiles import tile_shape

Window = tuple[slice, slice]  # rows, columns
WHOLE: Window = (slice(None), slice(None))

Mask = NDArray[np.bool_]


class Block(NamedTuple):
    """Rows and columns, from `top`, `left` up to but not including `bottom`, `right`."""

    top: int
    left: int
    bottom: int
    right: int


class TileGrid:
    """The tiles that a window of an image of `height` x `width` pixels touches: (rows, columns) of them.

    `window` has at least one pixel; a step other than 1 is not known here.
    """

    def __init__(self, height: int, width: int, window: Window = WHOLE) -> None:
        self._origin, self._edges = [], []
        for side, tile, part in zip((height, width), tile_shape(height, width), window, strict=True):
            start, stop, _ = part.indices(side)
            inner = range(start - start % tile + tile, stop, tile)
            self._origin.append(start)
            self._edges.append(np.array([start, *inner, stop]) - start)

    @property
    def pixels(self) -> tuple[int, int]:
        """Height and width of the window."""
        return int(self._edges[0][-1]), int(self._edges[1][-1])

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of tiles."""
        return len(self._edges[0]) - 1, len(self._edges[1]) - 1

    def least(self, values: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The least value in each tile of an array of the window's size, (h, w)."""
        rows, columns = self._edges
        return np.minimum.reduceat(np.minimum.reduceat(values, rows[:-1], 0), columns[:-1], 1)

    def most(self, values: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The greatest value in each."""
        rows, columns = self._edges
        return np.maximum.reduceat(np.maximum.reduceat(values, rows[:-1], 0), columns[:-1], 1)

    def blocks(self, tiles: Mask) -> Iterator[Block]:
        """The chosen tiles' pixels in the window, cut at its borders; neighbours in a row as one block."""
        rows, columns = (edges.tolist() for edges in self._edges)
        if tiles.all():
            yield Block(0, 0, rows[-1], columns[-1])
            return
        for y, row in enumerate(tiles.tolist()):
            x = 0
            while x < len(row):
                first = x
                while x < len(row) and row[x]:
                    x += 1
                if x > first:
                    yield Block(rows[y], columns[first], rows[y + 1], columns[x])
                x += 1

    def read(
        self, dataset: h5py.Dataset, into: NDArray[np.uint8], tiles: Mask | None = None, layer: int | None = None
    ) -> None:
        """Read the window, or only the chosen tiles of it, into an array of its size.

        dataset: (h, w) or (h, w, 3); or (n, h, w, 3) with `layer`, which composite. Elsewhere `into` stays
        as it is. By HDF5's own interface, in one call: h5py's costs more for each block.
        """
        every = np.ones(self.shape, np.bool_) if tiles is None else tiles
        if not every.any():
            return
        first, one = ((), ()) if layer is None else ((layer,), (1,))
        colours = into.shape[2:]
        zero = (0,) * len(colours)
        memory, stored = h5py.h5s.create_simple(into.shape), dataset.id.get_space()
        memory.select_none()
        stored.select_none()
        for top, left, bottom, right in self.blocks(every):
            size = (bottom - top, right - left, *colours)
            place = (top + self._origin[0], left + self._origin[1])
            memory.select_hyperslab((top, left, *zero), size, op=h5py.h5s.SELECT_OR)
            stored.select_hyperslab((*first, *place, *zero), (*one, *size), op=h5py.h5s.SELECT_OR)
        dataset.id.read(memory, stored, into)
