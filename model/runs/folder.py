"""A training run's folder: what was asked for, what came of it, where it stands."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from ...files import LockedError, locked, part_of
from ..network.checkpoint import (
    CHECKPOINT_FOLDER,
    MODEL_NAME,
    PART_SUFFIX,
    checkpoints,
    read_progress,
    remove_part,
    save_checkpoint,
    save_model,
)
from ..network.dim import DeepImageMatting
from ..network.progress import Progress
from .beginning import METRICS_NAME, RunError, begin_run, refuse_foreign
from .config import TrainConfig
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
        self._main = main

    @property
    def checkpoint_folder(self) -> Path:
        """Where the checkpoints are."""
        return self.folder / CHECKPOINT_FOLDER

    def latest(self) -> tuple[Path, Progress] | None:
        """The last checkpoint and where it stands; None before the first."""
        found = checkpoints(self.checkpoint_folder)
        return (found[-1], read_progress(found[-1])) if found else None

    def plan_stage(self, stage: int, *, planned: int, done: int) -> None:
        """Write down how many steps a stage is to have, and how many it has."""
        if self._main:
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
        """Save a checkpoint, then remove all but the last few. A failure leaves the old ones as they are."""
        if not self._main:
            return
        save_checkpoint(self.checkpoint_folder, model, optimizer, progress, average=average)
        record = self.stages().get(progress.stage)
        if record is not None:
            self.plan_stage(progress.stage, planned=record.planned, done=progress.step)
        for old in checkpoints(self.checkpoint_folder)[: -self.config.keep]:
            part = old.with_name(f".{old.name}{PART_SUFFIX}")
            old.rename(part)  # half removed, it must not look like a checkpoint
            remove_part(part)

    def save_best(self, model: DeepImageMatting) -> None:
        """Keep the weights with the least validation error so far."""
        if self._main:
            save_model(self.folder / BEST_NAME, model)

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
        with locked(config.out / ".lock"):
            run.notes = begin_run(config)
            yield run
    except LockedError as error:
        raise RunError(
            f"another training is at work in {config.out}: wait for it, or give another --out"
        ) from error
