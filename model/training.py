"""The three stages of training: shards in, model.safetensors out.

A run is a function of its configuration: crops come from (seed, stage, step) alone, and a checkpoint holds
all the rest. So a run that was stopped, however, goes on to the weights that it would have had.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator

from ..composer.dataset import CompositeDataset
from .checkpoint import MODEL_NAME, Progress, load_checkpoint, load_model, save_model
from .crops import CropConfig, TrainingCrops
from .loop import Reporter, Silent, StageLoop
from .network import DeepImageMatting, Stage
from .run import Run, RunError, TrainConfig, open_run
from .validation import ValidationSet, pick, split_foregrounds
from .vgg16 import load_vgg16


@dataclass(frozen=True)
class Result:
    """A finished run: the model's file, the last validation SAD (None without validation)."""

    model: Path
    sad: float | None


def train(config: TrainConfig, reporter: Reporter) -> Result:
    """Run the stages that `config` asks for, going on from the folder's last checkpoint.

    Raises StoppedError after SIGTERM or SIGINT (a checkpoint is written first), NotFiniteError, RunError,
    ShardError, CheckpointError.
    """
    accelerator = Accelerator(
        mixed_precision="bf16" if config.precision == "bf16" else "no",
        log_with="tensorboard",
        project_dir=config.out,
    )
    with open_run(config, main=accelerator.is_main_process) as run:
        trainer = Trainer(config, run, accelerator, reporter)
        for stage in config.stages:
            trainer.run_stage(stage)
        return trainer.finish()


class Trainer:
    """What all stages share: the model, the data, and where they run."""

    def __init__(self, config: TrainConfig, run: Run, accelerator: Accelerator, reporter: Reporter) -> None:
        self.config, self.run, self.accelerator = config, run, accelerator
        self.reporter = reporter if accelerator.is_main_process else Silent()
        if accelerator.device.type == "cpu":
            self.reporter.note("no GPU is at hand: training on the CPU")
        accelerator.init_trackers("tensorboard")
        self.train_shards, self.validation = split_data(config)
        self.model = self._initial_model()
        self.sad: float | None = None

    def _initial_model(self) -> DeepImageMatting:
        torch.manual_seed(self.config.seed)
        model = DeepImageMatting(self.config.model)
        if self.config.init is not None:
            there = load_model(self.config.init)
            if there.config != self.config.model:
                raise RunError(
                    f"{self.config.init} is of {there.config}, not {self.config.model}: give its options"
                )
            model.load_state_dict(there.state_dict())
        elif self.config.encoder_weights != "none" and self.run.latest() is None:
            self.reporter.note(str(load_vgg16(model.encoder_decoder.encoder, self.config.encoder_weights)))
        return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]

    def run_stage(self, stage: Stage) -> None:
        """Train one stage to its end, from where its last checkpoint stands."""
        latest = self.run.latest()
        if latest is not None and latest[1].stage > stage:
            return
        if stage > 1 and latest is None and self.config.init is None:
            raise RunError(
                f"stage {stage} starts from stage 1's weights, and {self.run.folder} has none: train stage 1 "
                "there first, or name a model with --init"
            )
        self.model.set_stage(stage)
        learning = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        adam = torch.optim.Adam(learning, lr=self.config.learning_rate)
        forward = torch.compile(self.model) if self.config.compile else self.model
        forward, _ = self.accelerator.prepare(forward, adam)
        progress = Progress(stage=stage, step=0)
        if latest is not None:
            same = latest[1].stage == stage
            there = load_checkpoint(latest[0], self.model, adam if same else None)
            progress = there if same else progress
        loop = StageLoop(
            config=self.config,
            run_folder=self.run,
            accelerator=self.accelerator,
            reporter=self.reporter,
            model=self.model,
            forward=forward,
            adam=adam,
            crops=self._crops(stage),
            validation=self.validation,
            progress=progress,
        )
        self.sad = loop.run()
        self.accelerator.free_memory()

    def _crops(self, stage: Stage) -> TrainingCrops:
        crops = TrainingCrops(
            self.config.shards,
            crop_config(self.config, stage),
            seed=4 * self.config.seed + stage,  # no two stages draw alike
            shards=self.train_shards,
            skip_bad=self.config.skip_bad,
        )
        for name in crops.left_out:
            self.reporter.note(f"{name} has no transition pixel, or cannot be read: left out")
        return crops

    def finish(self) -> Result:
        """Write the final model, of whatever stage came last."""
        path = self.run.folder / MODEL_NAME
        if self.accelerator.is_main_process:
            save_model(path, self.model)
        self.accelerator.end_training()
        return Result(path, self.sad)


def split_data(config: TrainConfig) -> tuple[list[int], ValidationSet | None]:
    """Numbers of the shards to train on, and what to validate on: never the test set."""
    here = CompositeDataset(config.shards)
    if config.val_shards is not None:
        there = CompositeDataset(config.val_shards)
        if there.index.split == "test":
            raise RunError(f"{config.val_shards} is a test set: a model picked on it has no score")
        numbers = pick(there, range(len(there.index.shards)), config.val_count)
        return list(range(len(here.index.shards))), ValidationSet(there, numbers, config.val_radius)
    train_shards, held = split_foregrounds(len(here.index.shards), config.val_share, config.seed)
    numbers = pick(here, held, config.val_count)
    return train_shards, ValidationSet(here, numbers, config.val_radius) if numbers else None


def crop_config(config: TrainConfig, stage: Stage) -> CropConfig:
    """The crops of a stage: stage 2 has trimaps of one radius, and only stage 1's loss needs colours."""
    radii = (config.stage2_radius, config.stage2_radius) if stage == 2 else config.radii
    return CropConfig(size=config.crop_size, cuts=config.crop_cuts, radii=radii, colours=stage == 1)
