"""The scores of every image of a subject, and their table."""

from __future__ import annotations

import csv
import io
import multiprocessing
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from ...arrays import UInt8Mask
from ...composer.pixels.trimap import UNKNOWN
from ...errors import WrongUseError
from ...files import write_text
from ...manifests.presets import PRESETS
from ...manifests.published import PUBLISHED
from ...metrics import Scores, matting_scores, whole_image_mse, whole_image_sad
from ...progress import Reporter
from ...text import table
from ..processes.signals import begin_worker, signals_held
from .subjects import EvaluationError, Item, Subject

METRICS = ("sad", "mse", "grad", "conn")


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


def evaluate(subject: Subject, *, reporter: Reporter[ImageScores], workers: int = 2) -> Evaluation:
    """Score every image of `subject`; the metrics are computed by `workers` processes beside it.

    Raises EvaluationError, and what the subject raises.
    """
    reporter.planned(len(subject))
    images = []
    with _scorers(max(1, workers)) as pool:
        for number, (name, scores) in enumerate(_in_order(pool, subject.pairs(), 4 * max(1, workers))):
            images.append(ImageScores(name=name, number=number, scores=scores))
            reporter.finished(images[-1])
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
