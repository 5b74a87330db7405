"""What the engines of many machines share: how many jobs are under way, in which packs; what gets lost."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, Generic

from ...errors import DimtoolError
from ...text import first_line
from .engine import EngineError, Job, Result

# A scheduler takes some two milliseconds for a task: jobs that are much shorter go together.
_PACK_SECONDS, _MOST = 0.1, 64
_AHEAD = 2  # tasks a slot: one at work, and one that is there when it is done
GO_ON = "what is finished is kept, and the same command goes on, with any --engine"
ATTEMPTS = 4  # the first, and three more where the worker was lost


class WorkersLostError(Exception):
    """Each worker that had a task in turn was lost with it."""


@dataclass(frozen=True, kw_only=True)
class Done(Generic[Result]):
    """What a task gave: the results of its jobs up to the first `error`, and the seconds that they took."""

    results: list[Result]
    seconds: float
    error: DimtoolError | None = None


def run_pack(function: Callable[[Job], Result], pack: Sequence[Job]) -> Done[Result]:
    """A task, on a worker. An error that its user can mend is a result: to try again would not help."""
    started = time.perf_counter()
    results: list[Result] = []
    error = None
    try:
        results += map(function, pack)
    except DimtoolError as raised:
        error = raised
    return Done(results=results, seconds=time.perf_counter() - started, error=error)


class Cluster(ABC):
    """An engine whose workers may be on other machines. Subclasses say how a task gets there and back."""

    def ready(self, function: Callable[[Job], Result], *, most: int) -> AbstractContextManager[None]:
        """See Engine: the workers of a cluster are there."""
        return nullcontext()

    def run(
        self,
        function: Callable[[Job], Result],
        jobs: Sequence[Job],
        *,
        lost: Callable[[Job], Result] | None = None,
    ) -> Generator[Result, None, None]:
        """See Engine. Raises EngineError where the cluster is lost, or workers with a job and no `lost`."""
        left = _Packs(jobs)
        under_way: dict[Hashable, tuple[Job, ...]] = {}
        try:
            while self._hand_out(partial(run_pack, function), left, under_way):
                for handle, outcome in self.finished():
                    pack = under_way.pop(handle, ())
                    if isinstance(outcome, Done):
                        yield from left.learn(len(pack), outcome)
                    elif isinstance(outcome, ImportError):
                        raise EngineError(f"a worker lacks what it needs: {first_line(outcome)}") from outcome
                    elif not isinstance(outcome, WorkersLostError):
                        raise outcome
                    elif len(pack) > 1:
                        left.apart(pack)
                    elif pack and lost is not None:
                        yield lost(pack[0])
                    elif pack:
                        raise EngineError(f"{ATTEMPTS} workers were lost over {pack[0]}: see their logs")
        finally:
            self.cancel(under_way)

    def _hand_out(
        self, call: Callable[..., Any], left: _Packs[Job], under_way: dict[Hashable, tuple[Job, ...]]
    ) -> int:
        """Have as many tasks under way as the workers can take; how many that are."""
        packs = list(islice(left, max(0, _AHEAD * max(1, self.slots()) - len(under_way))))
        if packs:
            under_way.update(zip(self.submit(call, packs), packs, strict=True))
        return len(under_way)

    @abstractmethod
    def slots(self) -> int:
        """How many tasks the workers that are there now run at a time."""

    @abstractmethod
    def submit(self, call: Callable[..., Any], packs: Sequence[tuple[Any, ...]]) -> list[Hashable]:
        """Begin `call(pack)` for each; their handles. A task whose worker is lost is tried ATTEMPTS times."""

    @abstractmethod
    def finished(self) -> list[tuple[Hashable, Done[Any] | Exception]]:
        """Wait for tasks, one at least; what `call` gave or raised, WorkersLostError. Raises EngineError."""

    @abstractmethod
    def cancel(self, handles: Iterable[Hashable]) -> None:
        """Have these tasks not begun, and nothing more heard of those that are under way."""

    @abstractmethod
    def on_hosts(self, function: Callable[[Job], Result], job: Job) -> dict[str, Result | Exception]:
        """Run a function once on each host that has workers now; by the host's name or address."""


class _Packs(Generic[Job]):
    """Jobs in packs: of one, until jobs turn out to be short."""

    def __init__(self, jobs: Iterable[Job]) -> None:
        self._jobs = iter(jobs)
        self._alone: deque[Job] = deque()
        self._size = 1

    def __iter__(self) -> Iterator[tuple[Job, ...]]:
        return self

    def __next__(self) -> tuple[Job, ...]:
        if self._alone:
            return (self._alone.popleft(),)
        if pack := tuple(islice(self._jobs, self._size)):
            return pack
        raise StopIteration

    def apart(self, pack: Iterable[Job]) -> None:
        """Have the jobs of a pack run again, one by one: it is not known which of them it was."""
        self._alone.extend(pack)

    def learn(self, size: int, done: Done[Result]) -> Iterator[Result]:
        """Take over the results of a pack of `size`. Raises the error that ended it."""
        fitting = _PACK_SECONDS * size / max(done.seconds, 1e-6)
        self._size = max(1, min(int(fitting), 2 * self._size, _MOST))
        yield from done.results
        if done.error is not None:
            raise done.error
