"""What a training tells while it runs, and how it ends before its time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from ..processes.failures import SharedError
from ..processes.feeding import WorkerError


class StoppedError(SharedError):
    """The run was asked to stop, and did: its checkpoint is written."""


class Reporter(Protocol):
    """What a training tells while it runs."""

    def note(self, text: str) -> None:
        """Something worth a line."""

    def stage(self, stage: int, steps: int, done: int) -> None:
        """A stage begins, with `done` of its steps behind it."""

    def tick(self) -> None:
        """One more step is done."""

    def step(self, steps: int, values: dict[str, float]) -> None:
        """Of the last so many steps: loss, crops/s, share of the time spent waiting for data."""


class Silent:
    """The reporter of every process but the main one."""

    def note(self, text: str) -> None:
        """Nothing."""

    def stage(self, stage: int, steps: int, done: int) -> None:
        """Nothing."""

    def tick(self) -> None:
        """Nothing."""

    def step(self, steps: int, values: dict[str, float]) -> None:
        """Nothing."""


@contextmanager
def death_of_a_worker_told() -> Iterator[None]:
    """PyTorch raises a RuntimeError as soon as the system tells of it, wherever the process then is."""
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        raise WorkerError from error
