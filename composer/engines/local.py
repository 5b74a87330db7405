"""The engine of this machine: worker processes, or this process itself."""

from __future__ import annotations

import errno
import multiprocessing.resource_tracker
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any

from ...text import first_line
from .engine import EngineError, Job, Result

with warnings.catch_warnings():
    # Where there is no /dev/shm joblib says so in two lines of its own; `_startable` says it in one.
    warnings.simplefilter("ignore", UserWarning)
    import joblib
    from joblib.externals.loky import get_reusable_executor
    from joblib.externals.loky.backend import resource_tracker as loky_tracker
    from joblib.externals.loky.process_executor import ProcessPoolExecutor, TerminatedWorkerError


@dataclass(frozen=True, kw_only=True)
class LocalProcesses:
    """Worker processes on this machine; a single one means this process itself."""

    workers: int

    def run(
        self,
        function: Callable[[Job], Result],
        jobs: Sequence[Job],
        *,
        lost: Callable[[Job], Result] | None = None,
    ) -> Generator[Result, None, None]:
        """See Engine. Raises EngineError where a worker is killed from outside, or none can be started."""
        if self.workers == 1 or not jobs or (len(jobs) == 1 and lost is None):
            yield from map(function, jobs)
            return
        left = dict(enumerate(jobs))
        if len(left) == 1 and lost is not None:  # joblib would run it in this process
            yield _alone(function, left.pop(0), lost)
        while left:
            handed: set[int] = set()
            try:
                for number, result in _startable(self._pool(function, left, handed)):
                    del left[number]
                    yield result
            except TerminatedWorkerError as error:
                if lost is None:
                    raise EngineError(
                        "a worker process was killed, perhaps for want of memory: try fewer --jobs; "
                        "the same command goes on where this one stopped"
                    ) from error
                for number in sorted(handed & left.keys()):
                    yield _alone(function, left.pop(number), lost)

    def _pool(
        self, function: Callable[[Job], Result], jobs: dict[int, Job], handed: set[int]
    ) -> Generator[tuple[int, Result], None, None]:
        """Results with the numbers of their jobs; `handed` takes the numbers of those given to workers."""
        parallel = joblib.Parallel(
            n_jobs=max(2, min(self.workers, len(jobs))),  # one would be this process itself
            backend="loky",
            return_as="generator_unordered",
            batch_size=1,
            # A job takes seconds to minutes: nothing is won by queueing many ahead of the workers.
            pre_dispatch="2*n_jobs",
            initializer=_follow,
            initargs=(os.getpid(),),
        )

        def calls() -> Iterator[Any]:
            for number, job in list(jobs.items()):
                handed.add(number)
                yield joblib.delayed(_numbered)(function, number, job)

        results: Generator[tuple[int, Result], None, None] | None = None
        try:
            with _interrupts_held():  # the workers start in here
                results = parallel(calls())
            yield from chain(results)  # in a chain, so that it is _stop that closes them
        finally:
            _stop(results)


def _numbered(function: Callable[[Job], Result], number: int, job: Job) -> tuple[int, Result]:
    return number, function(job)


def _startable(results: Generator[Result, None, None]) -> Generator[Result, None, None]:
    """The same, with one line where the system has nothing to start worker processes with."""
    try:
        # Its semaphores lie in shared memory: a container without any, or with some kilobytes, has none.
        multiprocessing.get_context("spawn").Lock()
        with closing(results):
            yield from results
    except (OSError, ImportError) as error:
        if isinstance(error, OSError) and error.errno not in _NO_SHARED_MEMORY:
            raise
        raise EngineError(
            f"worker processes cannot be started ({first_line(error)}): "
            "/dev/shm, or the folder for temporary files, is full, missing or not writable: give it room "
            "(docker run --shm-size 1g), or work in one process with --jobs 1"
        ) from error


_NO_SHARED_MEMORY = {errno.ENOSPC, errno.ENOENT, errno.EROFS, errno.EACCES, errno.ENOSYS, errno.EPERM}


def _alone(function: Callable[[Job], Result], job: Job, lost: Callable[[Job], Result]) -> Result:
    """A job in a process of its own, so that one that dies is known to have died of it."""
    pool = ProcessPoolExecutor(max_workers=1, initializer=_follow, initargs=(os.getpid(),))
    try:
        with _interrupts_held():
            future = pool.submit(function, job)
        result: Result = future.result()
    except TerminatedWorkerError:
        return lost(job)
    else:
        return result
    finally:
        pool.shutdown(wait=True, kill_workers=True)


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
