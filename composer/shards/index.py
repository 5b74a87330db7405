"""index.json: what a folder of shards holds, written when a build ends."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from ...files import file_sha256
from ...names import stem
from ...storage.publishing import publish_text
from ...storage.remote import Place
from ...storage.stores import StorageError
from ...text import first_line
from ..sources.images import MAX_PIXELS, MAX_SIDE
from ..sources.order import Order, order_from
from ..sources.reading import ADOBE, Reading
from .layout import ShardError
from .reader import Shard

INDEX_NAME = "index.json"
_ENCODER = json.JSONEncoder(ensure_ascii=False)
FORMAT = "dimtool-index"
VERSION = 1


@dataclass(frozen=True, kw_only=True)
class ShardRecord:
    """One shard of a folder: `bytes` and `sha256` (hexadecimal) are of the file. label: see ShardHeader.

    versions: of dimtool and of the decoders that built it. reading: how its sources were read, as
    `Reading.values` gives it. first: the number of its first composite among the foreground's; not 0 in a
    further piece.
    """

    file: str
    index: int
    foreground: str
    composites: int
    height: int
    width: int
    bytes: int
    sha256: str
    versions: dict[str, str]
    label: str = ""
    reading: dict[str, Any] = field(default_factory=dict)
    first: int = 0


@dataclass(frozen=True, kw_only=True)
class Index:
    """A folder of shards. `asked` is the number of composites that the lists asked for.

    reading: how the sources are to be read; a shard of other words says its own, if they mean the same.
    grown: see Order; where there is something, the pairs are not those of the official order.
    """

    split: str
    per_fg: int
    asked: int
    shards: tuple[ShardRecord, ...]
    reading: Reading = ADOBE.recorded
    grown: tuple[tuple[int, int], ...] = ()

    @property
    def order(self) -> Order:
        """Which backgrounds each foreground has, and how they are cut, as far as the shards tell."""
        cuts = {record.first for record in self.shards if record.first < self.per_fg} | {0}
        return Order(per_fg=self.per_fg, cuts=tuple(sorted(cuts)), grown=self.grown)

    @property
    def foregrounds(self) -> int:
        """How many foregrounds are there, wholly or in part."""
        return len({record.index for record in self.shards})

    @property
    def composites(self) -> int:
        """How many composites are there."""
        return sum(record.composites for record in self.shards)

    @property
    def bytes(self) -> int:
        """The size of all shard files together."""
        return sum(record.bytes for record in self.shards)

    @property
    def versions(self) -> list[dict[str, str]]:
        """Those that built the shards, each once; one where the set is not mixed."""
        return list({tuple(sorted(each.versions.items())): each.versions for each in self.shards}.values())

    @property
    def fingerprint(self) -> str:
        """SHA-256, in hexadecimal, of what the index says: the same wherever the set lies.

        With the files' own hashes in it, it stands for every byte of the set.
        """
        return hashlib.sha256(_text(self).encode()).hexdigest()


def write_index(folder: Place, index: Index) -> None:
    """Write `folder`/index.json, atomically; the same index gives the same bytes."""
    publish_text(folder / INDEX_NAME, _text(index))


def _text(index: Index) -> str:
    """JSON, indented by 1 and sorted, as `json.dumps` would write it in several times the time."""
    content = {**vars(index), "format": FORMAT, "version": VERSION, "composites": index.composites}
    # What most sets lack is not there at all: their index is as it was before there were such things.
    usual = content["reading"] = index.reading.values()
    content = _without({**content, "shards": []}, "reading", "grown")
    head, tail = _dumped(content).split('\n "shards": []')
    shards = ",\n".join(_record_text(record, usual) for record in index.shards)
    body = f"[\n{shards}\n ]" if shards else "[]"
    return f'{head}\n "shards": {body}{tail}\n'


def _dumped(values: object) -> str:
    return json.dumps(values, indent=1, sort_keys=True, ensure_ascii=False)


def _record_text(record: ShardRecord, usual: dict[str, Any]) -> str:
    """A record as the index has it: how its sources were read only where that is not how all were."""
    encode = _ENCODER.encode
    lines = [
        f'"bytes": {record.bytes}',
        f'"composites": {record.composites}',
        f'"file": {encode(record.file)}',
        *([f'"first": {record.first}'] if record.first else []),
        f'"foreground": {encode(record.foreground)}',
        f'"height": {record.height}',
        f'"index": {record.index}',
        *([f'"label": {encode(record.label)}'] if record.label else []),
        *([f'"reading": {_nested(tuple(record.reading.items()))}'] if record.reading != usual else []),
        f'"sha256": {encode(record.sha256)}',
        f'"versions": {_nested(tuple(record.versions.items()))}',
        f'"width": {record.width}',
    ]
    return "  {\n   " + ",\n   ".join(lines) + "\n  }"


@lru_cache
def _nested(items: tuple[tuple[str, object], ...]) -> str:
    """A dict in a record; nearly all have the same one."""
    return _dumped(dict(items)).replace("\n", "\n   ")


def _without(values: dict[str, Any], *names: str) -> dict[str, Any]:
    """The values, less those of these names that are empty, or 0."""
    return {key: value for key, value in values.items() if value or key not in names}


def read_index(folder: Place) -> Index:
    """The index of a folder of shards. Raises ShardError where it is missing or broken."""
    path = folder / INDEX_NAME
    try:
        if isinstance(path, Path) and path.exists() and not path.is_file():
            raise ShardError(f"{path} is no file: remove it and run `dimtool build-dataset` again")
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if (content.pop("format"), content.pop("version")) != (FORMAT, VERSION):
            raise ShardError(f"{path} is of another format or version: this release reads version {VERSION}")
        return _index_of(content)
    except StorageError as error:
        raise ShardError(str(error)) from error
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ShardError(no_shards(folder)) from error
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        if isinstance(error, ShardError):
            raise
        what = f"{path} is broken ({first_line(error)}): run `dimtool build-dataset` again"
        raise ShardError(what) from error


def index_digest(folder: Place) -> str:
    """SHA-256, in hexadecimal, of the index as it lies there. Raises OSError, StorageError."""
    path = folder / INDEX_NAME
    return file_sha256(path) if isinstance(path, Path) else hashlib.sha256(path.read_bytes()).hexdigest()


def no_shards(folder: Place) -> str:
    """What to say of a folder without an index: which of those in it have one, or what to do."""
    if not isinstance(folder, Path):
        return f"{folder} holds no shards: name the folder of the shards"
    if there := [str(each) for each in sets_in(folder)]:
        return f"{folder} holds no shards itself: name {' or '.join(there)}"
    if any(folder.glob("*.h5")):
        return f"{folder / INDEX_NAME} does not exist: finish `dimtool build-dataset` for it"
    what = "holds no shards" if folder.exists() else "does not exist"
    return f"{folder} {what}: run `dimtool build-dataset`, or name the folder of the shards"


def sets_in(folder: Path) -> list[Path]:
    """The folders of finished shards directly below a folder, in order."""
    return sorted(path.parent for path in folder.glob(f"*/{INDEX_NAME}"))


def stated_total(folder: Place) -> object:
    """What the index gives as the sum of its composites, to be held against that sum. Raises OSError."""
    return json.loads((folder / INDEX_NAME).read_text(encoding="utf-8")).get("composites")


def _index_of(content: dict[str, Any]) -> Index:
    content.pop("composites")  # a sum; see stated_total
    versions = content.pop("versions", None)
    # An index from before records had versions of their own has one for all.
    reading = Reading.of(content.pop("reading", {}))
    usual = {"versions": versions, "reading": reading.values()}
    shards = tuple(record_from({**usual, **each}) for each in content.pop("shards"))
    grown = order_from({"per_fg": content["per_fg"], "grown": content.pop("grown", ())}).grown
    index = Index(shards=shards, reading=reading, grown=grown, **content)
    _check_types(index, {"split": str, "per_fg": int, "asked": int})
    if index.per_fg < 1 or index.asked < 0:
        raise ValueError("a number that cannot be")
    files = [record.file for record in index.shards]
    if len(set(files)) != len(files):
        raise ValueError("a shard is listed twice")
    return index


def record_from(values: dict[str, Any]) -> ShardRecord:
    """A record from plain values, as JSON has them. Raises TypeError or ValueError where it can be none."""
    record = ShardRecord(**values)
    _check_types(record, _KINDS)
    if not all(type(each) is str for each in record.versions.values()):
        raise ValueError(f"the versions of {record.file!a} are no texts")
    if record.reading and Reading.of(record.reading).values() != record.reading:
        raise ValueError(f"{record.file!a} was read in a way that cannot be")
    if not (_names_files(record.file, record.label, record.foreground) and record.file.endswith(".h5")):
        raise ValueError(f"{record.file!a} is no name of a shard")
    sides, most = (record.height, record.width), 2**31
    if not 0 < min(sides) <= max(sides) <= MAX_SIDE or record.height * record.width > MAX_PIXELS:
        raise ValueError(f"{record.file!a} cannot be {record.width} x {record.height}")
    counts = record.composites, record.bytes, record.index + 1, record.first + 1
    largest = max(record.index, record.first + record.composites)
    if min(counts) < 1 or record.bytes >= 2**63 or largest >= most:
        raise ValueError(f"{record.file!a} has a number that cannot be")
    return record


_KINDS: dict[str, type] = {
    **dict.fromkeys(("file", "foreground", "sha256", "label"), str),
    **dict.fromkeys(("index", "composites", "height", "width", "bytes", "first"), int),
    **dict.fromkeys(("versions", "reading"), dict),
}


def _names_files(file: str, label: str, foreground: str) -> bool:
    """Whether what is named after these lies in the folder where it is put."""
    # Of nearly all foregrounds there is no more to look at than their name; `stem` takes its time.
    plain = not foreground.startswith(".") and _is_plain(foreground)
    return all(map(_is_plain, (file, label))) and (plain or _is_plain(stem(foreground)))


def _is_plain(name: str) -> bool:
    return "/" not in name and "\0" not in name and name != "."


def _check_types(thing: Index | ShardRecord, kinds: dict[str, type]) -> None:
    for name, kind in kinds.items():
        if type(value := getattr(thing, name)) is not kind:  # True is no number here
            raise TypeError(f"its {name} is {ascii(value)[:40]}")


def record_of(path: Path, name: str = "") -> ShardRecord:
    """The record of a finished shard, read from the file itself. Raises ShardError.

    name: the file name that it will have, where it does not have it yet.
    """
    with Shard(path) as shard:
        height, width = shard.shape
        return ShardRecord(
            file=name or path.name,
            index=shard.header.index,
            foreground=shard.header.foreground,
            composites=len(shard),
            height=height,
            width=width,
            bytes=path.stat().st_size,
            sha256=file_sha256(path),
            label=shard.header.label,
            versions=shard.versions,
            reading=shard.header.reading.values(),
            first=shard.header.first,
        )


def versions_text(versions: Sequence[dict[str, str]]) -> str:
    """What built the shards, as people read it: `dimtool 1, pillow 2`; with `and` between several."""
    return " and ".join(", ".join(f"{name} {version}" for name, version in each.items()) for each in versions)


def by_index(records: Sequence[ShardRecord]) -> tuple[ShardRecord, ...]:
    """Records in the order of the list, whatever order they were finished in."""
    return tuple(sorted(records, key=lambda record: (record.index, record.first)))
