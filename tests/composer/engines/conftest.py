"""Clusters of real processes on loopback, and a small set to build on them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

_MODULE = (sys.executable, "-m")
_QUIET = {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}


@dataclass
class DaskProcesses:
    """A scheduler and its workers, each a process of one thread; `folder` is for what they leave."""

    folder: Path
    scheduler: subprocess.Popen[bytes] = field(init=False)
    address: str = field(init=False)
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        file = self.folder / "scheduler.json"
        file.unlink(missing_ok=True)
        self.scheduler = self._start("dask_scheduler", "--port", "0", "--no-show", "--scheduler-file", file)
        wait_for(file.exists)
        self.address = json.loads(file.read_text())["address"]

    def add(self, *before: object, **environment: str) -> subprocess.Popen[bytes]:
        """A worker more; `before` are words that its command begins with."""
        options = ["--nthreads", "1", "--no-nanny", "--memory-limit", "0", "--local-directory", self.folder]
        command = [*map(str, before), *_MODULE]
        self.workers.append(
            self._start("dask_worker", self.address, *options, command=command, **environment)
        )
        return self.workers[-1]

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        process.send_signal(signal.SIGKILL)
        process.wait()
        self.workers = [each for each in self.workers if each is not process]

    def end(self) -> None:
        for process in (*self.workers, self.scheduler):
            process.send_signal(signal.SIGKILL)
            process.wait()

    def _start(
        self, module: str, *options: object, command: Sequence[str] = _MODULE, **environment: str
    ) -> subprocess.Popen[bytes]:
        words = [*command, f"distributed.cli.{module}", "--host", "127.0.0.1", "--no-dashboard"]
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [*words, *map(str, options)], stderr=log, stdout=log, env=os.environ | _QUIET | environment
            )


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture(scope="module")
def dask_processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[int], DaskProcesses]]:
    """Start a scheduler with so many workers."""
    started: list[DaskProcesses] = []

    def start(workers: int) -> DaskProcesses:
        started.append(DaskProcesses(tmp_path_factory.mktemp("dask")))
        for _ in range(workers):
            started[-1].add()
        return started[-1]

    yield start
    for each in started:
        each.end()


@pytest.fixture(scope="module")
def three(dask_processes: Callable[[int], DaskProcesses]) -> DaskProcesses:
    """A scheduler with three workers, that no test harms."""
    return dask_processes(3)


@pytest.fixture(scope="session")
def on(build_arguments: Any, command: Any) -> Callable[..., Any]:
    """Build in this process on an engine."""

    def call(root: Path, out: Path, engine: str, address: str, *more: object) -> Any:
        words = build_arguments(root, out, "--engine", engine, "--address", address, *more)
        place = words.index("--jobs")
        return command(*words[:place], *words[place + 2 :])

    return call
