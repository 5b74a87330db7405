"""index.json: what a folder of shards holds, written when a build ends."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...files import file_sha256, write_text
from ..sources.reading import ADOBE, Reading
from .layout import ShardError
from .reader import Shard

INDEX_NAME = "index.json"
FORMAT = "dimtool-index"
VERSION = 1


@dataclass(frozen=True, kw_only=True)
class ShardRecord:
    """One shard of a folder: `bytes` and `sha256` (hexadecimal) are of the file. label: see ShardHeader."""

    file: str
    index: int
    foreground: str
    composites: int
    height: int
    width: int
    bytes: int
    sha256: str
    label: str = ""


@dataclass(frozen=True, kw_only=True)
class Index:
    """A folder of shards. `asked` is the number of composites that the lists asked for.

    reading: how the sources were read; each shard says it as well.
    versions: of dimtool and its decoders, at the end of the build; each shard has its own as well.
    """

    split: str
    per_fg: int
    asked: int
    versions: dict[str, str]
    shards: tuple[ShardRecord, ...]
    reading: Reading = ADOBE.recorded

    @property
    def composites(self) -> int:
        """How many composites are there."""
        return sum(record.composites for record in self.shards)

    @property
    def bytes(self) -> int:
        """The size of all shard files together."""
        return sum(record.bytes for record in self.shards)


def write_index(folder: Path, index: Index) -> None:
    """Write `folder`/index.json, atomically; the same index gives the same bytes."""
    content = {"format": FORMAT, "version": VERSION, "composites": index.composites, **asdict(index)}
    # What most sets lack is not there at all: their index is as it was before there were such things.
    content["reading"] = index.reading.values()
    content["shards"] = [_without(asdict(record), "label") for record in index.shards]
    content = _without(content, "reading")
    write_text(folder / INDEX_NAME, json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def _without(values: dict[str, Any], name: str) -> dict[str, Any]:
    """The values, less the one of this name where it is empty."""
    return {key: value for key, value in values.items() if value or key != name}


def read_index(folder: Path) -> Index:
    """The index of a folder of shards. Raises ShardError where it is missing or broken."""
    path = folder / INDEX_NAME
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if (content.pop("format"), content.pop("version")) != (FORMAT, VERSION):
            raise ShardError(f"{path} is of another format or version: this release reads version {VERSION}")
        content.pop("composites")
        shards = tuple(ShardRecord(**record) for record in content.pop("shards"))
        reading = Reading.of(content.pop("reading", {}))
        return Index(shards=shards, reading=reading, **content)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ShardError(f"{path} does not exist: finish `dimtool build-dataset` for it") from error
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, ShardError):
            raise
        raise ShardError(f"{path} is broken ({error}): run `dimtool build-dataset` again") from error


def record_of(path: Path) -> ShardRecord:
    """The record of a finished shard, read from the file itself. Raises ShardError."""
    with Shard(path) as shard:
        height, width = shard.shape
        return ShardRecord(
            file=path.name,
            index=shard.header.index,
            foreground=shard.header.foreground,
            composites=len(shard),
            height=height,
            width=width,
            bytes=path.stat().st_size,
            sha256=file_sha256(path),
            label=shard.header.label,
        )


def by_index(records: Sequence[ShardRecord]) -> tuple[ShardRecord, ...]:
    """Records in the order of the list, whatever order they were finished in."""
    return tuple(sorted(records, key=lambda record: record.index))
