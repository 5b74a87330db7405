"""The engine that gives its jobs to a Ray cluster, as Ray's tasks."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from types import TracebackType
from typing import Any, Self

import ray
from ray.exceptions import GetTimeoutError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ...text import first_line
from .cluster import ATTEMPTS, GO_ON, Cluster, Done, WorkersLostError
from .engine import EngineError, Job, Result

_LOOK = 2.0  # seconds between two looks at how many processors there are
_START_ONE = "start `ray start --head`, and `ray start --address HOST:6379` on every other host"


class RayCluster(Cluster):
    """The processors of a running Ray cluster. To be entered: `with RayCluster(address=...) as engine`.

    address: `host:6379`, `ray://host:10001` for one that this machine is no part of, or None for the one in
    RAY_ADDRESS or running on this machine.
    """

    def __init__(self, *, address: str | None = None) -> None:
        self._address = address or "auto"
        self._under_way: set[Any] = set()
        self._slots, self._looked = 0, 0.0

    def __enter__(self) -> Self:
        ray._private.worker._worker_logs_enabled = False  # it would tell of lost workers on standard output
        try:
            _knock(self._address)
            ray.init(address=self._address, log_to_driver=False, logging_level="CRITICAL")
        except (OSError, RuntimeError, ValueError, RayError) as error:
            raise EngineError(
                f"there is no Ray cluster at {self._address} ({first_line(error)}): {_START_ONE}; "
                "on this machine alone --engine local does the same"
            ) from error
        self._watch = _watch(str(self._gone()))
        self._task = ray.remote(num_cpus=1, max_retries=ATTEMPTS - 1, retry_exceptions=[OSError])(_call)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        ray.shutdown()
        self._watch.communicate(b"\n")

    def slots(self) -> int:
        """See Cluster."""
        now = time.monotonic()
        if now > self._looked + _LOOK:
            try:
                self._slots, self._looked = int(ray.cluster_resources().get("CPU", 0)), now
            except RayError as error:
                raise self._gone() from error
        return self._slots

    def submit(self, call: Callable[..., Any], packs: Sequence[tuple[Any, ...]]) -> list[Hashable]:
        """See Cluster."""
        function = ray.put(call)  # once for all of them
        references = [self._task.remote(function, pack) for pack in packs]
        self._under_way.update(references)
        return references

    def finished(self) -> list[tuple[Hashable, Done[Any] | Exception]]:
        """See Cluster."""
        ready: list[Any] = []
        while not ready:
            self.slots()
            ready, _ = ray.wait(list(self._under_way), num_returns=1, timeout=_LOOK)
        self._under_way.difference_update(ready)
        return [(each, self._outcome(each)) for each in ready]

    def _outcome(self, reference: Any) -> Done[Any] | Exception:
        try:
            done: Done[Any] = ray.get(reference)
        except RayTaskError as error:
            cause = error.cause
            return cause if isinstance(cause, Exception) else error
        except RayError:
            return WorkersLostError()
        return done

    def cancel(self, handles: Iterable[Hashable]) -> None:
        """See Cluster. Also what is under way: Ray runs a task in a process of its own."""
        for reference in handles:
            ray.cancel(reference, force=True)
        self._under_way.clear()

    def on_hosts(self, function: Callable[[Job], Result], job: Job) -> dict[str, Result | Exception]:
        """See Cluster."""
        answers: dict[str, Result | Exception] = {}
        for node in ray.nodes():
            if node["Alive"] and node["Resources"].get("CPU"):
                there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
                task = ray.remote(num_cpus=0, scheduling_strategy=there)(_call)
                answers[node["NodeManagerHostname"]] = _answer(task.remote(function, job))
        return answers

    def _gone(self) -> EngineError:
        return EngineError(f"the Ray cluster at {self._address} is gone: {GO_ON}")


def _knock(address: str) -> None:
    """Raise OSError where nothing listens: Ray would try for minutes, and complain of it in its own way."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=10).close()


def _watch(line: str) -> subprocess.Popen[bytes]:
    """A process that says `line` unless it hears that all went well: Ray ends its driver without a word."""
    script = 'read -r _ || echo "dimtool: $0" >&2'
    return subprocess.Popen(["sh", "-c", script, line], stdin=subprocess.PIPE, start_new_session=True)


def _call(call: Callable[..., Any], argument: Any) -> Any:
    return call(argument)  # Ray takes no partial functions, nor Python's own


def _answer(reference: Any) -> Any:
    try:
        return ray.get(reference, timeout=60)
    except RayTaskError as error:
        return error.cause
    except (RayError, GetTimeoutError) as error:
        return error
