"""The engine that gives its jobs to a Dask cluster, by the futures of Dask itself."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import dask
from distributed import Client, Future, KilledWorker, as_completed

from ...text import first_line
from .cluster import GO_ON, Cluster, Done, WorkersLostError
from .engine import EngineError, Job, Result

_LOGGERS = (
    "distributed",
    "distributed.client",
    "distributed.core",
    "tornado",
    "tornado.application",
    "asyncio",
)
_START, _PATIENCE = 30.0, 300.0  # seconds without any worker: at the start, and later on
_LOOK = 2.0  # seconds between two looks at how many workers there are
_RETRIES = 2  # of a job that fails unexpectedly: a network file system stumbles
_START_ONE = "start `dask scheduler`, and `dask worker ADDRESS` on every host"


class DaskCluster(Cluster):
    """The workers of a running scheduler. To be entered: `with DaskCluster(address=...) as engine`.

    address: `tcp://host:8786`, or the path of a scheduler file; None for the one in Dask's own configuration.
    """

    def __init__(self, *, address: str | None = None) -> None:
        self._address = address or dask.config.get("scheduler-address", None)
        if not self._address:
            raise EngineError(
                f"--engine dask needs the --address of a scheduler: {_START_ONE}; "
                "on this machine alone --engine local does the same"
            )

    def __enter__(self) -> Self:
        # Dask gives some of them a level of their own. What fails is told in a line of ours.
        for name in _LOGGERS:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        is_file = Path(self._address).is_file()
        where = {"scheduler_file": self._address} if is_file else {"address": self._address}
        try:
            self._client = Client(**where, set_as_default=False)
        except (OSError, ValueError) as error:  # TimeoutError and what Dask makes of sockets are OSErrors
            raise EngineError(
                f"there is no Dask scheduler at {self._address} ({first_line(error)}): {_START_ONE}"
            ) from error
        self._done = as_completed(loop=self._client.loop, with_results=True, raise_errors=False)
        self._slots, self._looked, self._until = 0, 0.0, time.monotonic() + _START
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._client.close()

    def slots(self) -> int:
        """See Cluster. Raises EngineError where there has been no worker for minutes, or no scheduler."""
        now = time.monotonic()
        if now > self._looked + _LOOK:
            self._slots, self._looked = sum(self._ask(self._client.nthreads).values()), now
        if self._slots:
            self._until = now + _PATIENCE
        elif now > self._until:
            raise EngineError(f"the scheduler at {self._address} has no workers: {_START_ONE}; {GO_ON}")
        return self._slots

    def submit(self, call: Callable[..., Any], packs: Sequence[tuple[Any, ...]]) -> list[Hashable]:
        """See Cluster. It is the scheduler that tries again: `allowed-failures`, three by default."""
        futures: list[Any] = self._ask(
            lambda: self._client.map(call, packs, pure=False, key="dimtool", retries=_RETRIES)
        )
        self._done.update(futures)
        return futures

    def finished(self) -> list[tuple[Hashable, Done[Any] | Exception]]:
        """See Cluster."""
        while not self._done.has_ready():
            self.slots()
            time.sleep(0.005)
        outcomes: list[tuple[Hashable, Done[Any] | Exception]] = []
        for future, result in self._done.next_batch():
            if future.status in {"pending", "lost"}:  # its result went with the worker: it is made again
                self._done.add(future)
            else:
                outcomes.append((future, self._outcome(future, result)))
        return outcomes

    def _outcome(self, future: Future, result: Any) -> Done[Any] | Exception:
        if future.status == "finished":
            done: Done[Any] = result
            return done
        if future.status != "error":  # cancelled, and not by us
            return self._gone()
        error: Exception = result[1]
        return WorkersLostError() if isinstance(error, KilledWorker) else error

    def cancel(self, handles: Iterable[Hashable]) -> None:
        """See Cluster."""
        self._done.clear()
        if self._client.status == "running":
            with suppress(OSError):
                self._client.cancel(list(handles), force=True)

    def on_hosts(self, function: Callable[[Job], Result], job: Job) -> dict[str, Result | Exception]:
        """See Cluster. Waits for the first worker."""
        while not self.slots():
            time.sleep(0.1)
        workers = self._ask(self._client.scheduler_info)["workers"]
        hosts = {each["host"]: address for address, each in workers.items()}
        answers = self._ask(
            lambda: self._client.run(_listed, function, job, workers=[*hosts.values()], on_error="return")
        )
        return {
            host: answers[address][0] if isinstance(answers[address], list) else _failed(answers[address])
            for host, address in hosts.items()
        }

    def _ask(self, question: Callable[[], Any]) -> Any:
        """What the scheduler answers."""
        if self._client.status != "running":  # it would try for half a minute
            raise self._gone()
        try:
            return question()
        except (OSError, RuntimeError) as error:  # RuntimeError: the client has closed itself
            raise self._gone() from error

    def _gone(self) -> EngineError:
        return EngineError(f"the Dask scheduler at {self._address} is gone, or was started anew: {GO_ON}")


def _listed(function: Callable[[Job], Result], job: Job) -> list[Result]:
    return [function(job)]


def _failed(answer: Any) -> Exception:
    """A worker that could not even read the question may give a text."""
    return answer if isinstance(answer, Exception) else ImportError(answer)
