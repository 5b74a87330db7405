"""Mattes that are nowhere opaque or nowhere clear: taken, and told in one note each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image


def _squeeze(path: Path, low: int, high: int) -> None:
    with Image.open(path) as image:
        values = np.asarray(image.convert("L")).astype(float)
    scaled = low + (values - values.min()) / np.ptp(values) * (high - low)
    Image.fromarray(scaled.round().astype(np.uint8)).save(path)


@pytest.mark.parametrize(
    ("low", "high", "notes"),
    [
        (0, 255, []),
        (15, 240, []),
        (0, 239, ["2 mattes nowhere opaque (f1.png: 239 at most, f2.png: 239 at most): right for smoke"]),
        (16, 250, ["2 mattes nowhere clear (f1.png: 16 at least, f2.png: 16 at least): right for smoke"]),
        (40, 200, ["2 mattes nowhere opaque", "2 mattes nowhere clear"]),
    ],
)
def test_one_note_counts_them(
    *, own: tuple[Path, Path], build: Any, tmp_path: Path, low: int, high: int, notes: list[str]
) -> None:
    root, _ = own
    for name in ("f1", "f2"):
        _squeeze(root / f"alpha/{name}.png", low, high)
    outcome = build(root, tmp_path / "faint")
    assert outcome.code == 0
    told = outcome.starting("note:")
    assert len(told) == len(notes)
    assert all(note in line for note, line in zip(notes, told, strict=True))
    assert not [line for line in build(root, tmp_path / "faint").starting("note:") if "nowhere" in line]
