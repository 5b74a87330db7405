"""What a training tells while it runs, and how it ends before its time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from ...errors import DimtoolError


class StoppedError(DimtoolError):
    """The run was asked to stop, and did: its checkpoint is written."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class NotFiniteError(DimtoolError):
    """The loss is no number any more; the message says where the batch's indices are."""


class WorkerError(DimtoolError):
    """A process that reads crops was killed."""

    def __init__(self) -> None:
        super().__init__(
            "a worker process was killed, perhaps for want of memory: try fewer --workers; "
            "the same command goes on from the last checkpoint"
        )


class Reporter(Protocol):
    """What a training tells while it runs."""

    def note(self, text: str) -> None:
        """Something worth a line."""

    def stage(self, stage: int, steps: int, done: int) -> None:
        """A stage begins, with `done` of its steps behind it."""

    def step(self, steps: int, values: dict[str, float]) -> None:
        """So many more steps are done; loss, crops/s, share of the time spent waiting for data."""


class Silent:
    """The reporter of every process but the main one."""

    def note(self, text: str) -> None:
        """Nothing."""

    def stage(self, stage: int, steps: int, done: int) -> None:
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
