"""Exports as four trainers read them: their reading rules written down anew, and the pixels proved."""

from __future__ import annotations

import errno
import glob
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from click import Choice
from numpy.typing import NDArray
from PIL import Image

from dimtool.composer.commands.look import export_command
from dimtool.composer.export import links
from dimtool.composer.export.layouts import LayoutName
from dimtool.composer.shards.dataset import CompositeDataset, Sample

UInt8 = NDArray[np.uint8]
Pictures = dict[str, UInt8]  # by role; trimaps as they are, of the radius `RADIUS`
RADIUS = 4


# ---- how they read -----------------------------------------------------------------------------------------


def colours(path: str | os.PathLike[str]) -> UInt8:
    """As OpenCV's default: three channels, whatever is there."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def first_channel(path: str | os.PathLike[str]) -> UInt8:
    return colours(path)[..., 0]


def as_mmagic(out: Path, split: str) -> dict[str, Pictures]:
    """BaseDataset joins data_root and ann_file; every value of a row is a path below data_root.

    LoadImageFromFile(key=...) looks up `<key>_path`.
    """
    name = {"train": "training_list.json", "test": "test_list.json"}[split]
    keys = {"train": ("alpha", "fg", "bg", "merged"), "test": ("alpha", "trimap", "merged")}[split]
    read = {}
    for row in json.loads((out / name).read_text()):
        paths = {key: os.path.join(str(out), value) for key, value in row.items()}  # noqa: PTH118
        grey = ("alpha", "trimap")
        pictures = {
            key: first_channel(paths[f"{key}_path"]) if key in grey else colours(paths[f"{key}_path"])
            for key in keys
        }
        read[Path(paths["merged_path"]).stem] = pictures
    return read


def as_huochaitiantang(out: Path, split: str) -> dict[str, Pictures]:
    """Training walks fgDir and puts the other folders in the place of it; testing lists testImgDir."""
    root = str(out / {"train": "Training_set", "test": "Test_set"}[split] / "comp")
    read = {}
    if split == "test":
        for name in os.listdir(f"{root}/image"):  # noqa: PTH208
            read[name.removesuffix(".png")] = {
                "merged": colours(f"{root}/image/{name}"),
                "trimap": first_channel(f"{root}/trimap/{name}"),
                "alpha": first_channel(f"{root}/alpha/{name}"),
            }
        return read
    for folder, _, names in os.walk(f"{root}/fg", followlinks=True):
        for name in names:
            if not name.endswith((".jpg", ".png", ".jpeg", ".JPG")):
                continue
            path = os.path.join(folder, name)  # noqa: PTH118
            pictures = {
                "fg": colours(path),
                "alpha": first_channel(path.replace(f"{root}/fg", f"{root}/alpha")),
                "bg": colours(path.replace(f"{root}/fg", f"{root}/bg")),
                "merged": colours(path.replace(f"{root}/fg", f"{root}/image")),
            }
            assert pictures["fg"].shape == pictures["bg"].shape == pictures["merged"].shape
            read[name.removesuffix(".png")] = pictures
    return read


def as_indexnet(out: Path, split: str) -> dict[str, Pictures]:
    """A list with tabs, paths below --data-dir; Pillow's own modes; the matte must have two dimensions."""

    def plain(path: str) -> UInt8:
        with Image.open(path) as image:
            return np.array(image)

    read = {}
    for line in (out / "lists" / f"{split}.txt").read_text().splitlines():
        merged, alpha, *rest = (os.path.join(str(out), name) for name in line.split("\t"))  # noqa: PTH118
        pictures = {"merged": plain(merged), "alpha": plain(alpha)}
        assert pictures["alpha"].reshape(*pictures["alpha"].shape[:2], 1).ndim == 3
        for role, path in zip(("fg", "bg") if split == "train" else ("trimap",), rest, strict=True):
            pictures[role] = plain(path)
        if split == "train":  # bg is enlarged to the foreground; it must have its size already
            assert pictures["bg"].shape == pictures["fg"].shape
        read[Path(merged).stem] = pictures
    return read


def as_gca(out: Path, split: str) -> dict[str, Pictures]:
    """The names without suffix that the three folders share, each with .png."""
    root = str(out / {"test": "Test_set"}[split])
    folders = {"alpha": "alpha_copy", "merged": "merged", "trimap": "trimaps"}
    names = [
        {os.path.splitext(os.path.basename(path))[0] for path in glob.glob(f"{root}/{folder}/*")}  # noqa: PTH119, PTH122, PTH207
        for folder in folders.values()
    ]
    assert names[0] == names[1] == names[2]
    return {
        name: {
            role: colours(f"{root}/{folder}/{name}.png")
            if role == "merged"
            else first_channel(f"{root}/{folder}/{name}.png")
            for role, folder in folders.items()
        }
        for name in set.intersection(*names)
    }


READERS: dict[str, Callable[[Path, str], dict[str, Pictures]]] = {
    "mmagic": as_mmagic,
    "huochaitiantang": as_huochaitiantang,
    "indexnet": as_indexnet,
    "gca": as_gca,
}
READ = [(name, split) for name in READERS for split in ("train", "test") if (name, split) != ("gca", "train")]


# ---- what they get -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def splits(
    pictures: Any, shards: Path, build: Any, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """The same pictures as a training and as a test set."""
    root = tmp_path_factory.mktemp("as test")
    for folder in ("fg", "alpha", "bg"):
        (root / folder).symlink_to(pictures[0] / folder)
    for kind in ("fg", "bg"):
        shutil.copy(pictures[0] / f"train_{kind}.txt", root / f"test_{kind}.txt")
    out = root / "shards"
    assert build(root, out, "--fg-list", root / "test_fg.txt").code == 0
    return {"train": shards, "test": out}


@pytest.fixture(scope="module")
def exports(
    splits: dict[str, Path], command: Any, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """By trainer: one folder with all splits that it reads."""
    made = {}
    for name, split in READ:
        out = made.setdefault(name, tmp_path_factory.mktemp(name) / "Combined_Dataset")
        options = ("--layout", name, "--trimap-radius", RADIUS, "--jobs", 1)
        assert command("export-images", splits[split], out, *options).code == 0
    return made


def expected(sample: Sample, role: str, background: UInt8) -> UInt8:
    trimap = np.where(sample.distance <= RADIUS, 128, sample.alpha)
    known = {"merged": sample.composite, "fg": sample.foreground, "alpha": sample.alpha}
    return known.get(role, background if role == "bg" else trimap)


@pytest.mark.parametrize(("name", "split"), READ)
def test_a_trainer_reads_every_composite_as_it_is(
    splits: dict[str, Path], exports: dict[str, Path], exported: Path, name: str, split: str
) -> None:
    """Against the shards; backgrounds, which they keep in part, against the official fit of the sources."""
    read = READERS[name](exports[name], split)
    dataset = CompositeDataset(splits[split])
    assert read.keys() == {dataset.name(i) for i in range(len(dataset))}
    assert len(read) == 6
    for sample in dataset:
        background = colours(exported / "bg" / f"{sample.name}.png")  # proved in test_exported_pictures
        for role, found in read[sample.name].items():
            assert np.array_equal(found, expected(sample, role, background)), (sample.name, role)


def test_what_a_trainer_reads_composes_to_the_composite(exports: dict[str, Path]) -> None:
    """The compositional loss takes this for granted."""
    for pictures in as_huochaitiantang(exports["huochaitiantang"], "train").values():
        a = pictures["alpha"][..., None] / 255.0
        composed = (a * pictures["fg"] + (1.0 - a) * pictures["bg"]).astype(np.uint8)
        assert np.array_equal(composed, pictures["merged"])


def test_the_pieces_of_a_foreground_are_read_as_one(
    pictures: Any, exports: dict[str, Path], tmp_path: Path, build: Any, command: Any
) -> None:
    """Each shard writes its own composites; numbers and pixels are those of an undivided set."""
    assert build(pictures[0], tmp_path / "shards", "--per-shard", 1).code == 0
    arguments = ("export-images", tmp_path / "shards", tmp_path / "out", "--layout", "huochaitiantang")
    more = ("--trimap-radius", RADIUS, "--jobs", 1, "--json")
    values = json.loads(command(*arguments, *more).out)
    assert (values["composites"], values["written"], values["kept"]) == (6, 24, 0)
    there = as_huochaitiantang(tmp_path / "out", "train")
    for name, whole in as_huochaitiantang(exports["huochaitiantang"], "train").items():
        assert all(np.array_equal(there[name][role], pixels) for role, pixels in whole.items())
    again = json.loads(command(*arguments, *more).out)
    assert (again["written"], again["kept"]) == (0, 24)


def test_each_folder_has_what_is_read_and_no_more(exports: dict[str, Path]) -> None:
    places = {
        "mmagic": "Training_set/merged Training_set/bg Training_set/fg Training_set/alpha Test_set/merged "
        "Test_set/bg Test_set/fg Test_set/alpha Test_set/trimaps",
        "huochaitiantang": "Training_set/comp/image Training_set/comp/bg Training_set/comp/fg "
        "Training_set/comp/alpha Test_set/comp/image Test_set/comp/trimap Test_set/comp/alpha",
        "indexnet": "Training_set/merged Training_set/alpha Training_set/fg Training_set/bg Test_set/merged "
        "Test_set/alpha Test_set/trimaps",
        "gca": "Test_set/merged Test_set/alpha_copy Test_set/trimaps",
    }
    for name, out in exports.items():
        found = {str(path.parent.relative_to(out)) for path in out.rglob("*.png")}
        assert found == set(places[name].split())


def test_each_split_has_a_page_that_says_how(exports: dict[str, Path]) -> None:
    for name, out in exports.items():
        for page in out.rglob("README.md"):
            text = page.read_text()
            assert f"--layout {name}" in text
            assert "6 composites" in text
    assert len(list(exports["indexnet"].rglob("README.md"))) == 2


# ---- one picture, many names -------------------------------------------------------------------------------


def test_the_foreground_takes_its_bytes_once(exports: dict[str, Path]) -> None:
    folder = exports["huochaitiantang"] / "Training_set" / "comp" / "fg"
    assert len({path.stat().st_ino for path in folder.iterdir()}) == 3
    assert len(list(folder.iterdir())) == 6


@pytest.mark.parametrize("symbolic", [True, False])
def test_a_file_system_without_hard_links(
    splits: dict[str, Path],
    exports: dict[str, Path],
    tmp_path: Path,
    *,
    command: Any,
    monkeypatch: pytest.MonkeyPatch,
    symbolic: bool,
) -> None:
    """Symbolic ones, which survive a move of the folder; or copies. They are read the same."""

    def lacking(*_: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(links.os, "link", lacking)
    if not symbolic:
        monkeypatch.setattr(Path, "symlink_to", lacking)
    arguments = ("--layout", "gca", "--trimap-radius", RADIUS, "--jobs", 1)
    assert command("export-images", splits["test"], tmp_path / "made", *arguments).code == 0
    moved = (tmp_path / "made").rename(tmp_path / "moved")
    copies = [path for path in (moved / "Test_set" / "alpha_copy").iterdir() if path.name.endswith("_1.png")]
    assert all(path.is_symlink() == symbolic for path in copies)
    there = as_gca(moved, "test")
    for name, pictures in as_gca(exports["gca"], "test").items():
        assert all(np.array_equal(there[name][role], pixels) for role, pixels in pictures.items())


def test_what_is_missing_is_linked_again(
    splits: dict[str, Path], exports: dict[str, Path], tmp_path: Path, command: Any
) -> None:
    own = tmp_path / "own"
    shutil.copytree(exports["gca"], own)
    for name in ("f0_0.png", "wide one_1.png"):
        (own / "Test_set" / "alpha_copy" / name).unlink()
    arguments = ("--layout", "gca", "--trimap-radius", RADIUS, "--jobs", 1, "--json")
    values = json.loads(command("export-images", splits["test"], own, *arguments).out)
    assert (values["written"], values["kept"]) == (2, 16)
    assert len(as_gca(own, "test")) == 6


# ---- refused -----------------------------------------------------------------------------------------------


def test_gca_reads_no_training_composites(splits: dict[str, Path], tmp_path: Path, command: Any) -> None:
    outcome = command("export-images", splits["train"], tmp_path / "out", "--layout", "gca")
    assert outcome.code == 2
    assert "export a test or val split, or choose another --layout" in outcome.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("layout", ["mmagic", "folders"])
def test_another_layout_into_the_same_folder(
    splits: dict[str, Path], exports: dict[str, Path], command: Any, layout: str
) -> None:
    outcome = command("export-images", splits["test"], exports["indexnet"], "--layout", layout)
    assert outcome.code == 2
    assert "another layout" in outcome.err


def test_a_name_that_indexnets_list_cannot_hold(
    image_set: Any, build: Any, tmp_path: Path, command: Any
) -> None:
    root = image_set(tmp_path / "set", foregrounds=1, side=32)
    for folder in ("fg", "alpha"):
        (root / folder / "f0.png").rename(root / folder / "a\tb.png")
    (root / "train_fg.txt").write_text("a\tb.png")
    assert build(root, tmp_path / "shards").code == 0
    outcome = command("export-images", tmp_path / "shards", tmp_path / "out", "--layout", "indexnet")
    assert outcome.code == 2
    assert "choose another --layout" in outcome.err
    assert not (tmp_path / "out").exists()


def test_the_option_offers_every_layout() -> None:
    (option,) = (each for each in export_command.params if each.name == "layout")
    assert isinstance(option.type, Choice)
    assert tuple(option.type.choices) == get_args(LayoutName)
