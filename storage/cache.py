"""Copies of a store's objects on this machine's disk: whole, of bounded size, the least used go first.

Whole objects, not the ranges that were asked for: one request in place of dozens, a copy that can be held
against the digest that the index has, and then a file like any other, read at a file's rate. docs/scale.md
has what was measured.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock

from ..errors import WrongUseError
from ..files import lacks_locks, named
from ..text import amount
from ..text import size as size_text
from .remote import SIZE_VARIABLE, Place, Remote
from .stores import StorageError, filesystem, told

USUAL = 20 * 1000**3
"""Bytes that the cache takes where nobody says: a training set of some hundred foregrounds."""

FOLDER_VARIABLE = "DIMTOOL_CACHE"

_STRIPES = 64  # locks: an object's is one of these, so that none is left behind for each
_ROOM = 0.9  # of the bound, that stays when something must go
# s3fs asks for a large object once to learn its size, and then for ranges of it.
_ONE_REQUEST = {"s3": {"max_concurrency": 1}}
_DAY = 86_400  # seconds
_SLACK = 0.01  # of the bound, that a process adds before it looks at the whole cache again


class _Entry(NamedTuple):
    used: int
    bytes: int
    path: Path


def cache_folder() -> Path:
    """Where copies lie on this machine: $DIMTOOL_CACHE, else below the user's own cache."""
    if own := os.environ.get(FOLDER_VARIABLE):
        return Path(own)
    usual = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    return usual / "dimtool" / "objects"


class Cache:
    """A folder of copies, of at most `limit` bytes, shared by any number of processes.

    An entry's name says of which object and which content it is, so a copy of what has been replaced is never
    taken for what replaced it. A copy is downloaded under a temporary name, checked, and renamed; one lock an
    entry keeps others from downloading it too. What is removed while it is read stays readable to who has it
    open. The bound is kept to a hundredth for each process, and the copy that it waits for.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder, self.limit = folder, limit
        self._added = limit  # since the last look; so that the first copy looks

    def copy(self, remote: Remote, key: str, bytes_: int, check: Callable[[Path], None]) -> Path:
        """The copy of an object of `bytes_` bytes whose content `key` tells from any other.

        check: raises where a download is not what it must be. Raises FileNotFoundError, StorageError.
        """
        path = self._path(remote, key)
        if self._touched(path, bytes_):
            return path
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._locked(path.name[:32]):
            if not self._touched(path, bytes_):
                self._download(remote, path, bytes_, check)
        return path

    def known(self, remote: Remote, key: str, bytes_: int) -> Path | None:
        """The copy, where there is one."""
        path = self._path(remote, key)
        return path if self._touched(path, bytes_) else None

    def _path(self, remote: Remote, key: str) -> Path:
        name = hashlib.sha256(f"{remote}\0{key}".encode()).hexdigest()[:32]
        return self.folder / f"{name}-{remote.name[-80:]}"

    def _touched(self, path: Path, bytes_: int) -> bool:
        """Whether the copy is there and whole; it counts as used now."""
        try:
            state = path.stat()
            os.utime(path, ns=(time.time_ns(), state.st_mtime_ns))
        except FileNotFoundError:
            return False
        return state.st_size == bytes_

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        """Hold the lock of an entry; where the file system has none, two may download it, to no harm."""
        lock = FileLock(self.folder / f".{int(name, 16) % _STRIPES:02}.lock")
        try:
            lock.acquire()
        except OSError as error:
            if not lacks_locks(error):
                raise
        try:
            yield
        finally:
            lock.release()

    def _download(self, remote: Remote, path: Path, bytes_: int, check: Callable[[Path], None]) -> None:
        if bytes_ > self.limit:
            raise StorageError(
                f"{remote} has {size_text(bytes_)} and the cache is to hold {size_text(self.limit)}: "
                f"give a larger --cache (or {SIZE_VARIABLE})"
            )
        self._make_room(bytes_)
        descriptor, part = tempfile.mkstemp(dir=self.folder, prefix=".", suffix=".part")
        os.close(descriptor)
        try:
            with named(path), told(remote):
                filesystem(remote).get_file(remote.url, part, **_ONE_REQUEST.get(remote.protocol, {}))
            check(Path(part))
            Path(part).replace(path)
        finally:
            Path(part).unlink(missing_ok=True)

    def _make_room(self, bytes_: int) -> None:
        """Remove the least used until `bytes_` more fit, if this process has added enough to look."""
        self._added += bytes_
        if self._added < self.limit * _SLACK:
            return
        self._added = 0
        entries = sorted(self._entries())
        total = sum(entry.bytes for entry in entries) + bytes_
        if total <= self.limit:
            return
        for entry in entries:
            entry.path.unlink(missing_ok=True)
            total -= entry.bytes
            if total <= self.limit * _ROOM:
                break

    def _entries(self) -> Iterator[_Entry]:
        """All copies; what a killed download left goes, once it is a day old."""
        with os.scandir(self.folder) as listing:
            for each in listing:
                with suppress(FileNotFoundError):  # another process was faster
                    state = each.stat()
                    if not each.name.startswith("."):
                        yield _Entry(state.st_atime_ns, state.st_size, Path(each.path))
                    elif each.name.endswith(".part") and _is_old(state.st_mtime):
                        Path(each.path).unlink(missing_ok=True)


def _is_old(moment: float) -> bool:
    return time.time() - moment > _DAY


def cache_of(remote: Remote) -> Cache:
    """The cache that what is read of a place goes through; one for each bound in a process."""
    return _cache(cache_folder(), remote.cache_bytes or _usual())


@lru_cache
def _cache(folder: Path, limit: int) -> Cache:
    return Cache(folder, limit)


def _usual() -> int:
    given = os.environ.get(SIZE_VARIABLE)
    if given is None:
        return USUAL
    try:
        return amount(given)
    except ValueError as error:
        raise WrongUseError(f"{SIZE_VARIABLE}: {error}") from error


def local_file(place: Place) -> Path:
    """A file to read here: itself, or the copy of an object as the store has it now.

    Raises FileNotFoundError, StorageError.
    """
    if isinstance(place, Path):
        return place
    state = place.stored or place.state()
    return cache_of(place).copy(place, state.mark, state.bytes, partial(_check_size, place, state.bytes))


def _check_size(remote: Remote, bytes_: int, path: Path) -> None:
    if (found := path.stat().st_size) != bytes_:
        raise StorageError(f"{remote} came with {found:,} bytes of {bytes_:,}: give the same command again")
