"""The rows of a run's metrics.jsonl as tables and curves have them: over the steps of all stages."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...files import write_text
from ..runs.beginning import METRICS_NAME

TABLE_NAME = "results.csv"
_FIRST = ("stage", "step", "steps", "loss", "learning_rate", "val_sad", "trivial_sad")

Row = dict[str, Any]
"""`stage`, `step`, `steps` (of all stages until then) and what was measured: losses, or a validation."""


def read_rows(folder: Path) -> list[Row]:
    """All rows of a run, in order; none before its first."""
    path = folder / METRICS_NAME
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    rows, ended, before = [], 0, None
    for row in map(json.loads, lines):
        if before is not None and row["stage"] > before["stage"]:
            ended = before["steps"]
        before = {**row, "steps": ended + row["step"]}
        rows.append(before)
    return rows


def last_trivial(folder: Path) -> float | None:
    """The trivial answer's SAD in a run's last validation; None where none, or an older release, told it."""
    found = [row["trivial_sad"] for row in read_rows(folder) if "trivial_sad" in row]
    return found[-1] if found else None


def write_table(folder: Path, rows: Sequence[Row]) -> None:
    """Write results.csv: a line for each row, a column for each value that any has."""
    names = [*_FIRST, *sorted({name for row in rows for name in row} - set(_FIRST))]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, names)
    writer.writeheader()
    writer.writerows(rows)
    write_text(folder / TABLE_NAME, text.getvalue())
