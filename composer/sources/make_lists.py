"""Folders of foregrounds and backgrounds -> list files, with a validation split by foreground."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from ...errors import WrongUseError
from ...files import write_text
from ...manifests.layouts import LAYOUTS
from ...names import labels
from ...storage.remote import Place
from ...text import count
from .folders import FolderIndex, ManifestError
from .reading import ADOBE


@dataclass(frozen=True, kw_only=True)
class ListsMade:
    """The lists written, with their lengths, and the images left out, each with the reason.

    notes: what is to be known of a published data set.
    """

    lists: dict[str, int]
    left_out: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ListsPlan:
    """What to draw. validation: share of the foregrounds, 0 to 1; per_fg and so on: backgrounds each.

    alpha_from: see Reading. split: of the first pair of lists; only of `train` a share can be held out.
    """

    fg_dir: Place
    alpha_dir: Place
    bg_dir: Place
    out: Path
    per_fg: int
    validation: float
    validation_per_fg: int
    seed: int
    alpha_from: str = ADOBE.alpha_from
    split: str = "train"


@dataclass(frozen=True, kw_only=True)
class Located:
    """A split of a published data set on this disk; foregrounds: how many it should have, 0 if unknown."""

    title: str
    split: str
    fg_dir: Path
    alpha_dir: Path
    foregrounds: int
    note: str

    def notes(self, listed: int) -> tuple[str, ...]:
        """What is to be said of it where `listed` foregrounds were found."""
        told = [f"{self.title}: its layout is from documentation, and was not tried on its files"]
        if self.foregrounds and listed != self.foregrounds:
            told.append(
                f"{listed:,} of the {self.foregrounds:,} published {self.split} foregrounds are listed"
            )
        return (*told, *([self.note] if self.note else ()))


def locate(layout: str, root: Path, split: str | None) -> Located:
    """A split of the data set `layout` below `root`; its first one without a `split`.

    Raises WrongUseError where it has no such split, or its folders are not there.
    """
    known = LAYOUTS[layout]
    split = split or next(iter(known.splits))
    if split not in known.splits:
        raise WrongUseError(f"{known.title} has no {split} split: choose {' or '.join(known.splits)}")
    parts = known.splits[split]
    places = [_first_there(root, each) for each in (parts.fg, parts.alpha)]
    return Located(
        title=known.title,
        split=split,
        fg_dir=places[0],
        alpha_dir=places[1],
        foregrounds=parts.foregrounds,
        note=known.note,
    )


def _first_there(root: Path, folders: Sequence[str]) -> Path:
    for folder in folders:
        if (root / folder).is_dir():
            return root / folder
    raise WrongUseError(
        f"{root} has no folder {' or '.join(folders)}: name the root of the data set, or, where it lies "
        "otherwise, leave --layout out and name the folders with --fg-dir and --alpha-dir"
    )


def make_lists(plan: ListsPlan) -> ListsMade:
    """Write `train_fg.txt` and `train_bg.txt` (or of `split`), and the same for val if a share is asked for.

    A foreground is in one split only, with all its composites; no background is used twice. Foregrounds
    without a matte are left out and named. The same seed and file names give the same lists. Raises
    WrongUseError where lists would be overwritten or there are too few backgrounds; ManifestError.
    """
    if plan.validation and plan.split != "train":
        raise WrongUseError(f"a share is held out of a training set, not of {plan.split}: leave --val out")
    every = FolderIndex(plan.fg_dir, role="fg")
    _refuse_one_for_two(plan, divided=every.divided)
    alphas = None if plan.alpha_from == "fg" else FolderIndex(plan.alpha_dir, role="alpha")
    foregrounds, left_out = _with_matte(every, alphas)
    if not foregrounds:
        raise WrongUseError(
            f"{plan.fg_dir} has no foreground with a matte of its name in {plan.alpha_dir}: name the folders "
            "with --fg-dir and --alpha-dir"
        )
    backgrounds = _usable(FolderIndex(plan.bg_dir), left_out)
    draw = random.Random(plan.seed)
    draw.shuffle(foregrounds)
    draw.shuffle(backgrounds)
    held = round(plan.validation * len(foregrounds))
    if plan.validation and not 0 < held < len(foregrounds):
        raise WrongUseError(
            f"a validation share of {plan.validation:.0%} of {count(len(foregrounds), 'foreground')} leaves "
            "a split empty: choose another"
        )
    # The training list keeps the order of the names; which of them are held out is the draw's.
    train, val = sorted(foregrounds[held:], key=str.lower), sorted(foregrounds[:held], key=str.lower)
    wanted = [len(train) * plan.per_fg, len(val) * plan.validation_per_fg]
    if sum(wanted) > len(backgrounds):
        raise WrongUseError(
            f"{plan.bg_dir} has {count(len(backgrounds), 'background')} and {sum(wanted):,} are needed: "
            "add some, or lower --per-fg"
        )
    lists = {f"{plan.split}_fg.txt": train, f"{plan.split}_bg.txt": backgrounds[: wanted[0]]}
    if val:
        lists |= {"val_fg.txt": val, "val_bg.txt": backgrounds[wanted[0] : sum(wanted)]}
    _write(plan.out, lists)
    return ListsMade(lists={name: len(names) for name, names in lists.items()}, left_out=tuple(left_out))


def _refuse_one_for_two(plan: ListsPlan, *, divided: bool) -> None:
    """Raise WrongUseError where a folder is given for two things, and is not divided into both."""
    given = {"--fg-dir": plan.fg_dir, "--bg-dir": plan.bg_dir}
    given |= {} if divided or plan.alpha_from == "fg" else {"--alpha-dir": plan.alpha_dir}
    for (one, folder), (other, again) in combinations(given.items(), 2):
        if folder.resolve() == again.resolve():
            raise WrongUseError(
                f"{folder} is given as {one} and as {other}: name another folder for one of them"
            )


def _with_matte(foregrounds: FolderIndex, alphas: FolderIndex | None) -> tuple[list[str], list[str]]:
    """The foregrounds that have a matte (all, where it is their own A), and what was left out."""
    left_out: list[str] = []
    found = []
    for name in _usable(foregrounds, left_out):
        try:
            if alphas is not None:
                alphas.find(name)
        except ManifestError as error:
            left_out.append(str(error))
            continue
        found.append(name)
    named: dict[str, str] = {}
    for name, label in zip(found, labels(found), strict=True):
        if (first := named.setdefault(label, name)) != name:
            left_out.append(f"{name} would give its composites the names of those of {first}: rename one")
    return list(named.values()), left_out


def _usable(folder: FolderIndex, left_out: list[str]) -> list[str]:
    """The names that a line of a list can hold and that mean one file, sorted; the others are noted."""
    usable = []
    for name in sorted(folder.names):
        try:
            folder.find(name)
        except ManifestError as error:
            left_out.append(str(error))
            continue
        usable.append(name)
    left_out += folder.passed_over
    return usable


def _write(out: Path, lists: dict[str, list[str]]) -> None:
    for name in lists:
        if (out / name).exists():
            raise WrongUseError(f"{out / name} exists: choose another --out, or remove it")
    out.mkdir(parents=True, exist_ok=True)
    for name, names in lists.items():
        write_text(out / name, "\n".join(names))  # as Adobe's: no newline at the end
