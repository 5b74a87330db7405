"""Name lists -> Manifest: which foreground goes over which backgrounds, and where each file lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from ...manifests.presets import PER_FG
from ...names import composite_name, labels, stem
from ...text import count
from .backgrounds import find_backgrounds
from .folders import FolderIndex, ManifestError
from .lists import Lists, read_list
from .places import EMPTY, Begun, keep_places, names_ever
from .reading import ADOBE, Reading


def shard_name(index: int, foreground: str, label: str = "") -> str:
    """The file name of the shard of foreground number `index`: `0007-name.h5`; label: see composite_name."""
    return f"{index:04d}-{label or stem(foreground)}.h5"


@dataclass(frozen=True, kw_only=True)
class ForegroundEntry:
    """A foreground with its backgrounds, in the order of the lists; files resolved.

    label: what its shard and composites are named after, where that is not the stem of its name alone.
    """

    index: int
    name: str
    foreground: Path
    alpha: Path
    background_names: tuple[str, ...]
    backgrounds: tuple[Path, ...]
    reading: Reading = ADOBE
    label: str = ""

    @property
    def shard_name(self) -> str:
        """The shard's file name."""
        return shard_name(self.index, self.name, self.label)

    def failure(self, errors: Sequence[str]) -> Failure:
        """That it cannot be built."""
        return Failure(index=self.index, foreground=self.name, errors=tuple(errors), label=self.label)


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A foreground that cannot be built, and why: each line of `errors` names a file and what to do.

    background_names: what it was to be composited over, where the lists alone show that it cannot be.
    """

    index: int
    foreground: str
    errors: tuple[str, ...]
    background_names: tuple[str, ...] = ()
    label: str = ""

    @property
    def shard_name(self) -> str:
        """The file name that its shard would have."""
        return shard_name(self.index, self.foreground, self.label)


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A split: the foregrounds that can be built, those that cannot, and what was odd about the lists.

    begun: the names by place, for a build to note down.
    """

    lists: Lists
    split: str
    per_fg: int
    listed: int
    entries: tuple[ForegroundEntry, ...]
    failures: tuple[Failure, ...] = ()
    notes: tuple[str, ...] = ()
    begun: Begun | None = None

    @property
    def asked(self) -> int:
        """Composites that the lists ask for."""
        return self.listed * self.per_fg


def read_manifest(lists: Lists, begun: Begun | None = None) -> Manifest:
    """Read the lists, find every file, and pair foreground k, composite i with background k * per_fg + i.

    What concerns one foreground alone (a missing file, a repeated name) is a `Failure` of it; its place
    in the list stays taken, so that the others keep their backgrounds. `begun`: what a folder was begun
    with; what is built there keeps its place as well. Raises ManifestError for what concerns all: no such
    list or folder, an unknown split, too few backgrounds.
    """
    split = lists.known_split
    per_fg = PER_FG[split] if lists.per_fg is None else lists.per_fg
    if per_fg < 1:
        raise ManifestError(f"{per_fg} backgrounds a foreground: at least 1 is needed")
    begun = begun if begun is not None and begun.per_fg == per_fg else None
    names, notes = _foregrounds(lists, begun)
    wanted = [name for name in names if name != EMPTY]
    folders = _folders(lists)
    backgrounds = find_backgrounds(lists, len(names) * per_fg, folders[2], begun)
    for folder, listed, what in zip(
        folders, (wanted, wanted, backgrounds.names), ("", "", "the backgrounds of "), strict=True
    ):
        folder.refuse_all_missing(listed, f"{what}{lists.fg_list}")
    ever = names_ever(names, begun.foregrounds if begun else ())
    pairing = _Pairing(lists, names, ever, backgrounds.names, per_fg, folders)
    pairs = [pairing.entry(index) for index, name in enumerate(names) if name != EMPTY]
    return Manifest(
        lists=replace(lists, split=split, per_fg=per_fg),
        split=split,
        per_fg=per_fg,
        listed=len(wanted),
        entries=tuple(pair for pair in pairs if isinstance(pair, ForegroundEntry)),
        failures=tuple(pair for pair in pairs if isinstance(pair, Failure)),
        notes=(*notes, *backgrounds.notes, *_found_otherwise(*folders)),
        begun=Begun(
            foregrounds=tuple(ever),
            backgrounds=backgrounds.listed,
            replaced=backgrounds.replaced,
            per_fg=per_fg,
            seed=lists.seed if lists.beside_bg_list is None else None,
        ),
    )


def _foregrounds(lists: Lists, begun: Begun | None) -> tuple[list[str], list[str]]:
    """Names by place, `-` where one is left out, and notes."""
    names, notes = read_list(lists.fg_list)
    if all(name == EMPTY for name in names):
        raise ManifestError(f"{lists.fg_list} lists no foreground: write one file name a line")
    if begun is not None:
        names = keep_places(names, begun.foregrounds, begun.built)
    if left_out := names.count(EMPTY):
        left = f"{count(left_out, 'foreground')} left out"
        notes.append(f"{lists.fg_list}: {left}; the others keep their numbers and backgrounds")
    return names, notes


def _folders(lists: Lists) -> tuple[FolderIndex, FolderIndex, FolderIndex]:
    """Foregrounds, mattes, backgrounds. Raises ManifestError."""
    beside = lists.fg_list.parent
    foregrounds = FolderIndex(lists.fg_dir or beside / "fg")
    own_a = lists.alpha_from == "fg"
    place = lists.alpha_dir or beside / "alpha"
    if not own_a and not place.is_dir():
        raise ManifestError(
            f"{place} is no folder: bring it, say where it is with --alpha-dir, or pass --alpha-from fg "
            "where the foregrounds are cut-outs"
        )
    alphas = foregrounds if own_a else FolderIndex(place)
    return foregrounds, alphas, FolderIndex(lists.bg_dir or beside / "bg")


def _found_otherwise(foregrounds: FolderIndex, alphas: FolderIndex, backgrounds: FolderIndex) -> list[str]:
    """A matte has its foreground's stem, whatever its suffix: that is no news."""
    own_a = alphas is foregrounds
    return [*foregrounds.notes(), *([] if own_a else alphas.notes(stems=False)), *backgrounds.notes()]


def _too_long(*files: str) -> list[str]:
    longest = max(files, key=lambda file: len(file.encode()))
    size = len(longest.encode())
    if size <= 255:
        return []
    return [f"{longest} would have a name of {size} bytes, and 255 is what systems take: shorten it"]


@dataclass(frozen=True)
class _Pairing:
    """Everything that an entry of the foreground list is resolved against."""

    lists: Lists
    names: Sequence[str]
    ever: Sequence[str]
    backgrounds: Sequence[str]
    per_fg: int
    folders: tuple[FolderIndex, FolderIndex, FolderIndex]

    def entry(self, index: int) -> ForegroundEntry | Failure:
        name = self.names[index]
        wanted = self.backgrounds[index * self.per_fg : (index + 1) * self.per_fg]
        fg, alpha, bg = self.folders
        label = self._labels[index]
        named = shard_name(index, name, label), f"{composite_name(name, self.per_fg - 1, label)}.png"
        errors = [*self._clashes(index), *_too_long(*named)]
        own = "" if label == stem(name) else label
        found: list[Path] = []
        for folder, what in [(fg, name), (alpha, name), *((bg, each) for each in wanted)]:
            try:
                found.append(folder.find(what))
            except ManifestError as error:
                errors.append(self._no_name(name) if what == EMPTY else str(error))
        if errors:
            return Failure(
                index=index,
                foreground=name,
                errors=tuple(errors),
                background_names=tuple(wanted),
                label=own,
            )
        return ForegroundEntry(
            index=index,
            name=name,
            foreground=found[0],
            alpha=found[1],
            background_names=tuple(wanted),
            backgrounds=tuple(found[2:]),
            reading=self.lists.reading,
            label=own,
        )

    def _no_name(self, name: str) -> str:
        return (
            f"{self.lists.beside_bg_list or self.folders[2].root} has no name too many for a place of {name} "
            f"that holds {EMPTY}: write another background there, or add one at the end"
        )

    def _clashes(self, index: int) -> list[str]:
        """Two foregrounds that nothing tells apart would give their composites the same official names."""
        own = self._labels[index]
        first = self._first_with_label[own]
        if first == index:
            return []
        name, other = self.names[index], self.names[first]
        if name == other:
            entries = f"entries {first + 1} and {index + 1}"
            return [f"{self.lists.fg_list} lists {name} twice ({entries}): remove the second"]
        return [
            f"{self.lists.fg_list} lists {other} and {name}, whose composites would both be called "
            f"{own}_0.png: rename the second (entry {index + 1})"
        ]

    @cached_property
    def _labels(self) -> list[str]:
        return labels(self.ever)

    @cached_property
    def _first_with_label(self) -> dict[str, int]:
        first: dict[str, int] = {}
        for index, label in enumerate(self._labels):
            if self.names[index] != EMPTY:
                first.setdefault(label, index)
        return first
