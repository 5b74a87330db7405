"""Name lists -> Manifest: which foreground goes over which backgrounds, and where each file lies."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from ...manifests.presets import PER_FG
from ...names import composite_name, labels, stem
from .folders import FolderIndex, ManifestError
from .reading import ADOBE, Reading

SPLITS = tuple(PER_FG)


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
    """A split: the foregrounds that can be built, those that cannot, and what was odd about the lists."""

    lists: Lists
    split: str
    per_fg: int
    listed: int
    entries: tuple[ForegroundEntry, ...]
    failures: tuple[Failure, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def asked(self) -> int:
        """Composites that the lists ask for."""
        return self.listed * self.per_fg


@dataclass(frozen=True, kw_only=True)
class Lists:
    """What a build starts from; only `fg_list` must be given, the rest is found beside it.

    fg_dir, alpha_dir, bg_dir: `fg`, `alpha`, `bg` beside the list. bg_list: the list's name with `bg` for
    `fg`; where there is none, backgrounds are drawn from bg_dir with `seed`, without repetition. split: in
    the list's name. per_fg: 100 for train, 20 for val and test. reuse_bg: start again at the head of the
    background list when it ends. alpha_from, alpha_max, exif_transpose: see Reading.
    """

    fg_list: Path
    fg_dir: Path | None = None
    alpha_dir: Path | None = None
    bg_list: Path | None = None
    bg_dir: Path | None = None
    split: str | None = None
    per_fg: int | None = None
    seed: int = 0
    reuse_bg: bool = False
    alpha_from: str = ADOBE.alpha_from
    alpha_max: int | None = None
    exif_transpose: bool | None = None

    @property
    def reading(self) -> Reading:
        """How the sources are to be read."""
        return Reading(
            alpha_from=self.alpha_from, alpha_max=self.alpha_max, exif_transpose=self.exif_transpose
        )


def read_manifest(lists: Lists) -> Manifest:
    """Read the lists, find every file, and pair foreground k, composite i with background k * per_fg + i.

    What concerns one foreground alone (a missing file, a repeated name) is a `Failure` of it; its place
    in the list stays taken, so that the others keep their backgrounds. Raises ManifestError for what
    concerns all: no such list or folder, an unknown split, too few backgrounds.
    """
    split = lists.split or _split_in(lists.fg_list)
    per_fg = PER_FG[split] if lists.per_fg is None else lists.per_fg
    if per_fg < 1:
        raise ManifestError(f"{per_fg} backgrounds a foreground: at least 1 is needed")
    beside = lists.fg_list.parent
    names, notes = read_list(lists.fg_list)
    if not names:
        raise ManifestError(f"{lists.fg_list} lists no foreground: write one file name a line")
    foregrounds = FolderIndex(lists.fg_dir or beside / "fg")
    own_a = lists.alpha_from == "fg"
    folders = [
        foregrounds,
        foregrounds if own_a else FolderIndex(lists.alpha_dir or beside / "alpha"),
        FolderIndex(lists.bg_dir or beside / "bg"),
    ]
    backgrounds, more = _background_names(lists, len(names) * per_fg, folders[2])
    for folder, wanted, what in zip(
        folders, (names, names, backgrounds), ("", "", "the backgrounds of "), strict=True
    ):
        folder.refuse_all_missing(wanted, f"{what}{lists.fg_list}")
    pairing = _Pairing(lists.fg_list, names, backgrounds, per_fg, folders, lists.reading)
    pairs = [pairing.entry(index) for index in range(len(names))]
    return Manifest(
        lists=replace(lists, split=split, per_fg=per_fg),
        split=split,
        per_fg=per_fg,
        listed=len(names),
        entries=tuple(pair for pair in pairs if isinstance(pair, ForegroundEntry)),
        failures=tuple(pair for pair in pairs if isinstance(pair, Failure)),
        notes=(*notes, *more, *_found_otherwise(*folders)),
    )


def read_list(path: Path) -> tuple[list[str], list[str]]:
    """The names in a list file, one a line, and notes on what was passed over (blank lines).

    CRLF, a byte order mark and a missing newline at the end are all right. Raises ManifestError.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError as error:
        raise ManifestError(f"{path} does not exist: bring the list, or say where it is") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path} cannot be read as a list of names in UTF-8: {error}") from error
    names = [line.strip() for line in lines]
    blank = names.count("")
    notes = [f"{path}: {blank} blank line{'s' * (blank > 1)} passed over"] if blank else []
    return [name for name in names if name], notes


def _found_otherwise(foregrounds: FolderIndex, alphas: FolderIndex, backgrounds: FolderIndex) -> list[str]:
    """A matte has its foreground's stem, whatever its suffix: that is no news."""
    own_a = alphas is foregrounds
    return [*foregrounds.notes(), *([] if own_a else alphas.notes(stems=False)), *backgrounds.notes()]


def _split_in(fg_list: Path) -> str:
    for split in SPLITS:
        if fg_list.name.lower().startswith(split):
            return split
    raise ManifestError(
        f"{fg_list}: the name does not begin with {', '.join(SPLITS[:-1])} or {SPLITS[-1]}; "
        "say which it is with --split"
    )


def _background_names(lists: Lists, needed: int, folder: FolderIndex) -> tuple[list[str], list[str]]:
    path = lists.bg_list or lists.fg_list.with_name(lists.fg_list.name.replace("fg", "bg"))
    listed = lists.bg_list is not None or (path != lists.fg_list and path.exists())
    if listed:
        names, notes = read_list(path)
        source = str(path)
        notes += _repeats(path, names)
    else:
        names, source = sorted(folder.names), f"folder {folder.root}"
        # random.Random's shuffle is the same in every Python; the listing is sorted first.
        random.Random(lists.seed).shuffle(names)
        missing = "no background list" if path == lists.fg_list else f"no {path.name} beside the list"
        notes = [f"{missing}: backgrounds drawn from {folder.root}, seed {lists.seed}", *folder.passed_over]
    if len(names) < needed and not (lists.reuse_bg and names):
        raise ManifestError(
            f"{source} has {len(names):,} backgrounds and {needed:,} are needed: "
            "add some, lower --per-fg, or pass --reuse-bg"
        )
    if len(names) > needed and listed:
        notes.append(f"{path}: the first {needed:,} of {len(names):,} backgrounds are used")
    return [names[i % len(names)] for i in range(needed)], notes


def _repeats(path: Path, names: Sequence[str]) -> list[str]:
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if not repeated:
        return []
    return [f"{path}: {len(repeated)} names stand there more than once ({repeated[0]}, …); used as listed"]


def _too_long(*files: str) -> list[str]:
    longest = max(files, key=lambda file: len(file.encode()))
    size = len(longest.encode())
    if size <= 255:
        return []
    return [f"{longest} would have a name of {size} bytes, and 255 is what systems take: shorten it"]


@dataclass(frozen=True)
class _Pairing:
    """Everything that an entry of the foreground list is resolved against."""

    fg_list: Path
    names: list[str]
    backgrounds: list[str]
    per_fg: int
    folders: list[FolderIndex]
    reading: Reading

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
                errors.append(str(error))
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
            reading=self.reading,
            label=own,
        )

    def _clashes(self, index: int) -> list[str]:
        """Two foregrounds that nothing tells apart would give their composites the same official names."""
        own = self._labels[index]
        first = self._first_with_label[own]
        if first == index:
            return []
        name, other = self.names[index], self.names[first]
        if name == other:
            return [f"{self.fg_list} lists {name} twice (entries {first + 1} and {index + 1}): remove one"]
        return [
            f"{self.fg_list} lists {other} and {name}, whose composites would both be called {own}_0.png: "
            "rename one"
        ]

    @cached_property
    def _labels(self) -> list[str]:
        return labels(self.names)

    @cached_property
    def _first_with_label(self) -> dict[str, int]:
        first: dict[str, int] = {}
        for index, label in enumerate(self._labels):
            first.setdefault(label, index)
        return first
