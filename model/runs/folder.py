"""A training run's folder: what was asked for, what came of it, where it stands."""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import accelerate
import torch
from filelock import FileLock, Timeout

from ...composer.shards.index import INDEX_NAME
from ...composer.shards.layout import ShardError, current_versions
from ...errors import WrongUseError
from ...files import file_sha256, part_of, write_text
from ..network.checkpoint import (
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
from ..network.dim import DeepImageMatting
from .config import TrainConfig, decisive

CONFIG_NAME = "config.json"


METRICS_NAME = "metrics.jsonl"


BEST_NAME = "best.safetensors"


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
        fixed = decisive(before)
        differing = [key for key, value in decisive(asked).items() if value != fixed.get(key)]
        if differing:
            key = differing[0]
            old = before.get(key, fixed[key])
            raise RunError(
                f"{self.folder} is a run with {key} = {old}, not {asked[key]}: give that to go on with it, "
                "or another --out"
            )
        if shards != digest:
            raise RunError(
                f"{self.folder} was trained on other shards than {self.config.shards}: give another --out"
            )

    def save(
        self,
        model: DeepImageMatting,
        optimizer: torch.optim.Optimizer,
        progress: Progress,
        *,
        average: DeepImageMatting | None = None,
    ) -> None:
        """Save a checkpoint, then remove all but the last few. A failure leaves the old ones as they are."""
        if not self._main:
            return
        save_checkpoint(self.checkpoint_folder, model, optimizer, progress, average=average)
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
