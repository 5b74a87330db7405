"""The steps of one stage: batches in, gradients, logs, checkpoints, validation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from accelerate import Accelerator

from ...composer.engines.engine import core_count
from ...errors import DimtoolError
from ...text import count
from ..crops.dataset import TrainingCrops
from ..crops.reading import Crop
from ..inference.matter import Matter
from ..logbook.chronicle import Chronicle
from ..logbook.forecast import Forecast
from ..logbook.trackers import Log
from ..network.dim import DeepImageMatting, Stage
from ..network.precision import autocast, cudnn_search
from ..network.progress import Progress
from ..processes.feeding import Feed
from ..processes.ranks import Ranks
from ..processes.signals import stop_signals
from ..processes.workers import Workers
from ..runs.config import TrainConfig
from ..runs.folder import Run
from .agenda import Agenda
from .finiteness import FiniteGuard
from .measuring import Window
from .optimisation import Optimisation
from .reporting import Reporter, StoppedError
from .step import TrainingStep
from .validation import ValidationSet, validate


@dataclass(kw_only=True)
class StageLoop:
    """One stage of a run; `progress` is where it stands, and moves."""

    config: TrainConfig
    run_folder: Run
    accelerator: Accelerator
    ranks: Ranks
    reporter: Reporter
    model: DeepImageMatting
    losses: TrainingStep
    optimisation: Optimisation
    crops: TrainingCrops
    validation: ValidationSet | None
    progress: Progress
    forecast: Forecast
    chronicle: Chronicle
    deadline: float = math.inf  # of the monotonic clock

    def __post_init__(self) -> None:
        self.stage: Stage = self.model.stage
        plan = self.config.plan(self.stage)
        self.batch_size = plan.batch_size
        self.steps = plan.in_all(len(self.crops), step=self.progress.step, crops=self.progress.crops)
        self.feed = Feed(
            self.crops,
            batch_size=plan.batch_size,
            rank=self.ranks.index,
            world=self.ranks.count,
            workers=self._workers(),
            note=self.reporter.note,
            pinned=self.accelerator.device.type == "cuda",
        )
        self.agenda = Agenda(
            self.config,
            self.ranks,
            steps=self.steps,
            per_epoch=len(self.crops) / plan.batch_size,
            deadline=self.deadline,
        )
        self.log = Log(self.run_folder, self.accelerator, self.stage)
        self.guard = FiniteGuard(self.run_folder, self.feed, self.stage, self.ranks)
        self.window = Window(self.feed.waited)

    def _workers(self) -> Workers:
        """Of the processes that read crops on this machine, the share that feeds this one; one at least."""
        here, asked = self.ranks.here, self.config.workers
        return Workers(None if asked is None else -(-asked // here), cores=core_count() // here)

    def run(self) -> None:
        """Train until the stage is done.

        Raises StoppedError when asked to, NotFiniteError, ShardError, WorkerError.
        """
        done = self.progress.step
        planned = done if self._gives_up() else self.steps
        self.reporter.stage(self.stage, planned, min(done, planned))
        self.run_folder.plan_stage(self.stage, planned=planned, done=done)
        left = max(0, planned - done)
        if left and (note := self.optimisation.rate.too_few(self.steps, self.batch_size)):
            self.reporter.note(f"stage {self.stage}: {note}")
        with stop_signals() as asked, cudnn_search(True):
            self.feed.begin(self.progress.crops, left)
            for _ in range(left):
                bad = self._step(self._next(asked))
                self._foretell()
                if self._now_and_then(asked, bad=bad):
                    break
            self.run_folder.settle()

    def _next(self, asked: list[int]) -> Crop:
        try:
            batch = self.feed.next(asked)
        except DimtoolError:
            # What cannot be read must not cost the steps before it.
            if self.progress.step and self.guard.finite(self.model):
                self._save()
            raise
        if batch is None:  # other processes cannot be asked: they may be in the midst of the next step
            if self.progress.step and self.guard.finite(self.model):
                self._save()
            self._stop(128 + max(asked), alone=True)
        self.window.own_backgrounds += batch["backgrounds"].kept
        for error in batch["skipped"]:
            self.window.skipped += 1
            self.reporter.note(f"skipped: {error}")
        return batch

    def _step(self, batch: Crop) -> bool:
        """Train on a batch; whether something is not finite."""
        step = self.progress.step
        loss = self.optimisation.step(batch, self.losses, step=step, steps=self.steps)
        self.window.losses.append(loss)
        self.progress = replace(self.progress, step=step + 1, crops=self.progress.crops + self.batch_size)
        self.reporter.tick()
        return self.config.on_nan == "stop" and self.guard.notices(loss)

    def _foretell(self) -> None:
        if not self.ranks.main:
            return
        if line := self.forecast.after_step(self.stage, done=self.progress.step, planned=self.steps):
            self.reporter.note(line)

    # ---- now and then --------------------------------------------------------------------------------------

    def _now_and_then(self, asked: list[int], *, bad: bool) -> bool:
        """What is due after a step, at the end all of it; whether the stage ends before its time.

        Raises StoppedError in all processes.
        """
        self.run_folder.check()
        due = self.agenda.after(self.progress.step, asked, bad=bad)
        if due.log or due.look or due.save or due.stop:
            self._report()
        if due.look or due.save or due.stop:
            self._refuse_spoilt_weights()
            # Each process's are of its own shares of the batches; nothing that learns depends on them.
            self.ranks.average(self.optimisation.statistics)
        if due.look:
            self._validate_and_keep()
        over = due.look and self._gives_up()
        if due.save or due.stop or over:
            self._save()
        if due.stop:
            self._stop(due.stop)
        if over and self.progress.step < self.steps:
            self._end_early()
        return over

    def _stop(self, exit_code: int, *, alone: bool = False) -> NoReturn:
        """End as a signal, or the time limit, asked to; all processes together, or this one alone."""
        self.run_folder.settle()
        error = StoppedError(
            f"stopped at step {self.progress.step} of stage {self.stage}; the same command goes on there",
            exit_code,
        )
        error.alone = alone
        raise error

    def _gives_up(self) -> bool:
        """Whether the validations are no better for long enough; all processes must ask."""
        patience = self.config.patience
        return patience > 0 and self.ranks.main_finds(lambda: self.progress.stale >= patience)

    def _end_early(self) -> None:
        step = self.progress.step
        self.run_folder.plan_stage(self.stage, planned=step, done=step)
        self.reporter.note(
            f"stage {self.stage} ends after {step} of {self.steps} steps: {self.progress.stale} validations "
            "in a row without a better one"
        )

    def _report(self) -> None:
        """Read the losses of the window; log them and the speed. Nothing is kept that a NaN has spoilt."""
        window = self._new_window()
        if not window.losses:
            return
        losses = window.mean_losses(self.accelerator)
        bad = self.guard.losses(losses, self.progress, skip=self.config.on_nan == "skip")
        if bad:
            self.reporter.note(f"step {self.progress.step}: {count(bad, 'step')} left out, not finite")
        values = window.values(losses, self.accelerator, batch_size=self.batch_size, waited=self.feed.waited)
        self.log.values(self.progress.step, {**values, **self.optimisation.values()})
        self.reporter.step(len(losses), values)

    def _new_window(self) -> Window:
        """Begin a window, as after what is not the training's time; the one before."""
        before, self.window = self.window, Window(self.feed.waited)
        return before

    def _refuse_spoilt_weights(self) -> None:
        self.guard.weights(self.model, self.progress)

    def _save(self) -> None:
        adam, average = self.optimisation.adam, self.optimisation.average
        progress = replace(self.progress, scaler=self.optimisation.scaler.state_dict())
        with self.forecast.aside():
            self.run_folder.save(self.model, adam, progress, average=average)
        self._new_window()

    def _validate_and_keep(self) -> None:
        try:
            with self.forecast.aside():
                self._validate()
        except DimtoolError:
            # What the validation meets must not cost the steps before it; but a stage is only over with it.
            if self.progress.step < self.steps:
                self._save()
            raise

    def _validate(self) -> None:
        """Score the validation set, each process a share of it, and keep the best model so far."""
        if self.validation is None:
            return
        device, model = self.accelerator.device, self.optimisation.result
        with autocast(self.config.precision, device), cudnn_search(False):
            found = validate(Matter(model=model, device=device), self.validation, self.ranks)
        self.model.train()
        step = self.progress.step
        values: Mapping[str, Any] = {"val_skipped": len(found.skipped)} if found.skipped else {}
        self.log.values(step, {"val_sad": found.sad, "trivial_sad": found.trivial, **values})
        for error in found.skipped:
            self.reporter.note(f"skipped in validation: {error}")
        self.reporter.note(
            f"stage {self.stage}, step {step}: validation SAD {found.sad:.3f}; of the trimap itself, taken "
            f"for an alpha, {found.trivial:.3f}"
        )
        self.log.pictures(step, found.examples)
        if self.ranks.main:
            self.chronicle.validated(self.stage, step, found.examples)
        if self._is_best(found.sad, self.validation.digest):
            self.run_folder.save_best(model)
        self.progress = self.progress.after_validation(found.sad, on=self.validation.digest)
        self._new_window()

    def _is_best(self, sad: float, digest: str) -> bool:
        """Whether no validation on the set of that digest was better; another set's say nothing beside it."""
        before = self.progress
        if before.best is not None and before.validated_on != digest:
            self.reporter.note("the validation set is another than before: the best model is found anew")
        return before.is_best(sad, on=digest)
