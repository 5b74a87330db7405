"""What tells a file from another unread, and the hashes of those that were read: each of them once."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ...files import file_sha256, named
from ...storage.cache import local_file
from ...storage.remote import Place, Remote, Stored
from ...text import first_line
from ..engines.engine import Engine
from ..shards.layout import ShardHeader

_FILES_A_JOB = 64
# A file that is written to again within a tick of its file system's clock keeps its stamp: FAT's is 2 s.
_TICK_NS = 2_000_000_000


class Stamp(NamedTuple):
    """What tells a file from another that took its name: a rename keeps all three, a new file has others.

    mtime_ns: of an object in a store, what the store gives as the mark of its content.
    """

    bytes: int
    mtime_ns: int | str
    inode: int


class Hashed(NamedTuple):
    """SHA-256 of a file, in hexadecimal, or why it cannot be read."""

    sha256: str
    error: str = ""


def stamp_of(path: Place) -> Stamp:
    """The stamp of a file. Raises OSError, StorageError."""
    return _stored(path.stored or path.state()) if isinstance(path, Remote) else _stamp(path.stat())


def _stamp(found: os.stat_result) -> Stamp:
    return Stamp(found.st_size, found.st_mtime_ns, found.st_ino)


def _stored(state: Stored) -> Stamp:
    return Stamp(state.bytes, state.mark, 0)


def _is_settled(stamp: Stamp, latest: int) -> bool:
    """Whether another content would have another stamp; the mark of a store is of the content itself."""
    return isinstance(stamp.mtime_ns, str) or stamp.mtime_ns < latest


def stamps_in(folder: Place, suffix: str) -> dict[str, Stamp | None]:
    """The files of that suffix, by name, in one walk of the folder; None for a link to nothing."""
    if isinstance(folder, Remote):
        return {name: _stored(state) for name, state in folder.listed().items() if name.endswith(suffix)}
    found: dict[str, Stamp | None] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(suffix):
                found[entry.name] = None
                with suppress(OSError):
                    found[entry.name] = _stamp(entry.stat())
    return found


def hash_file(path: Place) -> Hashed:
    """The file's hash; an error of the system is told, not raised."""
    try:
        return Hashed(file_sha256(local_file(path)))
    except OSError as error:
        return Hashed("", f"{path} cannot be read ({first_line(error)})")


def hash_files(paths: tuple[Place, ...]) -> list[tuple[Place, Hashed]]:
    """Several of them: the work that an engine hands to one worker at a time."""
    return [(path, hash_file(path)) for path in paths]


class SourceFiles:
    """The source files of a build: the stamp of each, taken once a run, and its hash, taken once a file ever.

    The hashes are in `cache`, a file of lines, each with the path and the stamp that the file had.
    """

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        self._stamps: dict[Place, Stamp | None] = {}

    def _stamp(self, path: Place) -> Stamp | None:
        if path not in self._stamps:
            self._stamps[path] = None
            with suppress(OSError):
                self._stamps[path] = stamp_of(path)
        return self._stamps[path]

    def made_of(self, header: ShardHeader, paths: Iterable[Place]) -> str:
        """What stands for all that decides a shard's bytes, unread; empty where a file is not there.

        It is the same as when the shard was built only if nothing was touched since.
        """
        digest, stamps = hashlib.sha256(), [self._stamp(path) for path in paths]
        if not all(stamps):
            return ""
        what = (*(header.split, header.index, header.foreground, header.first, header.label), header.reading)
        digest.update(repr((what, header.background_radius)).encode())
        digest.update("\n".join(header.backgrounds).encode())
        digest.update(repr(stamps).encode())
        return digest.hexdigest()

    def hashes(self, paths: Iterable[Place], engine: Engine) -> dict[Place, Hashed]:
        """The hash of each file; of those that no run has read yet, the engine reads them."""
        wanted = list(dict.fromkeys(paths))
        known = dict(self._known()) if wanted else {}
        found = {
            path: Hashed(known[key]) for path in wanted if (key := (str(path), self._stamp(path))) in known
        }
        new = [path for path in wanted if path not in found]
        parts = [tuple(new[i : i + _FILES_A_JOB]) for i in range(0, len(new), _FILES_A_JOB)]
        for some in engine.run(hash_files, parts):
            self._note(some)
            found.update(some)
        return found

    def _known(self) -> Iterator[tuple[tuple[str, Stamp | None], str]]:
        with suppress(FileNotFoundError), self._cache.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                with suppress(ValueError, TypeError, RecursionError):
                    path, stamp, sha256 = json.loads(line)
                    yield (path, Stamp(*stamp)), sha256

    def _note(self, hashed: Sequence[tuple[Place, Hashed]]) -> None:
        """Keep what is sure: not of a file that was written to just now, or since its stamp was taken."""
        latest = time.time_ns() - _TICK_NS
        with named(self._cache), self._cache.open("a", encoding="utf-8") as stream:
            for path, (sha256, error) in hashed:
                stamp = self._stamp(path)
                with suppress(OSError):
                    if stamp and not error and _is_settled(stamp, latest) and stamp == stamp_of(path):
                        stream.write(json.dumps([str(path), stamp, sha256]) + "\n")
