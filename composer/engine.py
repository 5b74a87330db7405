"""Where the work runs. An engine takes a picklable function and its jobs, and gives results as they come."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol, TypeVar

import joblib
from joblib.externals.loky import get_reusable_executor
from joblib.externals.loky.process_executor import TerminatedWorkerError

from ..errors import DimtoolError

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
        work = joblib.delayed(_Guarded(function, os.getpid()))
        parallel = joblib.Parallel(
            n_jobs=min(self.workers, len(jobs)),
            backend="loky",
            return_as="generator_unordered",
            batch_size=1,
            # A job takes seconds to minutes: nothing is won by queueing many ahead of the workers.
            pre_dispatch="2*n_jobs",
        )
        try:
            yield from parallel(work(job) for job in jobs)
        except TerminatedWorkerError as error:
            raise EngineError(
                "a worker process was killed, perhaps for want of memory: try fewer --jobs; "
                "the same command goes on where this one stopped"
            ) from error
        finally:
            get_reusable_executor().shutdown(wait=True, kill_workers=True)


@dataclass(frozen=True)
class _Guarded:
    """A function for worker processes, which must not outlive the one that gave them work."""

    function: Callable[..., object]
    owner: int

    def __call__(self, job: object) -> object:
        _guard(self.owner)
        return self.function(job)


@cache  # once in each worker process
def _guard(owner: int) -> None:
    # Ctrl-C reaches the whole process group; the owner alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_with, args=(owner,), daemon=True).start()


def _exit_with(owner: int) -> None:
    """End this process when its parent is gone: nobody is left to hold the lock on the output folder."""
    while os.getppid() == owner:
        time.sleep(0.5)
    os._exit(1)
