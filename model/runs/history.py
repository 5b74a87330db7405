"""What a run was begun with, and what changed when it went on: history.jsonl in the run's folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .config import CHANGEABLE, TrainConfig

HISTORY_NAME = "history.jsonl"


def begin_history(folder: Path, content: Mapping[str, Any]) -> None:
    """Begin with the first start's options and versions."""
    options = {key: content["config"][key] for key in CHANGEABLE}
    (folder / HISTORY_NAME).write_text(_row(0, 0, {**options, **content["versions"]}), encoding="utf-8")


def add_to_history(
    folder: Path, before: Mapping[str, Any], now: Mapping[str, Any], *, stage: int, step: int
) -> dict[str, tuple[Any, Any]]:
    """Add a row of what is another since the run was last begun, if anything is; each with old and new.

    before, now: what config.json had and has. stage, step: where the run goes on.
    """
    # What a run of an older release does not name had its default's effect.
    options = {**TrainConfig().values(), **before["config"]}
    pairs = [(key, options[key], now["config"][key]) for key in CHANGEABLE]
    versions = before.get("versions", {})
    pairs += [(key, versions.get(key), version) for key, version in now["versions"].items()]
    changed = {key: (old, new) for key, old, new in pairs if old != new}
    if changed:
        with (folder / HISTORY_NAME).open("a", encoding="utf-8") as stream:
            stream.write(_row(stage, step, {key: new for key, (_, new) in changed.items()}))
    return changed


def _row(stage: int, step: int, values: Mapping[str, Any]) -> str:
    return json.dumps({"stage": stage, "step": step, **values}, sort_keys=True) + "\n"
