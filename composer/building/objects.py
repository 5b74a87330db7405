"""Building in a folder of an object store: who builds, what is finished there, what a killed build left.

What several machines must agree on lies in the store, in `.build/` of the folder: the lock, the records of
finished shards, the lists and the names by place. What is unfinished lies on the worker's own disk.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from ...storage.cache import cache_folder
from ...storage.remote import Remote, Stored
from ...storage.stores import StorageError, filesystem, told
from ..shards.index import ShardRecord, record_from
from .records import Known
from .stamps import Stamp

STATE = ".build"
LOCK = "lock"
_JOURNAL, _BUILT = "journal.jsonl", "built"


def beside(folder: Remote) -> Path:
    """Where this machine keeps what belongs to a folder of a store."""
    name = sha256(str(folder).encode()).hexdigest()[:16]
    return cache_folder().with_name("builds") / name


class ObjectJournal:
    """Records of the shards finished in a store: an object for each, until the index is written.

    A shard is believed to be what its record says while its size and the store's mark are those of the
    record: going on downloads no shard. One without a record was under way when its build died, and is
    built again. made_of: as Journal's.
    """

    def __init__(self, folder: Remote) -> None:
        self._folder = folder
        self._state = folder / STATE
        self._known: dict[str, Known] = {}
        self.made_of: Mapping[str, str] = {}

    def known(self) -> dict[str, Known]:
        """The shards that are there with a record of the very object, by file name. Raises StorageError."""
        there = self._folder.listed()
        for line in self._lines():
            try:
                record, stamp, *made_of = json.loads(line)
                known = Known(record=record_from(record), stamp=Stamp(*stamp), made_of="".join(made_of))
            except (ValueError, TypeError, KeyError, RecursionError):
                continue
            if _stamp(there.get(known.record.file)) == known.stamp:
                self._known[known.record.file] = known
        return dict(self._known)

    def _lines(self) -> list[str]:
        try:
            lines = (self._state / _JOURNAL).read_text().splitlines()
        except FileNotFoundError:
            lines = []
        return lines + [data.decode(errors="replace") for data in self._single().values()]

    def _single(self) -> dict[str, bytes]:
        """The records that are objects of their own, fetched side by side."""
        names = [(self._state / _BUILT / name).url for name in (self._state / _BUILT).listed()]
        if not names:
            return {}
        with told(self._state):
            found: dict[str, bytes] = filesystem(self._state).cat(names)
        return found

    def add(self, record: ShardRecord) -> None:
        """Note a finished shard. Raises StorageError."""
        stamp = _stamp((self._folder / record.file).state())
        if stamp is not None:
            self._known[record.file] = Known(record=record, stamp=stamp)
            (self._state / _BUILT / f"{record.file}.json").write_bytes(self._line(record.file).encode())

    def settle(self, records: Sequence[ShardRecord]) -> None:
        """Only what the index holds, in one object, now that it is written."""
        kept = [record.file for record in records if record.file in self._known]
        (self._state / _JOURNAL).write_bytes("".join(map(self._line, kept)).encode())
        names = [(self._state / _BUILT / name).url for name in (self._state / _BUILT).listed()]
        if names:
            with told(self._state):
                filesystem(self._state).rm(names)

    def _line(self, name: str) -> str:
        known = self._known[name]
        return json.dumps([vars(known.record), known.stamp, self.made_of.get(name, "")]) + "\n"


def _stamp(state: Stored | None) -> Stamp | None:
    return None if state is None else Stamp(state.bytes, state.mark, 0)


def abandon_uploads(folder: Remote) -> None:
    """Have the store forget uploads in parts that a killed build left unfinished: they cost, unseen."""
    if folder.protocol != "s3":
        return  # elsewhere they end by themselves, within a week
    files, (bucket, _, prefix) = filesystem(folder), folder.path.partition("/")
    # Servers that speak only some of S3 lack the call; whether one answers at all shows before and after.
    with suppress(FileNotFoundError, StorageError), told(folder):
        found = files.call_s3("list_multipart_uploads", Bucket=bucket, Prefix=f"{prefix}/")
        for each in found.get("Uploads", ()):
            files.call_s3("abort_multipart_upload", Bucket=bucket, Key=each["Key"], UploadId=each["UploadId"])
