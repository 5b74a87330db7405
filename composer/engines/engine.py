"""What an engine is: it takes a picklable function and its jobs, and gives results as they come."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

from ...errors import DimtoolError

with warnings.catch_warnings():
    # Where there is no /dev/shm joblib says so in two lines of its own; the local engine says it in one.
    warnings.simplefilter("ignore", UserWarning)
    import joblib

Job = TypeVar("Job")
Result = TypeVar("Result")


class EngineError(DimtoolError):
    """The engine itself failed, not a job; the message is one line that says what to do."""


class Engine(Protocol):
    """Runs `function(job)` for each job, anywhere, in any order. Results must be small: they travel."""

    def ready(self, function: Callable[[Job], Result], *, most: int) -> AbstractContextManager[None]:
        """Workers stay from one `run` to the next in this block, and get ready for `function` meanwhile.

        most: there will not be more jobs than that. What cannot be made ready is told by `run`.
        """
        ...

    def run(
        self,
        function: Callable[[Job], Result],
        jobs: Sequence[Job],
        *,
        lost: Callable[[Job], Result] | None = None,
    ) -> Generator[Result, None, None]:
        """Results as they are finished. Closing the iterator ends the jobs under way.

        lost: the result of a job whose worker process dies of it, where that is to end nothing else.
        """
        ...


def core_count() -> int:
    """Cores that this process may use: what a container or batch system gives it."""
    return int(joblib.cpu_count())
