"""A run as its files tell of it, made by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

Example = Callable[[int, int], Tensor]


@pytest.fixture
def example() -> Example:
    """Image, trimap, alpha and truth of 32 x 48 beside each other, grey, the alpha of a given value."""

    def make(alpha: int, rest: int = 60) -> Tensor:
        parts = [torch.full((3, 32, 48), value, dtype=torch.uint8) for value in (rest, 128, alpha, 200)]
        return torch.cat(parts, dim=2)

    return make


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    """Of metrics.jsonl: stage 1 of 400 steps with two validations, stage 2 of 100 with one."""
    found: list[dict[str, Any]] = []
    for stage, last, every in ((1, 400, 200), (2, 100, 100)):
        for step in range(10, last + 1, 10):
            speed = {"crops_per_second": 2.5, "waiting": 0.02, "learning_rate": 1e-4}
            found.append({"stage": stage, "step": step, "loss": 1 / step, **speed})
            if step % every == 0:
                sad = 40 - step / 20 - 5 * stage
                found.append({"stage": stage, "step": step, "val_sad": sad, "trivial_sad": 30.0})
    return found


@pytest.fixture
def run_folder(rows: list[dict[str, Any]], tmp_path: Path) -> Path:
    """A run's folder with those rows."""
    folder = tmp_path / "runs" / "dim <1>"
    folder.mkdir(parents=True)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    planned = {"1": {"planned": 400, "done": 400}, "2": {"planned": 500, "done": 90}}
    (folder / "stages.json").write_text(json.dumps(planned))
    return folder
