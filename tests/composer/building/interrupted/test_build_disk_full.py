"""A disk that is full: a clear error, nothing half-written under a final name, and room lets it go on."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PAGE = 4096
Resize = Callable[[int], None]


def _pages_of(path: Path) -> int:
    return -(-path.stat().st_size // PAGE)


def _pages(folder: Path) -> int:
    return sum(_pages_of(path) for path in folder.rglob("*") if path.is_file())


def _is_part_of(out: Path, whole: Path) -> bool:
    """Whether whatever stands under a final name in `out` has the bytes that it has in `whole`."""
    names = [path.name for path in out.iterdir() if path.is_file()]
    return all((out / name).read_bytes() == (whole / name).read_bytes() for name in names)


def _complaint(outcome: Any) -> str:
    """The one line of a build that found the disk full."""
    assert outcome.code == 1
    assert "Traceback" not in outcome.err
    (line,) = outcome.lines
    assert line.startswith("dimtool: ")
    assert "make room" in line
    assert "space" in line
    return str(line)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.45, 0.8])
def test_a_shard_that_does_not_fit(
    own: tuple[Path, Path], build: Any, disk: tuple[Path, Resize], visible: Any, share: float
) -> None:
    root, whole = own
    folder, resize = disk
    resize(PAGE * (3 + int(share * _pages(whole))))
    line = _complaint(build(root, folder / "shards"))
    assert line.startswith(f"dimtool: no space is left in {folder}/shards for 000")
    assert _is_part_of(folder / "shards", whole)
    assert list((folder / "shards/.build").rglob("*.part")) == []
    resize(PAGE * 2 * _pages(whole))
    again = build(root, folder / "shards")
    assert again.code == 0
    assert visible(folder / "shards") == visible(whole)


def test_room_for_a_shard_but_not_for_the_note_of_it(
    own: tuple[Path, Path], build: Any, disk: tuple[Path, Resize], visible: Any
) -> None:
    root, whole = own
    folder, resize = disk
    largest = max(whole.glob("*.h5"), key=lambda path: path.stat().st_size)  # the first to be built
    resize(_pages_of(largest) * PAGE + 3 * PAGE)  # and a page each for lists.json, places.json, the names
    assert ".build/journal.jsonl" in _complaint(build(root, folder / "shards"))
    assert _is_part_of(folder / "shards", whole)
    assert (folder / "shards" / largest.name).exists()
    resize(PAGE * 2 * _pages(whole))
    assert build(root, folder / "shards").code == 0
    assert visible(folder / "shards") == visible(whole)


def test_room_for_the_shards_but_not_for_their_index(
    own: tuple[Path, Path], build: Any, disk: tuple[Path, Resize], visible: Any
) -> None:
    root, whole = own
    folder, resize = disk
    shards = sum(_pages_of(path) for path in whole.glob("*.h5"))
    resize(PAGE * (shards + 4))  # and a page each for lists.json, places.json, the names, the journal
    assert f"{folder}/shards/index.json" in _complaint(build(root, folder / "shards"))
    assert len(list((folder / "shards").glob("*.h5"))) == 4
    assert _is_part_of(folder / "shards", whole)
    assert list((folder / "shards").glob(".*.part")) == []
    resize(PAGE * 2 * _pages(whole))
    assert build(root, folder / "shards").code == 0
    assert visible(folder / "shards") == visible(whole)


def test_with_workers(
    own: tuple[Path, Path], build: Any, start: Any, build_arguments: Any, disk: tuple[Path, Resize]
) -> None:
    root, whole = own
    folder, resize = disk
    resize(PAGE * (_pages(whole) // 2))
    process = start(*build_arguments(root, folder / "shards", jobs=2), stderr=subprocess.PIPE)
    _, err = process.communicate()
    assert process.returncode == 1
    assert b"Traceback" not in err
    assert b"Fatal" not in err
    assert err.count(b"dimtool: no space is left in") == 1
    assert _is_part_of(folder / "shards", whole)
    assert list((folder / "shards/.build").rglob("*.part")) == []
    resize(PAGE * 2 * _pages(whole))
    assert build(root, folder / "shards").code == 0
