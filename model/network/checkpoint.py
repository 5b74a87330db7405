"""Checkpoints: safetensors and JSON, no pickle; a folder each, which appears whole or not at all."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from safetensors.torch import save as serialized

from ...errors import DimtoolError
from ...files import file_sha256, part_of, sync
from ...text import first_line
from ...version import __version__
from .dim import DeepImageMatting, ModelConfig
from .others.foreign import foreign_kind
from .progress import Progress
from .snapshot import Tensors, copied, fill_optimizer, optimizer_tensors, random_states, set_random_states

MODEL_NAME = "model.safetensors"
CHECKPOINT_FOLDER = "checkpoints"  # in the folder of a run
PART_SUFFIX = ".part"  # of what is not complete
_METADATA = "dimtool-model"
_PLACE, _CARD = "place", "card"  # in it
_LEARNING_NAME = "learning.safetensors"
_OPTIMIZER_NAME = "optimizer.safetensors"
_RANDOM_NAME = "random.safetensors"
_STATE_NAME = "state.json"
_PIECE = 1 << 24  # bytes
_NAME = re.compile(r"stage(\d+)-step(\d+)")
_NAME_ONE = "name a model.safetensors, or the folder of a run"

# What a file gives that is missing, damaged, or of something else.
_UNREADABLE = (OSError, SafetensorError, RuntimeError, KeyError, TypeError, ValueError)


class CheckpointError(DimtoolError, ValueError):
    """A checkpoint cannot be read or written, or does not fit; one line that names it and says what to do."""


@dataclass(frozen=True, kw_only=True)
class ModelFile:
    """A model as its file will hold it: a copy, which stays as it is while the model learns on."""

    tensors: Tensors
    metadata: dict[str, str]


def copy_of(model: DeepImageMatting, progress: Progress | None = None, *, card: str = "") -> ModelFile:
    """The model's weights as they are now, with its configuration and, if they are given, its run's place
    and its card: what it learnt of, and what it is good for.
    """
    description: dict[str, Any] = {
        "config": model.config.values(),
        "stage": model.stage,
        "version": __version__,
    }
    if progress is not None:
        description[_PLACE] = [progress.stage, progress.step]
    if card:
        description[_CARD] = card
    # One key: safetensors writes several in any order, and the same model must give the same bytes.
    metadata = {_METADATA: json.dumps(description, sort_keys=True)}
    return ModelFile(tensors=copied(model.state_dict()), metadata=metadata)


def save_model(path: Path, model: DeepImageMatting | ModelFile) -> None:
    """Write the weights with the configuration in the file's metadata, atomically. Raises CheckpointError."""
    file = model if isinstance(model, ModelFile) else copy_of(model)
    with _writing(path), part_of(path) as part:
        write_tensors(part, file.tensors, file.metadata)


def write_tensors(path: Path, tensors: Tensors, metadata: dict[str, str] | None = None) -> str:
    """Write a safetensors file; the SHA-256 of its bytes, taken while they are written."""
    content = memoryview(serialized(tensors, metadata))
    digest = hashlib.sha256()
    with path.open("wb") as stream:
        for start in range(0, len(content), _PIECE):
            piece = content[start : start + _PIECE]
            digest.update(piece)
            stream.write(piece)
    return digest.hexdigest()


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


def card_of(path: Path) -> str:
    """What a model's file says of how it came to be; empty where it says nothing. Raises CheckpointError."""
    path = _model_file(path)
    try:
        return str(_description(path).get(_CARD, ""))
    except _UNREADABLE as error:
        raise CheckpointError(f"{path} cannot be read as a model ({first_line(error)})") from error


def _foreign_kind(path: Path) -> str:
    try:
        return foreign_kind(path)
    except OSError:  # it cannot be read at all, as the first error says
        return ""


def _description(path: Path) -> dict[str, Any]:
    """What `copy_of` wrote beside the weights. Raises one of _UNREADABLE."""
    with safe_open(path, framework="pt") as file:
        description: dict[str, Any] = json.loads((file.metadata() or {})[_METADATA])
    return description


def _read_model(path: Path) -> DeepImageMatting:
    description = _description(path)
    model = DeepImageMatting(ModelConfig(**description["config"]))
    model.load_state_dict(load_file(path))
    model.set_stage(1 if description["stage"] == 1 else 3)
    return model.eval()


def _model_file(path: Path) -> Path:
    """The file itself, or of a run's folder the newest: what it ended with, or a checkpoint after that."""
    file = path / MODEL_NAME if path.is_dir() else path
    there = checkpoints(path / CHECKPOINT_FOLDER) if path.is_dir() else []
    if there and (not file.is_file() or place_of(there[-1]) > _place_in(file)):
        return there[-1] / MODEL_NAME
    if not file.is_file():
        raise CheckpointError(f"{file} does not exist: {_NAME_ONE}")
    return file


def _place_in(file: Path) -> tuple[int, ...]:
    """Where its run was when a model was written; before all checkpoints where it does not say."""
    try:
        return tuple(_description(file)[_PLACE])
    except _UNREADABLE:
        return ()


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """All that a checkpoint holds, file by file: copies, to be written while the training goes on."""

    progress: Progress
    files: dict[str, ModelFile]


def take_snapshot(
    model: DeepImageMatting,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    *,
    average: DeepImageMatting | None = None,
) -> Snapshot:
    """Everything that a run needs to go on as if it had never stopped.

    That is weights, optimizer, random states, the place in the sequence of batches. With an `average` of the
    weights, that is the checkpoint's model, and the weights that learn are in a file of their own.
    """
    files = {MODEL_NAME: copy_of(average or model, progress)}
    if average is not None:
        files[_LEARNING_NAME] = copy_of(model)
    files[_OPTIMIZER_NAME] = ModelFile(tensors=copied(optimizer_tensors(model, optimizer)), metadata={})
    files[_RANDOM_NAME] = ModelFile(tensors=copied(random_states()), metadata={})
    return Snapshot(progress=progress, files=files)


def save_checkpoint(folder: Path, snapshot: Snapshot) -> Path:
    """Write `folder`/stage<s>-step<n>, whole or not at all; returns it.

    One of that step that is there stays as it is: it holds the same. Raises CheckpointError where there is no
    room.
    """
    final = folder / checkpoint_name(snapshot.progress)
    if final.exists():
        return final
    part = folder / f".{final.name}{PART_SUFFIX}"
    try:
        with _writing(final):
            remove_part(part)
            part.mkdir(parents=True)
            digests = {
                name: write_tensors(part / name, file.tensors, file.metadata or None)
                for name, file in sorted(snapshot.files.items())
            }
            state = {"progress": asdict(snapshot.progress), "sha256": digests}
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
            fill_optimizer(model, optimizer, load_file(path / _OPTIMIZER_NAME))
            set_random_states(load_file(path / _RANDOM_NAME))
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
