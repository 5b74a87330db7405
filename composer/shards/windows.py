"""How a window of an image meets the tiles that it is stored in, and how to read only some of them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby, pairwise

import h5py
import numpy as np
from numpy.typing import NDArray

from .tiles import tile_shape

Window = tuple[slice, slice]  # rows, columns
WHOLE: Window = (slice(None), slice(None))

Mask = NDArray[np.bool_]


class TileGrid:
    """The tiles that a window of an image of `height` x `width` pixels touches: (rows, columns) of them.

    `window` has at least one pixel; a step other than 1 is not known here.
    """

    def __init__(self, height: int, width: int, window: Window = WHOLE) -> None:
        self._origin, self._edges, self._tile = [], [], tile_shape(height, width)
        for side, tile, part in zip((height, width), self._tile, window, strict=True):
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
        return self._of_tiles(np.minimum, values)

    def most(self, values: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The greatest value in each."""
        return self._of_tiles(np.maximum, values)

    def _of_tiles(self, extreme: np.ufunc, values: NDArray[np.uint8]) -> NDArray[np.uint8]:
        # A call for each tile takes half the time of `reduceat`, which takes them row by row.
        rows, columns = (list(pairwise(edges.tolist())) for edges in self._edges)
        found = [extreme.reduce(values[y0:y1, x0:x1], axis=None) for y0, y1 in rows for x0, x1 in columns]
        return np.array(found, np.uint8).reshape(self.shape)

    def corners(self, tiles: Mask) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
        """Row and column of each chosen tile in the grid, and the tile's own top left pixel in the image."""
        rows, columns = self._tile
        first = [start // side for start, side in zip(self._origin, self._tile, strict=True)]
        for row, column in np.argwhere(tiles).tolist():
            yield (row, column), ((first[0] + row) * rows, (first[1] + column) * columns)

    def blocks(self, tiles: Mask) -> Iterator[Window]:
        """The chosen tiles' pixels in the window, cut at its borders; neighbours in a row as one block."""
        rows, columns = (edges.tolist() for edges in self._edges)
        for y, row in enumerate(tiles.tolist()):
            for wanted, run in groupby(range(len(row)), key=row.__getitem__):
                if wanted:
                    numbers = list(run)
                    yield slice(rows[y], rows[y + 1]), slice(columns[numbers[0]], columns[numbers[-1] + 1])

    def read(
        self,
        dataset: h5py.Dataset,
        into: NDArray[np.uint8],
        tiles: Mask | None = None,
        layer: int | None = None,
    ) -> None:
        """Read the window, or only the chosen tiles of it, into an array of its size.

        dataset: (h, w) or (h, w, 3); or (n, h, w, 3) with `layer`, which composite. Elsewhere `into` stays
        as it is. By HDF5's own interface, in one call: h5py's costs more for each block.
        """
        if tiles is not None and not tiles.any():
            return
        first, one = ((), ()) if layer is None else ((layer,), (1,))
        colours = into.shape[2:]
        zero = (0,) * len(colours)
        memory, stored = h5py.h5s.create_simple(into.shape), dataset.id.get_space()
        memory.select_none()
        stored.select_none()
        whole = slice(0, self.pixels[0]), slice(0, self.pixels[1])
        for rows, columns in [whole] if tiles is None else self.blocks(tiles):
            size = (rows.stop - rows.start, columns.stop - columns.start, *colours)
            place = (rows.start + self._origin[0], columns.start + self._origin[1])
            memory.select_hyperslab((rows.start, columns.start, *zero), size, op=h5py.h5s.SELECT_OR)
            stored.select_hyperslab((*first, *place, *zero), (*one, *size), op=h5py.h5s.SELECT_OR)
        dataset.id.read(memory, stored, into)
