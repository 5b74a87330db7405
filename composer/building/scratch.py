"""The folder `.build` of a folder of shards: the lock, unfinished files, and what only this machine knows."""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ...errors import WrongUseError
from ...files import LockedError, locked, own_scratch, part_of, stranger_in
from ...names import labels
from ...storage.lock import held
from ...storage.publishing import publish_text
from ...storage.remote import WRITABLE, Place, Remote, read_place
from ...text import count
from ..shards.index import INDEX_NAME, Index, read_index
from ..shards.layout import ShardError
from ..sources.folders import ManifestError
from ..sources.lists import SPLITS, Lists
from ..sources.manifest import Manifest, read_manifest
from ..sources.order import Order, order_from
from ..sources.places import Begun
from .objects import LOCK, STATE, ObjectJournal, abandon_uploads, beside
from .records import Journal
from .stamps import SourceFiles

_LISTS = "lists.json"
_PLACES = "places.json"


class BuildError(WrongUseError):
    """The build cannot go on in this folder; the message says why and what to do. Nothing was changed."""


@dataclass(frozen=True, kw_only=True)
class Hold:
    """A folder of shards that this process builds in, and no other.

    scratch: for unfinished files, on the same file system, while the hold lasts. alone: False where the file
    system has no locks, so that nothing is known of others.
    """

    journal: Journal | ObjectJournal
    sources: SourceFiles
    scratch: Path
    alone: bool


def refuse_foreign(folder: Place) -> None:
    """Raise BuildError where a folder on the disk holds something and nothing of a build's."""
    if isinstance(folder, Remote):
        return  # whose folders are but names: nothing there can be taken for another's
    stranger = stranger_in(folder, STATE, INDEX_NAME, "*.h5")
    if stranger is not None:
        raise BuildError(
            f"{folder} holds {stranger.name} and no shards: choose another --out, an empty or a new folder"
        )


@contextmanager
def sole_builder(folder: Place) -> Iterator[Hold]:
    """Hold the folder's lock, rid of what a killed build left. Raises BuildError where another one has it."""
    with _among_objects(folder) if isinstance(folder, Remote) else _on_disk(folder) as hold:
        yield hold


def refuse_unwritable(folder: Place) -> None:
    """Raise BuildError where a folder is in a store that is only read."""
    if isinstance(folder, Remote) and folder.protocol not in WRITABLE:
        raise BuildError(f"{folder} can only be read: give an --out of {', '.join(WRITABLE)}, or a path")


@contextmanager
def _among_objects(folder: Remote) -> Iterator[Hold]:
    refuse_unwritable(folder)
    own = beside(folder)
    own.mkdir(parents=True, exist_ok=True)
    try:
        # The folder for unfinished files is named after the hold: the workers know it by that.
        with own_scratch(own) as scratch, held(folder / STATE / LOCK, own, scratch.name) as alone:
            abandon_uploads(folder)
            yield Hold(
                journal=ObjectJournal(folder),
                sources=SourceFiles(own / "sources.jsonl"),
                scratch=scratch,
                alone=alone,
            )
    except LockedError as error:
        raise BuildError(str(error)) from error


@contextmanager
def _on_disk(folder: Path) -> Iterator[Hold]:
    refuse_foreign(folder)
    state = folder / STATE
    try:
        state.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise BuildError(f"{folder} cannot be made, a file is in the way: choose another --out") from error
    try:
        with locked(state / "lock") as alone, own_scratch(state) as scratch:
            _sweep(folder)
            try:
                yield Hold(
                    journal=Journal(state / "journal.jsonl"),
                    sources=SourceFiles(state / "sources.jsonl"),
                    scratch=scratch,
                    alone=alone,
                )
            finally:
                _sweep(folder)
    except LockedError as error:
        raise BuildError(
            f"another build is at work in {folder}: wait for it, or build into another --out"
        ) from error


def _sweep(folder: Path) -> None:
    """Remove what is left of an index and of notes that were under way."""
    for part in (*(folder / STATE).glob(".*.part"), *folder.glob(".*.json*.part")):
        part.unlink(missing_ok=True)


def write_lists(folder: Place, lists: Lists, begun: Begun | None = None) -> None:
    """Keep where lists and sources are, for the verification: a fact of this machine, not of the shards.

    And the names by place, for builds to come.

    By the names that were given: what lies beside a list is not beside what a link of its name leads to.
    """
    values = {
        key: str(value.absolute()) if isinstance(value, Path | Remote) else value
        for key, value in asdict(lists).items()
    }
    publish_text(folder / STATE / _LISTS, json.dumps(values, indent=1) + "\n")
    if begun is not None:
        _write_places(folder / STATE, begun)


def _write_places(state: Place, begun: Begun) -> None:
    """The background names, maybe millions, in a file of their own that is named after what it holds."""
    name = f"backgrounds-{_digest(begun.backgrounds)}.txt"
    if not (place := state / name).exists():
        lines = (f"{background}\n" for background in begun.backgrounds)
        if isinstance(place, Path):
            with part_of(place) as part, part.open("w", encoding="utf-8") as stream:
                stream.writelines(lines)
        else:
            publish_text(place, "".join(lines))
    values = {
        **asdict(begun.order),
        "foregrounds": begun.foregrounds,
        "backgrounds": name,
        "replaced": begun.replaced,
        "seed": begun.seed,
    }
    publish_text(state / _PLACES, json.dumps(values, indent=1) + "\n")
    for other in state.glob("backgrounds-*.txt"):
        if other.name != name:
            other.unlink()


def _digest(names: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for start in range(0, len(names), 10_000):
        digest.update("".join(f"{name}\n" for name in names[start : start + 10_000]).encode())
    return digest.hexdigest()[:16]


def _read_backgrounds(state: Place, name: str) -> list[str]:
    """The names in such a file, each text once. Raises OSError, ValueError where they are not those."""
    each: dict[str, str] = {}
    place = state / Path(name).name
    opened = (
        place.open(encoding="utf-8", newline="\n")
        if isinstance(place, Path)
        else io.StringIO(place.read_text(), newline="\n")
    )
    with opened as lines:
        names = [each.setdefault(line, line) for line in (line[:-1] for line in lines)]
    if name != f"backgrounds-{_digest(names)}.txt":
        raise ValueError(f"{name} does not hold what its name says")
    return names


def read_places(folder: Place) -> Begun | None:
    """The names by place that a build of `folder` was begun with, and what is built; None where unknown."""
    try:
        values: dict[str, Any] = json.loads((folder / STATE / _PLACES).read_text(encoding="utf-8"))
        order = order_from({key: values.pop(key) for key in ("per_fg", "cuts", "grown") if key in values})
        values["foregrounds"] = tuple(values["foregrounds"])
        values["backgrounds"] = _read_backgrounds(folder / STATE, values["backgrounds"])
        values["replaced"] = tuple((int(place), str(name)) for place, name in values["replaced"])
        begun = Begun(**values, order=order)
    except (OSError, KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return None
    known = all(type(each) is str for each in begun.foregrounds)
    return replace(begun, built=_built(folder, begun.foregrounds)) if known else None


def read_begun(folder: Place) -> tuple[Begun | None, Order | None]:
    """What a build of `folder` goes on with: the names by place; where those are lost, the index's order."""
    begun = read_places(folder)
    try:
        return begun, None if begun else read_index(folder).order
    except ShardError:
        return begun, None


def _built(folder: Place, foregrounds: Sequence[str]) -> frozenset[tuple[int, int]]:
    """The pieces whose shards are there, by the files' names; another foreground's count as a first one."""
    named, built = labels(foregrounds), set()
    for path in folder.glob("*.h5"):
        if found := re.match(r"([0-9]{4,9})-", path.name):
            number, rest = int(found[1]), path.name[found.end() :]
            label = named[number] if number < len(named) else ""
            piece = re.fullmatch(r"\.([1-9][0-9]{0,8})\.h5", rest.removeprefix(label))
            built.add((number, int(piece[1]) if piece else 0))
    return frozenset(built)


def read_lists(folder: Place) -> Lists | None:
    """What `write_lists` kept; None where there is nothing of use (shards brought from elsewhere)."""
    try:
        values: dict[str, Any] = json.loads((folder / STATE / _LISTS).read_text(encoding="utf-8"))
        for key in ("fg_list", "fg_dir", "alpha_dir", "bg_list", "bg_dir"):
            values[key] = None if values[key] is None else read_place(values[key])
        lists = Lists(**values)
    except (OSError, KeyError, TypeError, ValueError, RecursionError):
        return None
    return lists if _sound(lists) else None


def _sound(lists: Any) -> bool:
    """Whether what was read can have been written: whoever brings a folder brings this file too."""
    numbers = all(type(each) is int for each in (lists.seed, lists.per_fg, lists.per_shard))
    if not numbers or min(lists.per_fg, lists.per_shard) < 1:
        return False
    return isinstance(lists.fg_list, Path) and lists.split in SPLITS


def known_manifest(folder: Place, index: Index, sources: Path | None = None) -> tuple[Manifest | None, str]:
    """The lists of a folder of shards with their files, or None and why they are not known.

    sources: a folder that holds lists, fg/, alpha/ and bg/; None for where the build found them. Raises
    WrongUseError where the named folder has no lists for it.
    """
    built_from = read_lists(folder)
    if sources is not None:
        lists = _lists_in(sources, index, built_from)
        return read_manifest(lists, read_places(folder), index.order), ""
    if built_from is None:
        return None, "where they lie is not known: name their folder with --sources"
    try:
        return read_manifest(built_from, read_places(folder), index.order), ""
    except ManifestError as error:
        return None, f"{error}; or name their folder with --sources"


def _lists_in(sources: Path, index: Index, built_from: Lists | None) -> Lists:
    """The lists of a split in a folder that is laid out as the build expects it."""
    if built_from is None:
        found = sorted(sources.glob(f"{index.split}*fg*.txt"))
        if len(found) != 1:
            raise WrongUseError(
                f"{sources} has {count(len(found), 'list')} named {index.split}*fg*.txt, and one is needed "
                "to compare"
            )
        return Lists(
            fg_list=found[0],
            split=index.split,
            per_fg=index.per_fg,
            reuse_bg=True,
            **asdict(index.reading),
        )
    return replace(
        built_from,
        fg_list=sources / built_from.fg_list.name,
        bg_list=built_from.bg_list and sources / built_from.bg_list.name,
        fg_dir=None,
        alpha_dir=None,
        bg_dir=None,
    )
