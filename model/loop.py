"""The steps of one stage: batches in, gradients, logs, checkpoints, validation."""

from __future__ import annotations

import json
import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ..composer.files import write_text
from ..errors import DimtoolError
from .checkpoint import Progress
from .crops import Crop, CropBatches, TrainingCrops, collate
from .losses import Losses, alpha_loss, encoder_decoder_loss, unknown_region
from .network import DeepImageMatting, Prediction, Stage
from .run import Run, TrainConfig
from .validation import Example, ValidationSet, validate

NAN_NAME = "nan-batch.json"

T = TypeVar("T")


class StoppedError(DimtoolError):
    """The run was asked to stop, and did: its checkpoint is written."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class NotFiniteError(DimtoolError):
    """The loss is no number any more; the message says where the batch's indices are."""


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
        self.sad: float | None = None

    def run(self) -> float | None:
        """Train until the stage is done; the last validation's SAD. Raises StoppedError when asked to."""
        self.reporter.stage(self.stage, self.steps, min(self.progress.step, self.steps))
        left = max(0, self.steps - self.progress.step)
        with _stop_signals() as asked:
            batches = iter(self._loader(left)) if left else iter(())
            for _ in range(left):
                self._step(self._next(batches))
                self._now_and_then()
                self._stop_if(asked)
        if left:
            self._report()
            self._validate()
            self._save()
        return self.sad

    def _batches(self, start: int, steps: int) -> CropBatches:
        """The share of the batches that this process has."""
        return CropBatches(
            len(self.crops),
            batch_size=self.config.batch_size,
            seed=self.crops.seed,
            start=start,
            steps=steps,
            rank=self.accelerator.process_index,
            world=self.accelerator.num_processes,
        )

    def _loader(self, steps: int) -> DataLoader[Crop]:
        workers = self.config.workers
        return DataLoader(
            self.crops,
            batch_sampler=self._batches(self.progress.step, steps),
            num_workers=workers,
            collate_fn=collate,
            pin_memory=self.accelerator.device.type == "cuda",
            # Not fork: this process has threads, and perhaps a GPU.
            multiprocessing_context="forkserver" if workers else None,
        )

    def _next(self, batches: Iterator[Crop]) -> Crop:
        started = time.perf_counter()
        batch = next(batches)
        self.window.waiting += time.perf_counter() - started
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
        step = self.progress.step
        if step % self.config.log_every == 0:
            self._report()
        if step % self.config.val_every == 0 and step < self.steps:
            self._validate()
        if step % self.config.save_every == 0 and step < self.steps:
            self._save()

    def _report(self) -> None:
        """Read the losses of the window; log them and the speed."""
        window, self.window = self.window, _Window()
        if not window.losses:
            return
        losses = self.accelerator.reduce(torch.stack(window.losses), reduction="mean")
        self._refuse_nan(losses)
        seconds = time.perf_counter() - window.started
        values = {
            "loss": float(losses.mean()),
            "crops_per_second": len(losses) * self.config.batch_size / seconds,
            "waiting": window.waiting / seconds,
        }
        if window.skipped:
            values["skipped"] = window.skipped
        self._log(values)
        self.reporter.step(len(losses), values)

    def _refuse_nan(self, losses: Tensor) -> None:
        bad = (~torch.isfinite(losses)).nonzero()
        if not len(bad):
            return
        step = self.progress.step - len(losses) + int(bad[0])
        positions = next(iter(self._batches(step, 1)))
        path = self.run_folder.folder / NAN_NAME
        crops = [
            {"epoch": epoch, "index": index, "composite": self.crops.name(index)}
            for epoch, index in positions
        ]
        write_text(path, json.dumps({"stage": self.stage, "step": step, "crops": crops}, indent=1) + "\n")
        raise NotFiniteError(
            f"the loss of step {step} is not finite; the batch is in {path}. The last checkpoint is from "
            "before: go on from it (--init) with a lesser --learning-rate into another --out, or in fp32"
        )

    def _validate(self) -> None:
        """Only the main process looks; the others wait for it at their next step."""
        if self.validation is None or not self.accelerator.is_main_process:
            return
        self.model.eval()
        found = validate(self.model, self.validation, self.accelerator.device)
        self.model.train()
        self.sad = found.sad
        self._log({"val_sad": found.sad})
        self.reporter.note(f"stage {self.stage}, step {self.progress.step}: validation SAD {found.sad:.3f}")
        self._show(found.example)
        if self.progress.best is None or found.sad < self.progress.best:
            self.progress = replace(self.progress, best=found.sad)
            self.run_folder.save_best(self.model)

    def _save(self) -> None:
        self._report()  # which refuses weights that a NaN has spoilt
        self.run_folder.save(self.model, self.adam, self.progress)

    def _stop_if(self, asked: list[int]) -> None:
        flag = torch.tensor(max(asked, default=0), device=self.accelerator.device)
        if self.accelerator.num_processes > 1:
            flag = self.accelerator.gather(flag.view(1)).max()
        if self.accelerator.num_processes == 1 and not asked:
            return
        number = int(flag)
        if number:
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

    def _show(self, example: Example) -> None:
        """Image, trimap, prediction and truth beside each other, in TensorBoard."""
        writer = self.accelerator.get_tracker("tensorboard", unwrap=True)
        masks = [torch.from_numpy(each)[None].expand(3, -1, -1) for each in example[1:]]
        grid = torch.cat([torch.from_numpy(example.image).permute(2, 0, 1), *masks], 2)
        writer.add_image(f"stage{self.stage}/validation", grid, self.progress.step)


def to_device(batch: Crop, device: torch.device) -> dict[str, Tensor]:
    """The crops' tensors on a device, as float32 in 0..1."""
    names = ("image", "trimap", "alpha", "foreground", "background")
    tensors = {name: batch[name] for name in names}  # type: ignore[literal-required]
    return {name: each.to(device, non_blocking=True).float() / 255 for name, each in tensors.items()}


def stage_losses(stage: Stage, prediction: Prediction, batch: dict[str, Tensor]) -> Losses:
    """What a stage minimises: both losses in stage 1, the alpha loss of the refined alpha after it."""
    unknown = unknown_region(batch["trimap"])
    if stage == 1:
        return encoder_decoder_loss(
            prediction.coarse,
            alpha=batch["alpha"],
            foreground=batch["foreground"],
            background=batch["background"],
            composite=batch["image"],
            unknown=unknown,
        )
    loss = alpha_loss(prediction.refined, batch["alpha"], unknown)
    return Losses(loss, loss, torch.zeros_like(loss))


@contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """Collects SIGTERM and SIGINT instead of dying of them: the loop stops between two steps."""
    asked: list[int] = []
    before: dict[int, Callable[..., Any] | int | None] = {}
    for number in (int(signal.SIGTERM), int(signal.SIGINT)):
        before[number] = signal.signal(number, lambda received, _: asked.append(received))
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
