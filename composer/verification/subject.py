"""The shard under examination, as the checks of it share it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...arrays import UInt8Image, UInt8Mask
from ...storage.cache import local_file
from ...storage.remote import Place
from ..pixels.trimap import background_band
from ..shards.index import ShardRecord
from ..shards.reader import Shard
from ..shards.tiles import Corner, used_tiles
from ..sources.manifest import ForegroundEntry
from .findings import Finding, Tally


@dataclass(frozen=True, kw_only=True)
class ShardTask:
    """Check one shard of `folder`, of `split`, as `record` says that it is.

    entry: where its sources lie, where they are there. composites: which to look into; None for all.
    hash_file: whether to compare the file's SHA-256. maps: whether to compute distance and centers again.
    """

    folder: Place
    split: str
    record: ShardRecord
    entry: ForegroundEntry | None = None
    composites: tuple[int, ...] | None = None
    hash_file: bool = True
    maps: bool = True


@dataclass
class Subject:
    """The shard under examination; decoded arrays are kept for the checks that share them."""

    task: ShardTask
    tally: Tally
    shard: Shard = field(init=False)

    @property
    def path(self) -> Place:
        return self.task.folder / self.task.record.file

    @cached_property
    def file(self) -> Path:
        """Where it can be read here: itself, or a copy of an object. Raises OSError, StorageError."""
        return local_file(self.path)

    def found(
        self,
        check: str,
        what: str,
        *,
        composite: int | None = None,
        expected: object = "",
        found: object = "",
    ) -> None:
        self.tally.findings.append(
            Finding(
                check=check,
                folder=str(self.task.folder),
                shard=self.task.record.file,
                composite=composite,
                what=what,
                expected=str(expected),
                found=str(found),
            )
        )

    @cached_property
    def foreground(self) -> UInt8Image:
        return self.shard.foreground()

    @cached_property
    def alpha(self) -> UInt8Mask:
        return self.shard.alpha()

    @cached_property
    def distance(self) -> UInt8Mask:
        return self.shard.distance()

    @cached_property
    def background_sizes(self) -> NDArray[np.uint16]:
        return self.shard.background_sizes

    @cached_property
    def band(self) -> NDArray[np.bool_]:
        """Where backgrounds are kept, (h, w)."""
        return background_band(self.alpha, self.distance, self.shard.header.background_radius)

    @cached_property
    def kept(self) -> list[Corner]:
        """The tiles of a background that must be there."""
        return used_tiles(self.band)

    @cached_property
    def opaque(self) -> NDArray[np.bool_]:
        """Where alpha is 255, for each channel, (h, w, 3)."""
        return np.repeat(self.alpha == 255, 3).reshape(*self.alpha.shape, 3)

    @cached_property
    def between(self) -> NDArray[np.intp]:
        """Flat positions where 0 < alpha < 255."""
        return np.flatnonzero((self.alpha > 0) & (self.alpha < 255))

    @cached_property
    def blended_parts(self) -> tuple[UInt8Image, UInt8Mask]:
        """Foreground (1, m, 3) and alpha (1, m) at the positions between."""
        return gather(self.foreground, self.between), self.alpha.ravel()[self.between][None]


def gather(pixels: UInt8Image, positions: NDArray[np.intp]) -> UInt8Image:
    """(h, w, 3) at m flat positions, as one row: (1, m, 3)."""
    return pixels.reshape(-1, 3).take(positions, axis=0)[None]


def wrong_pixels(wrong: NDArray[np.bool_]) -> int:
    """How many pixels, in the last dimension, hold a wrong value."""
    # Looking for any at all is ten times as fast as counting them, and nearly always enough.
    return int(wrong.any(axis=-1).sum()) if wrong.any() else 0
