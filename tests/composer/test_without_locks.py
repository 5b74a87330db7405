"""On a file system without locks the work goes on, and the user hears what to see to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

NOTE = "there are no locks here: see that no other {} works in the same folder"


@pytest.fixture
def works(own: tuple[Path, Path], built: Path, tmp_path: Path) -> dict[str, tuple[object, ...]]:
    """What works in a folder, each with the work that must not run beside it."""
    root, out = own
    (out / "0003-f3.h5").unlink()
    lists = ("--fg-list", root / "train_fg.txt", "--per-fg", 2)
    return {
        "build": ("build-dataset", *lists, "--out", tmp_path / "new"),
        "repair": ("verify-composites", out, "--quick", "--repair"),
        "export": ("export-images", built, tmp_path / "export"),
    }


@pytest.mark.parametrize(("work", "other"), [("build", "build"), ("repair", "build"), ("export", "export")])
def test_work_without_locks_says_so(
    works: Any, command: Any, without_locks: None, work: str, other: str
) -> None:
    outcome = command(*works[work], "--jobs", 1)
    assert outcome.code == 0
    assert [line for line in outcome.lines if NOTE.format(other) in line]


@pytest.mark.parametrize("work", ["build", "repair", "export"])
def test_with_locks_nothing_is_said(works: Any, command: Any, work: str) -> None:
    outcome = command(*works[work], "--jobs", 1)
    assert outcome.code == 0
    assert "no locks" not in outcome.err
