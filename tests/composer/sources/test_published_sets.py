"""Published data sets as they lie on the disk: make-lists --layout, and Adobe's release by its root."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click import Choice

from dimtool.composer.commands.build import make_lists_command
from dimtool.composer.sources.folders import FolderIndex, ManifestError
from dimtool.manifests.layouts import LAYOUTS

PLACES = [
    ("distinctions646", "train", "Train/FG", "Train/GT"),
    ("distinctions646", "test", "test/fg", "test/alpha"),
    ("aim500", "test", "original", "mask"),
    ("am2k", "train", "train/fg", "train/mask"),
    ("am2k", "test", "validation/original", "validation/mask"),
    ("p3m", "train", "train/blurred_image", "train/mask"),
    ("p3m", "test", "validation/P3M-500-NP/original_image", "validation/P3M-500-NP/mask"),
    ("simd", "train", "train/fur/fg", "train/fur/alpha"),
    ("folders", "val", "val/fg", "val/alpha"),
    ("folders", "train", "fg", "alpha"),
]


def touch(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()


@pytest.mark.parametrize(("layout", "split", "fg", "alpha"), PLACES)
def test_a_split_is_found_below_the_root(
    tmp_path: Path, command: Any, *, layout: str, split: str, fg: str, alpha: str
) -> None:
    touch(tmp_path / "set" / fg, "b.jpg", "a.jpg", "alone.jpg")
    touch(tmp_path / "set" / alpha, "a.png", "b.png")
    touch(tmp_path / "bg", *(f"{i}.jpg" for i in range(4)))
    arguments = ("--layout", layout, "--root", tmp_path / "set", "--split", split, "--per-fg", 2)
    places = ("--bg-dir", tmp_path / "bg", "--out", tmp_path / "lists")
    outcome = command("make-lists", *arguments, *places, "--json")
    assert outcome.code == 0
    values = json.loads(outcome.out)
    assert values["lists"] == {f"{split}_fg.txt": 2, f"{split}_bg.txt": 4}
    assert (tmp_path / "lists" / f"{split}_fg.txt").read_text().split() == ["a.jpg", "b.jpg"]
    assert any("alone.jpg" in line for line in values["left_out"])
    assert "was not tried on its files" in values["notes"][0]
    published = LAYOUTS[layout].splits[split].foregrounds
    assert any(f"2 of the {published:,} published" in note for note in values["notes"]) == bool(published)


def test_simd_classes_may_share_names(tmp_path: Path, command: Any) -> None:
    for kind in ("fur", "net"):
        touch(tmp_path / "train" / kind / "fg", "1.jpg")
        touch(tmp_path / "train" / kind / "alpha", "1.jpg")
    touch(tmp_path / "bg", "x.jpg", "y.jpg")
    outcome = command("make-lists", "--layout", "simd", "--root", tmp_path, "--per-fg", 1,
                      "--bg-dir", tmp_path / "bg", "--out", tmp_path / "lists")  # fmt: skip
    assert outcome.code == 0
    names = (tmp_path / "lists" / "train_fg.txt").read_text().split()
    assert names == ["fur/fg/1.jpg", "net/fg/1.jpg"]
    assert FolderIndex(tmp_path / "train", role="alpha").find(names[1]).parts[-3:] == (
        "net",
        "alpha",
        "1.jpg",
    )


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--layout", "aim500", "--split", "train"), "has no train split: choose test"),
        (("--layout", "am2k"), "has no folder train/fg or train/original"),
        (("--layout", "aim500", "--val", "10%"), "has no folder original"),
        (("--split", "test", "--val", "10%"), "leave --val out"),
    ],
)
def test_what_is_not_there(tmp_path: Path, command: Any, arguments: tuple[str, ...], told: str) -> None:
    outcome = command("make-lists", "--root", tmp_path, "--out", tmp_path / "lists", *arguments)
    assert outcome.code == 2
    assert told in outcome.err
    assert not (tmp_path / "lists").exists()


def test_the_option_offers_every_data_set() -> None:
    (option,) = (each for each in make_lists_command.params if each.name == "layout")
    assert isinstance(option.type, Choice)
    assert set(option.type.choices) == set(LAYOUTS)


# ---- Adobe's release: lists and two folders, each with fg and alpha ----------------------------------------


@pytest.fixture
def release(image_set: Any, tmp_path: Path) -> Path:
    """Training_set with the lists that it comes with, and backgrounds."""
    root = image_set(tmp_path / "made", foregrounds=2, side=48)
    out = tmp_path / "Combined_Dataset" / "Training_set"
    for number, folder in enumerate(("Adobe-licensed images", "Other")):
        for role in ("fg", "alpha"):
            (out / folder / role).mkdir(parents=True)
            shutil.copy(root / role / f"f{number}.png", out / folder / role)
    for kind in ("fg", "bg"):
        shutil.copy(root / f"train_{kind}.txt", out / f"training_{kind}_names.txt")
    (tmp_path / "train2014").symlink_to(root / "bg")
    return out


def test_adobes_release_builds_where_its_lists_lie(
    release: Path, tmp_path: Path, command: Any, build: Any
) -> None:
    """The same shards as from fg/ and alpha/."""
    assert build(tmp_path / "made", tmp_path / "plain").code == 0
    lists = ("--fg-list", release / "training_fg_names.txt", "--bg-dir", tmp_path / "train2014")
    more = ("--per-fg", 2, "--jobs", 1, "--out", tmp_path / "shards")
    outcome = command("build-dataset", *lists, *more)
    assert outcome.code == 0, outcome.err
    for path in (tmp_path / "plain").glob("*.h5"):
        assert (tmp_path / "shards" / path.name).read_bytes() == path.read_bytes()
    verified = command("verify-composites", tmp_path / "shards", "--jobs", 1, "--require", "sources")
    assert verified.code == 0, verified.out


def test_adobes_release_by_its_root(release: Path, tmp_path: Path, command: Any) -> None:
    shutil.copy(release / "training_fg_names.txt", tmp_path / "train_fg.txt")
    root = ("--fg-dir", release, "--alpha-dir", release, "--bg-dir", tmp_path / "train2014")
    more = ("--fg-list", tmp_path / "train_fg.txt", "--per-fg", 2, "--jobs", 1, "--out", tmp_path / "shards")
    assert command("build-dataset", *root, *more).code == 0
    assert len(list((tmp_path / "shards").glob("*.h5"))) == 2


def test_a_name_in_both_folders_is_not_guessed(release: Path) -> None:
    shutil.copy(release / "Other" / "fg" / "f1.png", release / "Adobe-licensed images" / "fg")
    with pytest.raises(ManifestError, match="could be"):
        FolderIndex(release, role="fg").find("f1.png")
