"""`python -m dimtool train` out of room: told in a line, and the same model once there is some."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Resize = Callable[[int], None]


# kB: for nothing but the configuration; the log; a checkpoint; and the best model; and a second checkpoint.
@pytest.mark.parametrize(("room", "kept"), [(8, []), (200, []), (1500, [3]), (2300, [3]), (3400, [3, 6])])
def test_no_room(
    room: int,
    kept: list[int],
    disk: tuple[Path, Resize],
    undisturbed: Path,
    *,
    train_here: Any,
    assert_same: Any,
    last_of: Any,
) -> None:
    folder, resize = disk
    out = folder / "run"
    resize(room << 10)
    refused = train_here(out)
    (line,) = refused.lines
    assert (refused.code, refused.out) == (1, "")
    assert line.startswith("dimtool: ")
    assert "No space left" in line
    assert "make room" in line
    finished = sorted((out / "checkpoints").glob("*"))
    assert [path.name for path in finished] == [f"stage1-step{step:08}" for step in kept]
    for path in out.glob("checkpoints/stage*/*"):
        assert path.read_bytes() == (undisturbed / path.relative_to(out)).read_bytes()
    assert list(out.rglob(".*.part")) == []

    resize(1 << 30)
    assert train_here(out).code == 0
    assert_same(out, undisturbed, stage=1)
    whole = undisturbed / "checkpoints" / last_of(1) / "model.safetensors"
    assert (out / "model.safetensors").read_bytes() == whole.read_bytes()
