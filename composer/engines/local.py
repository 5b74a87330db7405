"""Where the work runs. An engine takes a picklable function and its jobs, and gives results as they come."""

from __future__ import annotations

import multiprocessing.resource_tracker
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Protocol, TypeVar

import joblib
from joblib.externals.loky import get_reusable_executor
from joblib.externals.loky.backend import resource_tracker as loky_tracker
from joblib.externals.loky.process_executor import TerminatedWorkerError

from ...errors import DimtoolError

Job = TypeVar("Job")
Result = TypeVar("Result")


class EngineError(DimtoolError):
    """The engine itself failed, not a job; the message is one line that says what to do."""


class Engine(Protocol):
    """Runs `function(job)` for each job, anywhere, in any order. Results must be small: they travel."""

    def run(self, function: Callable[[Job], Result], jobs: Sequence[Job]) -> Generator[Result, None, None]:
        """Results as they are finished. Closing the iterator ends the jobs under way."""
        ...


def core_count() -> int:
    """Cores that this process may use: what a container or batch system gives it."""
    return int(joblib.cpu_count())


@dataclass(frozen=True, kw_only=True)
class LocalProcesses:
    """Worker processes on this machine; a single one means this process itself."""

    workers: int

    def run(self, function: Callable[[Job], Result], jobs: Sequence[Job]) -> Generator[Result, None, None]:
        """See Engine. Raises EngineError where a worker is killed from outside."""
        if self.workers == 1 or len(jobs) <= 1:
            yield from map(function, jobs)
            return
        parallel = joblib.Parallel(
            n_jobs=min(self.workers, len(jobs)),
            backend="loky",
            return_as="generator_unordered",
            batch_size=1,
            # A job takes seconds to minutes: nothing is won by queueing many ahead of the workers.
            pre_dispatch="2*n_jobs",
            initializer=_follow,
            initargs=(os.getpid(),),
        )
        results: Generator[Result, None, None] | None = None
        try:
            with _interrupts_held():  # the workers start in here
                results = parallel(joblib.delayed(function)(job) for job in jobs)
            yield from chain(results)  # in a chain, so that it is _stop that closes them
        except TerminatedWorkerError as error:
            raise EngineError(
                "a worker process was killed, perhaps for want of memory: try fewer --jobs; "
                "the same command goes on where this one stopped"
            ) from error
        finally:
            _stop(results)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C back in the block; processes started there never hear it, from their first moment on.

    It reaches the whole process group, and the owner alone decides what it means.
    """
    # The helpers that watch over shared resources let interrupts through again where they are started.
    multiprocessing.resource_tracker.ensure_running()
    loky_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _stop(results: Generator[object, None, None] | None) -> None:
    """End the jobs under way, and the workers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # joblib's, of a generator that was not read to its end
        if results is not None:
            results.close()
        get_reusable_executor(reuse=True).shutdown(wait=True, kill_workers=True)


def _follow(owner: int) -> None:
    """Make this worker process end when the one that gives it work is gone."""
    threading.Thread(target=_exit_with, args=(owner,), daemon=True).start()


def _exit_with(owner: int) -> None:
    while os.getppid() == owner:
        time.sleep(0.5)
    os._exit(1)  # nobody is left to hold the lock on the output folder
