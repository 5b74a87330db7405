"""Which file of a folder belongs to which image: by the image's own name, or by its foreground's."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, cast

from ...composer.sources.folders import FolderIndex
from ...errors import DimtoolError
from ...names import labels
from ...text import count


class EvaluationError(DimtoolError):
    """What is to be scored is not all there, or does not fit; one line that names it."""


class Named(NamedTuple):
    """An image: its name, as the official code names composites, and its foreground's; no suffixes."""

    name: str
    foreground: str


def guess_foreground(name: str) -> str:
    """The foreground that a composite's name tells of, where nothing else does: `cat_7` is of `cat`."""
    return re.sub(r"_\d+$", "", name)


class Files:
    """The image files of a folder and below by their stems, each of which may be there but once.

    Files of one name in several sub-folders are told apart as listed foregrounds are: `clip1-0000`.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._index = FolderIndex(root)
        self._names: dict[str, list[str]] = defaultdict(list)
        names = sorted(self._index.names)
        for label, name in zip(labels(names), names, strict=True):
            self._names[label].append(name)
        self.passed_over = self._index.passed_over

    def __contains__(self, own: str) -> bool:
        return own in self._names

    @property
    def stems(self) -> list[str]:
        """Of all files, in order."""
        return sorted(self._names)

    def path(self, own: str) -> Path:
        """The one file of a stem that is there. Raises EvaluationError, ManifestError for more than one."""
        names = self._names[own]
        if len(names) > 1:
            raise EvaluationError(
                f"{names[0]} and {names[1]} in {self.root} have the same stem: rename or remove one"
            )
        return cast(Path, self._index.find(names[0]))  # as its root is a path


def match(files: Files, images: Sequence[Named], *, known: bool) -> list[Path]:
    """The file of each image: its own (`cat_7.png`), or one for all composites of a foreground (`cat.png`).

    known: whether the foregrounds are known, as shards know them, or guessed from the names. `dog_1` can be
    composite 1 of `dog` and a foreground of its own: what cannot be decided by all names together is refused,
    never guessed. Raises EvaluationError, also for a file that is not there.
    """
    others = {image.foreground for image in images}
    by_own = all(image.name in files for image in images)
    by_foreground = all(image.name != image.foreground in files for image in images)
    found = []
    for image in images:
        own, shared = image.name in files, image.foreground in files
        twofold = own and shared and image.name != image.foreground
        if twofold and (not known or image.name in others):
            if by_own == by_foreground or not (known or by_own):
                raise EvaluationError(_both_ways(files, image, known=known))
            own = by_own
        if not (own or shared):
            raise EvaluationError(_missing(files, image))
        found.append(image.name if own else image.foreground)
    _refuse_two_readings(files, images, found)
    return [files.path(each) for each in found]


def match_own(files: Files, images: Sequence[Named]) -> list[Path]:
    """The file of each image by its own name alone. Raises EvaluationError."""
    missing = [image for image in images if image.name not in files]
    if missing:
        raise EvaluationError(
            f"{files.root} has no file for {count(len(missing), 'image')} of {len(images):,} "
            f"({missing[0].name}, …): those that are hard to make belong to a mean as well; add them"
        )
    return [files.path(image.name) for image in images]


def _both_ways(files: Files, image: Named, *, known: bool) -> str:
    advice = (
        "keep one file a composite in it, or one a foreground"
        if known
        else "score against the shards (--shards, without --truth-dir), or give a folder with one file an "
        "image, of its name"
    )
    return (
        f"{image.name} could be a composite of {image.foreground} or a foreground of its own, and "
        f"{files.root} has a file for either: {advice}"
    )


def _missing(files: Files, image: Named) -> str:
    names = " or ".join(dict.fromkeys((image.name, image.foreground)))
    return f"for {image.name}: there is no {names} in {files.root} or below: bring the file"


def _refuse_two_readings(files: Files, images: Sequence[Named], found: Sequence[str]) -> None:
    """One file must not be an image's own and another's foreground at once."""
    own = {each: image for image, each in zip(images, found, strict=True) if each == image.name}
    for image, each in zip(images, found, strict=True):
        if each != image.name and each in own:
            raise EvaluationError(
                f"{files.path(each)} could be of {each} alone or of the foreground of {image.name}: give a "
                "file for each image, of its name"
            )
