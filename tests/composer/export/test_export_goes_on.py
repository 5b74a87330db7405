"""An export goes on where one stopped; what it must not write over is refused, a broken shard is named."""

from __future__ import annotations

import json
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from filelock import FileLock

# ---- once more, and after a kill ---------------------------------------------------------------------------


@pytest.fixture
def copy(exported: Path, tmp_path: Path) -> Path:
    return shutil.copytree(exported, tmp_path / "copy")


def test_a_finished_export_is_left_as_it_is(
    shards: Path, copy: Path, command: Any, trimap_radius: int
) -> None:
    before = {path: path.stat().st_mtime_ns for path in copy.rglob("*.png")}
    outcome = command("export-images", shards, copy, "--trimap-radius", trimap_radius, "--jobs", 1)
    assert outcome.code == 0
    assert "0 pictures written, 24 there from before" in outcome.out
    assert {path: path.stat().st_mtime_ns for path in copy.rglob("*.png")} == before


def test_what_is_missing_is_written(
    shards: Path, copy: Path, exported: Path, command: Any, *, contents: Any, trimap_radius: int
) -> None:
    for name in ("merged/f0_1.png", "bg/wide one_0.png", "fg/f0.png", "annotations.json"):
        (copy / name).unlink()
    outcome = command("export-images", shards, copy, "--trimap-radius", trimap_radius, "--jobs", 1, "--json")
    values = json.loads(outcome.out)
    assert (values["written"], values["kept"]) == (3, 21)
    assert contents(copy) == contents(exported)


def test_worker_processes_write_the_same(
    shards: Path, exported: Path, tmp_path: Path, command: Any, *, contents: Any, trimap_radius: int
) -> None:
    assert (
        command("export-images", shards, tmp_path / "out", "--trimap-radius", trimap_radius, "--jobs", 2).code
        == 0
    )
    assert contents(tmp_path / "out") == contents(exported)


def test_two_exports_into_one_folder(
    shards: Path, copy: Path, command: Any, contents: Any, trimap_radius: int
) -> None:
    """The second would take the first one's unfinished files for what a kill has left."""
    (copy / ".parts-0").mkdir()
    (copy / ".parts-0" / ".f0_0.png.part").write_bytes(b"under way")
    with FileLock(copy / ".lock"):
        line = refused(command, contents, shards, copy, "--trimap-radius", trimap_radius)
    assert "another export is at work" in line


def test_killed_at_any_moment(
    shards: Path,
    exported: Path,
    tmp_path: Path,
    *,
    start: Any,
    command: Any,
    contents: Any,
    trimap_radius: int,
) -> None:
    """Whatever stands under its final name is whole; the same command goes on, and nothing else is left."""
    out, rng = tmp_path / "out", random.Random(9)
    expected = contents(exported)
    arguments = ("export-images", shards, out, "--trimap-radius", trimap_radius, "--jobs", 1)
    kills = 0
    while kills < 6:
        process = start(*arguments)
        goal = len(list(out.rglob("*.png"))) + rng.randrange(6)
        while process.poll() is None and len(list(out.rglob("*.png"))) < goal:
            time.sleep(0.002)
        time.sleep(rng.random() * 0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
        there = contents(out) if out.exists() else {}
        finished = {name: value for name, value in there.items() if not name.endswith(".part")}
        assert finished.items() <= expected.items()
        if finished.keys() == expected.keys():
            break
    assert command(*arguments).code == 0
    assert contents(out) == expected


@pytest.mark.parametrize("left", [".export.json.a1b2.part", ".parts-0/.f0_0.png.a1b2.part"])
def test_what_a_kill_left_is_swept_away(
    shards: Path,
    exported: Path,
    tmp_path: Path,
    *,
    command: Any,
    contents: Any,
    left: str,
    trimap_radius: int,
) -> None:
    out = tmp_path / "out"
    if left.startswith(".parts"):
        shutil.copytree(exported, out)
        (out / ".parts-0").mkdir()
    else:
        out.mkdir()
    (out / left).write_bytes(b"half")
    assert command("export-images", shards, out, "--trimap-radius", trimap_radius, "--jobs", 1).code == 0
    assert contents(out) == contents(exported)


# ---- refused -----------------------------------------------------------------------------------------------


def refused(command: Any, contents: Any, shards: Path, out: Path, *more: object) -> str:
    before = contents(out)
    outcome = command("export-images", shards, out, "--jobs", 1, *more)
    assert outcome.code == 2
    assert contents(out) == before
    assert len(outcome.lines) == 1
    return str(outcome.lines[0])


def test_a_folder_of_something_else(shards: Path, tmp_path: Path, command: Any, contents: Any) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    assert "no export of ours" in refused(command, contents, shards, tmp_path / "mine")


@pytest.mark.parametrize("mark", [b"", b"{}", b"\xff\xfe", b"[1]"])
def test_an_export_json_of_something_else(
    shards: Path, tmp_path: Path, command: Any, contents: Any, mark: bytes
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "export.json").write_bytes(mark)
    assert "choose another OUT" in refused(command, contents, shards, tmp_path / "mine")


def test_an_export_of_another_radius_or_of_other_shards(
    shards: Path, built: Path, copy: Path, command: Any, *, contents: Any, trimap_radius: int
) -> None:
    assert "another radius" in refused(command, contents, shards, copy, "--trimap-radius", trimap_radius + 1)
    assert "other shards" in refused(command, contents, built, copy, "--trimap-radius", trimap_radius)


def test_no_shards_there(tmp_path: Path, command: Any) -> None:
    (tmp_path / "empty").mkdir()
    outcome = command("export-images", tmp_path / "empty", tmp_path / "out")
    assert outcome.code == 1
    assert "holds no shards: run `dimtool build-dataset`" in outcome.err
    assert not (tmp_path / "out").exists()
    assert command("export-images", tmp_path / "nowhere", tmp_path / "out").code == 2


@pytest.mark.parametrize("radius", [-1, 255])
def test_a_radius_that_no_trimap_has(shards: Path, tmp_path: Path, command: Any, radius: int) -> None:
    assert command("export-images", shards, tmp_path / "out", "--trimap-radius", radius).code == 2
    assert not (tmp_path / "out").exists()


def cut_off(shard: Path) -> None:
    shard.write_bytes(shard.read_bytes()[:-500])


def spoil_a_tile(shard: Path) -> None:
    with h5py.File(shard, "r+") as file:
        file["composite"].id.write_direct_chunk((1, 0, 0, 0), b"no stream of ours")


def other_pixels(shard: Path) -> None:
    """They decode; nothing but their digest knows better."""
    with h5py.File(shard, "r+") as file:
        stack = file["composite"].id
        stack.write_direct_chunk((1, 0, 0, 0), stack.read_direct_chunk((0, 0, 0, 0))[1])


def other_alpha(shard: Path) -> None:
    with h5py.File(shard, "r+") as file:
        file["alpha"][3, 3] ^= 1


def another_name(shard: Path) -> None:
    """It would be written outside of the folder."""
    with h5py.File(shard, "r+") as file:
        file.attrs["label"] = np.bytes_("../../f1")


def a_link_into_another_file(shard: Path) -> None:
    with h5py.File(shard, "r+") as file:
        del file["composite"]
        file["composite"] = h5py.ExternalLink("0000-f0.h5", "composite")


@pytest.mark.parametrize("damage", [cut_off, spoil_a_tile, other_pixels, other_alpha, another_name,
                                    a_link_into_another_file, Path.unlink])  # fmt: skip
def test_a_broken_shard_is_named_and_ends_nothing_else(
    shards: Path, tmp_path: Path, command: Any, damage: Callable[[Path], None]
) -> None:
    own = shutil.copytree(shards, tmp_path / "shards")
    broken = sorted(own.glob("*.h5"))[1]
    damage(broken)
    outcome = command("export-images", own, tmp_path / "out", "--jobs", 1, "--json")
    values = json.loads(outcome.out)
    assert outcome.code == 1
    (error,) = values["errors"]
    assert str(broken) in error
    assert values["composites"] == 4
    rows = json.loads((tmp_path / "out" / "annotations.json").read_text())
    assert len(rows) == 4
    assert all((tmp_path / "out" / path).is_file() for row in rows for path in row.values())
    assert {path.name for path in tmp_path.iterdir()} == {"shards", "out"}


def test_an_incomplete_set_is_told(shards: Path, tmp_path: Path, command: Any) -> None:
    own = shutil.copytree(shards, tmp_path / "shards")
    content = json.loads((own / "index.json").read_text())
    content["shards"].pop()
    (own / "index.json").write_text(json.dumps(content))
    outcome = command("export-images", own, tmp_path / "out", "--jobs", 1)
    assert outcome.code == 0
    assert "The set is not complete: 2 composites of the lists are not in the shards" in outcome.out
