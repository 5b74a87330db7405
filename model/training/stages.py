"""The three stages of training: shards in, model.safetensors out.

A run is a function of its configuration: crops come from (seed, stage, step) alone, and a checkpoint holds
all the rest. So a run that was stopped, however, goes on to the weights that it would have had: on a CPU
bit for bit; a GPU's libraries may add up in another order.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import torch
from accelerate import Accelerator, InitProcessGroupKwargs
from accelerate.state import AcceleratorState

from ...composer.shards.dataset import CompositeDataset
from ...text import count
from ..crops.dataset import TrainingCrops
from ..network.checkpoint import Progress, load_checkpoint, load_model
from ..network.dim import DeepImageMatting, Stage
from ..network.precision import float32_products
from ..network.vgg16 import load_vgg16
from ..runs.config import TrainConfig
from ..runs.folder import Run, RunError, index_digest, open_run
from ..updates.layers import freeze_layers
from .loop import StageLoop
from .optimisation import Optimisation
from .reporting import Reporter, Silent, death_of_a_worker_told
from .step import StageLosses, TrainingStep, compiled
from .validation import ValidationSet, one_matte, pick, refuse_common_foregrounds, split_foregrounds

Data = tuple[list[int], ValidationSet | None]  # numbers of the shards to train on; what to validate on


@dataclass(frozen=True)
class Result:
    """A finished run: the model's file, the last validation SAD (None without validation).

    main: whether this process, of several, speaks for all.
    """

    model: Path
    sad: float | None
    main: bool = True


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
    ShardError, CheckpointError, WorkerError.
    """
    accelerator = Accelerator(
        # Unless it is told so, torchrun's processes on CPUs do not find each other.
        cpu=not torch.accelerator.is_available(),
        mixed_precision="no",  # the step has its own
        log_with="tensorboard",
        project_dir=config.out,
        # The main process validates alone, which may take longer than the usual ten minutes.
        kwargs_handlers=[InitProcessGroupKwargs(timeout=timedelta(days=1))],
    )
    try:
        data = split_data(config)
        with (
            open_run(config, main=accelerator.is_main_process) as run,
            float32_products(config.precision),
        ):
            trainer = Trainer(config, run, accelerator, reporter, data)
            for stage in config.stages:
                trainer.run_stage(stage)
            model, sad = run.finish()
        return Result(model, sad, main=accelerator.is_main_process)
    finally:
        accelerator.end_training()
        # Or the next training of this process could not have another precision.
        AcceleratorState._reset_state(reset_partial_state=True)


class Trainer:
    """What all stages share: the model, the data, and where they run."""

    def __init__(
        self, config: TrainConfig, run: Run, accelerator: Accelerator, reporter: Reporter, data: Data
    ) -> None:
        self.config, self.run, self.accelerator = config, run, accelerator
        self.reporter = reporter if accelerator.is_main_process else Silent()
        if accelerator.device.type == "cpu":
            self.reporter.note("no GPU is at hand: training on the CPU")
        accelerator.init_trackers("tensorboard")
        self.train_shards, self.validation = data
        self.model = self._initial_model()

    def _initial_model(self) -> DeepImageMatting:
        torch.manual_seed(self.config.seed)
        model = DeepImageMatting(self.config.model)
        if self.run.latest() is not None:
            pass  # whose weights will replace these
        elif self.config.init is not None:
            there = load_model(self.config.init)
            if there.config != self.config.model:
                raise RunError(
                    f"{self.config.init} is of {there.config}, not {self.config.model}: give its options"
                )
            model.load_state_dict(there.state_dict())
        elif self.config.encoder_weights != "none":
            with self.accelerator.local_main_process_first():  # which downloads them for all
                loaded = load_vgg16(model.encoder_decoder.encoder, self.config.encoder_weights)
            self.reporter.note(str(loaded))
        return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]

    def run_stage(self, stage: Stage) -> None:
        """Train one stage to its end, from where its last checkpoint stands."""
        latest = self.run.latest()
        if latest is not None and latest[1].stage > stage:
            self.reporter.note(f"stage {stage} is over: the run is in stage {latest[1].stage}")
            return
        if stage > 1 and latest is None and self.config.init is None:
            raise RunError(
                f"stage {stage} starts from stage 1's weights, and {self.run.folder} has none: train stage 1 "
                "there first, or name a model with --init"
            )
        self.model.set_stage(stage)
        freeze_layers(self.model, self.config.freeze)
        losses: torch.nn.Module = StageLosses(self.model, precision=self.config.precision)
        if self.config.compile:
            losses = compiled(losses, self.config.compile_mode)
        losses = self.accelerator.prepare(losses)
        device = self.accelerator.device
        optimisation = Optimisation(self.model, device, self.config)
        progress = Progress(stage=stage, step=0)
        if latest is not None:
            same = latest[1].stage == stage
            adam = optimisation.adam if same else None
            there = load_checkpoint(latest[0], self.model, adam, average=optimisation.average)
            progress = there if same else replace(there, stage=stage, step=0)
        StageLoop(
            config=self.config,
            run_folder=self.run,
            accelerator=self.accelerator,
            reporter=self.reporter,
            model=self.model,
            losses=TrainingStep(losses, device),
            optimisation=optimisation,
            crops=self._crops(stage),
            validation=self.validation,
            progress=progress,
        ).run()
        self.accelerator.free_memory()

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


def _opened(folder: Path) -> CompositeDataset:
    index_digest(folder)  # whose error, where there are no shards, says what to do
    composites = CompositeDataset(folder)
    if composites.index.split == "test":
        raise RunError(f"{folder} is a test set: a model trained or picked on it has no score to show")
    return composites
