"""What a build that is run again reads: nothing where nothing was touched, else each file once."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dimtool.composer.building import stamps
from dimtool.composer.building.stamps import SourceFiles, stamps_in
from dimtool.composer.engines.local import LocalProcesses
from dimtool.composer.shards.layout import ShardHeader
from dimtool.files import file_sha256

ENGINE = LocalProcesses(workers=1)
LONG_AGO = 1_000_000_000


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each file is hashed."""
    count = Counter[str]()

    def counted(path: Path) -> str:
        count[path.name] += 1
        return file_sha256(path)

    monkeypatch.setattr(stamps, "file_sha256", counted)
    return count


@pytest.fixture
def shared(own: tuple[Path, Path], build: Any) -> tuple[Path, Path]:
    """Four foregrounds over the same two backgrounds each."""
    root, _ = own
    (root / "train_bg.txt").write_text("b0.jpg\nb1.jpg")
    for path in root.rglob("*.*"):
        os.utime(path, ns=(LONG_AGO, LONG_AGO))
    out = root / "shared"
    assert build(root, out, "--reuse-bg").code == 0
    return root, out


def test_a_second_run_reads_no_source_and_opens_no_shard(
    shared: tuple[Path, Path], build: Any, read: Counter[str], monkeypatch: pytest.MonkeyPatch, visible: Any
) -> None:
    root, out = shared
    before = visible(out)
    monkeypatch.setattr("dimtool.composer.building.work.Shard", lambda path: pytest.fail(str(path)))
    monkeypatch.setattr("dimtool.composer.shards.index.Shard", lambda path: pytest.fail(str(path)))
    assert build(root, out, "--reuse-bg").code == 0
    assert (read, visible(out)) == ({}, before)


def _copied(root: Path) -> None:
    """As from another disk: other inodes, other times, the same bytes."""
    shutil.copytree(root / "bg", root / "new")
    shutil.rmtree(root / "bg")
    (root / "new").rename(root / "bg")


def _touched(root: Path) -> None:
    for path in root.rglob("*.*g"):
        os.utime(path, ns=(LONG_AGO + 1, LONG_AGO + 1))


@pytest.mark.parametrize("change", [_touched, _copied])
def test_files_that_were_touched_are_hashed_once_ever(
    shared: tuple[Path, Path], build: Any, read: Counter[str], stamps: Any, change: Callable[[Path], None]
) -> None:
    root, out = shared
    before = stamps(out)
    change(root)
    for _ in range(2):
        assert build(root, out, "--reuse-bg").code == 0
    assert read["b0.jpg"] == read["b1.jpg"] == 1
    assert {read[f"f{k}.png"] for k in range(4)} == {2}  # the foreground and its matte
    assert stamps(out) == before


def test_a_file_that_changed_between_two_runs_is_noticed(
    shared: tuple[Path, Path], build: Any, read: Counter[str]
) -> None:
    root, out = shared
    path = root / "bg/b1.jpg"
    path.write_bytes(path.read_bytes() + b"\0")
    outcome = build(root, out, "--reuse-bg")
    assert outcome.code == 2
    assert "b1.jpg has changed" in outcome.err


def test_another_list_is_noticed_without_a_file_that_was_touched(
    shared: tuple[Path, Path], build: Any
) -> None:
    root, out = shared
    (root / "train_bg.txt").write_text("b1.jpg\nb0.jpg")
    outcome = build(root, out, "--reuse-bg")
    assert outcome.code == 2
    assert "its background 0 is b0.jpg, now b1.jpg" in outcome.err


def test_a_shard_that_was_touched_is_looked_at(
    shared: tuple[Path, Path], build: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, out = shared
    os.utime(out / "0002-f2.h5", ns=(LONG_AGO, LONG_AGO))
    opened: list[str] = []
    monkeypatch.setattr(
        "dimtool.composer.building.plan.examine_shard", lambda task: opened.append(task.job.path.name)
    )
    with pytest.raises(AttributeError):  # what it found is not told by this stand-in
        build(root, out, "--reuse-bg")
    assert opened == ["0002-f2.h5"]


# ---- by itself ---------------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / name for name in ("a", "b", "c")]
    for path in paths:
        path.write_text(path.name)
        os.utime(path, ns=(LONG_AGO, LONG_AGO))
    return paths


def test_hashes_are_kept_by_path_and_stamp(files: list[Path], tmp_path: Path, read: Counter[str]) -> None:
    cache = tmp_path / "cache"
    for _ in range(2):
        found = SourceFiles(cache).hashes([*files, *files], ENGINE)
        assert [found[path].sha256 for path in files] == [file_sha256(path) for path in files]
    assert read == {"a": 1, "b": 1, "c": 1}
    files[1].write_text("B")
    os.utime(files[1], ns=(LONG_AGO + 1, LONG_AGO + 1))
    assert SourceFiles(cache).hashes(files, ENGINE)[files[1]].sha256 == file_sha256(files[1])
    assert read == {"a": 1, "b": 2, "c": 1}


def test_a_hash_of_what_may_still_change_unseen_is_not_kept(
    files: list[Path], tmp_path: Path, read: Counter[str]
) -> None:
    os.utime(files[0])
    for _ in range(2):
        SourceFiles(tmp_path / "cache").hashes(files, ENGINE)
    assert read == {"a": 2, "b": 1, "c": 1}


def test_a_cache_with_nonsense_in_it_is_read_over(
    files: list[Path], tmp_path: Path, read: Counter[str]
) -> None:
    cache = tmp_path / "cache"
    SourceFiles(cache).hashes(files, ENGINE)
    lines = cache.read_text().splitlines()
    cache.write_text("\n".join(["{", "7", "[1, 2]", '["a", [1], "b"]', *lines[:2], lines[2][:20]]))
    SourceFiles(cache).hashes(files, ENGINE)
    assert read == {"a": 1, "b": 1, "c": 2}


def test_an_unreadable_file_is_told(files: list[Path], tmp_path: Path) -> None:
    files[0].unlink()
    os.mkfifo(files[0])
    found = SourceFiles(tmp_path / "cache").hashes([*files, tmp_path / "gone"], ENGINE)
    assert [found[path].sha256 for path in (files[0], tmp_path / "gone")] == ["", ""]
    assert str(files[0]) in found[files[0]].error
    assert "No such file" in found[tmp_path / "gone"].error
    assert len((tmp_path / "cache").read_text().splitlines()) == 2


HEADER = ShardHeader(split="train", index=0, foreground="a", backgrounds=("b", "c"))


def test_what_a_shard_is_made_of(files: list[Path], tmp_path: Path) -> None:
    """Nothing that decides its bytes can change and the value stay."""
    base = SourceFiles(tmp_path / "cache").made_of(HEADER, files)
    assert base == SourceFiles(tmp_path / "other").made_of(HEADER, files) != ""
    changed = [
        ShardHeader(**{**vars(HEADER), name: value})
        for name, value in (
            *(("split", "val"), ("index", 1), ("foreground", "b"), ("first", 2), ("label", "x")),
            *(("backgrounds", ("b", "d")), ("backgrounds", ("b\nc",)), ("background_radius", 3)),
        )
    ]
    values = {SourceFiles(tmp_path / "cache").made_of(header, files) for header in changed}
    values.add(SourceFiles(tmp_path / "cache").made_of(HEADER, files[::-1]))
    os.utime(files[2], ns=(LONG_AGO, LONG_AGO + 1))
    values.add(SourceFiles(tmp_path / "cache").made_of(HEADER, files))
    assert len(values - {base}) == len(changed) + 1  # a name with a line end is none that a list can hold
    files[2].unlink()
    assert SourceFiles(tmp_path / "cache").made_of(HEADER, files) == ""


def test_one_walk_finds_the_shards(tmp_path: Path) -> None:
    for name in ("a.h5", "b.h5", "c.txt"):
        (tmp_path / name).write_text(name)
    (tmp_path / "d.h5").symlink_to(tmp_path / "nowhere")
    (tmp_path / "e.h5").symlink_to(tmp_path / "a.h5")
    found = stamps_in(tmp_path, ".h5")
    assert sorted(found) == ["a.h5", "b.h5", "d.h5", "e.h5"]
    assert found["d.h5"] is None
    assert found["e.h5"] == found["a.h5"] == stamps.stamp_of(tmp_path / "a.h5") != found["b.h5"]


def test_an_older_journal_is_of_use(own: tuple[Path, Path], build: Any) -> None:
    """Lines without what a shard is made of: it is looked at, and then they say it."""
    root, out = own
    journal = out / ".build/journal.jsonl"
    lines = [json.dumps(json.loads(line)[:2]) + "\n" for line in journal.read_text().splitlines()]
    journal.write_text("".join(lines))
    assert build(root, out).code == 0
    assert all(json.loads(line)[2] for line in journal.read_text().splitlines())
