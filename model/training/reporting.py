"""What a training tells while it runs, and how it ends before its time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from accelerate import Accelerator
from torch import Tensor

from ..network.dim import Stage
from ..processes.feeding import WorkerError
from ..processes.ranks import SharedError
from ..runs.folder import Run


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


def begin_log(accelerator: Accelerator, name: str) -> None:
    """Begin TensorBoard's files, in a folder of that name in the run's. Raises OSError without leftovers."""
    try:
        accelerator.init_trackers(name)
    except OSError:
        accelerator.trackers = []  # which could not be ended: they have not begun
        raise


class Log:
    """Where a stage's values go: metrics.jsonl and TensorBoard; only the main process writes."""

    def __init__(self, run_folder: Run, accelerator: Accelerator, stage: Stage) -> None:
        self._run_folder, self._accelerator, self._stage = run_folder, accelerator, stage

    def values(self, step: int, values: Mapping[str, Any]) -> None:
        """What is known after a step."""
        self._run_folder.log({"stage": self._stage, "step": step, **values})
        named = {f"stage{self._stage}/{name}": value for name, value in values.items()}
        self._accelerator.log(named, step=step)

    def pictures(self, step: int, examples: Sequence[Tensor]) -> None:
        """Image, trimap, prediction and truth beside each other, in TensorBoard."""
        if not self._accelerator.is_main_process:
            return
        writer = self._accelerator.get_tracker("tensorboard", unwrap=True)
        for number, picture in enumerate(examples):
            writer.add_image(f"stage{self._stage}/validation_{number}", picture, step)


@contextmanager
def death_of_a_worker_told() -> Iterator[None]:
    """PyTorch raises a RuntimeError as soon as the system tells of it, wherever the process then is."""
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        raise WorkerError from error
