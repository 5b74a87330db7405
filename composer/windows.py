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
    def shape(self) -> tuple[int, int]:
        """Rows and columns of tiles."""
        return len(self._edges[0]) - 1, len(self._edges[1]) - 1

    def any(self, mask: Mask) -> Mask:
        """In which tiles `mask`, of the window's size, holds somewhere."""
        rows, columns = self._edges
        by_rows = np.logical_or.reduceat(mask, rows[:-1], axis=0)
        return np.asarray(np.logical_or.reduceat(by_rows, columns[:-1], axis=1))

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
        as it is. HDF5's own interface: h5py's costs as much as decoding half a tile.
        """
        before = () if layer is None else (layer,)
        ones = (1,) * len(before)
        after = into.shape[2:]
        zeros = (0,) * len(after)
        memory, stored = h5py.h5s.create_simple(into.shape), dataset.id.get_space()
        every = np.ones(self.shape, np.bool_) if tiles is None else tiles
        for top, left, bottom, right in self.blocks(every):
            size = (bottom - top, right - left, *after)
            memory.select_hyperslab((top, left, *zeros), size)
            place = (top + self._origin[0], left + self._origin[1])
            stored.select_hyperslab((*before, *place, *zeros), (*ones, *size))
            dataset.id.read(memory, stored, into)
