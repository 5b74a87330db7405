"""Folders that were given for one another are told; sets that only look odd are built."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def root(sources: Path, tmp_path: Path) -> Path:
    return shutil.copytree(sources, tmp_path / "set")


def _each(folder: Path, change: Callable[[Image.Image], Image.Image]) -> None:
    for path in folder.iterdir():
        with Image.open(path) as image:
            changed = change(image)
        changed.save(path)


def _swap(root: Path, one: str, other: str) -> None:
    (root / one).rename(root / "aside")
    (root / other).rename(root / one)
    (root / "aside").rename(root / other)


@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_swapped_folders_are_told_in_one_line(
    root: Path, build: Any, tmp_path: Path, more: list[str]
) -> None:
    _swap(root, "fg", "alpha")
    outcome = build(root, tmp_path / "shards", *more)
    assert outcome.code == 2
    assert outcome.lines == [
        f"dimtool: {root}/fg holds what is grey and {root}/alpha what is coloured: "
        "swap --fg-dir and --alpha-dir"
    ]
    assert not (tmp_path / "shards").exists()
    words = ["--fg-dir", root / "alpha", "--alpha-dir", root / "fg"]
    assert build(root, tmp_path / "shards", *words).code == 0  # as it says


def test_mattes_in_the_place_of_photographs_are_told(root: Path, build: Any, tmp_path: Path) -> None:
    shutil.rmtree(root / "fg")
    shutil.copytree(root / "alpha", root / "fg")
    outcome = build(root, tmp_path / "shards")
    assert outcome.code == 2
    assert "are the same picture: name the photographs with --fg-dir" in outcome.err


@pytest.mark.parametrize("folder", ["fg", "alpha"])
def test_a_folder_that_is_given_as_backgrounds_too_is_told(
    root: Path, build: Any, tmp_path: Path, folder: str
) -> None:
    (root / "train_bg.txt").unlink()
    outcome = build(root, tmp_path / "shards", "--bg-dir", root / folder, per_fg=1)
    assert outcome.code == 2
    what = {"fg": "foregrounds", "alpha": "mattes"}[folder]
    assert f"the backgrounds are the {what} ({root}/{folder}/f0.png): name the backgrounds'" in outcome.err


def test_photographs_in_black_and_white_are_no_mattes(root: Path, build: Any, tmp_path: Path) -> None:
    for folder in ("fg", "bg"):
        _each(root / folder, lambda image: image.convert("L"))
    assert build(root, tmp_path / "shards").code == 0


def test_one_odd_foreground_is_told_by_the_build_itself(root: Path, build: Any, tmp_path: Path) -> None:
    """Not all that is looked at is the wrong way round: it is that file's fault alone."""
    for name in ("fg", "alpha"):
        shutil.copy(root / name / "f0.png", root / f"{name}.png")
    shutil.move(root / "fg.png", root / "alpha/f0.png")
    shutil.move(root / "alpha.png", root / "fg/f0.png")
    outcome = build(root, tmp_path / "shards")
    assert outcome.code == 1
    assert [line.partition(": ")[2].partition(":")[0] for line in outcome.starting("error:")] == [
        f"{root}/alpha/f0.png"
    ]


def test_what_cannot_be_read_is_left_to_the_build(root: Path, build: Any, tmp_path: Path) -> None:
    for path in (root / "alpha").iterdir():
        path.write_text("spoilt")
    outcome = build(root, tmp_path / "shards")
    assert (outcome.code, len(outcome.starting("error:"))) == (1, 4)


def test_a_set_that_is_begun_is_not_looked_at_again(
    own: tuple[Path, Path], build: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        pytest.fail("it was looked at")

    monkeypatch.setattr("dimtool.composer.building.suspicions.refuse_mixed_up", fail)
    assert build(*own).code == 0


# ---- folders of others -------------------------------------------------------------------------------------


def test_a_folder_that_holds_something_else_is_left_alone(
    root: Path, build: Any, contents: Any, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "letter.txt").write_text("Dear")
    before = contents(tmp_path)
    for more in ([], ["--dry-run"]):
        outcome = build(root, other, *more)
        assert (outcome.code, outcome.out) == (2, "")
        assert f"{other} holds letter.txt and no shards: choose another --out" in outcome.err
    assert contents(tmp_path) == before


def test_a_new_disk_and_hidden_files_are_no_one_s(root: Path, build: Any, tmp_path: Path) -> None:
    (tmp_path / "disk/lost+found").mkdir(parents=True)
    (tmp_path / "disk/.DS_Store").touch()
    assert build(root, tmp_path / "disk").code == 0
    assert np.all([(tmp_path / "disk" / name).exists() for name in ("index.json", "lost+found")])
