"""A background for a crop from another composite: a window in which it is known wherever it will be seen."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ...arrays import UInt8Image
from ...composer.shards.reader import Shard
from .layers import Place, Square, draw_place
from .reading import Backgrounds, CropConfig

AnyComposite = Callable[[np.random.Generator], tuple[Shard, int]]
"""Draws a composite of the data set: its shard, and its number there."""

LOOKS = 100
"""Windows looked at, at most, of the maps below: one takes some 30 microseconds."""

_BLOCK = 16  # pixels of a shard in one of its map, on a side
_STEP = 8  # pixels of a crop from one that is looked up in the map to the next
_MAPS = 2_000  # kept, of some kilobytes each


class BackgroundFinder:
    """Finds windows of the other composites' backgrounds; `others` draws composites.

    A shard keeps its backgrounds where they are seen and near the transition region. What it hides is
    looked up in a coarse map, made when the shard is first drawn and kept in memory; what it finds does not
    depend on which are there.
    """

    def __init__(self, others: AnyComposite, config: CropConfig) -> None:
        self.others, self.config = others, config
        self._maps: dict[str, NDArray[np.bool_]] = {}

    def find(
        self, seen: NDArray[np.bool_], draw: np.random.Generator
    ) -> tuple[UInt8Image | None, Backgrounds]:
        """An upright window, as (s, s, 3), that is known wherever it is `seen`, (s, s).

        Its place and scale are drawn apart from the foreground's. None where `LOOKS` windows would all
        have shown what their shards do not keep. Behind alpha 255 the mean of its colours stands for that:
        over any background the composite is the same there. Raises ShardError.
        """
        coarse = seen[_STEP // 2 :: _STEP, _STEP // 2 :: _STEP]
        for looked in range(1, LOOKS + 1):
            shard, i = self.others(draw)
            height, width = shard.shape
            middle = int(draw.integers(height)), int(draw.integers(width))
            place = draw_place(shard.shape, middle, self.config, 0.0, draw)
            if (self._hidden(shard, place) & coarse).any():
                continue
            square = Square(shard, place)
            if not (square.hidden() & seen).any():
                return square.backdrop(i), Backgrounds(1, 1, looked)
        return None, Backgrounds(1, 0, LOOKS)

    def _hidden(self, shard: Shard, place: Place) -> NDArray[np.bool_]:
        """By the map, every eighth pixel of the crop."""
        at = (np.arange(_STEP // 2, place.size, _STEP) + 0.5) * place.scale
        rows, columns = ((part.start + at).astype(np.intp) // _BLOCK for part in place.window)
        found: NDArray[np.bool_] = self._map(shard).take(rows, 0).take(columns, 1)
        return found[:, ::-1] if place.flip else found

    def _map(self, shard: Shard) -> NDArray[np.bool_]:
        """Which blocks of a shard hold any pixel whose background it does not keep."""
        name = str(shard.path)
        if name not in self._maps:
            if len(self._maps) == _MAPS:
                self._maps.clear()
            gone = (shard.alpha() > 0) & (shard.distance() > shard.background_radius)
            self._maps[name] = _blocks(gone)
        return self._maps[name]


def _blocks(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Where any of a block of 16 x 16 is true; the last row and column of blocks may be cut."""
    height, width = (math.ceil(side / _BLOCK) for side in mask.shape)
    padded = np.zeros((height * _BLOCK, width * _BLOCK), np.bool_)
    padded[: mask.shape[0], : mask.shape[1]] = mask
    return np.asarray(padded.reshape(height, _BLOCK, width, _BLOCK).any((1, 3)))
