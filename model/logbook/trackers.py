"""Where a training's values go beside its own files: TensorBoard, or another of Accelerate's trackers."""

from __future__ import annotations

import importlib
import importlib.util
import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from torch import Tensor
from torch.utils.tensorboard.summary import hparams

from ...errors import WrongUseError
from ...files import write_text
from ...text import first_line
from ..network.dim import Stage
from ..runs.beginning import TENSORBOARD
from ..runs.config import TrainConfig
from ..runs.folder import Run

PROJECT = "dimtool"
TRACKER_NAME = "tracker.json"  # under which name a tracker knows the run, which goes on there


# The classes of their errors, and what to do about them.
_FAILURES = {
    "wandb": ("wandb.Error", "`wandb login`, or WANDB_MODE=offline, which needs neither account nor network"),
    "mlflow": ("mlflow.exceptions.MlflowException", "see what MLFLOW_TRACKING_URI names"),
}


class TrackerError(WrongUseError):
    """A tracker is not there, or cannot begin; one line that says what to do."""


def refuse_missing(tracker: str) -> None:
    """Raise TrackerError where the package of a tracker is not there."""
    if tracker not in ("none", "tensorboard") and importlib.util.find_spec(tracker) is None:
        raise TrackerError(
            f"--tracker {tracker} needs the package {tracker}: pip install {tracker}, or choose tensorboard"
        )


def begin_tracking(accelerator: Accelerator, config: TrainConfig, *, goes_on: bool) -> None:
    """Begin the tracker's run, or go on with it, and tell it every option. Raises OSError without leftovers.

    goes_on: whether the run has a checkpoint that it goes on from.
    """
    if config.tracker == "none":
        return
    try:
        if config.tracker == "tensorboard":
            accelerator.init_trackers(TENSORBOARD)
            _tell_tensorboard(accelerator, config)
        elif accelerator.is_main_process:
            with _failure_told(config.tracker):
                _begin_elsewhere(accelerator, config, goes_on=goes_on)
    except (OSError, TrackerError):
        accelerator.trackers = []  # which could not be ended: they have not begun
        raise


@contextmanager
def _failure_told(tracker: str) -> Iterator[None]:
    name, advice = _FAILURES[tracker]
    module, _, kind = name.rpartition(".")
    try:
        yield
    except getattr(importlib.import_module(module), kind) as error:
        raise TrackerError(
            f"--tracker {tracker} cannot begin ({first_line(error)}): {advice}, or choose tensorboard"
        ) from error


def _begin_elsewhere(accelerator: Accelerator, config: TrainConfig, *, goes_on: bool) -> None:
    known = _known(config.out / TRACKER_NAME) if goes_on else {}
    name, options = config.out.resolve().name, _options(config)
    if config.tracker == "wandb":
        own = known.get("wandb", secrets.token_hex(4))
        begin: dict[str, Any] = {"name": name, "id": own, "resume": "allow", "dir": str(config.out)}
        accelerator.init_trackers(PROJECT, options, {"wandb": begin})
    else:
        accelerator.init_trackers(
            PROJECT,
            options if not known else None,
            {"mlflow": {"run_name": name, "run_id": known.get("mlflow")}},
        )
        own = accelerator.get_tracker("mlflow", unwrap=True).info.run_id
    write_text(config.out / TRACKER_NAME, json.dumps({config.tracker: own}) + "\n")


def _known(path: Path) -> dict[str, str]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def _options(config: TrainConfig) -> dict[str, bool | int | float | str]:
    """Every option as a tracker takes it."""
    return {
        name: value if isinstance(value, bool | int | float | str) else str(value)
        for name, value in config.values().items()
    }


def _tell_tensorboard(accelerator: Accelerator, config: TrainConfig) -> None:
    """The options, in the run's own events: Accelerate would begin a folder of another name at each start."""
    if accelerator.is_main_process:
        measured = {f"stage{stage}/val_sad": 0 for stage in config.stages}
        writer = accelerator.get_tracker("tensorboard", unwrap=True)
        for summary in hparams(_options(config), measured):  # type: ignore[no-untyped-call]
            writer.file_writer.add_summary(summary)


class Log:
    """Where a stage's values go: metrics.jsonl and the tracker; only the main process writes."""

    def __init__(self, run_folder: Run, accelerator: Accelerator, stage: Stage) -> None:
        self._run_folder, self._accelerator, self._stage = run_folder, accelerator, stage

    def values(self, step: int, values: Mapping[str, Any]) -> None:
        """What is known after a step."""
        self._run_folder.log({"stage": self._stage, "step": step, **values})
        named = {f"stage{self._stage}/{name}": value for name, value in values.items()}
        if self._run_folder.config.tracker == "wandb":  # whose own count must never fall, as a stage's does
            self._accelerator.log({**named, f"stage{self._stage}/step": step})
        else:
            self._accelerator.log(named, step=step)

    def pictures(self, step: int, examples: Sequence[Tensor]) -> None:
        """Image, trimap, prediction and truth beside each other, in trackers that show pictures."""
        if not self._accelerator.is_main_process:
            return
        for tracker in self._accelerator.trackers:
            for number, picture in enumerate(examples):
                name = f"stage{self._stage}/validation_{number}"
                if tracker.name == "tensorboard":
                    tracker.tracker.add_image(name, picture, step)
                elif tracker.name == "wandb":
                    tracker.log_images({name: [picture.permute(1, 2, 0).numpy()]})
