"""The folder `.build` of a folder of shards: the lock, unfinished files, and what only this machine knows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ...errors import WrongUseError
from ...files import named, write_text
from ..shards.index import ShardRecord
from ..sources.manifest import Lists

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
    try:
        scratch.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise BuildError(f"{folder} cannot be made, a file is in the way: choose another --out") from error
    try:
        with FileLock(scratch / "lock", timeout=0):
            _sweep(folder)
            try:
                yield Journal(scratch / "journal.jsonl")
            finally:
                _sweep(folder)
    except Timeout as error:
        raise BuildError(
            f"another build is at work in {folder}: wait for it, or build into another --out"
        ) from error


def _sweep(folder: Path) -> None:
    """Remove the unfinished files of workers that were killed, and of an index that was under way."""
    for part in (*scratch_of(folder).glob("*.part"), *folder.glob(".*.json*.part")):
        part.unlink(missing_ok=True)


class Journal:
    """Records of the shards finished so far, so that going on need not hash them again.

    A cache: a line cut off by a kill costs one shard's hashing. The file is there only once it is needed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, record: ShardRecord) -> None:
        """Note a finished shard."""
        with named(self._path), self._path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(asdict(record)) + "\n")

    def records(self) -> dict[str, ShardRecord]:
        """What was noted, by file name."""
        found: dict[str, ShardRecord] = {}
        if not self._path.exists():
            return found
        for line in self._path.read_text(encoding="utf-8").splitlines():
            try:
                record = ShardRecord(**json.loads(line))
            except (ValueError, TypeError):
                continue
            found[record.file] = record
        return found

    def discard(self) -> None:
        """The index holds it all now."""
        self._path.unlink(missing_ok=True)


def write_lists(folder: Path, lists: Lists) -> None:
    """Keep where lists and sources are, for the verification: a fact of this machine, not of the shards."""
    values = {
        key: str(value.resolve()) if isinstance(value, Path) else value
        for key, value in asdict(lists).items()
    }
    write_text(scratch_of(folder) / _LISTS, json.dumps(values, indent=1) + "\n")


def read_lists(folder: Path) -> Lists | None:
    """What `write_lists` kept; None where there is nothing of use (shards brought from elsewhere)."""
    try:
        values: dict[str, Any] = json.loads((scratch_of(folder) / _LISTS).read_text(encoding="utf-8"))
        for key in ("fg_list", "fg_dir", "alpha_dir", "bg_list", "bg_dir"):
            values[key] = values[key] and Path(values[key])
        return Lists(**values)
    except (FileNotFoundError, KeyError, TypeError, ValueError):
        return None
