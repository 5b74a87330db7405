"""Files that a thread writes while the training goes on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

_WAITING = 2  # jobs, whose copies take memory


class Saver:
    """Does what it is given in a thread of its own, one after the other.

    What goes wrong there is raised by the next call of any method, once.
    """

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="saver")
        self._jobs: deque[Future[object]] = deque()

    def submit(self, job: Callable[[], object]) -> None:
        """Have a job done; where several wait already, wait for the first of them."""
        self.check()
        while len(self._jobs) >= _WAITING:
            self._jobs.popleft().result()
        self._jobs.append(self._executor.submit(job))

    def check(self) -> None:
        """Raise what went wrong so far; do not wait."""
        while self._jobs and self._jobs[0].done():
            self._jobs.popleft().result()

    def wait(self) -> None:
        """Wait until all is done."""
        while self._jobs:
            self._jobs.popleft().result()

    def close(self) -> None:
        """Wait for what was begun, whatever became of it."""
        self._executor.shutdown(wait=True)
