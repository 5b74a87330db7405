"""The steps of one stage: batches in, gradients, logs, checkpoints, validation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from accelerate import Accelerator

from ...errors import DimtoolError
from ..crops.dataset import TrainingCrops
from ..crops.reading import Crop
from ..inference.matter import Matter
from ..network.checkpoint import Progress
from ..network.dim import DeepImageMatting, Stage
from ..network.precision import autocast, cudnn_search
from ..processes.feeding import Feed
from ..processes.signals import stop_signals
from ..runs.config import TrainConfig
from ..runs.folder import Run
from .finiteness import FiniteGuard
from .measuring import Window
from .optimisation import Optimisation
from .reporting import Log, Reporter, StoppedError
from .step import TrainingStep
from .validation import ValidationSet, validate

_ASK_EVERY = 10  # steps: asking every process whether it was told to stop holds them all up


@dataclass(kw_only=True)
class StageLoop:
    """One stage of a run; `progress` is where it stands, and moves."""

    config: TrainConfig
    run_folder: Run
    accelerator: Accelerator
    reporter: Reporter
    model: DeepImageMatting
    losses: TrainingStep
    optimisation: Optimisation
    crops: TrainingCrops
    validation: ValidationSet | None
    progress: Progress

    def __post_init__(self) -> None:
        self.stage: Stage = self.model.stage
        per_epoch = len(self.crops) / self.config.batch_size
        self.steps = self.config.steps or math.ceil((self.config.epochs or 0) * per_epoch)
        self.feed = Feed(
            self.crops,
            batch_size=self.config.batch_size,
            rank=self.accelerator.process_index,
            world=self.accelerator.num_processes,
            workers=self.config.workers,
            pinned=self.accelerator.device.type == "cuda",
        )
        self.log = Log(self.run_folder, self.accelerator, self.stage)
        self.guard = FiniteGuard(
            self.run_folder, self.feed, self.stage, main=self.accelerator.is_main_process
        )
        self.window = Window(self.feed.waited)

    def run(self) -> None:
        """Train until the stage is done.

        Raises StoppedError when asked to, NotFiniteError, ShardError, WorkerError.
        """
        self.reporter.stage(self.stage, self.steps, min(self.progress.step, self.steps))
        left = max(0, self.steps - self.progress.step)
        with stop_signals() as asked, cudnn_search(True):
            self.feed.begin(self.progress.step, left)
            for _ in range(left):
                self._step(self._next())
                self._now_and_then()
                self._stop_if(asked)
        # The next stage starts from the file that the main process has just written.
        self.accelerator.wait_for_everyone()

    def _next(self) -> Crop:
        try:
            batch = self.feed.next()
        except DimtoolError:
            if self.progress.step:  # what cannot be read must not cost the steps before it
                self._refuse_spoilt_weights()
                self._save()
            raise
        for error in batch["skipped"]:
            self.window.skipped += 1
            self.reporter.note(f"skipped: {error}")
        return batch

    def _step(self, batch: Crop) -> None:
        step = self.progress.step
        loss = self.optimisation.step(batch, self.losses, step=step, steps=self.steps)
        self.window.losses.append(loss)
        self.progress = replace(self.progress, step=step + 1)

    # ---- now and then --------------------------------------------------------------------------------------

    def _now_and_then(self) -> None:
        """What is due after a step; at the end all of it."""
        step, config = self.progress.step, self.config
        due = [step % every == 0 for every in (config.log_every, config.val_every, config.save_every)]
        log, look, save = due if step < self.steps else (True, True, True)
        if log or look or save:
            self._report()
        if look or save:
            self._refuse_spoilt_weights()
        try:
            if look:
                self._validate()
        except DimtoolError:
            # What the validation meets must not cost the steps before it; but a stage is only over with it.
            if step < self.steps:
                self._save()
            raise
        if save:
            self._save()

    def _report(self) -> None:
        """Read the losses of the window; log them and the speed. Nothing is kept that a NaN has spoilt."""
        window = self._new_window()
        if not window.losses:
            return
        losses = window.mean_losses(self.accelerator)
        self.guard.losses(losses, self.progress.step - len(losses))
        values = window.values(
            losses, self.accelerator, batch_size=self.config.batch_size, waited=self.feed.waited
        )
        self.log.values(self.progress.step, {**values, **self.optimisation.values()})
        self.reporter.step(len(losses), values)

    def _new_window(self) -> Window:
        """Begin a window, as after what is not the training's time; the one before."""
        before, self.window = self.window, Window(self.feed.waited)
        return before

    def _refuse_spoilt_weights(self) -> None:
        self.guard.weights(self.model, self.progress.step - 1)

    def _save(self) -> None:
        adam, average = self.optimisation.adam, self.optimisation.average
        self.run_folder.save(self.model, adam, self.progress, average=average)
        self._new_window()

    def _validate(self) -> None:
        """Only the main process looks; the others wait for it at their next step."""
        if self.validation is None or not self.accelerator.is_main_process:
            return
        device = self.accelerator.device
        with autocast(self.config.precision, device), cudnn_search(False):
            found = validate(Matter(model=self.optimisation.result, device=device), self.validation)
        self.model.train()
        step = self.progress.step
        values: Mapping[str, Any] = {"val_skipped": len(found.skipped)} if found.skipped else {}
        self.log.values(step, {"val_sad": found.sad, **values})
        for error in found.skipped:
            self.reporter.note(f"skipped in validation: {error}")
        self.reporter.note(f"stage {self.stage}, step {step}: validation SAD {found.sad:.3f}")
        self.log.pictures(step, found.examples)
        best = self.progress.best
        if best is None or found.sad < best:
            best = found.sad
            self.run_folder.save_best(self.optimisation.result)
        self.progress = replace(self.progress, best=best, last=found.sad)
        self._new_window()

    def _stop_if(self, asked: list[int]) -> None:
        """Stop where any process was asked to; all of them stop after the same step."""
        number = max(asked, default=0)
        if self.accelerator.num_processes > 1:
            if self.progress.step % _ASK_EVERY and self.progress.step < self.steps:
                return
            flag = torch.tensor([number], device=self.accelerator.device)
            number = int(self.accelerator.gather(flag).max())
        if number:
            self._report()
            self._refuse_spoilt_weights()
            self._save()
            raise StoppedError(
                f"stopped at step {self.progress.step} of stage {self.stage}; the same command goes on there",
                128 + number,
            )
