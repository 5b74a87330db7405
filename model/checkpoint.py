"""Checkpoints: safetensors and JSON, no pickle; a folder each, which appears whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..composer.files import part_of, sync
from ..errors import DimtoolError
from ..version import __version__
from .network import DeepImageMatting, ModelConfig

MODEL_NAME = "model.safetensors"
_OPTIMIZER_NAME = "optimizer.safetensors"
_RANDOM_NAME = "random.safetensors"
_STATE_NAME = "state.json"


class CheckpointError(DimtoolError, ValueError):
    """A checkpoint cannot be read or does not fit; one line that names it and says what to do."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a run is: `step` steps of `stage` are done; best: the least validation SAD so far, if any."""

    stage: int
    step: int
    best: float | None = None


def save_model(path: Path, model: DeepImageMatting) -> None:
    """Write the weights with the configuration in the file's metadata, atomically."""
    metadata = {"format": "dimtool-model", "config": json.dumps(asdict(model.config)), "dimtool": __version__}
    metadata["stage"] = str(model.stage)
    with part_of(path) as part:
        save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, part, metadata)


def load_model(path: Path) -> DeepImageMatting:
    """The network that a file holds, on the CPU, in its own configuration, ready for use.

    path: a model.safetensors, a checkpoint folder, or a run's folder. Raises CheckpointError.
    """
    path = _model_file(path)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        config = ModelConfig(**json.loads(metadata["config"]))
        model = DeepImageMatting(config)
        model.load_state_dict(load_file(path))
        model.set_stage(3 if metadata["stage"] in ("2", "3") else 1)
    except KeyError as error:
        raise CheckpointError(f"{path} is not a dimtool model: it says nothing of its {error}") from error
    except (OSError, SafetensorError, RuntimeError, TypeError, ValueError) as error:
        line = str(error).partition("\n")[0]
        raise CheckpointError(f"{path} cannot be read as a model ({line}): bring the file again") from error
    return model.eval()


def _model_file(path: Path) -> Path:
    file = path / MODEL_NAME if path.is_dir() else path
    if not file.is_file():
        raise CheckpointError(f"{file} does not exist: name a model.safetensors, or the folder of a run")
    return file


def save_checkpoint(
    folder: Path, model: DeepImageMatting, optimizer: torch.optim.Optimizer, progress: Progress
) -> Path:
    """Write `folder`/stage<s>-step<n>, whole or not at all; returns it.

    It holds everything that a run needs to go on as if it had never stopped: weights, optimizer, random
    states, the place in the sequence of batches.
    """
    final = folder / checkpoint_name(progress)
    part = folder / f".{final.name}.{os.getpid()}.part"
    folder.mkdir(parents=True, exist_ok=True)
    part.mkdir()
    try:
        save_model(part / MODEL_NAME, model)
        save_file(_optimizer_tensors(model, optimizer), part / _OPTIMIZER_NAME)
        save_file(_random_states(), part / _RANDOM_NAME)
        (part / _STATE_NAME).write_text(json.dumps(asdict(progress)) + "\n", encoding="utf-8")
        for file in part.iterdir():
            sync(file)
        if final.exists():  # the same step of the same run, saved again: the contents are the same
            shutil.rmtree(final)
        part.rename(final)
        sync(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return final


def load_checkpoint(
    path: Path, model: DeepImageMatting, optimizer: torch.optim.Optimizer | None = None
) -> Progress:
    """Fill model, optimizer (where given) and random states from a checkpoint folder; where it was.

    Raises CheckpointError where it is of another configuration or cannot be read.
    """
    try:
        progress = read_progress(path)
        stored = load_model(path)
        if stored.config != model.config:
            raise CheckpointError(
                f"{path} is of the configuration {asdict(stored.config)}, not {asdict(model.config)}: "
                "train with that one, or into another --out"
            )
        model.load_state_dict(stored.state_dict())
        if optimizer is not None:
            _fill_optimizer(model, optimizer, load_file(path / _OPTIMIZER_NAME))
            _set_random_states(load_file(path / _RANDOM_NAME))
    except (OSError, SafetensorError, KeyError) as error:
        raise CheckpointError(
            f"{path} cannot be read ({error}): remove it, and the one before is used"
        ) from error
    return progress


def read_progress(path: Path) -> Progress:
    """Where the run of a checkpoint was. Raises CheckpointError."""
    try:
        return Progress(**json.loads((path / _STATE_NAME).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path} is no whole checkpoint ({error}): remove it") from error


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in a folder, the oldest first."""
    found = [path for path in folder.glob("stage*-step*") if path.is_dir()]
    return sorted(found, key=lambda path: (read_progress(path).stage, read_progress(path).step))


def checkpoint_name(progress: Progress) -> str:
    """`stage1-step00001000`."""
    return f"stage{progress.stage}-step{progress.step:08d}"


def _optimizer_tensors(model: DeepImageMatting, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Adam's moments and step counts by the parameters' names, which stay when the order changes."""
    names: dict[Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
    return {
        f"{key}.{names[parameter]}": value.contiguous()
        for parameter, state in optimizer.state.items()
        for key, value in state.items()
    }


def _fill_optimizer(
    model: DeepImageMatting, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]
) -> None:
    parameters = dict(model.named_parameters())
    states: dict[Tensor, dict[str, Any]] = {}
    for key, value in tensors.items():
        kind, name = key.split(".", 1)
        parameter = parameters[name]
        # Adam keeps its step counts on the CPU, and the moments beside the weights, laid out as they are.
        moment = torch.empty_like(parameter, dtype=value.dtype).copy_(value) if value.ndim else value
        states.setdefault(parameter, {})[kind] = moment
    optimizer.state.update(states)


def _random_states() -> dict[str, Tensor]:
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states |= {f"cuda{i}": state for i, state in enumerate(torch.cuda.get_rng_state_all())}
    return states


def _set_random_states(states: Mapping[str, Tensor]) -> None:
    torch.set_rng_state(states["cpu"])
    if torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            if f"cuda{i}" in states:
                torch.cuda.set_rng_state(states[f"cuda{i}"], i)
