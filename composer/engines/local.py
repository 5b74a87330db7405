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
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice

from ...text import first_line
from .engine import EngineError, Job, Result

with warnings.catch_warnings():
    # Where there is no /dev/shm joblib says so in two lines of its own; `_startable` says it in one.
    warnings.simplefilter("ignore", UserWarning)
    from joblib.externals.loky.backend import resource_tracker as loky_tracker
    from joblib.externals.loky.process_executor import (
        BrokenProcessPool,
        ProcessPoolExecutor,
        TerminatedWorkerError,
    )


@dataclass(kw_only=True)
class LocalProcesses:
    """Worker processes on this machine; a single one means this process itself."""

    workers: int
    _kept: ProcessPoolExecutor | None = field(default=None, init=False, repr=False)  # in a block of `ready`

    @contextmanager
    def ready(self, function: Callable[[Job], Result], *, most: int) -> Iterator[None]:
        """See Engine."""
        if min(self.workers, most) > 1:
            # What cannot be started is told where there is work for it.
            with suppress(EngineError):
                self._kept = _pool_of(min(self.workers, most), function)
        try:
            yield
        finally:
            self._end_kept()

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
        if len(left) == 1 and lost is not None:  # it may take its process with it
            yield _alone(function, left.pop(0), lost)
        while left:
            handed: set[int] = set()
            try:
                workers = min(self.workers, len(left))
                with self._pool(workers, function) as pool:
                    for number, result in _results(pool, function, left, handed, ahead=2 * workers - 1):
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

    @contextmanager
    def _pool(self, workers: int, function: Callable[[Job], Result]) -> Iterator[ProcessPoolExecutor]:
        """Those that are kept ready, or so many others. An exception ends what they do."""
        if self._kept is None:
            pool = _pool_of(workers, function)
            try:
                yield pool
            finally:
                _end(pool)
            return
        try:
            yield self._kept
        except BaseException:
            self._end_kept()
            raise

    def _end_kept(self) -> None:
        pool, self._kept = self._kept, None
        if pool is not None:
            _end(pool)


def _pool_of(workers: int, function: Callable[[Job], Result]) -> ProcessPoolExecutor:
    """Worker processes, started; `function` is brought to each, so that it imports what that needs."""
    arguments = {"initializer": _begin, "initargs": (os.getpid(), function), "env": _one_thread()}
    with _startable():
        pool = ProcessPoolExecutor(max_workers=workers, **arguments)
        try:
            with _interrupts_held():
                pool.submit(int)  # they start with the first job
        except BaseException:  # of Ctrl-C, too, that was held back
            _end(pool)
            raise
    return pool


def _end(pool: ProcessPoolExecutor) -> None:
    """End the workers, and what they do."""
    try:
        with suppress(BrokenProcessPool), _interrupts_held():
            last = pool.submit(int)
            # loky ends in a traceback where it is to end before it looked at all that it was given.
            while not (last.running() or last.done()):
                time.sleep(0.001)
    finally:
        pool.shutdown(wait=True, kill_workers=True)


def _one_thread() -> dict[str, str]:
    """Told to a worker's libraries, unless the user did: the cores are for the workers, not for threads."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")
    return {name: os.environ.get(name, "1") for name in names}


def _results(
    pool: ProcessPoolExecutor,
    function: Callable[[Job], Result],
    jobs: dict[int, Job],
    handed: set[int],
    *,
    ahead: int,
) -> Iterator[tuple[int, Result]]:
    """Results with the numbers of their jobs; `handed` takes the numbers of those given to workers.

    ahead: so many jobs are with the workers. One takes seconds: nothing is won by queueing many; and what
    `_end` waits for must have room in loky's own queue, which holds two a worker and one.
    """
    waiting = iter(list(jobs.items()))
    under_way: dict[Future[Result], int] = {}
    while True:
        for number, job in islice(waiting, ahead - len(under_way)):
            handed.add(number)
            with _interrupts_held():  # a worker that left is replaced in here
                under_way[pool.submit(function, job)] = number
        if not under_way:
            return
        for done in wait(under_way, return_when=FIRST_COMPLETED).done:
            yield under_way.pop(done), done.result()


@contextmanager
def _startable() -> Iterator[None]:
    """One line where the system has nothing to start worker processes with."""
    try:
        # Its semaphores lie in shared memory: a container without any, or with some kilobytes, has none.
        multiprocessing.get_context("spawn").Lock()
        yield
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
    pool = _pool_of(1, function)
    try:
        result: Result = pool.submit(function, job).result()
    except TerminatedWorkerError:
        return lost(job)
    else:
        return result
    finally:
        _end(pool)


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


def _begin(owner: int, _: Callable[[Job], Result]) -> None:
    """Make this worker process end when the one that gives it work is gone."""
    threading.Thread(target=_exit_with, args=(owner,), daemon=True).start()


def _exit_with(owner: int) -> None:
    while os.getppid() == owner:
        time.sleep(0.5)
    os._exit(1)  # nobody is left to hold the lock on the output folder
