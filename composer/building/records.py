"""Records of finished shards, and whether one from before can still be believed without hashing the file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...files import named, write_text
from ...storage.remote import Place, Remote
from ..shards.index import ShardRecord, record_from, record_of
from ..shards.layout import ShardError
from .stamps import Stamp, stamp_of


@dataclass(frozen=True, kw_only=True)
class Known:
    """A record from before, with the stamp that the file had when it was made. made_of: see SourceFiles."""

    record: ShardRecord
    stamp: Stamp
    made_of: str = ""


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

    A cache of this machine: a line cut off by a kill costs one shard's hashing. `made_of`: of what the shards
    are made that are noted from now on, by file name.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.made_of: Mapping[str, str] = {}

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
                record, stamp, *made_of = json.loads(line)
                known = Known(record=record_from(record), stamp=Stamp(*stamp), made_of="".join(made_of))
                found[known.record.file] = known
            except (ValueError, TypeError, KeyError, RecursionError):
                continue
        return found

    def settle(self, records: Sequence[ShardRecord]) -> None:
        """Only what the index holds, now that it is written."""
        write_text(self._path, "".join(map(self._line, records)))

    def _line(self, record: ShardRecord) -> str:
        stamp = stamp_of(self._path.parent.parent / record.file)
        return json.dumps([vars(record), stamp, self.made_of.get(record.file, "")]) + "\n"
