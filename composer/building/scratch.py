"""The folder `.build` of a folder of shards: the lock, unfinished files, and what only this machine knows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...errors import WrongUseError
from ...files import LockedError, locked, own_scratch, write_text
from ..sources.lists import SPLITS, Lists
from ..sources.places import Begun
from .records import Journal

_NAME = ".build"
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

    journal: Journal
    scratch: Path
    alone: bool


@contextmanager
def sole_builder(folder: Path) -> Iterator[Hold]:
    """Hold the folder's lock, rid of what a killed build left. Raises BuildError where another one has it."""
    state = folder / _NAME
    try:
        state.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise BuildError(f"{folder} cannot be made, a file is in the way: choose another --out") from error
    try:
        with locked(state / "lock") as alone, own_scratch(state) as scratch:
            _sweep(folder)
            try:
                yield Hold(journal=Journal(state / "journal.jsonl"), scratch=scratch, alone=alone)
            finally:
                _sweep(folder)
    except LockedError as error:
        raise BuildError(
            f"another build is at work in {folder}: wait for it, or build into another --out"
        ) from error


def _sweep(folder: Path) -> None:
    """Remove what is left of an index and of notes that were under way."""
    for part in (*(folder / _NAME).glob(".*.part"), *folder.glob(".*.json*.part")):
        part.unlink(missing_ok=True)


def write_lists(folder: Path, lists: Lists, begun: Begun | None = None) -> None:
    """Keep where lists and sources are, for the verification: a fact of this machine, not of the shards.

    And the names by place, for builds to come.

    By the names that were given: what lies beside a list is not beside what a link of its name leads to.
    """
    values = {
        key: str(value.absolute()) if isinstance(value, Path) else value
        for key, value in asdict(lists).items()
    }
    write_text(folder / _NAME / _LISTS, json.dumps(values, indent=1) + "\n")
    if begun is not None:
        places = {key: value for key, value in asdict(begun).items() if key != "built"}
        write_text(folder / _NAME / _PLACES, json.dumps(places, indent=1) + "\n")


def read_places(folder: Path) -> Begun | None:
    """The names by place that a build of `folder` was begun with, and what is built; None where unknown."""
    try:
        values: dict[str, Any] = json.loads((folder / _NAME / _PLACES).read_text(encoding="utf-8"))
        for key in ("foregrounds", "backgrounds"):
            values[key] = tuple(values[key])
        values["replaced"] = tuple((int(place), str(name)) for place, name in values["replaced"])
        begun = Begun(**values, built=_numbers_of_shards(folder))
    except (OSError, KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return None
    known = all(type(each) is str for each in (*begun.foregrounds, *begun.backgrounds))
    return begun if known and type(begun.per_fg) is int and begun.per_fg > 0 else None


def _numbers_of_shards(folder: Path) -> frozenset[int]:
    numbers = (path.name.partition("-")[0] for path in folder.glob("*.h5"))
    return frozenset(int(number) for number in numbers if re.fullmatch(r"[0-9]{4,9}", number))


def read_lists(folder: Path) -> Lists | None:
    """What `write_lists` kept; None where there is nothing of use (shards brought from elsewhere)."""
    try:
        values: dict[str, Any] = json.loads((folder / _NAME / _LISTS).read_text(encoding="utf-8"))
        for key in ("fg_list", "fg_dir", "alpha_dir", "bg_list", "bg_dir"):
            values[key] = None if values[key] is None else Path(values[key])
        lists = Lists(**values)
    except (OSError, KeyError, TypeError, ValueError, RecursionError):
        return None
    return lists if _sound(lists) else None


def _sound(lists: Any) -> bool:
    """Whether what was read can have been written: whoever brings a folder brings this file too."""
    numbers = isinstance(lists.seed, int) and isinstance(lists.per_fg, int) and lists.per_fg > 0
    return bool(numbers and isinstance(lists.fg_list, Path) and lists.split in SPLITS)
