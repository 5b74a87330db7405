"""Checkpoints: safetensors and JSON, no pickle; a folder each, which appears whole or not at all."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from ...errors import DimtoolError
from ...files import file_sha256, part_of, sync
from ...text import first_line
from ...version import __version__
from .dim import DeepImageMatting, ModelConfig
from .foreign import foreign_kind
from .progress import Progress

MODEL_NAME = "model.safetensors"
CHECKPOINT_FOLDER = "checkpoints"  # in the folder of a run
PART_SUFFIX = ".part"  # of what is not complete
_METADATA = "dimtool-model"
_LEARNING_NAME = "learning.safetensors"
_OPTIMIZER_NAME = "optimizer.safetensors"
_RANDOM_NAME = "random.safetensors"
_STATE_NAME = "state.json"
_NAME = re.compile(r"stage(\d+)-step(\d+)")
_NAME_ONE = "name a model.safetensors, or the folder of a run"

# What a file gives that is missing, damaged, or of something else.
_UNREADABLE = (OSError, SafetensorError, RuntimeError, KeyError, TypeError, ValueError)


class CheckpointError(DimtoolError, ValueError):
    """A checkpoint cannot be read or written, or does not fit; one line that names it and says what to do."""


def save_model(path: Path, model: DeepImageMatting) -> None:
    """Write the weights with the configuration in the file's metadata, atomically. Raises CheckpointError."""
    with _writing(path), part_of(path) as part:
        _write_model(part, model)


def _write_model(path: Path, model: DeepImageMatting) -> None:
    description = {"config": asdict(model.config), "stage": model.stage, "version": __version__}
    # One key: safetensors writes several in any order, and the same model must give the same bytes.
    metadata = {_METADATA: json.dumps(description, sort_keys=True)}
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, path, metadata)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """A full disk, which safetensors tells in its own way, becomes a line that names `path`."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{path} cannot be written ({first_line(error)}): what was there before is kept; make room and "
            "run the same command again"
        ) from error


def load_model(path: Path) -> DeepImageMatting:
    """The network that a file holds, on the CPU, in its own configuration, ready for use.

    path: a model.safetensors, a checkpoint folder, or a run's folder. Raises CheckpointError.
    """
    path = _model_file(path)
    try:
        return _read_model(path)
    except KeyError as error:
        message = f"{path} is not a dimtool model: its metadata lack {error}; {_NAME_ONE}"
        raise CheckpointError(message) from error
    except _UNREADABLE as error:
        kind = _foreign_kind(path)
        message = (
            f"{path} is not a dimtool model: it is {kind}; {_NAME_ONE}"
            if kind
            else f"{path} cannot be read as a model ({first_line(error)}): bring the file again"
        )
        raise CheckpointError(message) from error


def _foreign_kind(path: Path) -> str:
    try:
        return foreign_kind(path)
    except OSError:  # it cannot be read at all, as the first error says
        return ""


def _read_model(path: Path) -> DeepImageMatting:
    with safe_open(path, framework="pt") as file:
        description = json.loads((file.metadata() or {})[_METADATA])
    model = DeepImageMatting(ModelConfig(**description["config"]))
    model.load_state_dict(load_file(path))
    model.set_stage(1 if description["stage"] == 1 else 3)
    return model.eval()


def _model_file(path: Path) -> Path:
    file = path / MODEL_NAME if path.is_dir() else path
    if file.is_file():
        return file
    there = checkpoints(path / CHECKPOINT_FOLDER)
    advice = f"the run is not finished; let it go on, or name {there[-1]}" if there else _NAME_ONE
    raise CheckpointError(f"{file} does not exist: {advice}")


def save_checkpoint(
    folder: Path,
    model: DeepImageMatting,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    *,
    average: DeepImageMatting | None = None,
) -> Path:
    """Write `folder`/stage<s>-step<n>, whole or not at all; returns it.

    It holds everything that a run needs to go on as if it had never stopped: weights, optimizer, random
    states, the place in the sequence of batches. With an `average` of the weights, that is the checkpoint's
    model, and the weights that learn are in a file of their own. One of that step that is there stays as it
    is: it holds the same. Raises CheckpointError where there is no room.
    """
    final = folder / checkpoint_name(progress)
    if final.exists():
        return final
    part = folder / f".{final.name}{PART_SUFFIX}"
    try:
        with _writing(final):
            remove_part(part)
            part.mkdir(parents=True)
            _write_model(part / MODEL_NAME, average or model)
            if average is not None:
                _write_model(part / _LEARNING_NAME, model)
            save_file(_optimizer_tensors(model, optimizer), part / _OPTIMIZER_NAME)
            save_file(_random_states(), part / _RANDOM_NAME)
            digests = {path.name: file_sha256(path) for path in sorted(part.iterdir())}
            state = {"progress": asdict(progress), "sha256": digests}
            (part / _STATE_NAME).write_text(json.dumps(state) + "\n", encoding="utf-8")
            for path in (*part.iterdir(), part):
                sync(path)
            part.rename(final)
            sync(folder)
    finally:
        remove_part(part)
    return final


def remove_part(part: Path) -> None:
    """Remove what a killed process left unfinished, a folder or a file."""
    if part.is_dir():
        shutil.rmtree(part)
    else:
        part.unlink(missing_ok=True)


def load_checkpoint(
    path: Path,
    model: DeepImageMatting,
    optimizer: torch.optim.Optimizer | None = None,
    *,
    average: DeepImageMatting | None = None,
) -> Progress:
    """Fill model, optimizer (where given) and random states from a checkpoint folder; where it was.

    With an optimizer the model gets the weights that learned; without, as a start, the checkpoint's model,
    which may be their average. That is what `average` gets.
    Raises CheckpointError where it is of another configuration or cannot be read.
    """
    progress = read_progress(path)
    try:
        _refuse_damaged(path)
        stored = _read_model(path / MODEL_NAME)
        _refuse_other(path, stored.config, model.config)
        if average is not None:
            average.load_state_dict(stored.state_dict())
        if optimizer is not None and (path / _LEARNING_NAME).exists():
            stored = _read_model(path / _LEARNING_NAME)
        model.load_state_dict(stored.state_dict())
        if optimizer is not None:
            _fill_optimizer(model, optimizer, load_file(path / _OPTIMIZER_NAME))
            _set_random_states(load_file(path / _RANDOM_NAME))
    except CheckpointError:
        raise
    except _UNREADABLE as error:
        raise CheckpointError(
            f"{path} cannot be read ({first_line(error)}): remove it, and the one before is used"
        ) from error
    return progress


def check_checkpoint(path: Path) -> None:
    """Raise CheckpointError where a checkpoint is not whole, or not as it was written."""
    read_progress(path)
    try:
        _refuse_damaged(path)
    except (OSError, KeyError) as error:
        raise CheckpointError(f"{path} is no whole checkpoint ({first_line(error)}): remove it") from error


def _refuse_damaged(path: Path) -> None:
    """A flipped bit in a weight would go on into every later one."""
    for name, expected in _read_state(path)["sha256"].items():
        if file_sha256(path / name) != expected:
            raise CheckpointError(f"{path} is damaged ({name}): remove it, and the one before is used")


def _refuse_other(path: Path, there: ModelConfig, here: ModelConfig) -> None:
    if there != here:
        raise CheckpointError(
            f"{path} is of the configuration {asdict(there)}, not {asdict(here)}: "
            "train with that one, or into another --out"
        )


def read_progress(path: Path) -> Progress:
    """Where the run of a checkpoint was. Raises CheckpointError."""
    try:
        return Progress(**_read_state(path)["progress"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CheckpointError(f"{path} is no whole checkpoint ({error}): remove it") from error


def _read_state(path: Path) -> dict[str, Any]:
    state: dict[str, Any] = json.loads((path / _STATE_NAME).read_text(encoding="utf-8"))
    return state


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in a folder by their names, the oldest first; they may be broken."""
    found = [path for path in folder.glob("stage*-step*") if _NAME.fullmatch(path.name) and path.is_dir()]
    return sorted(found, key=place_of)


def place_of(path: Path) -> tuple[int, int]:
    """Stage and step of a checkpoint, as its name says. Raises ValueError for another name."""
    found = _NAME.fullmatch(path.name)
    if not found:
        raise ValueError(f"{path} is no checkpoint's name")
    return int(found[1]), int(found[2])


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
        # The moments lie beside the weights, laid out as they are; Adam keeps its step counts on the CPU,
        # but for the fused one.
        beside = torch.empty_like(parameter, dtype=value.dtype) if value.ndim else torch.empty_like(value)
        if not value.ndim and optimizer.defaults.get("fused"):
            beside = beside.to(parameter.device)
        states.setdefault(parameter, {})[kind] = beside.copy_(value)
    optimizer.state.update(states)


def state_of(
    model: DeepImageMatting, optimizer: torch.optim.Optimizer, *, average: DeepImageMatting | None = None
) -> dict[str, Tensor]:
    """All that a training goes on from, in one: weights, optimizer, the CPU's random state."""
    parts = {
        "model": model.state_dict(),
        "average": {} if average is None else average.state_dict(),
        "optimizer": _optimizer_tensors(model, optimizer),
        "random": {"cpu": torch.get_rng_state()},
    }
    return {f"{part}/{name}": value for part, values in parts.items() for name, value in values.items()}


def fill_state(
    tensors: Mapping[str, Tensor],
    model: DeepImageMatting,
    optimizer: torch.optim.Optimizer,
    *,
    average: DeepImageMatting | None = None,
) -> None:
    """Have model, optimizer and random state be as `state_of` found them elsewhere."""
    parts: dict[str, dict[str, Tensor]] = {"model": {}, "average": {}, "optimizer": {}, "random": {}}
    for key, value in tensors.items():
        part, name = key.split("/", 1)
        parts[part][name] = value
    model.load_state_dict(parts["model"])
    if average is not None:
        average.load_state_dict(parts["average"])
    _fill_optimizer(model, optimizer, parts["optimizer"])
    torch.set_rng_state(parts["random"]["cpu"])


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
