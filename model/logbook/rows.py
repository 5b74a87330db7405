"""The rows of a run's metrics.jsonl, as its pages and tables read them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..runs.beginning import METRICS_NAME

Row = dict[str, Any]
"""`stage`, `step` and what was measured after it: losses and speed, or a validation."""


def read_rows(folder: Path) -> list[Row]:
    """All rows of a run, in order; none before its first."""
    path = folder / METRICS_NAME
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]


def last_trivial(folder: Path) -> float | None:
    """The trivial answer's SAD in a run's last validation; None where none, or an older release, told it."""
    found = [row["trivial_sad"] for row in read_rows(folder) if "trivial_sad" in row]
    return found[-1] if found else None
