"""Records of finished shards, and whether one from before can still be believed without hashing the file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple

from ...files import named, write_text
from ...storage.remote import Place, Remote
from ..shards.index import ShardRecord, record_from, record_of
from ..shards.layout import ShardError


class Stamp(NamedTuple):
    """What tells a file from another that took its name: a rename keeps all three, a new file has others.

    mtime_ns: of an object in a store, what the store gives as the mark of its content.
    """

    bytes: int
    mtime_ns: int | str
    inode: int


@dataclass(frozen=True, kw_only=True)
class Known:
    """A record from before, with the stamp that the file had when it was made."""

    record: ShardRecord
    stamp: Stamp


def stamp_of(path: Place) -> Stamp:
    """The stamp of a file. Raises OSError, StorageError."""
    if isinstance(path, Remote):
        return Stamp(*(path.stored or path.state()), 0)
    found = path.stat()
    return Stamp(found.st_size, found.st_mtime_ns, found.st_ino)


def trusted(known: Known | None, path: Place) -> ShardRecord:
    """A record from before if it is of the very file at `path`, else a new one.

    Raises ShardError, also for a file of other bytes than were recorded though nothing that decides them is
    another: the same sources, by the same versions, give the same bytes.
    """
    if known and known.stamp == stamp_of(path):
        return known.record
    if isinstance(path, Remote):
        raise ShardError(f"{path} has been replaced meanwhile: give the same command again")
    record = record_of(path)
    if known and record.sha256 != known.record.sha256:
        same = replace(record, sha256=known.record.sha256, bytes=known.record.bytes) == known.record
        if same:
            raise ShardError(f"{path} has other bytes than when it was built: build it again")
    return record


class Journal:
    """Records of the shards finished so far, so that going on need not hash them again.

    A cache of this machine: a line cut off by a kill costs one shard's hashing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, record: ShardRecord) -> None:
        """Note a finished shard."""
        with named(self._path), self._path.open("a", encoding="utf-8") as stream:
            stream.write(self._line(record))

    def known(self) -> dict[str, Known]:
        """What was noted, by file name."""
        found: dict[str, Known] = {}
        if not self._path.is_file():
            return found
        for line in self._path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                record, stamp = json.loads(line)
                found[record["file"]] = Known(record=record_from(record), stamp=Stamp(*stamp))
            except (ValueError, TypeError, KeyError, RecursionError):
                continue
        return found

    def settle(self, records: Sequence[ShardRecord]) -> None:
        """Only what the index holds, now that it is written."""
        write_text(self._path, "".join(map(self._line, records)))

    def _line(self, record: ShardRecord) -> str:
        stamp = stamp_of(self._path.parent.parent / record.file)
        return json.dumps([asdict(record), stamp]) + "\n"
