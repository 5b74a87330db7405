"""The processes that read images and score predictions; no torch in them, so that they start fast."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Protocol, TypeVar

from ...errors import DimtoolError
from ...text import first_line
from ..processes.signals import begin_worker, signals_held
from .pairing import EvaluationError
from .scoring import Entry, Item, Task, score_item

Result = TypeVar("Result")


class Readable(Protocol):
    """Images by their numbers."""

    def __getitem__(self, number: int) -> Item:
        """One of them."""


_images: list[Readable] = []  # what this process reads


@contextmanager
def workers_with(images: Readable, workers: int) -> Iterator[Executor]:
    """Processes for `read` and `score_number`, which leave stop signals to this one; with 0, this one itself.

    Raises EvaluationError where they cannot start, or one is ended from outside.
    """
    if not workers:
        _images[:] = [images]
        yield _Here()
        return
    try:
        with _started(images, workers) as pool:
            yield pool
    except BrokenProcessPool as error:
        raise EvaluationError(
            "a process that scores was ended from outside, perhaps for want of memory: give fewer --workers; "
            "what is scored is kept"
        ) from error


@contextmanager
def _started(images: Readable, workers: int) -> Iterator[Executor]:
    try:
        pool = ProcessPoolExecutor(
            workers,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_begin,
            initargs=(os.getpid(), images),
        )
        with signals_held():
            list(pool.map(abs, range(workers)))  # they start with their first work
    except OSError as error:  # without /dev/shm there are no locks between processes
        raise EvaluationError(
            f"worker processes cannot start ({first_line(error)}): see that /dev/shm is there, or give "
            "--workers 0"
        ) from error
    with pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(cancel_futures=True)  # what waits would be computed to the end, for nobody
            raise


def _begin(owner: int, images: Readable) -> None:
    begin_worker(owner, 0)
    _images[:] = [images]


def read(number: int) -> Item:
    """An image, in a process of `workers_with`."""
    return _images[0][number]


def score_number(task: Task, number: int) -> Entry:
    """The scores of what a task gives for an image, read by the same process."""
    return score_item(task, read(number))


class _Here(Executor):
    """Work done when it is given, in this process."""

    def submit(self, work: Callable[..., Result], /, *arguments: object, **_: object) -> Future[Result]:
        """See Executor; an error of ours is kept for whoever asks for the result."""
        future: Future[Result] = Future()
        try:
            future.set_result(work(*arguments))
        except DimtoolError as error:
            future.set_exception(error)
        return future
