"""The steps of one stage: batches in, gradients, logs, checkpoints, validation."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NoReturn

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ...errors import DimtoolError
from ...files import write_text
from ..crops.batches import CropBatches, collate
from ..crops.dataset import TrainingCrops
from ..crops.readable import Collated, Readable
from ..crops.reading import Crop
from ..inference.matter import Matter
from ..network.checkpoint import Progress
from ..network.dim import DeepImageMatting, Stage
from ..runs.config import TrainConfig
from ..runs.folder import Run
from .reporting import NotFiniteError, Reporter, StoppedError, WorkerError
from .signals import begin_worker, signals_held, stop_signals
from .step import stage_losses, to_device
from .validation import ValidationSet, validate

NAN_NAME = "nan-batch.json"


_ASK_EVERY = 10  # steps: asking every process whether it was told to stop holds them all up


@dataclass
class _Window:
    """What happened since the last report. Losses stay on the device: reading one would stop it."""

    losses: list[Tensor] = field(default_factory=list)
    waiting: float = 0.0
    started: float = field(default_factory=time.perf_counter)
    skipped: int = 0


@dataclass(kw_only=True)
class StageLoop:
    """One stage of a run; `progress` is where it stands, and moves."""

    config: TrainConfig
    run_folder: Run
    accelerator: Accelerator
    reporter: Reporter
    model: DeepImageMatting
    forward: nn.Module
    adam: torch.optim.Adam
    crops: TrainingCrops
    validation: ValidationSet | None
    progress: Progress

    def __post_init__(self) -> None:
        self.stage: Stage = self.model.stage
        per_epoch = len(self.crops) / self.config.batch_size
        self.steps = self.config.steps or math.ceil((self.config.epochs or 0) * per_epoch)
        self.window = _Window()

    def run(self) -> None:
        """Train until the stage is done.

        Raises StoppedError when asked to, NotFiniteError, ShardError, WorkerError.
        """
        self.reporter.stage(self.stage, self.steps, min(self.progress.step, self.steps))
        left = max(0, self.steps - self.progress.step)
        with stop_signals() as asked:
            with signals_held():
                batches = iter(self._loader(left)) if left else iter(())
            for _ in range(left):
                self._step(self._next(batches))
                self._now_and_then()
                self._stop_if(asked)
        # The next stage starts from the file that the main process has just written.
        self.accelerator.wait_for_everyone()

    def _batches(self, start: int, steps: int, *, whole: bool = False) -> CropBatches:
        """The share of the batches that this process has, or the whole of them."""
        return CropBatches(
            len(self.crops),
            batch_size=self.config.batch_size,
            seed=self.crops.seed,
            start=start,
            steps=steps,
            rank=0 if whole else self.accelerator.process_index,
            world=1 if whole else self.accelerator.num_processes,
        )

    def _loader(self, steps: int) -> DataLoader[Crop]:
        workers = self.config.workers
        return DataLoader(
            Readable(self.crops),
            batch_sampler=self._batches(self.progress.step, steps),
            num_workers=workers,
            collate_fn=Collated(collate),
            pin_memory=self.accelerator.device.type == "cuda",
            worker_init_fn=partial(begin_worker, os.getpid()),
            # Not fork: this process has threads, and perhaps a GPU.
            multiprocessing_context="spawn" if workers else None,
            # Its own: the training's random states must not depend on how often it was started.
            generator=torch.Generator(),
        )

    def _next(self, batches: Iterator[Crop | DimtoolError]) -> Crop:
        started = time.perf_counter()
        try:
            batch = next(batches)
        except (ConnectionError, EOFError) as failure:  # it was killed while it handed tensors over
            raise WorkerError from failure
        self.window.waiting += time.perf_counter() - started
        if isinstance(batch, DimtoolError):
            if self.progress.step:
                self._refuse_spoilt_weights()
                self._save()
            raise batch
        for error in batch["skipped"]:
            self.window.skipped += 1
            self.reporter.note(f"skipped: {error}")
        return batch

    def _step(self, batch: Crop) -> None:
        inputs = to_device(batch, self.accelerator.device)
        with self.accelerator.autocast():
            prediction = self.forward(inputs["image"], inputs["trimap"])
        losses = stage_losses(self.stage, prediction, inputs)
        self.accelerator.backward(losses.total)
        self.adam.step()
        self.adam.zero_grad(set_to_none=True)
        self.window.losses.append(losses.total.detach())
        self.progress = replace(self.progress, step=self.progress.step + 1)

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
        window, self.window = self.window, _Window()
        if not window.losses:
            return
        losses = self.accelerator.reduce(torch.stack(window.losses), reduction="mean")
        bad = (~torch.isfinite(losses)).nonzero()
        if len(bad):
            self._refuse_nan("loss", self.progress.step - len(losses) + int(bad[0]))
        seconds = time.perf_counter() - window.started
        values = {
            "loss": float(losses.mean()),
            "crops_per_second": len(losses) * self.config.batch_size / seconds,
            "waiting": window.waiting / seconds,
        }
        skipped = torch.tensor(window.skipped, device=losses.device)
        if total := int(self.accelerator.reduce(skipped, reduction="sum")):
            values["skipped"] = total
        self._log(values)
        self.reporter.step(len(losses), values)

    def _refuse_nan(self, what: str, step: int) -> NoReturn:
        """Stop; `step`: of the stage, from 0. Its whole batch is named, whichever processes had it."""
        positions = next(iter(self._batches(step, 1, whole=True)))
        path = self.run_folder.folder / NAN_NAME
        crops = [
            {"epoch": epoch, "index": index, "composite": self.crops.name(index)}
            for epoch, index in positions
        ]
        content = {"stage": self.stage, "step": step, "not_finite": what, "crops": crops}
        if self.accelerator.is_main_process:
            write_text(path, json.dumps(content, indent=1) + "\n")
        latest = self.run_folder.latest()
        before = (
            f"The last checkpoint, {latest[0]}, is from before" if latest else "There is no checkpoint yet"
        )
        raise NotFiniteError(
            f"the {what} of step {step} is not finite; the batch is in {path}; {before}: use a lesser "
            "--learning-rate or fp32 in another --out, from a model that --init names"
        )

    def _validate(self) -> None:
        """Only the main process looks; the others wait for it at their next step."""
        if self.validation is None or not self.accelerator.is_main_process:
            return
        with self.accelerator.autocast():
            found = validate(Matter(model=self.model, device=self.accelerator.device), self.validation)
        self.model.train()
        self._log({"val_sad": found.sad, **({"val_skipped": len(found.skipped)} if found.skipped else {})})
        for error in found.skipped:
            self.reporter.note(f"skipped in validation: {error}")
        self.reporter.note(f"stage {self.stage}, step {self.progress.step}: validation SAD {found.sad:.3f}")
        self._show(found.examples)
        best = self.progress.best
        if best is None or found.sad < best:
            best = found.sad
            self.run_folder.save_best(self.model)
        self.progress = replace(self.progress, best=best, last=found.sad)
        self.window = _Window()  # whose time is not the training's

    def _refuse_spoilt_weights(self) -> None:
        """A gradient may not be finite though the loss is; the loss tells only one step later."""
        finite = all(bool(torch.isfinite(parameter).all()) for parameter in self.model.parameters())
        if not finite:
            self._refuse_nan("update", self.progress.step - 1)

    def _save(self) -> None:
        self.run_folder.save(self.model, self.adam, self.progress)
        self.window = _Window()

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

    def _log(self, values: dict[str, Any]) -> None:
        step = self.progress.step
        self.run_folder.log({"stage": self.stage, "step": step, **values})
        self.accelerator.log(
            {f"stage{self.stage}/{name}": value for name, value in values.items()}, step=step
        )

    def _show(self, examples: list[Tensor]) -> None:
        """Image, trimap, prediction and truth beside each other, in TensorBoard."""
        writer = self.accelerator.get_tracker("tensorboard", unwrap=True)
        for number, picture in enumerate(examples):
            writer.add_image(f"stage{self.stage}/validation_{number}", picture, self.progress.step)
