"""The three stages of training: shards in, model.safetensors out.

A run is a function of its configuration: crops come from (seed, stage, step) alone, and a checkpoint holds
all the rest. So a run that was stopped, however, goes on to the weights that it would have had: on a CPU
bit for bit; a GPU's libraries may add up in another order.
"""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from ...composer.shards.dataset import CompositeDataset
from ...errors import WrongUseError
from ...storage.remote import Place
from ...text import count
from ..crops.dataset import TrainingCrops
from ..logbook.chronicle import Chronicle
from ..logbook.forecast import Forecast
from ..logbook.rows import last_trivial
from ..logbook.trackers import begin_tracking, refuse_missing
from ..network.checkpoint import load_checkpoint, load_model
from ..network.dim import DeepImageMatting, Stage
from ..network.partial import Part, take
from ..network.precision import float32_products
from ..network.progress import Progress
from ..network.snapshot import fill_state, state_of
from ..network.vgg16 import load_vgg16
from ..processes.failures import end_of_a_peer_told
from ..processes.launching import launch
from ..processes.ranks import Ranks
from ..processes.watch import Watch
from ..runs.beginning import RunError, shards_digest, versions
from ..runs.config import TrainConfig
from ..runs.folder import Run, open_run
from ..updates.layers import freeze_layers
from ..updates.parts import refuse_unequal_parts
from .loop import StageLoop
from .optimisation import Optimisation
from .reporting import Reporter, Silent, death_of_a_worker_told
from .step import StageLosses, TrainingStep, compiled, why_uncompiled
from .validation import ValidationSet, one_matte, pick, refuse_common_foregrounds, split_foregrounds

# Options that may differ between the processes of a training: each machine has its own disks and cores.
_OWN = ("shards", "val_shards", "out", "init", "weights", "workers")

Data = tuple[list[int], ValidationSet | None]  # numbers of the shards to train on; what to validate on


@dataclass(frozen=True)
class Result:
    """A finished run: the model's file, the last validation SAD (None without validation).

    trivial: the SAD of the answer that needs no model. page: to look at. main: whether this process speaks.
    """

    model: Path
    sad: float | None
    trivial: float | None = None
    page: Path | None = None
    main: bool = True

    def __str__(self) -> str:
        sad = "" if self.sad is None else f", validation SAD {self.sad:.2f}"
        beside = "" if self.trivial is None else f" (of the trimap itself {self.trivial:.2f})"
        return f"{self.model}{sad}{beside}" + ("" if self.page is None else f"\n{self.page}")


@contextmanager
def _errors_of_the_log_told_once() -> Iterator[None]:
    """TensorBoard writes in a thread. What fails there is raised again by the next thing to be written, so
    that the thread's traceback says nothing more.
    """
    before = threading.excepthook

    def hook(failed: threading.ExceptHookArgs) -> None:
        if not isinstance(failed.exc_value, OSError):
            before(failed)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = before


@death_of_a_worker_told()
@_errors_of_the_log_told_once()
def train(config: TrainConfig, reporter: Reporter) -> Result:
    """Run the stages that `config` asks for, going on from the folder's last checkpoint.

    Raises StoppedError after SIGTERM or SIGINT (a checkpoint is written first), NotFiniteError, RunError,
    ShardError, CheckpointError, WorkerError; with several processes SharedError and PeerError as well.
    """
    accelerator = launch(config.out, compression=config.gradient_compression, tracker=config.tracker)
    ranks = Ranks()
    try:
        with Watch(ranks) as watch, end_of_a_peer_told(), ExitStack() as stack:
            ranks.main_does(lambda: refuse_missing(config.tracker))
            data = ranks.each(lambda: split_data(config))
            ranks.agree(_common(config))
            stack.enter_context(float32_products(config.precision))
            run = ranks.each(lambda: stack.enter_context(open_run(config, main=ranks.main)))
            stack.callback(watch.leave)  # before the run waits for what is being written
            trainer = Trainer(run, data, accelerator=accelerator, ranks=ranks, reporter=reporter)
            for stage in config.stages:
                trainer.run_stage(stage)
            model, sad = ranks.main_finds(run.finish)
            trivial = ranks.main_finds(lambda: last_trivial(config.out))
            page = ranks.main_finds(trainer.chronicle.finished)
        return Result(model, sad, trivial, page, main=ranks.main)
    finally:
        accelerator.end_training()
        # Or the next training of this process could not have another precision.
        AcceleratorState._reset_state(reset_partial_state=True)


def _common(config: TrainConfig) -> dict[str, Any]:
    """What must be the same in all processes: options, but for places on the disk; data; versions."""
    values = {key: value for key, value in config.values().items() if key not in _OWN}
    shards = {"the shards' digest": shards_digest(config.shards)}
    if config.val_shards is not None:
        shards["the validation shards' digest"] = shards_digest(config.val_shards)
    return {**values, **shards, **versions()}


class Trainer:
    """What all stages share: the model, the data, and where they run."""

    def __init__(
        self, run: Run, data: Data, *, accelerator: Accelerator, ranks: Ranks, reporter: Reporter
    ) -> None:
        self.config, self.run, self.accelerator, self.ranks = run.config, run, accelerator, ranks
        self.reporter = reporter if ranks.main else Silent()
        if accelerator.device.type == "cpu":
            self.reporter.note("no GPU is at hand: training on the CPU")
        for note in run.notes:
            self.reporter.note(note)
        self.train_shards, self.validation = data
        ranks.each(lambda: begin_tracking(accelerator, self.config, goes_on=run.latest() is not None))
        digest = None if self.validation is None else self.validation.digest
        self.chronicle = Chronicle(self.config, digest, note=self.reporter.note)
        self._deadline = time.monotonic() + self.config.seconds
        self._can_be_refined = False
        self._forecast: Forecast | None = None
        self._compiles = self.config.compile and self._finds_a_compiler()
        torch.manual_seed(self.config.seed)
        self.model = DeepImageMatting(self.config.model)
        ranks.main_does(self._fill)  # the others receive it with their first stage
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def _finds_a_compiler(self) -> bool:
        """Whether every process can compile; if one cannot, none does, so that all compute alike."""
        reasons = [each for each in self.ranks.gather(why_uncompiled(self.accelerator.device)) if each]
        if reasons:
            self.reporter.note(f"training goes on uncompiled: {reasons[0]}")
        return not reasons

    def _fill(self) -> None:
        """Give the new model the weights that it starts from."""
        if self.run.latest() is not None:
            return  # whose weights will replace these
        if self.config.init is not None:
            self._fill_from(self.config.init, self.config.init_part or "all")
        elif self.config.encoder_weights != "none":
            encoder = self.model.encoder_decoder.encoder
            self.reporter.note(str(load_vgg16(encoder, self.config.encoder_weights)))

    def _fill_from(self, path: Path, part: Part) -> None:
        try:
            taken = take(self.model, load_model(path), part)
        except WrongUseError as error:
            raise RunError(f"{path} {error}") from error
        self._can_be_refined = taken.has_first_stage
        if part != "all":
            self.reporter.note(f"{path}: {taken}")

    def run_stage(self, stage: Stage) -> None:
        """Train one stage to its end, from where its last checkpoint stands."""
        latest = self.ranks.main_finds(lambda: self._start_of(stage))
        if latest is not None and latest[1].stage > stage:
            self.reporter.note(f"stage {stage} is over: the run is in stage {latest[1].stage}")
            return
        size, parts = self.config.plan(stage).batch_size, self.config.accumulate
        self.ranks.each(lambda: refuse_unequal_parts(size, processes=self.ranks.count, count=parts))
        self.model.set_stage(stage)
        freeze_layers(self.model, self.config.freeze)
        losses: torch.nn.Module = StageLosses(self.model, precision=self.config.precision)
        if self._compiles:
            losses = compiled(losses, self.config.compile_mode)
        losses = self._shared(losses)
        device = self.accelerator.device
        optimisation = Optimisation(self.model, device, self.config)
        progress = Progress(stage=stage, step=0)
        if latest is not None:
            progress = self._resume(*latest, optimisation)
        crops = self.ranks.each(lambda: self._crops(stage))
        self._forecast = self._forecast or Forecast(self.config, device, composites=len(crops))
        StageLoop(
            config=self.config,
            run_folder=self.run,
            accelerator=self.accelerator,
            ranks=self.ranks,
            reporter=self.reporter,
            model=self.model,
            losses=TrainingStep(losses, device),
            optimisation=optimisation,
            crops=crops,
            forecast=self._forecast,
            chronicle=self.chronicle,
            validation=self.validation,
            progress=progress,
            deadline=self._deadline,
        ).run()
        self.accelerator.free_memory()

    def _shared(self, losses: torch.nn.Module) -> torch.nn.Module:
        """On the device, its gradients shared by all processes."""
        with warnings.catch_warnings():  # of an option of PyTorch's that Accelerate names by its old name
            warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
            prepared: torch.nn.Module = self.accelerator.prepare(losses)
        return prepared

    def _start_of(self, stage: Stage) -> tuple[Path, Progress] | None:
        """The checkpoint that a stage starts from. Raises RunError where it cannot start there."""
        latest = self.run.latest()
        if latest is None:
            if stage > 1 and not self._can_be_refined:
                whole = ", and take all of it" if self.config.init else ""
                raise RunError(
                    f"stage {stage} starts from stage 1's weights, and {self.run.folder} has none: train "
                    f"stage 1 there first, or name a model with --init{whole}"
                )
            return None
        there = latest[1].stage
        record = self.run.stages().get(min(stage, there))
        if record is None:
            return latest
        if there < stage and record.done < record.planned:
            raise RunError(
                f"stage {there} has {record.done} of its {record.planned} steps: let it go on with --stage "
                f"{there}, or end it there with --stage {there} --steps {record.done}"
            )
        asked = self.config.plan(stage).steps or 0
        if there > stage and self.config.stages == (stage,) and asked > record.done:
            raise RunError(
                f"stage {stage} ended after {count(record.done, 'step')}, and the run is in stage {there}: "
                f"{asked} steps need another --out (with --init {self.run.folder} for these weights)"
            )
        return latest

    def _resume(self, path: Path, there: Progress, optimisation: Optimisation) -> Progress:
        """Go on from a checkpoint, which only the main process must have; with its weights in a new stage."""
        same = there.stage == self.model.stage
        adam, average = optimisation.adam, optimisation.average
        self.ranks.main_does(
            lambda: load_checkpoint(path, self.model, adam if same else None, average=average)
        )
        if self.ranks.count > 1:
            ours = state_of(self.model, adam, average=average) if self.ranks.main else {}
            fill_state(self.ranks.share(ours), self.model, adam, average=average)
        if there.scaler and optimisation.scaler.is_enabled():
            optimisation.scaler.load_state_dict(there.scaler)
        return there if same else there.begin_stage(self.model.stage)

    def _crops(self, stage: Stage) -> TrainingCrops:
        crops = TrainingCrops(
            self.config.shards,
            self.config.crops(stage),
            seed=4 * self.config.seed + stage,  # no two stages draw alike
            shards=self.train_shards,
            skip_bad=self.config.skip_bad,
        )
        self._tell(crops.left_out, "without a transition pixel to crop around")
        self._tell(crops.unreadable, "that cannot be read")
        if note := crops.composites.room_note:
            self.reporter.note(note)
        if not len(crops):
            raise RunError(f"{self.config.shards} has no composite to train on: build others")
        return crops

    def _tell(self, files: list[str], what: str) -> None:
        if files:
            self.reporter.note(f"left out: {count(len(files), 'shard')} {what}: {', '.join(files)}")


def split_data(config: TrainConfig) -> Data:
    """Numbers of the shards to train on, and what to validate on.

    Never the test set, and never a foreground of both. Raises WrongUseError, ShardError.
    """
    here = _opened(config.shards)
    every = range(len(here.index.shards))
    if config.val_shards is None:
        groups = one_matte(here, skip_bad=config.skip_bad)
        split = split_foregrounds(len(groups), config.val_share, config.seed)
        train_shards, held = (sorted(n for group in part for n in groups[group]) for part in split)
        there = here
    else:
        there = _opened(config.val_shards)
        refuse_common_foregrounds(here, there, skip_bad=config.skip_bad)
        train_shards, held = list(every), list(range(len(there.index.shards)))
    numbers = pick(there, held, config.val_count)
    if not numbers:
        return train_shards, None
    return train_shards, ValidationSet(there, numbers, config.val_radius, config.skip_bad)


def _opened(folder: Place) -> CompositeDataset:
    shards_digest(folder)  # whose error, where there are no shards, says what to do
    composites = CompositeDataset(folder)
    if composites.index.split == "test":
        raise RunError(
            f"{folder} is a test set: a model trained or picked on it has no score to show, so name others"
        )
    return composites
