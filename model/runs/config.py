"""A training run's configuration: everything that decides it, and what may differ when it goes on."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from ...composer.pixels.trimap import MAX_DISTANCE
from ...errors import WrongUseError
from ...storage.remote import Place
from ..crops.reading import CropConfig
from ..crops.variation import Variation
from ..network.dim import ModelConfig, Stage
from ..network.layers import Normalisation
from ..network.partial import Part
from ..network.precision import Precision
from ..updates.layers import CONVOLUTIONS, ENCODER
from ..updates.rate import Schedule
from .intervals import read_interval

CompileMode = Literal["default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"]
"""torch.compile's: how long it searches, and whether it records CUDA graphs."""

Tracker = Literal["tensorboard", "wandb", "mlflow", "none"]

# What only the first start takes: a run that goes on has its weights, and needs their file no more.
STARTING = ("init", "init_part", "weights")

# What may differ when a run goes on and changes what comes of it: the run's history tells of it.
CHANGEABLE = (
    "learning_rate",
    "lr_schedule",
    "warmup",
    "weight_decay",
    "clip",
    "batch_size",
    "steps",
    "epochs",
    "precision",
    "gradient_compression",
    "on_nan",
)

# What may differ when a run goes on: it changes how long or where a run works, not what it computes.
_FREE = frozenset(
    [
        *CHANGEABLE,
        "shards",
        "out",
        "stages",
        "compile",
        "compile_mode",
        "workers",
        "skip_bad",
        "val_count",
        "val_every",
        "save_every",
        "keep",
        "log_every",
        "tracker",
        "page",
        "recipe",  # whose values are judged each for itself
        "accumulate",
        "patience",
        "time_limit",
    ]
)

Value = TypeVar("Value", int, float)


def of_stage(values: Value | tuple[Value, ...], stage: Stage) -> Value:
    """A stage's value of an option that has one for all stages, or one for each of the three."""
    return values[stage - 1] if isinstance(values, tuple) else values


@dataclass(frozen=True, kw_only=True)
class StagePlan:
    """How long and how fast one stage is trained: see TrainConfig."""

    steps: int | None
    epochs: float | None
    batch_size: int
    learning_rate: float

    def in_all(self, composites: int, *, step: int = 0, crops: int = 0) -> int:
        """The stage's steps over so many composites, where `step` of them, of `crops` crops, are done."""
        if self.steps is not None:
            return self.steps
        left = (self.epochs or 0) * composites - crops
        return step + max(0, math.ceil(left / self.batch_size))


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Everything that decides a run.

    shards: a folder with index.json, here or in an object store. stages: which of 1, 2, 3, in this order.
    steps: of each stage, in all, resumed or not; epochs: the same in passes over the data, where steps is
    not given. batch_size: of all processes together. steps, batch_size and learning_rate are one number,
    or one for each of the three stages. val_every, save_every: steps, or an interval's text, see
    `read_interval`. val_share: of the foregrounds, held out for validation, unless val_shards names a
    folder of its own. stage2_radius: the trimaps' one radius in stage 2. warmup: the share of each
    stage's steps in which the rate rises. accumulate: the parts of a batch that are computed one after
    the other. Defaults are the paper's, where it says, and its best reimplementations' otherwise.
    """

    shards: Place = Path("shards/train")
    out: Path = Path("runs/dim")
    stages: tuple[Stage, ...] = (1, 2, 3)
    steps: int | tuple[int, ...] | None = None
    epochs: float | None = 30.0  # of 43,100 composites at batch 1: 1.3 million steps a stage
    batch_size: int | tuple[int, ...] = 1  # 16 and a proportionally greater rate fill a data-centre GPU
    learning_rate: float | tuple[float, ...] = 1e-5  # Adam's, the greatest; 1e-4 for a slim network
    precision: Precision = "tf32"  # on a CPU float32; bf16 on a data-centre GPU
    compile: bool = False
    compile_mode: CompileMode = "default"
    gradient_compression: Literal["none", "bf16"] = "none"  # on their way between processes
    on_nan: Literal["stop", "skip"] = "stop"  # skip where one batch in thousands is not finite
    workers: int | None = None  # as many as the device needs, found from its first steps
    seed: int = 0
    skip_bad: bool = False
    bottleneck: Literal["fc6", "slim"] = "fc6"
    width: float = 1.0
    normalisation: Normalisation = "none"  # batch where it starts from scratch, with batches of 8 and more
    weights: str | None = None  # "imagenet", a file of VGG-16's, or "none"; imagenet at width 1 by default
    init: Path | None = None  # a model to start from, for stage 2 or 3 without the run of stage 1
    crop_size: int = 320
    crop_cuts: tuple[int, ...] = (320, 480, 640)
    radii: tuple[int, ...] = (1, 20)
    stage2_radius: int = 10
    # How crops are varied, see `Variation`: what the paper does not do is off.
    radii_draw: Literal["even", "log"] = "even"
    uneven_trimaps: float = 0.0
    recompose: float = 0.0
    join: float = 0.0
    zoom: float = 1.0
    turn: float = 0.0
    colour: float = 0.0
    noise: float = 0.0
    jpeg: float = 0.0
    val_shards: Place | None = None
    val_share: float = 0.05
    val_count: int = 50  # composites looked at, whole, in each validation
    val_every: int | str = 5_000
    val_radius: int = 10
    save_every: int | str = 5_000
    keep: int = 3
    log_every: int = 50
    tracker: Tracker = "tensorboard"
    page: bool = True  # index.html, curves.png and results.csv, at validations and at the end
    recipe: str = "paper"  # where the values came from that nobody gave
    lr_schedule: Schedule = "constant"  # cosine where the steps are few: it ends at rest
    warmup: float = 0.0  # of each stage's steps; 0.05 with a great rate, which would scatter fresh weights
    weight_decay: float = 0.0  # 0.01 where the foregrounds are few and the training loss falls alone
    clip: float = 0.0  # the gradient's greatest length; 1 with a great rate or where losses leap
    ema: float = 0.0  # 0.999: validate and keep an average of the last thousand steps' weights
    patience: int = 0  # validations without a better one; where steps are more than are perhaps needed
    time_limit: str | None = None  # 10h; where a machine is lent for a time
    init_part: Part | None = (
        None  # all, by default; "encoder", or "fitting" from a model of another bottleneck
    )
    accumulate: int = 1  # as many parts as a batch needs to fit the memory
    freeze: int | Literal["encoder"] = 0  # convolutions; "encoder" to adapt a model with few images

    def __post_init__(self) -> None:
        for rate in self._each("learning_rate"):
            if not 0 < rate < math.inf:
                raise WrongUseError(f"a learning rate of {rate} is no positive number")
        if not 0 <= self.val_share < 1:
            raise WrongUseError(f"a validation share of {self.val_share:g} is not from 0 to below 1")
        if self.epochs is not None and not 0 < self.epochs < math.inf:
            raise WrongUseError(f"{self.epochs} epochs: say how long to train, with --steps or --epochs")
        if self.steps is None and self.epochs is None:
            raise WrongUseError(f"{self.epochs} epochs: say how long to train, with --steps or --epochs")
        counts = ("steps", "batch_size", "accumulate", "val_count", "keep", "log_every")
        for name, least in (
            dict.fromkeys(counts, 1) | dict.fromkeys(("workers", "seed", "patience"), 0)
        ).items():
            for value in self._each(name):
                if value < least:
                    raise WrongUseError(f"{name} is {value}: at least {least}")
        for interval in (self.val_every, self.save_every):
            read_interval(interval)
        _ = self.seconds
        if not 0 <= self.val_radius < MAX_DISTANCE:
            raise WrongUseError(f"a trimap radius of {self.val_radius} is not in 0 to {MAX_DISTANCE - 1}")
        self._check_updates()
        for stage in self.stages:
            self.crops(stage)
        _ = self.model

    @property
    def seconds(self) -> float:
        """How long this start may take. Raises WrongUseError."""
        if self.time_limit is None:
            return math.inf
        limit = read_interval(self.time_limit)
        if limit.unit != "seconds":
            raise WrongUseError(f"a time limit of {self.time_limit}: give a time, as in 90s, 30min or 10h")
        return limit.amount

    def _check_updates(self) -> None:
        """What moves the weights."""
        for name in ("warmup", "weight_decay", "ema"):
            if not 0 <= getattr(self, name) < 1:
                raise WrongUseError(f"{name} is {getattr(self, name):g}: from 0 to below 1")
        if self.patience and self.val_shards is None and not self.val_share:
            raise WrongUseError(
                f"a patience of {self.patience} wants a validation: give --val-shards or --val-share"
            )
        if not 0 <= self.clip < math.inf:
            raise WrongUseError(f"clip is {self.clip:g}: a length, or 0 to leave all gradients as they are")
        for size in self._each("batch_size"):
            if size % self.accumulate:
                raise WrongUseError(
                    f"a batch of {size} has no {self.accumulate} equal parts: let --accumulate divide it"
                )
        if self.normalisation == "batch" and self.accumulate > 1:
            raise WrongUseError(
                f"{self.accumulate} parts of a batch would each be normalised by itself: "
                "take --accumulate 1, or --normalisation none"
            )
        if self.freeze != ENCODER and not 0 <= self.freeze <= CONVOLUTIONS:
            raise WrongUseError(f"freeze is {self.freeze}: 0 to {CONVOLUTIONS} convolutions, or the encoder")

    def _each(self, name: str) -> tuple[Any, ...]:
        """An option's values: one, or one for each of the three stages; none where it is not given."""
        value = getattr(self, name)
        if value is None:
            return ()
        if not isinstance(value, tuple):
            return (value,)
        if len(value) != 3:
            raise WrongUseError(
                f"{name} has {len(value)} values: give one for all stages, or one for each of the three"
            )
        return value

    def plan(self, stage: Stage) -> StagePlan:
        """How long and how fast a stage is trained."""
        return StagePlan(
            steps=None if self.steps is None else of_stage(self.steps, stage),
            epochs=self.epochs,
            batch_size=of_stage(self.batch_size, stage),
            learning_rate=of_stage(self.learning_rate, stage),
        )

    @property
    def model(self) -> ModelConfig:
        """The network's part of it. Raises WrongUseError."""
        try:
            return ModelConfig(bottleneck=self.bottleneck, width=self.width, normalisation=self.normalisation)
        except ValueError as error:
            raise WrongUseError(str(error)) from error

    def crops(self, stage: Stage) -> CropConfig:
        """A stage's crops: stage 2 has trimaps of one radius, and only stage 1's loss needs colours."""
        one = stage == 2
        return CropConfig(
            size=self.crop_size,
            cuts=self.crop_cuts,
            radii=(self.stage2_radius, self.stage2_radius) if one else self.radii,
            colours=stage == 1,
            variation=Variation(
                radii="even" if one else self.radii_draw,
                uneven=0.0 if one else self.uneven_trimaps,
                recompose=self.recompose,
                join=self.join,
                zoom=self.zoom,
                turn=self.turn,
                colour=self.colour,
                noise=self.noise,
                jpeg=self.jpeg,
            ),
        )

    @property
    def encoder_weights(self) -> str:
        """Where the encoder's weights come from: ImageNet's fit the full width alone."""
        return self.weights or ("imagenet" if self.width == 1 else "none")

    def values(self) -> dict[str, Any]:
        """Plain values for JSON."""
        init = self.init and self.init.resolve()  # the same file, from wherever it is named
        values = {**asdict(self), "init": init}
        return json.loads(json.dumps(values, default=str))  # type: ignore[no-any-return]


def decisive(values: dict[str, Any]) -> dict[str, Any]:
    """What of a configuration's values a run cannot change: what decides its weights."""
    # Where the validation set comes from is free, but not whether it is held out of the training.
    # What a run of an older release does not name had its default's effect.
    values = {**TrainConfig().values(), **values}
    values["val_shards"] = values["val_shards"] is not None
    return {key: value for key, value in values.items() if key not in _FREE}
