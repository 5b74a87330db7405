"""A training run's configuration, and its folder: what was asked for, what came of it, where it stands."""

from __future__ import annotations

import json
import math
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import accelerate
import torch
from filelock import FileLock, Timeout

from ..composer.engine import core_count
from ..composer.files import file_sha256, part_of, write_text
from ..composer.index import INDEX_NAME
from ..composer.shard import ShardError, current_versions
from ..composer.trimap import MAX_DISTANCE
from ..errors import WrongUseError
from .checkpoint import (
    CHECKPOINT_FOLDER,
    MODEL_NAME,
    PART_SUFFIX,
    Progress,
    checkpoints,
    read_progress,
    remove_part,
    save_checkpoint,
    save_model,
)
from .crops import CropConfig
from .network import DeepImageMatting, ModelConfig, Stage

CONFIG_NAME = "config.json"
METRICS_NAME = "metrics.jsonl"
BEST_NAME = "best.safetensors"

# What may differ when a run goes on: it changes how long or where a run works, not what it computes.
_FREE = frozenset(
    [
        "shards",
        "out",
        "stages",
        "steps",
        "epochs",
        "compile",
        "workers",
        "skip_bad",
        "val_count",
        "val_every",
        "save_every",
        "keep",
        "log_every",
    ]
)


def default_workers() -> int:
    """Processes that read crops, where nothing else is said: one a core, at most 4."""
    return min(4, core_count())


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Everything that decides a run.

    shards: a folder with index.json. stages: which of 1, 2, 3, in this order. steps: of each stage, in all,
    resumed or not; epochs: the same in passes over the data, where steps is not given. batch_size: of all
    processes together. val_share: of the foregrounds, held out for validation, unless val_shards names a
    folder of its own. stage2_radius: the trimaps' one radius in stage 2. Defaults are the paper's, where it
    says, and its best reimplementations' otherwise.
    """

    shards: Path = Path("shards/train")
    out: Path = Path("runs/dim")
    stages: tuple[Stage, ...] = (1, 2, 3)
    steps: int | None = None
    epochs: float | None = 30.0  # of 43,100 composites at batch 1: 1.3 million steps a stage
    batch_size: int = 1  # 16 and a proportionally greater rate fill a data-centre GPU
    learning_rate: float = 1e-5  # constant, Adam's; 1e-4 for a slim network from scratch
    precision: Literal["fp32", "bf16"] = "fp32"
    compile: bool = False
    workers: int = field(default_factory=default_workers)
    seed: int = 0
    skip_bad: bool = False
    bottleneck: Literal["fc6", "slim"] = "fc6"
    width: float = 1.0
    weights: str | None = None  # "imagenet", a file of VGG-16's, or "none"; imagenet at width 1 by default
    init: Path | None = None  # a model to start from, for stage 2 or 3 without the run of stage 1
    crop_size: int = 320
    crop_cuts: tuple[int, ...] = (320, 480, 640)
    radii: tuple[int, ...] = (1, 20)
    stage2_radius: int = 10
    val_shards: Path | None = None
    val_share: float = 0.05
    val_count: int = 50  # composites looked at, whole, in each validation
    val_every: int = 5_000
    val_radius: int = 10
    save_every: int = 5_000
    keep: int = 3
    log_every: int = 50

    def __post_init__(self) -> None:
        if not 0 < self.learning_rate < math.inf:
            raise WrongUseError(f"a learning rate of {self.learning_rate} is no positive number")
        if not 0 <= self.val_share < 1:
            raise WrongUseError(f"a validation share of {self.val_share:g} is not from 0 to below 1")
        if self.epochs is not None and not 0 < self.epochs < math.inf:
            raise WrongUseError(f"{self.epochs} epochs: say how long to train, with --steps or --epochs")
        if self.steps is None and self.epochs is None:
            raise WrongUseError(f"{self.epochs} epochs: say how long to train, with --steps or --epochs")
        counts = ("steps", "batch_size", "val_count", "val_every", "save_every", "keep", "log_every")
        for name, least in {**dict.fromkeys(counts, 1), "workers": 0, "seed": 0}.items():
            if getattr(self, name) is not None and getattr(self, name) < least:
                raise WrongUseError(f"{name} is {getattr(self, name)}: at least {least}")
        if not 0 <= self.val_radius < MAX_DISTANCE:
            raise WrongUseError(f"a trimap radius of {self.val_radius} is not in 0 to {MAX_DISTANCE - 1}")
        for stage in self.stages:
            self.crops(stage)
        _ = self.model

    @property
    def model(self) -> ModelConfig:
        """The network's part of it. Raises WrongUseError."""
        try:
            return ModelConfig(bottleneck=self.bottleneck, width=self.width)
        except ValueError as error:
            raise WrongUseError(str(error)) from error

    def crops(self, stage: Stage) -> CropConfig:
        """A stage's crops: stage 2 has trimaps of one radius, and only stage 1's loss needs colours."""
        radii = (self.stage2_radius, self.stage2_radius) if stage == 2 else self.radii
        return CropConfig(size=self.crop_size, cuts=self.crop_cuts, radii=radii, colours=stage == 1)

    @property
    def encoder_weights(self) -> str:
        """Where the encoder's weights come from: ImageNet's fit the full width alone."""
        return self.weights or ("imagenet" if self.width == 1 else "none")

    def values(self) -> dict[str, Any]:
        """Plain values for JSON."""
        init = self.init and self.init.resolve()  # the same file, from wherever it is named
        values = {**asdict(self), "init": init}
        return json.loads(json.dumps(values, default=str))  # type: ignore[no-any-return]


def _decisive(values: dict[str, Any]) -> dict[str, Any]:
    """What of a configuration's values a run cannot change: what decides its weights."""
    # Where the validation set comes from is free, but not whether it is held out of the training.
    values = {**values, "val_shards": values.get("val_shards") is not None}
    return {key: value for key, value in values.items() if key not in _FREE}


class RunError(WrongUseError):
    """The run cannot start or go on as asked; one line that says why and what to do."""


class Run:
    """The folder of a run: config.json, metrics.jsonl, checkpoints/, best.safetensors, model.safetensors.

    With several processes only the main one writes.
    """

    def __init__(self, config: TrainConfig, *, main: bool = True) -> None:
        self.config = config
        self.folder = config.out
        self._main = main

    @property
    def checkpoint_folder(self) -> Path:
        """Where the checkpoints are."""
        return self.folder / CHECKPOINT_FOLDER

    def latest(self) -> tuple[Path, Progress] | None:
        """The last checkpoint and where it stands; None before the first."""
        found = checkpoints(self.checkpoint_folder)
        return (found[-1], read_progress(found[-1])) if found else None

    def begin(self) -> None:
        """Make the folder ready to begin or go on. Raises RunError where it is another run's.

        The configuration is written, with versions and the shards' digest; what a killed process left
        unfinished is removed; of the log what comes after the last checkpoint, since it will come again.
        """
        digest = index_digest(self.config.shards)
        path = self.folder / CONFIG_NAME
        if path.exists():
            self._refuse_other(path, digest)
        if self._main:
            versions = {
                **current_versions(),
                "torch": torch.__version__,
                "accelerate": accelerate.__version__,
                "python": platform.python_version(),
            }
            content = {"config": self.config.values(), "shards_sha256": digest, "versions": versions}
            write_text(path, json.dumps(content, indent=1, sort_keys=True) + "\n")
            for folder in (self.folder, self.checkpoint_folder):
                for part in folder.glob(f".*{PART_SUFFIX}"):
                    remove_part(part)
            self._rewind()

    def _rewind(self) -> None:
        path = self.folder / METRICS_NAME
        if not path.exists():
            return
        latest = self.latest()
        last = (latest[1].stage, latest[1].step) if latest else (0, 0)
        kept = []
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                row = json.loads(line)
                if (row["stage"], row["step"]) <= last:
                    kept.append(line + "\n")
            except (ValueError, TypeError, KeyError):  # the process was killed while it wrote
                continue
        write_text(path, "".join(kept))

    def refuse_foreign(self) -> None:
        """Raise RunError where something is there without a configuration: whose, nobody knows."""
        there = [path for path in self.folder.iterdir() if not path.name.startswith(".")]
        if there and not (self.folder / CONFIG_NAME).exists():
            raise RunError(
                f"{self.folder} holds {there[0].name} and no {CONFIG_NAME}, so it is no run to go on with: "
                "give another --out"
            )

    def _refuse_other(self, path: Path, digest: str) -> None:
        try:
            there = json.loads(path.read_text(encoding="utf-8"))
            before, shards = dict(there["config"]), there["shards_sha256"]
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(f"{path} is broken ({error!r}): bring it again, or give another --out") from error
        asked = self.config.values()
        decisive = _decisive(before)
        differing = [key for key, value in _decisive(asked).items() if value != decisive.get(key)]
        if differing:
            key = differing[0]
            raise RunError(
                f"{self.folder} is a run with {key} = {before.get(key)}, not {asked[key]}: give that "
                "to go on with it, or another --out"
            )
        if shards != digest:
            raise RunError(
                f"{self.folder} was trained on other shards than {self.config.shards}: give another --out"
            )

    def save(self, model: DeepImageMatting, optimizer: torch.optim.Optimizer, progress: Progress) -> None:
        """Save a checkpoint, then remove all but the last few. A failure leaves the old ones as they are."""
        if not self._main:
            return
        save_checkpoint(self.checkpoint_folder, model, optimizer, progress)
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
        if self._main:
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
    """The run of `config`, begun or gone on with; one process (with its helpers) at a time."""
    config.out.mkdir(parents=True, exist_ok=True)
    run = Run(config, main=main)
    if not main:
        yield run
        return
    run.refuse_foreign()
    try:
        with FileLock(config.out / ".lock", timeout=0):
            run.begin()
            yield run
    except Timeout as error:
        raise RunError(
            f"another training is at work in {config.out}: wait for it, or give another --out"
        ) from error


def index_digest(shards: Path) -> str:
    """SHA-256 of the index, which tells one folder of shards from another. Raises ShardError."""
    try:
        return file_sha256(shards / INDEX_NAME)
    except FileNotFoundError as error:
        raise ShardError(
            f"{shards} holds no shards: run `dimtool build-dataset`, or name them with --shards"
        ) from error
