"""The folder `.build` of a folder of shards: the lock, unfinished files, and what only this machine knows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ..errors import WrongUseError
from .files import write_text
from .index import ShardRecord
from .manifest import Lists

_NAME = ".build"
_LISTS = "lists.json"


class BuildError(WrongUseError):
    """The build cannot go on in this folder; the message says why and what to do. Nothing was changed."""


def scratch_of(folder: Path) -> Path:
    """Where the unfinished files of a folder of shards live: on the same file system as the folder."""
    return folder / _NAME


@contextmanager
def sole_builder(folder: Path) -> Iterator[Journal]:
    """Hold the folder's lock, rid of what a killed build left. Raises BuildError where another one has it."""
    scratch = scratch_of(folder)
    scratch.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(scratch / "lock", timeout=0):
            for part in scratch.glob("*.part"):
                part.unlink(missing_ok=True)
            with Journal(scratch / "journal.jsonl") as journal:
                yield journal
    except Timeout as error:
        raise BuildError(
            f"another build is at work in {folder}: wait for it, or build into another --out"
        ) from error


class Journal:
    """Records of the shards finished so far, so that going on need not hash them again.

    A cache: a line cut off by a kill costs one shard's hashing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Journal:
        self._stream = self._path.open("a", encoding="utf-8")
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def add(self, record: ShardRecord) -> None:
        """Note a finished shard."""
        self._stream.write(json.dumps(asdict(record)) + "\n")
        self._stream.flush()

    def records(self) -> dict[str, ShardRecord]:
        """What was noted, by file name."""
        found = {}
        for line in self._path.read_text(encoding="utf-8").splitlines():
            try:
                record = ShardRecord(**json.loads(line))
            except (ValueError, TypeError):
                continue
            found[record.file] = record
        return found

    def discard(self) -> None:
        """The index holds it all now."""
        self._path.unlink()


def write_lists(folder: Path, lists: Lists) -> None:
    """Keep where lists and sources are, for the verification: a fact of this machine, not of the shards."""
    values = {
        key: str(value.resolve()) if isinstance(value, Path) else value
        for key, value in asdict(lists).items()
    }
    write_text(scratch_of(folder) / _LISTS, json.dumps(values, indent=1) + "\n")


def read_lists(folder: Path) -> Lists | None:
    """What `write_lists` kept; None where there is nothing (the shards were brought from elsewhere)."""
    try:
        values: dict[str, Any] = json.loads((scratch_of(folder) / _LISTS).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    for key in ("fg_list", "fg_dir", "alpha_dir", "bg_list", "bg_dir"):
        values[key] = values[key] and Path(values[key])
    return Lists(**values)
