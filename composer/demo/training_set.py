"""Thousands of drawn foregrounds and backgrounds to train a model on, in parallel and resumably."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from ...errors import WrongUseError
from ...files import own_scratch, write_text
from ...progress import Reporter, Silent
from ...text import count
from ..engines.engine import Engine
from ..hosts import checked_hosts
from .pictures import EDITION, PAIRS, Picture, draw_picture

HELD_BACK = 25  # every so many foregrounds and backgrounds are for validation
ALIKE = 0.35  # the share of backgrounds that have their foreground's palette
LEAST, MOST = 96, 2048  # `size`
RECORD = "drawn.json"  # what a set is drawn from
_LOCK = ".lock"
_FOLDERS = ("fg", "alpha", "bg")


@dataclass(frozen=True, kw_only=True)
class DrawnSet:
    """What there is now: how many of each, and the lists of the two splits."""

    folder: Path
    drawn: int  # pictures, this time
    kept: int  # pictures, from before
    train_foregrounds: int
    train_backgrounds: int
    val_foregrounds: int
    val_backgrounds: int
    per_fg: int

    def __str__(self) -> str:
        text = (
            f"{self.folder}: {count(self.drawn, 'picture')} drawn, {self.kept:,} there from before\n"
            f"{count(self.train_foregrounds, 'foreground')} and "
            f"{count(self.train_backgrounds, 'background')} to train on, "
            f"{self.val_foregrounds:,} and {self.val_backgrounds:,} to validate with\n"
        )
        splits = ["train", "val"] if self.val_foregrounds else ["train"]
        options = f"--per-fg {self.per_fg} --alpha-max 255"  # smoke and single hairs are faint, and meant so
        return text + "\n".join(
            f"next: dimtool build-dataset --fg-list {self.folder / f'{split}_fg.txt'} {options}"
            for split in splits
        )


def draw_set(
    folder: Path,
    *,
    engine: Engine,
    foregrounds: int,
    backgrounds: int,
    per_fg: int = 6,
    seed: int = 0,
    size: int = 512,
    reporter: Reporter[str] | None = None,
) -> DrawnSet:
    """Draw foregrounds with their alphas, and backgrounds, into `folder`; then its lists.

    foregrounds, backgrounds: how many; one in HELD_BACK of each is listed for validation. per_fg: how many
    backgrounds the lists give each foreground; some have its palette, so that both are hard to tell apart.
    size: about the longer side in pixels, LEAST to MOST. reporter: hears the name of each picture.

    A picture follows from seed, size and its number alone, whatever the engine. What is there already is
    kept, so an interrupted run goes on, and larger numbers add to a set. WrongUseError, a ValueError: an
    argument is out of range, `folder` holds something else, or another run is at work in it.
    """
    _check(foregrounds, backgrounds, per_fg, seed, size)
    subjects = [Picture(seed=seed, size=size, number=n, is_background=False) for n in range(foregrounds)]
    behind = [Picture(seed=seed, size=size, number=n, is_background=True) for n in range(backgrounds)]
    with _claimed(folder, {"edition": EDITION, "seed": seed, "size": size}):
        with own_scratch(folder) as scratch:
            drawn = _draw(folder, scratch, [*behind, *subjects], engine, reporter or Silent())
        counts = _write_lists(folder, subjects, behind, per_fg)
    return DrawnSet(
        folder=folder, drawn=drawn, kept=foregrounds + backgrounds - drawn, per_fg=per_fg, **counts
    )


def _draw(
    folder: Path, scratch: Path, pictures: list[Picture], engine: Engine, reporter: Reporter[str]
) -> int:
    """Draw what is not there; how many pictures that were."""
    missing = [each for each in pictures if not all((folder / file).exists() for file in each.files())]
    reporter.planned(len(pictures), len(pictures) - len(missing))
    folders = [folder / name for name in _FOLDERS]
    with checked_hosts(engine, scratch=scratch, writable=folders) as fit:
        for name in fit.run(partial(draw_picture, folder, scratch), missing):
            reporter.finished(name)
    return len(missing)


def _check(foregrounds: int, backgrounds: int, per_fg: int, seed: int, size: int) -> None:
    for name, number in (("foregrounds", foregrounds), ("backgrounds", backgrounds), ("per_fg", per_fg)):
        if number < 1:
            raise WrongUseError(f"{name} is {number}: give 1 or more")
    if seed < 0:
        raise WrongUseError(f"seed is {seed}: give 0 or more")
    if not LEAST <= size <= MOST:
        raise WrongUseError(f"size is {size}: give {LEAST} to {MOST} pixels")


@contextmanager
def _claimed(folder: Path, record: dict[str, int]) -> Iterator[None]:
    """Hold the folder alone: a new one, or one of this very record, rid of what a killed run had begun."""
    if folder.exists() and not folder.is_dir():
        raise WrongUseError(f"{folder} is a file: name a folder for the set")
    strange = [path for path in folder.glob("*") if not path.name.startswith(".")]
    if strange and not (folder / RECORD).exists():
        raise WrongUseError(f"{strange[0]} is not part of a drawn set: choose a folder that is empty or new")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / _LOCK, timeout=0):
            _prepare(folder, record)
            yield
    except Timeout as error:
        raise WrongUseError(f"another run draws into {folder}: wait for it, or choose another") from error


def _prepare(folder: Path, record: dict[str, int]) -> None:
    for begun in folder.glob(".*.part"):
        begun.unlink()
    path = folder / RECORD
    if not path.exists():
        write_text(path, json.dumps(record))
    elif path.read_text(encoding="utf-8") != json.dumps(record):
        raise WrongUseError(
            f"{path} is of a set with another seed, size or edition: choose another folder, or what it says"
        )
    for name in _FOLDERS:
        (folder / name).mkdir(exist_ok=True)


def _write_lists(folder: Path, subjects: list[Picture], behind: list[Picture], per_fg: int) -> dict[str, int]:
    """The lists of both splits, in Adobe's format; how many pictures of each sort they name."""
    counts: dict[str, int] = {}
    palettes = {picture.name: picture.palette for picture in behind}
    for split, held_back in (("train", False), ("val", True)):
        mine, theirs = _of_split(subjects, held_back), _of_split(behind, held_back)
        if not (mine and theirs):  # too few for a validation
            mine = theirs = []
        else:
            pairs = [name for subject in mine for name in _names(subject, theirs, palettes, per_fg)]
            write_text(folder / f"{split}_fg.txt", "\n".join(subject.name for subject in mine))
            write_text(folder / f"{split}_bg.txt", "\n".join(pairs))
        counts |= {f"{split}_foregrounds": len(mine), f"{split}_backgrounds": len(theirs)}
    return counts


def _of_split(pictures: Sequence[Picture], held_back: bool) -> list[Picture]:
    return [each for each in pictures if (each.number % HELD_BACK == HELD_BACK - 1) == held_back]


def _names(subject: Picture, behind: list[Picture], palettes: dict[str, int], count: int) -> list[str]:
    """`count` backgrounds of a subject, different ones while there are enough, some of its palette."""
    rng = np.random.default_rng([subject.seed, PAIRS, subject.number])
    order = [behind[place].name for place in rng.permutation(len(behind))]
    own = subject.palette
    alike = [name for name in order if palettes[name] == own]
    chosen = list(dict.fromkeys([*alike[: rng.binomial(count, ALIKE)], *order]))[:count]
    return [chosen[place % len(chosen)] for place in range(count)]
