"""The images that predictions are scored on: test shards, or folders; with their truths and trimaps."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol

import numpy as np

from ...arrays import UInt8Image, UInt8Mask
from ...composer.pixels.trimap import UNKNOWN, trimap_of
from ...composer.shards.dataset import CompositeDataset
from ...composer.sources.images import image_size, read_background
from ...composer.sources.mattes import read_trimap, read_truth
from ...files import file_sha256
from ...names import stem
from ...storage.remote import Place
from ...text import count, sides
from .pairing import EvaluationError, Files, Named, guess_foreground, match, match_own
from .scoring import Item


class Images(Protocol):
    """Images with their truths and trimaps, all found before any is scored."""

    names: list[Named]
    where: str  # they are from
    pictures: bool  # whether the images themselves are wanted, not their truths and trimaps alone
    trimaps_used: str  # in words
    own_trimaps: bool  # whether they were given, not made from a radius
    split: str
    notes: list[str]  # what to say of them

    def __getitem__(self, number: int) -> Item:
        """One of them."""

    def key(self, number: int) -> str:
        """What it is scored with, as a digest: another truth or trimap gives another."""

    def batches(self, numbers: Sequence[int], size: int) -> list[list[int]]:
        """Those numbers, at most `size` of one size together."""

    def without_unknown(self) -> list[int]:
        """Numbers of images that have nothing to be scored; every trimap is read for that."""

    def refuse_other_sizes(self, predictions: Sequence[Path]) -> None:
        """Raise EvaluationError where one is not of its truth's size, by the files' headers alone."""


@dataclass(frozen=True, kw_only=True)
class Trimaps:
    """Where the trimaps of shards come from: a folder, or a radius."""

    folder: Path | None = None
    radius: int = 10

    def __str__(self) -> str:
        if self.folder is not None:
            return f"trimaps of {self.folder}"
        return f"trimaps of radius {self.radius} (not the official ones)"


class ShardImages:
    """The composites of test shards, whole, with trimaps; read by worker processes.

    Raises ShardError, EvaluationError where a trimap
    is missing, at once: it should not show after an hour.
    """

    def __init__(self, shards: Place, trimaps: Trimaps) -> None:
        self.composites = CompositeDataset(shards)
        self.where, self.pictures = str(shards), True
        self.trimaps_used, self.own_trimaps = str(trimaps), trimaps.folder is not None
        self.split = self.composites.index.split
        self._radius = trimaps.radius
        self._located = [self.composites.locate(i) for i in range(len(self.composites))]
        self.names = [
            Named(self.composites.name(i), self._foreground(number))
            for i, (number, _) in enumerate(self._located)
        ]
        folder = None if trimaps.folder is None else Files(trimaps.folder)
        self._paths = None if folder is None else match(folder, self.names, known=True)
        self.notes = [] if folder is None else folder.passed_over

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, number: int) -> Item:
        name, (shard_number, layer) = self.names[number].name, self._located[number]
        shard = self.composites.shard(shard_number)
        truth = shard.alpha()
        if self._paths is None:
            trimap = trimap_of(truth, shard.distance(), self._radius, self._radius)
        else:
            trimap = read_trimap_for(self._paths[number], truth.shape)
        return Item(number, name, shard.composite(layer) if self.pictures else None, trimap, truth)

    def _foreground(self, number: int) -> str:
        record = self.composites.record(number)
        return record.label or stem(record.foreground)

    def key(self, number: int) -> str:
        """See Images."""
        shard_number, layer = self._located[number]
        trimap = str(self._radius) if self._paths is None else digest_of(self._paths[number])
        return f"{self.composites.record(shard_number).sha256} {layer} {trimap}"

    def batches(self, numbers: Sequence[int], size: int) -> list[list[int]]:
        """See Images; those of one shard are of one size."""
        return _batches(numbers, [number for number, _ in self._located], size)

    def without_unknown(self) -> list[int]:
        """See Images; a shard without a transition pixel has none at any radius."""
        if self._paths is None:
            count_of = {n: self.composites.shard(n).center_count for n, _ in self._located}
            return [i for i, (n, _) in enumerate(self._located) if not count_of[n]]
        return _all_known(self._paths, [self._size(i) for i in range(len(self))])

    def refuse_other_sizes(self, predictions: Sequence[Path]) -> None:
        """See Images."""
        for i, path in enumerate(predictions):
            size = image_size(path)
            if size != self._size(i):
                raise EvaluationError(
                    f"{path} is {sides(size)} and its composite {sides(self._size(i))}: give one size"
                )

    def _size(self, number: int) -> tuple[int, int]:
        record = self.composites.record(self._located[number][0])
        return record.height, record.width


class FolderImages:
    """Images of files, by the names of `named_by`: a truth and a trimap each, and itself where it is given.

    A truth or a trimap may be the image's own (`cat_7.png`) or its foreground's (`cat.png`). Raises
    EvaluationError where one is missing, or of another size, or a trimap is of no image, at once for all.
    """

    split = "test"
    own_trimaps = True

    def __init__(self, named_by: Files, *, truths: Path, trimaps: Path, pictures: Path | None = None) -> None:
        self.where, self.pictures = str(truths), pictures is not None
        self.trimaps_used = f"trimaps of {trimaps}"
        if not named_by.stems:
            raise EvaluationError(f"{named_by.root} holds no image to score")
        trimap_files, truth_files = Files(trimaps), Files(truths)
        self.notes = [note for each in (named_by, truth_files, trimap_files) for note in each.passed_over]
        guessed = [Named(name, guess_foreground(name)) for name in named_by.stems]
        self._truths = match(truth_files, guessed, known=False)
        self._trimaps = match(trimap_files, guessed, known=False)
        self._images = None if pictures is None else match_own(Files(pictures), guessed)
        # Of several composites of a foreground the truth is one file: that is what tells.
        pairs = zip(guessed, self._truths, strict=True)
        self.names = [Named(each.name, stem(truth.name)) for each, truth in pairs]
        _refuse_unused(trimap_files, self._trimaps)
        for path, trimap in zip(self._truths, self._trimaps, strict=True):
            refuse_other_size(trimap, path)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, number: int) -> Item:
        truth = read_truth(self._truths[number]).pixels
        trimap = read_trimap_for(self._trimaps[number], truth.shape)
        image = self._image(number, truth.shape) if self.pictures else None
        return Item(number, self.names[number].name, image, trimap, truth)

    def _image(self, number: int, shape: tuple[int, ...]) -> UInt8Image | None:
        if self._images is None:
            return None
        path = self._images[number]
        image = read_background(path).pixels  # as it is stored, as truths and trimaps are
        if image.shape[:2] != shape:
            raise EvaluationError(
                f"{path} is {sides(image.shape)} and its truth {sides(shape)}: give one size"
            )
        return image

    def key(self, number: int) -> str:
        """See Images."""
        files = [self._truths[number], self._trimaps[number]]
        files += [] if self._images is None or not self.pictures else [self._images[number]]
        return " ".join(map(digest_of, files))

    def batches(self, numbers: Sequence[int], size: int) -> list[list[int]]:
        """See Images."""
        sizes = [image_size(path) for path in self._truths] if size > 1 else [(0, 0)] * len(self)
        return _batches(numbers, sizes, size)

    def without_unknown(self) -> list[int]:
        """See Images."""
        return _all_known(self._trimaps, [image_size(path) for path in self._truths])

    def refuse_other_sizes(self, predictions: Sequence[Path]) -> None:
        """See Images."""
        for path, truth in zip(predictions, self._truths, strict=True):
            refuse_other_size(path, truth)


def read_trimap_for(path: Path, shape: tuple[int, ...]) -> UInt8Mask:
    """A trimap file, (h, w) of 0, 128, 255. Raises EvaluationError for other values or another size."""
    trimap = read_trimap(path).pixels
    if trimap.shape != shape:
        raise EvaluationError(f"{path} is {sides(trimap.shape)} and its image {sides(shape)}: give one size")
    values = sorted(set(np.unique(trimap).tolist()) - {0, UNKNOWN, 255})
    if values:
        raise EvaluationError(f"{path} is no trimap of 0, 128 and 255: it has {values[:5]} too")
    return trimap


def refuse_other_size(path: Path, other: Path) -> None:
    """Raise EvaluationError, by the files' headers alone: it should not show after an hour."""
    sizes = image_size(path), image_size(other)
    if sizes[0] != sizes[1]:
        raise EvaluationError(f"{path} is {sides(sizes[0])} and {other} {sides(sizes[1])}: give one size")


@cache
def digest_of(path: Path) -> str:
    """SHA-256 of a file; one that serves many images is read once."""
    return file_sha256(path)


def _refuse_unused(files: Files, used: Sequence[Path]) -> None:
    unused = [each for each in files.stems if each not in {stem(path.name) for path in used}]
    if unused:
        raise EvaluationError(
            f"there is no prediction for {count(len(unused), 'trimap')} of {files.root} ({unused[0]}, …): "
            "add them, or give the trimaps of what is to be scored"
        )


def _batches(numbers: Sequence[int], kinds: Sequence[object], size: int) -> list[list[int]]:
    """Numbers in order, at most `size` neighbours of one kind together."""
    batches: list[list[int]] = []
    for number in numbers:
        last = batches[-1] if batches else []
        if last and len(last) < size and kinds[last[0]] == kinds[number]:
            last.append(number)
        else:
            batches.append([number])
    return batches


def _all_known(paths: Sequence[Path], shapes: Sequence[tuple[int, int]]) -> list[int]:
    """Numbers of images whose trimap has no unknown pixel; each file is looked at once, several at a time."""
    wanted = dict(zip(paths, shapes, strict=True))
    with ThreadPoolExecutor(2) as threads:  # Pillow lets go of Python's lock while it decodes
        known = dict(zip(wanted, threads.map(_is_known, wanted, wanted.values()), strict=True))
    return [number for number, path in enumerate(paths) if known[path]]


def _is_known(path: Path, shape: tuple[int, int]) -> bool:
    return not (read_trimap_for(path, shape) == UNKNOWN).any()
