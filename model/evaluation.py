"""Scores of a model over test shards, or of a folder of anyone's predictions."""

from __future__ import annotations

import csv
import io
import multiprocessing
import os
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from ..composer.dataset import CompositeDataset
from ..composer.files import write_text
from ..composer.folders import FolderIndex, ManifestError
from ..composer.images import UInt8Image, UInt8Mask, image_size, read_alpha
from ..composer.trimap import UNKNOWN, trimap_of
from ..errors import DimtoolError, WrongUseError
from ..manifests.presets import PRESETS
from ..manifests.published import PUBLISHED
from ..text import count, table
from .inference import Matter, to_input, to_uint8
from .memory import free_memory, pixels_that_fit
from .metrics import Scores, matting_scores, whole_image_mse, whole_image_sad
from .readable import Collated, Readable
from .signals import begin_worker, signals_held
from .tiling import padded_pixels

METRICS = ("sad", "mse", "grad", "conn")


class EvaluationError(DimtoolError):
    """What is to be scored is not all there, or does not fit; one line that names it."""


class Item(NamedTuple):
    """One image to score: (h, w, 3) or None where only its alphas are there, (h, w) trimap and truth."""

    name: str
    image: UInt8Image | None
    trimap: UInt8Mask
    truth: UInt8Mask


@dataclass(frozen=True, kw_only=True)
class ImageScores:
    """An image's name, its scores, and its number in the sequence that was scored."""

    name: str
    number: int
    scores: Scores


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Scores of every image, in order; `trimaps` says which were used, `full` whether it is all 1,000."""

    images: tuple[ImageScores, ...]
    trimaps: str
    full: bool

    def means(self) -> dict[str, float]:
        """The mean of each metric over the images, as tables report it."""
        every = [asdict(image.scores) for image in self.images]
        return {name: float(np.mean([scores[name] for scores in every])) for name in every[0]}

    def csv(self) -> str:
        """A line for each image."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        names = list(asdict(self.images[0].scores))
        writer.writerow(["image", *names])
        for image in self.images:
            writer.writerow([image.name, *(f"{value:.6g}" for value in asdict(image.scores).values())])
        return stream.getvalue()

    def text(self) -> str:
        """The means beside published ones, and what they may be compared with."""
        means = self.means()
        rows = [["this one", *(f"{means[name]:.4g}" for name in METRICS)]]
        rows += [[each.model, *(f"{value:g}" for value in each[1:])] for each in PUBLISHED]
        return "\n".join([table(["model", *map(str.upper, METRICS)], rows), "", self.caveat()])

    def caveat(self) -> str:
        """What these scores can be compared with."""
        count = f"{len(self.images):,} images"
        if not self.full:
            full = PRESETS["test"].paper
            return f"{count}, {self.trimaps}: not the {full:,} of Composition-1k, so not comparable."
        return f"{count}, {self.trimaps}: comparable where those are the official trimaps."


class Reporter(Protocol):
    """What an evaluation tells while it runs."""

    def planned(self, images: int) -> None:
        """So many images are to be scored."""

    def scored(self, image: ImageScores) -> None:
        """One is done."""


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
        return read_trimap(find(self.folder, name), alpha.shape)


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
        prediction, truth = read_alpha(path).pixels, read_alpha(truth_path).pixels
        return Item(path.stem, None, read_trimap(trimap_path, truth.shape), truth), prediction


def evaluate(subject: Subject, *, reporter: Reporter, workers: int = 2) -> Evaluation:
    """Score every image of `subject`; the metrics are computed by `workers` processes beside it.

    Raises EvaluationError, and what the subject raises.
    """
    reporter.planned(len(subject))
    images = []
    with _scorers(max(1, workers)) as pool:
        for number, (name, scores) in enumerate(_in_order(pool, subject.pairs(), 4 * max(1, workers))):
            images.append(ImageScores(name=name, number=number, scores=scores))
            reporter.scored(images[-1])
    if not images:
        raise WrongUseError("there is no image to score")
    full = subject.split == "test" and len(images) == PRESETS["test"].paper
    return Evaluation(images=tuple(images), trimaps=subject.trimaps_used, full=full)


@contextmanager
def _scorers(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that compute metrics, which end with this one and leave stop signals to it."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        workers, mp_context=context, initializer=begin_worker, initargs=(os.getpid(), 0)
    ) as pool:
        with signals_held():
            list(pool.map(abs, range(workers)))  # they start with their first work
        yield pool


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


def score(prediction: UInt8Mask, truth: UInt8Mask, trimap: UInt8Mask) -> Scores:
    """The official metrics of a prediction as it is, and mmagic's of one that is right where it is known.

    mmagic sets known pixels before it measures; the official code does not look at them, but for the
    gradient's normalisation. Raises ValueError.
    """
    scores = matting_scores(prediction, truth, trimap)
    as_known = np.where(trimap == UNKNOWN, prediction, trimap)
    if np.array_equal(as_known, prediction):
        return scores
    return replace(
        scores,
        whole_image_sad=whole_image_sad(as_known, truth),
        whole_image_mse=whole_image_mse(as_known, truth, trimap),
    )


def find(folder: FolderIndex, name: str) -> Path:
    """The file of a composite's name, or else of its foreground's. Raises EvaluationError."""
    stem = Path(name).stem
    for candidate in dict.fromkeys((stem, re.sub(r"_\d+$", "", stem))):
        try:
            return folder.find(f"{candidate}.png")
        except ManifestError as error:
            message = str(error)
    raise EvaluationError(f"for {name}: {message}")


def read_trimap(path: Path, shape: tuple[int, ...]) -> UInt8Mask:
    """A trimap file, (h, w) of 0, 128, 255. Raises EvaluationError for other values or another size."""
    trimap = read_alpha(path).pixels
    if trimap.shape != shape:
        raise EvaluationError(f"{path} is {_size(trimap.shape)} and its image {_size(shape)}: give one size")
    values = sorted(set(np.unique(trimap).tolist()) - {0, 128, 255})
    if values:
        raise EvaluationError(f"{path} is no trimap of 0, 128 and 255: it has {values[:5]} too")
    return trimap


def _refuse_other_size(path: Path, other: Path) -> None:
    """By the files' headers alone: it should not show after an hour."""
    sizes = image_size(path), image_size(other)
    if sizes[0] != sizes[1]:
        raise EvaluationError(f"{path} is {_size(sizes[0])} and {other} {_size(sizes[1])}: give one size")


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]} x {shape[0]}"


def _in_order(
    pool: ProcessPoolExecutor, pairs: Iterable[tuple[Item, UInt8Mask]], ahead: int
) -> Iterator[tuple[str, Scores]]:
    waiting: deque[tuple[str, Future[Scores]]] = deque()
    for item, prediction in pairs:
        waiting.append((item.name, pool.submit(score, prediction, item.truth, item.trimap)))
        if len(waiting) > ahead:  # a bound on the memory
            yield _result(*waiting.popleft())
    while waiting:
        yield _result(*waiting.popleft())


def _result(name: str, future: Future[Scores]) -> tuple[str, Scores]:
    try:
        return name, future.result()
    except ValueError as error:
        raise EvaluationError(f"{name} cannot be scored: {error}") from error


def write_scores(folder: Path, evaluation: Evaluation) -> Path:
    """Write `folder`/scores.csv; returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "scores.csv", evaluation.csv())
    return folder / "scores.csv"
