"""A folder of shards as one sequence of composites, read at random, whole or in windows."""

from __future__ import annotations

import os
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...arrays import UInt8Image, UInt8Mask
from ...files import file_sha256
from ...names import composite_name
from ...storage.cache import cache_of, local_file
from ...storage.remote import Place, Remote, read_place
from ...storage.stores import StorageError
from ...text import size
from .index import INDEX_NAME, ShardRecord, read_index
from .layout import ShardError
from .reader import Shard
from .windows import WHOLE, Window

MAX_OPEN = 16
_TRIES = 3  # where others fill the cache so fast that a copy is gone before it is opened
_ADVICE = "run `dimtool verify-composites --repair`"


@dataclass(frozen=True, kw_only=True)
class Composite:
    """A composite with its matte, or one window of both.

    composite: (h, w, 3) uint8; alpha, distance: (h, w) uint8. name: as the official code names the
    composite, without `.png`.
    """

    name: str
    composite: UInt8Image
    alpha: UInt8Mask
    distance: UInt8Mask


@dataclass(frozen=True, kw_only=True)
class Sample(Composite):
    """A composite with all that it was made of, or one window of them all, cut at the same place.

    foreground, background: (h, w, 3) uint8. The background is known wherever alpha is 0 or the transition
    region is near (`background_radius`); elsewhere it is 0.
    """

    foreground: UInt8Image
    background: UInt8Image


class CompositeDataset:
    """All composites under a folder with index.json, in the order of the lists.

    folder: a path, or the URL of a place in an object store, whose shards come through a cache on this disk.

    Shards are opened when first read, in whatever process reads them, and at most `max_open` stay open:
    an instance may be pickled, carried through a fork, and read by several threads. Raises ShardError where
    the folder is no finished build or a shard cannot be read, IndexError past the end, ValueError for
    `max_open` under 1.
    """

    def __init__(self, folder: Place | str, *, max_open: int = MAX_OPEN) -> None:
        if max_open < 1:
            raise ValueError(f"max_open is {max_open}: at least 1 shard must stay open to be read")
        self.folder = read_place(folder)
        self.index = read_index(self.folder)
        self.max_open = max_open
        self._ends = list(accumulate(record.composites for record in self.index.shards))
        self._begin()

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __iter__(self) -> Iterator[Sample]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, i: int) -> Sample:
        """Sample `i`, whole."""
        return self.sample(i)

    def sample(self, i: int, window: Window = WHOLE) -> Sample:
        """A window, (rows, columns), of sample `i`: only the tiles that it touches are decoded."""
        number, layer = self.locate(i)
        shard, known = self.shard(number), self.composite(i, window)
        stored = shard.background(layer, window)
        return Sample(
            **vars(known),
            foreground=shard.foreground(window),
            background=known_background(stored, known.composite, known.alpha),
        )

    def composite(self, i: int, window: Window = WHOLE) -> Composite:
        """A window of composite `i` and its matte alone: in half the time of a sample."""
        number, layer = self.locate(i)
        shard = self.shard(number)
        return Composite(
            name=self.name(i),
            composite=shard.composite(layer, window),
            alpha=shard.alpha(window),
            distance=shard.distance(window),
        )

    def name(self, i: int) -> str:
        """The official name of composite `i`, without `.png`; from the index alone."""
        number, layer = self.locate(i)
        record = self.record(number)
        return composite_name(record.foreground, record.first + layer, record.label)

    @property
    def room_note(self) -> str:
        """That the cache is too small for the set, so that shards are fetched again and again; or empty."""
        if isinstance(self.folder, Path) or self.index.bytes <= (room := cache_of(self.folder).limit):
            return ""
        return (
            f"{self.folder} has {size(self.index.bytes)} and the cache {size(room)}: its shards will be "
            "fetched again and again; give a larger --cache"
        )

    def locate(self, i: int) -> tuple[int, int]:
        """(number of the shard, number of the composite in it) of sample `i`."""
        if not -len(self) <= i < len(self):
            raise IndexError(f"sample {i} of {len(self)} in {self.folder}")
        i %= len(self)
        number = bisect_right(self._ends, i)
        return number, i - (self._ends[number - 1] if number else 0)

    def record(self, number: int) -> ShardRecord:
        """The index's record of shard `number`."""
        return self.index.shards[number]

    def shard(self, number: int) -> Shard:
        """Shard `number`, opened. Not to be closed: another thread may be reading it."""
        if os.getpid() != self._process:
            # HDF5 handles that came through a fork give wrong data: leave them be, and open anew.
            self._begin()
        with self._lock:
            shard = self._open.pop(number, None) or self._opened(self.record(number))
            self._open[number] = shard
            if len(self._open) > self.max_open:
                self._open.popitem(last=False)  # it closes itself when nobody reads it any more
        return shard

    @contextmanager
    def head(self, number: int) -> Iterator[Shard]:
        """Shard `number` for a look at what it says of itself: of an object no more than that has to come."""
        if isinstance(self.folder, Path):
            yield self.shard(number)
            return
        with open_head(self.folder, self.record(number)) as shard:
            yield shard

    def _opened(self, record: ShardRecord) -> Shard:
        shard = open_shard(self.folder, record)
        if (shard.count, *shard.shape) != (record.composites, record.height, record.width):
            raise ShardError(
                f"{shard.path} is not the shard that {INDEX_NAME} names: run `dimtool verify-composites`"
            )
        return shard

    def close(self) -> None:
        """Close what is open; the next read opens again. No thread may be reading."""
        while self._open:
            self._open.popitem()[1].close()

    def _begin(self) -> None:
        self._open: OrderedDict[int, Shard] = OrderedDict()
        self._lock = threading.Lock()
        self._process = os.getpid()

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in ("_open", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin()


def known_background(stored: UInt8Image, composite: UInt8Image, alpha: UInt8Mask) -> NDArray[np.uint8]:
    """The background wherever it is known, (h, w, 3): where alpha is 0 the composite is the background.

    `stored` is what a shard keeps; it is filled in place where it can be.
    """
    background, empty = np.ascontiguousarray(stored), (alpha == 0).view(np.uint8)
    # Bits of both, chosen by a mask: as fast as memory, where a copy by flags goes value by value.
    chosen = np.repeat(np.negative(empty).ravel(), 3).reshape(background.shape)
    chosen &= background ^ composite
    background ^= chosen
    return background


def open_shard(folder: Place, record: ShardRecord) -> Shard:
    """A shard of a folder, whose file the index says to be `record`.

    A copy of an object is held against the index's size and SHA-256 when it comes, and by its size each time.
    Raises ShardError, also for an object that is not what the index says.
    """
    path = folder / record.file
    if isinstance(path, Path):
        return Shard(path)
    for _ in range(_TRIES):
        copy = _copy(path, record)
        try:
            return Shard(path, copied_to=copy)
        except ShardError:
            if copy.exists():
                raise
    raise ShardError(f"{path}: its copy was removed before it could be read: give a larger --cache")


def _copy(remote: Remote, record: ShardRecord) -> Path:
    try:
        return cache_of(remote).copy(remote, record.sha256, record.bytes, partial(_check, remote, record))
    except FileNotFoundError as error:
        raise ShardError(f"{remote} does not exist: run `dimtool verify-composites`") from error
    except StorageError as error:
        raise ShardError(str(error)) from error


def _check(remote: Remote, record: ShardRecord, path: Path) -> None:
    """Raise ShardError where a download is not the file that the index names."""
    found = path.stat().st_size
    if found != record.bytes:
        raise ShardError(f"{remote} has {found:,} bytes and {INDEX_NAME} says {record.bytes:,}: {_ADVICE}")
    if file_sha256(path) != record.sha256:
        raise ShardError(f"{remote} does not have the SHA-256 that {INDEX_NAME} says: {_ADVICE}")


def open_head(folder: Remote, record: ShardRecord) -> Shard:
    """A shard whose header is wanted alone: its copy, where there is one, else parts of the object."""
    path = folder / record.file
    copy = cache_of(path).known(path, record.sha256, record.bytes)
    return Shard(path, copied_to=copy)


def open_as_stored(place: Place) -> Shard:
    """A shard as it is there now, whatever an index says of it. Raises ShardError."""
    if isinstance(place, Path):
        return Shard(place)
    try:
        return Shard(place, copied_to=local_file(place))
    except FileNotFoundError as error:
        raise ShardError(f"{place} does not exist: run `dimtool verify-composites`") from error
    except StorageError as error:
        raise ShardError(str(error)) from error


def existing(folder: Place, listed: Collection[str]) -> set[str]:
    """The shard files that are there; over https, which has no listings, only those of `listed`.

    Raises StorageError.
    """
    if isinstance(folder, Remote):
        if not folder.listable:
            return {name for name in listed if (folder / name).is_file()}
        return {name for name in folder.listed() if name.endswith(".h5")}
    return {path.name for path in folder.glob("*.h5") if path.is_file()}
