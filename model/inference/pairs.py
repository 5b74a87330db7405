"""Photographs and their trimaps: which belong together, and what is read of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...arrays import UInt8Image, UInt8Mask
from ...composer.pixels.trimap import UNKNOWN
from ...composer.sources.images import SourceError, read_photograph
from ...composer.sources.mattes import read_trimap
from ...errors import DimtoolError, WrongUseError
from ...names import has_image_suffix, stem
from ...text import count, sides
from .inputs import trimap_values

BELOW, ABOVE = 26, 229
"""With a threshold, trimap values under the first are background, over the second foreground: a tenth."""

_NAMED = 5  # of many, so many are written out


class PairError(DimtoolError):
    """A photograph and its trimap cannot be used; one line that names the file and says what to do."""


class Pair(NamedTuple):
    """A photograph and its trimap."""

    image: Path
    trimap: Path


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A photograph without an alpha, and why."""

    image: Path
    error: str


def find_pairs(image: Path, trimap: Path) -> tuple[list[Pair], list[Failure], list[str]]:
    """Photographs with their trimaps, those that have none or several, and what else to say.

    image, trimap: two files, or two folders, of which the image files are matched by their stems; their
    sub-folders are not looked into. Raises WrongUseError.
    """
    if image.is_dir() != trimap.is_dir():
        raise WrongUseError(f"{image} and {trimap} are a folder and a file: give two files or two folders")
    if not image.is_dir():
        return [Pair(image, trimap)], [], []
    if image.samefile(trimap):
        raise WrongUseError(f"{image} is the folder of the images and of the trimaps: put these into another")
    (images, passed), (trimaps, also_passed) = _by_stem(image), _by_stem(trimap)
    if not images:
        raise WrongUseError(f"{image} holds no image, by its files' suffixes: bring some, or rename them")
    pairs, failures = [], []
    for name, paths in images.items():
        error = _why_not(paths, trimaps.get(name, []), trimap)
        if error:
            failures.append(Failure(image=paths[0], error=error))
        else:
            pairs.append(Pair(paths[0], trimaps[name][0]))
    if not pairs:
        raise WrongUseError(f"no image of {image} has a trimap: {failures[0].error}")
    left_over = _left_over(trimap, sorted(trimaps.keys() - images.keys()))
    return pairs, failures, [*_passed_over(image, passed), *_passed_over(trimap, also_passed), *left_over]


def _why_not(images: Sequence[Path], trimaps: Sequence[Path], folder: Path) -> str:
    for paths in (images, trimaps):
        if len(paths) > 1:
            return f"{paths[0]} and {paths[1].name} have the same stem: rename or remove one"
    return "" if trimaps else f"{images[0]} has no trimap {stem(images[0])}.* in {folder}: bring it"


def _left_over(folder: Path, stems: Sequence[str]) -> list[str]:
    return [f"{count(len(stems), 'trimap')} of {folder} without an image: {_named(stems)}"] if stems else []


def _passed_over(folder: Path, names: Sequence[str]) -> list[str]:
    if not names:
        return []
    return [f"{folder}: {count(len(names), 'entry', 'entries')} passed over, no image files: {_named(names)}"]


def _named(values: Sequence[object]) -> str:
    return ", ".join(map(str, values[:_NAMED])) + (" ..." if len(values) > _NAMED else "")


def _by_stem(folder: Path) -> tuple[dict[str, list[Path]], list[str]]:
    """Image files by stem, and the names of all else that is not hidden."""
    found, others = defaultdict(list), []
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if has_image_suffix(path.name) and path.is_file():
            found[stem(path)].append(path)
        else:
            others.append(path.name)
    return dict(found), others


def read_pair(pair: Pair, *, threshold: bool = False) -> tuple[UInt8Image, UInt8Mask]:
    """A photograph, (h, w, 3), and its trimap, (h, w) of 0, 128, 255, each upright by its own EXIF tag.

    Raises SourceError for what cannot be read, PairError where the two do not fit.
    """
    image = read_photograph(pair.image).pixels
    try:
        trimap = read_trimap(pair.trimap).pixels
    except SourceError as error:
        if not np.isin(image, (0, UNKNOWN, 255)).all():
            raise
        raise PairError(
            f"{pair.image} looks like a trimap and {pair.trimap} does not: give the photograph first, then "
            "its trimap"
        ) from error
    if image.shape[:2] != trimap.shape:
        raise PairError(
            f"{pair.trimap} is {sides(trimap.shape)} and {pair.image} {sides(image.shape)} pixels, "
            "each turned by its own EXIF tag: make the trimap of the whole image, as viewers show it"
        )
    return image, _thresholded(trimap) if threshold else _three_valued(trimap, pair.trimap)


def _thresholded(trimap: UInt8Mask) -> UInt8Mask:
    result = np.full(trimap.shape, UNKNOWN, np.uint8)
    result[trimap < BELOW] = 0
    result[trimap > ABOVE] = 255
    return result


def _three_valued(trimap: UInt8Mask, path: Path) -> UInt8Mask:
    others = trimap_values(trimap)
    if others:
        raise PairError(
            f"{path} has {count(len(others), 'value')} beside 0, 128 and 255: {_named(others)}; save it "
            f"without smoothing or JPEG, or give --threshold (under {BELOW} background, over {ABOVE} "
            "foreground)"
        )
    return trimap
