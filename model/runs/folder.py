"""A training run's folder: what was asked for, what came of it, where it stands."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ...files import LockedError, lock_notes, locked, part_of
from ..network.checkpoint import (
    CHECKPOINT_FOLDER,
    MODEL_NAME,
    PART_SUFFIX,
    Snapshot,
    checkpoints,
    copy_of,
    read_progress,
    remove_part,
    save_checkpoint,
    save_model,
    take_snapshot,
)
from ..network.dim import DeepImageMatting
from ..network.progress import Progress
from .beginning import METRICS_NAME, RunError, begin_run, refuse_foreign
from .config import TrainConfig
from .saving import Saver
from .stages import StageRecord, read_stages, write_stage

BEST_NAME = "best.safetensors"


class Run:
    """The folder of a run: config.json, metrics.jsonl, checkpoints/, best.safetensors, model.safetensors.

    With several processes only the main one writes.
    """

    def __init__(self, config: TrainConfig, *, main: bool = True) -> None:
        self.config = config
        self.folder = config.out
        self.notes: list[str] = []
        self._saver = Saver()
        self._main = main

    @property
    def checkpoint_folder(self) -> Path:
        """Where the checkpoints are."""
        return self.folder / CHECKPOINT_FOLDER

    def latest(self) -> tuple[Path, Progress] | None:
        """The last checkpoint, written to its end, and where it stands; None before the first."""
        self.settle()
        found = checkpoints(self.checkpoint_folder)
        return (found[-1], read_progress(found[-1])) if found else None

    def plan_stage(self, stage: int, *, planned: int, done: int) -> None:
        """Write down how many steps a stage is to have, and how many it has."""
        if self._main:
            self.settle()  # which may write to the same file
            write_stage(self.folder, stage, StageRecord(planned=planned, done=done))

    def stages(self) -> dict[int, StageRecord]:
        """How far the stages came, of how many steps."""
        return read_stages(self.folder)

    def save(
        self,
        model: DeepImageMatting,
        optimizer: torch.optim.Optimizer,
        progress: Progress,
        *,
        average: DeepImageMatting | None = None,
    ) -> None:
        """Save a checkpoint as all is now, then remove all but the last few; a thread writes it meanwhile.

        A failure leaves the old ones as they are; `check` and `settle` raise it.
        """
        if self._main:
            snapshot = take_snapshot(model, optimizer, progress, average=average)
            self._saver.submit(lambda: self._write(snapshot))

    def _write(self, snapshot: Snapshot) -> None:
        save_checkpoint(self.checkpoint_folder, snapshot)
        stage, step = snapshot.progress.stage, snapshot.progress.step
        record = self.stages().get(stage)
        if record is not None:
            write_stage(self.folder, stage, replace(record, done=step))
        for old in checkpoints(self.checkpoint_folder)[: -self.config.keep]:
            part = old.with_name(f".{old.name}{PART_SUFFIX}")
            old.rename(part)  # half removed, it must not look like a checkpoint
            remove_part(part)

    def save_best(self, model: DeepImageMatting) -> None:
        """Keep the weights with the least validation error so far, as they are now; see `save`."""
        if self._main:
            copy = copy_of(model)
            self._saver.submit(lambda: save_model(self.folder / BEST_NAME, copy))

    def check(self) -> None:
        """Raise CheckpointError where something could not be written."""
        self._saver.check()

    def settle(self) -> None:
        """Wait until all is written. Raises CheckpointError where something could not be."""
        self._saver.wait()

    def close(self) -> None:
        """Let what is being written come to its end."""
        self._saver.close()

    def finish(self) -> tuple[Path, float | None]:
        """Make the last checkpoint's weights the final model; its path, and the last validation SAD."""
        path, latest = self.folder / MODEL_NAME, self.latest()
        if latest is None:
            raise RunError(f"{self.folder} has no checkpoint: nothing was trained")
        with part_of(path) as part:
            shutil.copyfile(latest[0] / MODEL_NAME, part)
        return path, latest[1].last

    def log(self, values: dict[str, Any]) -> None:
        """Add a line to metrics.jsonl."""
        if self._main:
            with (self.folder / METRICS_NAME).open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(values) + "\n")


@contextmanager
def open_run(config: TrainConfig, *, main: bool = True) -> Iterator[Run]:
    """The run of `config`, begun or gone on with; one process (with its helpers) at a time.

    main: whether this process is the one that uses the folder; to the others it need not be there.
    """
    run = Run(config, main=main)
    if not main:
        yield run
        return
    config.out.mkdir(parents=True, exist_ok=True)
    refuse_foreign(config.out)
    try:
        with locked(config.out / ".lock") as alone:
            run.notes = [*lock_notes(alone, "training"), *begin_run(config)]
            try:
                yield run
                run.settle()
            finally:
                run.close()
    except LockedError as error:
        raise RunError(
            f"another training is at work in {config.out}: wait for it, or give another --out"
        ) from error
