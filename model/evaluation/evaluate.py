"""The scores of every image by every predictor, as they come, kept in a journal."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import replace
from itertools import islice
from typing import NamedTuple

from ...errors import WrongUseError
from ...manifests.presets import PRESETS
from ...progress import Reporter
from ...text import count
from .images import Images
from .journal import Journal, key_of
from .predictors import ModelPredictor, Predictor
from .scoring import Entry, Given, Item, score_item
from .table import Evaluation, ImageScores, named
from .workers import read, score_number, workers_with


class _Wanted(NamedTuple):
    """A score that is not there yet: predictor `predictor` on image `number`."""

    predictor: int
    number: int
    key: str


def evaluate(
    images: Images,
    predictors: Sequence[Predictor],
    *,
    journal: Journal,
    reporter: Reporter[str],
    batch_size: int = 1,
    workers: int = 2,
) -> Evaluation:
    """Score every image by every predictor; `workers` processes read, and as many compute the metrics.

    The first predictor is the one to be known, the others stand beside it. What the journal holds is not
    scored again. Raises WrongUseError where nothing can be scored, EvaluationError, and what images and
    predictors raise.
    """
    numbers, left_out = _with_something_unknown(images)
    if left_out:
        reporter.note(f"without an unknown pixel to be scored, left out: {named(left_out)}")
    wanted = [
        _Wanted(p, number, key_of(predictor.key(number), images.key(number)))
        for number in numbers
        for p, predictor in enumerate(predictors)
    ]
    missing = {(each.predictor, each.number): each for each in wanted if journal.get(each.key) is None}
    reporter.planned(len(wanted), len(wanted) - len(missing))
    batches = images.batches(sorted({number for _, number in missing}), batch_size)
    if missing:
        with workers_with(images, workers) as pool:
            work = _work(pool, predictors, missing, batches)
            for each, entry in _in_order(work, 4 * max(1, workers)):
                name = images.names[each.number].name
                journal.add(each.key, name, entry)
                reporter.finished(name)
    return _evaluation(images, predictors, wanted, journal, left_out)


def _with_something_unknown(images: Images) -> tuple[list[int], tuple[str, ...]]:
    """Numbers of the images that can be scored, and the names of the others. Raises WrongUseError."""
    out = set(images.without_unknown())
    numbers = [i for i in range(len(images.names)) if i not in out]
    if not numbers:
        raise WrongUseError(
            f"none of {count(len(out), 'image')} has an unknown pixel (128) to be scored: give other trimaps"
        )
    return numbers, tuple(images.names[i].name for i in sorted(out))


_Missing = dict[tuple[int, int], _Wanted]  # by predictor and number


def _work(
    pool: Executor, predictors: Sequence[Predictor], missing: _Missing, batches: Sequence[Sequence[int]]
) -> Iterator[tuple[_Wanted, Future[Entry]]]:
    """Each score that is missing, as it is begun: a model predicts here, all else is done by the pool."""
    models = {p for p, each in enumerate(predictors) if isinstance(each, ModelPredictor)}
    for batch, items in _read_ahead(pool, missing, models, batches):
        for p, predictor in enumerate(predictors):
            numbers = [number for number in batch if (p, number) in missing]
            if isinstance(predictor, ModelPredictor):
                its = [items[number] for number in numbers]
                for item, alpha in zip(its, predictor.alphas(its) if its else (), strict=True):
                    future = pool.submit(score_item, Given(alpha), item._replace(image=None))
                    yield missing[p, item.number], future
            else:
                for number in numbers:
                    yield missing[p, number], pool.submit(score_number, predictor.task(number), number)


def _read_ahead(
    pool: Executor, missing: _Missing, models: set[int], batches: Iterable[Sequence[int]]
) -> Iterator[tuple[Sequence[int], dict[int, Item]]]:
    """Batches with the images that a model is to see, two batches ahead of it."""
    waiting: deque[tuple[Sequence[int], dict[int, Future[Item]]]] = deque()
    left = iter(batches)
    while True:
        for batch in islice(left, 3 - len(waiting)):
            seen = [number for number in batch if any((p, number) in missing for p in models)]
            waiting.append((batch, {number: pool.submit(read, number) for number in seen}))
        if not waiting:
            return
        batch, futures = waiting.popleft()
        yield batch, {number: future.result() for number, future in futures.items()}


def _in_order(work: Iterable[tuple[_Wanted, Future[Entry]]], ahead: int) -> Iterator[tuple[_Wanted, Entry]]:
    """Scores in the order of the work, each as soon as it and those before it are there."""
    waiting: deque[tuple[_Wanted, Future[Entry]]] = deque()
    for each in work:
        waiting.append(each)
        while waiting and (len(waiting) > ahead or waiting[0][1].done()):  # a bound on the memory
            yield waiting[0][0], waiting.popleft()[1].result()
    while waiting:
        yield waiting[0][0], waiting.popleft()[1].result()


def _evaluation(
    images: Images,
    predictors: Sequence[Predictor],
    wanted: Sequence[_Wanted],
    journal: Journal,
    left_out: tuple[str, ...],
) -> Evaluation:
    found: list[list[ImageScores]] = [[] for _ in predictors]
    for each in wanted:
        entry, name = journal.get(each.key), images.names[each.number]
        if entry is not None:
            found[each.predictor].append(
                ImageScores(
                    name=name.name,
                    foreground=name.foreground,
                    number=each.number,
                    scores=entry.scores,
                    instead=entry.instead,
                )
            )
    full = images.split == "test" and len(found[0]) == PRESETS["test"].paper
    every = [
        Evaluation(
            title=predictor.title,
            images=tuple(scored),
            trimaps=images.trimaps_used,
            comparable=full and images.own_trimaps,
            left_out=left_out if not i else (),
            beside=(),
        )
        for i, (predictor, scored) in enumerate(zip(predictors, found, strict=True))
    ]
    first, *others = every
    return replace(first, beside=tuple(others))
