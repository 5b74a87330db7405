"""A small matting data set made of nothing but numbers, so that every command can be tried at once.

It lies on disk as Adobe's Composition-1k does: `fg/`, `alpha/`, `bg/` and four lists beside them. Training
foregrounds are JPEG, test foregrounds RGBA PNG whose alpha is band 0; what a reader of Adobe's files has to
cope with occurs here too: spaces and parentheses in names, backgrounds that are too small, sides of any size.
"""

import io
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from ...errors import WrongUseError
from ...files import publish
from ...text import next_steps
from ..engines.engine import Engine
from ..engines.local import LocalProcesses
from ..hosts import checked_hosts
from .backgrounds.scenes import city, forest, hills, room, sea
from .backgrounds.surfaces import bricks, clutter, garden, lights, pebbles, planks, stone
from .drawing import Floats, Rng, UInt8, extend_colours, photograph, to_uint8
from .foregrounds.creatures.hair import hair
from .foregrounds.glass import glass
from .foregrounds.lace import curtain, doily
from .foregrounds.smoke import smoke
from .foregrounds.solids import balls, foliage, pinwheel

Draw = Callable[[Rng, tuple[int, int]], Floats]
KINDS: tuple[Draw, ...] = (hair, curtain, smoke, glass, balls, foliage, doily, pinwheel)
SCENES: tuple[Draw, ...] = (
    hills,
    bricks,
    garden,
    room,
    stone,
    sea,
    clutter,
    planks,
    forest,
    lights,
    city,
    pebbles,
)
LEAST, MOST = 64, 4096  # `size`
GRAIN = 0.008  # deviation of the foregrounds' film grain
PARTIAL = ".partial"  # a file is called .NAME.partial until it is complete


@dataclass(frozen=True, kw_only=True)
class DemoSummary:
    """What `make_demo` made: how many of each, and the four lists."""

    folder: Path
    train_foregrounds: int
    train_backgrounds: int
    test_foregrounds: int
    test_backgrounds: int
    train_fg: Path
    train_bg: Path
    test_fg: Path
    test_bg: Path

    def __str__(self) -> str:
        per_train = self.train_backgrounds // self.train_foregrounds
        per_test = self.test_backgrounds // self.test_foregrounds
        text = (
            f"{self.folder}: {self.train_foregrounds} foregrounds to train on, each for {per_train} "
            f"backgrounds; {self.test_foregrounds} to test on, each for {per_test}\n"
        )
        commands = (
            f"build-dataset --fg-list {shlex.quote(str(self.train_fg))} --per-fg {per_train}",
            f"build-dataset --fg-list {shlex.quote(str(self.test_fg))} --per-fg {per_test}",
            "verify-composites",
            "train --recipe demo",
            "evaluate --checkpoint runs/dim --beside trimap",
            "export-images shards/test images",
            "predict images/merged images/trimaps --sheet",
        )
        return text + next_steps([f"dimtool {command}" for command in commands])


class _Picture(NamedTuple):
    """One entry of a list: its file, what draws it, and the numbers that it follows from with the seed."""

    name: str
    folders: tuple[str, ...]  # ("fg", "alpha") or ("bg",)
    draw: Draw
    role: int  # which list
    number: int  # which entry in the order of drawing

    def files(self) -> list[str]:
        return [f"{folder}/{self.name}" for folder in self.folders]


def make_demo(
    folder: Path,
    *,
    seed: int = 0,
    size: int = 640,
    train: int = 12,
    test: int = 4,
    backgrounds_per_train: int = 10,
    backgrounds_per_test: int = 5,
    engine: Engine | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> DemoSummary:
    """Draw a complete data set into `folder`, which is made if need be, and write its four lists last.

    size: about the longer side of the foregrounds in pixels, 64 to 4096. train, test: how many foregrounds;
    backgrounds_per_...: how many each of them gets. engine: where to draw; None for this process.
    progress: called with (pictures done, of how many).

    The same arguments give the same bytes. So a `folder` that holds nothing but files of this very demo is
    completed, and any other that is not empty is refused: no file that is there is ever written over.
    WrongUseError, a ValueError, says which argument is wrong or which file is in the way.
    """
    counts = {"train": train, "test": test}
    counts |= {"backgrounds_per_train": backgrounds_per_train, "backgrounds_per_test": backgrounds_per_test}
    _check_arguments(seed, size, counts)
    train_backgrounds, test_backgrounds = train * backgrounds_per_train, test * backgrounds_per_test
    lists = {
        "train_fg.txt": _foregrounds(0, train, "{}-{:03}.jpg"),
        "train_bg.txt": _backgrounds(1, train_backgrounds, "COCO_train2014_{:012}.jpg"),
        "test_fg.txt": _foregrounds(2, test, "{} ({}).png", first=train),
        "test_bg.txt": _backgrounds(3, test_backgrounds, "2008_{:06}.jpg", first=train_backgrounds),
    }
    draw = partial(_draw, folder, seed, size)
    _fill(folder, lists, draw, engine or LocalProcesses(workers=1), progress or (lambda *_: None))
    return DemoSummary(
        folder=folder,
        train_foregrounds=train,
        train_backgrounds=train_backgrounds,
        test_foregrounds=test,
        test_backgrounds=test_backgrounds,
        **{Path(name).stem: folder / name for name in lists},
    )


def _fill(
    folder: Path,
    lists: dict[str, list[_Picture]],
    draw: Callable[[_Picture], None],
    engine: Engine,
    progress: Callable[[int, int], None],
) -> None:
    """Write every picture of every list that is not there yet, then the lists."""
    pictures = [picture for entries in lists.values() for picture in entries]
    _check_folder(folder, {*lists, *(file for picture in pictures for file in picture.files())})
    folders = [folder / name for name in ("fg", "alpha", "bg")]
    for each in folders:
        each.mkdir(parents=True, exist_ok=True)
    with checked_hosts(engine, token=_partial(folder / min(lists)), writable=folders) as fit:
        for done, _ in enumerate(fit.run(draw, pictures), start=1):
            progress(done, len(pictures))
    for name, entries in lists.items():
        _write(folder / name, "\n".join(picture.name for picture in entries).encode())


def _draw(folder: Path, seed: int, size: int, picture: _Picture) -> None:
    for file, content in zip(picture.files(), _contents(picture, seed, size), strict=True):
        _write(folder / file, content)


def _check_arguments(seed: int, size: int, counts: dict[str, int]) -> None:
    if seed < 0:
        raise WrongUseError(f"seed is {seed}: give 0 or more")
    if not LEAST <= size <= MOST:
        raise WrongUseError(f"size is {size}: give {LEAST} to {MOST} pixels")
    for name, count in counts.items():
        if count < 1:
            raise WrongUseError(f"{name} is {count}: give 1 or more")


def _foregrounds(role: int, count: int, pattern: str, *, first: int = 0) -> list[_Picture]:
    """Every kind in turn, named by kind and number from `first` on; sorted as Adobe's lists are."""
    kinds = [KINDS[number % len(KINDS)] for number in range(count)]
    pictures = [
        _Picture(pattern.format(kind.__name__, first + number), ("fg", "alpha"), kind, role, number)
        for number, kind in enumerate(kinds)
    ]
    return sorted(pictures, key=lambda picture: picture.name.casefold())


def _backgrounds(role: int, count: int, pattern: str, *, first: int = 0) -> list[_Picture]:
    """Every scene in turn; every other one is named as in COCO or VOC, with a number that neither has."""
    pictures = []
    for number in range(count):
        scene = SCENES[number % len(SCENES)]
        own = f"{scene.__name__}-{first + number:04}.jpg"
        name = pattern.format(900_000 + number) if number % 2 else own
        pictures.append(_Picture(name, ("bg",), scene, role, number))
    return pictures


def _contents(picture: _Picture, seed: int, size: int) -> tuple[bytes, ...]:
    """The bytes of each of its files. They follow from the arguments alone, whatever was drawn before."""
    rng = np.random.default_rng([seed, picture.role, picture.number])
    if picture.folders == ("bg",):
        scene = picture.draw(rng, _background_shape(rng, size, picture.number))
        return (_encode(to_uint8(photograph(rng, scene)), "background.jpg"),)
    canvas = picture.draw(rng, _foreground_shape(rng, size))
    grain = rng.standard_normal((*canvas.shape[:2], 1), dtype=np.float32) * np.float32(GRAIN)
    foreground, alpha = to_uint8(extend_colours(canvas) + grain), to_uint8(canvas[..., 3])
    return _encode(foreground, picture.name), _encode(alpha, picture.name)


def _foreground_shape(rng: Rng, size: int) -> tuple[int, int]:
    """Height and width about `size`, upright or not, multiples of nothing in particular."""
    longer = size * rng.uniform(0.85, 1.2)
    sides = [round(longer), round(longer * rng.uniform(0.68, 1))]
    if rng.random() < 0.5:
        sides.reverse()
    return sides[0], sides[1]


def _background_shape(rng: Rng, size: int, number: int) -> tuple[int, int]:
    """Height and width: every third larger than any foreground, the others smaller; one in four upright."""
    turn = number + number // len(SCENES)  # so that every scene comes in every size and both ways up
    longer = size * (rng.uniform(1.25, 1.5) if turn % 3 == 0 else rng.uniform(0.5, 0.8))
    shorter = longer * rng.choice([0.562, 0.664, 0.75])
    sides = [round(shorter), round(longer)]
    if turn % 4 == 1:
        sides.reverse()
    return sides[0], sides[1]


def _encode(image: UInt8, name: str) -> bytes:
    """`image` (h, w) or (h, w, 3) as the type that `name` says; PNG with an opaque band more, as Adobe's."""
    picture, buffer = Image.fromarray(image), io.BytesIO()
    if name.endswith(".png"):
        picture.convert("RGB").convert("RGBA").save(buffer, "PNG", compress_level=6)
    else:
        picture.save(buffer, "JPEG", quality=95, subsampling="4:4:4")
    return buffer.getvalue()


def _check_folder(folder: Path, files: set[str]) -> None:
    """Refuse a folder that holds anything else than `files`, finished or begun."""
    if folder.exists() and not folder.is_dir():
        raise WrongUseError(f"{folder} is a file: name a folder for the demo")
    begun = {_partial(Path(file)).as_posix() for file in files}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        known = name in {"fg", "alpha", "bg"} if path.is_dir() else name in files | begun
        if path.is_symlink() or not known:
            raise WrongUseError(f"{path} is not part of this demo: choose a folder that is empty or new")


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}{PARTIAL}")


def _write(path: Path, content: bytes) -> None:
    """Make `path` appear, complete, under its name; leave it alone where it is there with this content."""
    begun = _partial(path)
    if path.exists():
        if path.read_bytes() != content:
            raise WrongUseError(
                f"{path} differs from this demo's: choose another folder, or the seed and size it had"
            )
        begun.unlink(missing_ok=True)
        return
    begun.write_bytes(content)
    publish(begun, path)
