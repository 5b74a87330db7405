"""How a run begins in its folder, or goes on there: whose the folder is, and where the run stands."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import accelerate
import torch

from ...composer.shards.index import index_digest, no_shards
from ...composer.shards.layout import ShardError, current_versions
from ...errors import WrongUseError
from ...files import write_text
from ...storage.remote import Place
from ..network.checkpoint import (
    CHECKPOINT_FOLDER,
    PART_SUFFIX,
    CheckpointError,
    check_checkpoint,
    checkpoints,
    place_of,
    remove_part,
)
from .config import STARTING, TrainConfig, decisive
from .events import rewind_events
from .history import add_to_history, begin_history

CONFIG_NAME = "config.json"
METRICS_NAME = "metrics.jsonl"
TENSORBOARD = "tensorboard"
SAMPLES = "samples"


class RunError(WrongUseError):
    """The run cannot start or go on as asked; one line that says why and what to do."""


def begin_run(config: TrainConfig) -> list[str]:
    """Make a run's folder ready to begin or go on; returns what a user should know.

    A run without a checkpoint begins anew, whatever it was asked for before. The configuration is written,
    with versions and the shards' digest; what a killed process left unfinished is removed; a broken
    checkpoint after the last whole one is set aside; of the logs what comes after that goes, since it comes
    again. Raises RunError where the folder is another run's.
    """
    folder, digest = config.out, shards_digest(config.shards)
    sound, notes = _find_sound(folder / CHECKPOINT_FOLDER)
    before = None if sound is None else _read_before(config, digest)
    content = {"config": _values(config, before), "shards_sha256": digest, "versions": versions()}
    write_text(folder / CONFIG_NAME, json.dumps(content, indent=1, sort_keys=True) + "\n")
    notes += _clear(folder, sound)
    last = (0, 0) if sound is None else place_of(sound)
    _rewind_metrics(folder / METRICS_NAME, last)
    rewind_events(folder / TENSORBOARD, last)
    if before is None:
        begin_history(folder, content)
        return notes
    changed = add_to_history(folder, before, content, stage=last[0], step=last[1])
    return notes + [f"{key} is {new} from here on; it was {old}" for key, (old, new) in changed.items()]


def _find_sound(folder: Path) -> tuple[Path | None, list[str]]:
    """The last checkpoint that is whole, and what is wrong with those after it.

    Raises RunError where there are some and none is whole.
    """
    faults: list[str] = []
    for path in reversed(checkpoints(folder)):
        try:
            check_checkpoint(path)
        except CheckpointError as error:
            faults.append(str(error).partition(": remove it")[0])
        else:
            return path, faults
    if faults:
        raise RunError(
            f"{folder} has no whole checkpoint ({faults[0]}): remove it to begin anew, or give another --out "
            "and a model with --init"
        )
    return None, faults


def _clear(folder: Path, sound: Path | None) -> list[str]:
    """Remove what is unfinished, and set aside the checkpoints after the last whole one; what was done."""
    notes = []
    for place in (folder, folder / CHECKPOINT_FOLDER, *(folder / SAMPLES).glob("*")):
        for part in place.glob(f".*{PART_SUFFIX}"):
            remove_part(part)
    for path in checkpoints(folder / CHECKPOINT_FOLDER):
        if sound is not None and place_of(path) > place_of(sound):
            aside = path.with_name(f"{path.name}.broken")
            remove_part(aside)
            path.rename(aside)
            notes.append(f"{path.name} is now {aside.name}, and the run goes on from {sound.name}")
    return notes


def _values(config: TrainConfig, before: Mapping[str, Any] | None) -> dict[str, Any]:
    """What is asked for; what only the first start takes stays as it was given there."""
    kept = {} if before is None else {key: before["config"].get(key) for key in STARTING}
    return {**config.values(), **kept}


def _read_before(config: TrainConfig, digest: str) -> dict[str, Any]:
    """What the run was asked for before. Raises RunError where it was another run."""
    path = config.out / CONFIG_NAME
    try:
        there = json.loads(path.read_text(encoding="utf-8"))
        before, shards = dict(there["config"]), there["shards_sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} is broken ({error!r}): bring it again, or give another --out") from error
    asked, fixed = config.values(), decisive(before)
    differing = [key for key, value in decisive(asked).items() if value != fixed.get(key)]
    # Not given again, what a run starts from is what it started from.
    differing = [key for key in differing if key not in STARTING or asked[key] is not None]
    if differing:
        key = differing[0]
        raise RunError(
            f"{config.out} is a run with {key} = {before.get(key, fixed[key])}, not {asked[key]}: give that "
            f"to go on with it, or another --out (with --init {config.out} for its weights)"
        )
    if shards != digest:
        raise RunError(
            f"{config.out} was trained on other shards than {config.shards}: give another --out (with --init "
            f"{config.out} for its weights)"
        )
    return dict(there)


def _rewind_metrics(path: Path, last: tuple[int, int]) -> None:
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
            if (row["stage"], row["step"]) <= last:
                kept.append(line + "\n")
        except (ValueError, TypeError, KeyError):  # the process was killed while it wrote
            continue
    write_text(path, "".join(kept))


def refuse_foreign(folder: Path) -> None:
    """Raise RunError where something is there without a configuration: whose, nobody knows."""
    there = [path for path in folder.iterdir() if not path.name.startswith(".")]
    if there and not (folder / CONFIG_NAME).exists():
        raise RunError(
            f"{folder} holds {there[0].name} and no {CONFIG_NAME}, so it is no run to go on with: give "
            "another --out"
        )


def versions() -> dict[str, str]:
    """Of all that decides what a training computes."""
    return {
        **current_versions(),
        "torch": torch.__version__,
        "accelerate": accelerate.__version__,
        "python": platform.python_version(),
    }


def shards_digest(shards: Place) -> str:
    """SHA-256 of the index, which tells one folder of shards from another. Raises ShardError."""
    try:
        return index_digest(shards)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ShardError(no_shards(shards)) from error
