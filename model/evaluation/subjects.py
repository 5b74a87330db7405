"""What is scored: a model over test shards, or a folder of anyone's predictions."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from ...arrays import UInt8Image, UInt8Mask
from ...composer.pixels.trimap import UNKNOWN, trimap_of
from ...composer.shards.dataset import CompositeDataset
from ...composer.sources.folders import FolderIndex, ManifestError
from ...composer.sources.images import image_size
from ...composer.sources.mattes import read_prediction, read_trimap, read_truth
from ...errors import DimtoolError
from ...names import stem
from ...text import count, sides
from ..crops.readable import Collated, Readable
from ..inference.matter import Matter, to_input, to_uint8
from ..inference.memory import free_memory, pixels_that_fit
from ..inference.tiling import padded_pixels
from ..processes.signals import begin_worker, signals_held


class EvaluationError(DimtoolError):
    """What is to be scored is not all there, or does not fit; one line that names it."""


class Item(NamedTuple):
    """One image to score: (h, w, 3) or None where only its alphas are there, (h, w) trimap and truth."""

    name: str
    image: UInt8Image | None
    trimap: UInt8Mask
    truth: UInt8Mask


@dataclass(frozen=True, kw_only=True)
class Trimaps:
    """Where trimaps come from: a folder (by the composite's name, or its foreground's), or a radius."""

    folder: FolderIndex | None = None
    radius: int = 10

    def __str__(self) -> str:
        if self.folder is not None:
            return f"trimaps of {self.folder.root}"
        return f"trimaps of radius {self.radius} (not the official ones)"

    def of(self, name: str, alpha: UInt8Mask, distance: UInt8Mask) -> UInt8Mask:
        """The trimap of a composite, (h, w). Raises EvaluationError."""
        if self.folder is None:
            return trimap_of(alpha, distance, self.radius, self.radius)
        return trimap_for(find(self.folder, name), alpha.shape)


class TestImages(Dataset[Item]):
    """The composites of test shards, whole, with trimaps; read by worker processes."""

    __test__ = False  # no test class, whatever pytest makes of the name

    def __init__(self, shards: Path, trimaps: Trimaps) -> None:
        """Raises EvaluationError where a trimap is missing, at once: it should not show after an hour."""
        self.composites = CompositeDataset(shards)
        self.trimaps = trimaps
        if trimaps.folder is not None:
            for i in range(len(self)):
                find(trimaps.folder, self.composites.name(i))

    def __len__(self) -> int:
        return len(self.composites)

    def __getitem__(self, i: int) -> Item:
        sample = self.composites.composite(i)
        trimap = self.trimaps.of(sample.name, sample.alpha, sample.distance)
        return Item(sample.name, sample.composite, trimap, sample.alpha)

    def batches(self, size: int) -> list[list[int]]:
        """Numbers of images of one shard, and so of one size, `size` at a time."""
        batches, start = [], 0
        for record in self.composites.index.shards:
            numbers = range(start, start + record.composites)
            batches += [list(numbers[i : i + size]) for i in range(0, len(numbers), size)]
            start += record.composites
        return batches


class Subject(Protocol):
    """What is scored: images with their truths and trimaps, and what makes or holds the predictions."""

    def __len__(self) -> int:
        """How many images there are."""

    def pairs(self) -> Iterator[tuple[Item, UInt8Mask]]:
        """Each image with its prediction, (h, w) uint8, in order."""

    def view(self, number: int) -> tuple[Item, UInt8Mask]:
        """One of them, to look at."""

    @property
    def trimaps_used(self) -> str:
        """In words."""

    @property
    def split(self) -> str:
        """Which split the images are."""


@dataclass(kw_only=True)
class ModelSubject:
    """A model over test shards: images stream in, whole, read by `workers` processes.

    batch_size: images of one foreground at a time. Raises ShardError, EvaluationError as it goes.
    """

    matter: Matter
    images: TestImages
    batch_size: int = 1
    workers: int = 2

    def __len__(self) -> int:
        return len(self.images)

    def pairs(self) -> Iterator[tuple[Item, UInt8Mask]]:
        """See Subject."""
        loader: DataLoader[Item] = DataLoader(
            Readable(self.images),
            batch_sampler=self.images.batches(self.batch_size),
            num_workers=self.workers,
            collate_fn=Collated(list),
            worker_init_fn=partial(begin_worker, os.getpid()),
            # Not fork: this process has threads, and perhaps a GPU.
            multiprocessing_context="spawn" if self.workers else None,
        )
        with signals_held():
            batches = iter(loader)
        for items in batches:
            if isinstance(items, DimtoolError):
                raise items
            yield from zip(items, predict_all(self.matter, items), strict=True)

    def view(self, number: int) -> tuple[Item, UInt8Mask]:
        """See Subject."""
        item = self.images[number]
        return item, predict_all(self.matter, [item])[0]

    @property
    def trimaps_used(self) -> str:
        """See Subject."""
        return str(self.images.trimaps)

    @property
    def split(self) -> str:
        """See Subject."""
        return self.images.composites.index.split


class FolderSubject:
    """A folder of anyone's predictions, matched by name with truths and trimaps.

    A truth or a trimap may be of the composite (`cat_7.png`) or of its foreground (`cat.png`). Raises
    EvaluationError where one is missing, at once for all: it should not show after an hour.
    """

    split = "test"

    def __init__(self, predictions: Path, truths: Path, trimaps: Path) -> None:
        there = FolderIndex(predictions)
        if not there.names:
            raise EvaluationError(f"{predictions} holds no image to score")
        truth_index, trimap_index = FolderIndex(truths), FolderIndex(trimaps)
        self.trimaps_used = f"trimaps of {trimaps}"
        names = sorted(there.names)
        self._paths = [(there.find(n), find(truth_index, n), find(trimap_index, n)) for n in names]
        if unused := sorted(set(trimap_index.names) - {trimap.name for _, _, trimap in self._paths}):
            raise EvaluationError(
                f"{predictions} has no prediction for {count(len(unused), 'trimap')} of {trimaps} "
                f"({unused[0]}, …): add them, or give the trimaps of what is to be scored"
            )
        for path, truth, trimap in self._paths:
            _refuse_other_size(path, truth)
            _refuse_other_size(path, trimap)

    def __len__(self) -> int:
        return len(self._paths)

    def pairs(self) -> Iterator[tuple[Item, UInt8Mask]]:
        """See Subject."""
        return (self.view(number) for number in range(len(self)))

    def view(self, number: int) -> tuple[Item, UInt8Mask]:
        """See Subject."""
        path, truth_path, trimap_path = self._paths[number]
        prediction, truth = read_prediction(path).pixels, read_truth(truth_path).pixels
        return Item(stem(path), None, trimap_for(trimap_path, truth.shape), truth), prediction


def predict_all(matter: Matter, items: Sequence[Item]) -> list[UInt8Mask]:
    """Alphas (h, w) uint8 of images of one size, with the trimaps' known pixels as they are known.

    All at once where that fits the memory, else one by one, in tiles if need be.
    """
    pixels = len(items) * padded_pixels(*items[0].trimap.shape)
    if pixels <= pixels_that_fit(matter.model.config, free_memory(matter.device)):
        try:
            return _predict_batch(matter, items)
        except torch.OutOfMemoryError:
            pass  # a GPU's libraries take workspaces that nobody can foresee
    return [to_uint8(matter.matte(item.image, item.trimap)) for item in items if item.image is not None]


@torch.inference_mode()
def _predict_batch(matter: Matter, items: Sequence[Item]) -> list[UInt8Mask]:
    images = torch.cat([to_input(item.image, matter.device) for item in items if item.image is not None])
    trimaps = torch.cat([to_input(item.trimap, matter.device) for item in items])
    alphas = to_uint8(matter.model(images, trimaps).alpha[:, 0].cpu().numpy())
    pairs = zip(items, alphas, strict=True)
    return [np.where(item.trimap == UNKNOWN, alpha, item.trimap) for item, alpha in pairs]


def find(folder: FolderIndex, name: str) -> Path:
    """The file of a composite's name, or else of its foreground's. Raises EvaluationError."""
    own = stem(name)
    for candidate in dict.fromkeys((own, re.sub(r"_\d+$", "", own))):
        try:
            return folder.find(f"{candidate}.png")
        except ManifestError as error:
            message = str(error)
    raise EvaluationError(f"for {name}: {message}")


def trimap_for(path: Path, shape: tuple[int, ...]) -> UInt8Mask:
    """A trimap file, (h, w) of 0, 128, 255. Raises EvaluationError for other values or another size."""
    trimap = read_trimap(path).pixels
    if trimap.shape != shape:
        raise EvaluationError(f"{path} is {sides(trimap.shape)} and its image {sides(shape)}: give one size")
    values = sorted(set(np.unique(trimap).tolist()) - {0, 128, 255})
    if values:
        raise EvaluationError(f"{path} is no trimap of 0, 128 and 255: it has {values[:5]} too")
    return trimap


def _refuse_other_size(path: Path, other: Path) -> None:
    """By the files' headers alone: it should not show after an hour."""
    sizes = image_size(path), image_size(other)
    if sizes[0] != sizes[1]:
        raise EvaluationError(f"{path} is {sides(sizes[0])} and {other} {sides(sizes[1])}: give one size")
