"""verify-composites over a set: files against the index, sources, lists, and other sets."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image


def smooth(seed: int, height: int, width: int) -> np.ndarray:
    """Something like a picture: random, and without fine detail."""
    coarse = np.random.default_rng(seed).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


# ---- files against the index -------------------------------------------------------------------------------


def test_a_missing_shard(own: Any, judge: Any) -> None:
    (own[1] / "0001-f1.h5").unlink()
    assert judge(own[1]).found == [("files", "0001-f1.h5", None)]


def test_a_link_to_nothing_and_a_folder_are_no_shards(own: Any, judge: Any) -> None:
    for name, instead in (("0001-f1.h5", Path.mkdir), ("0002-f2.h5", lambda path: path.symlink_to("gone"))):
        (own[1] / name).unlink()
        instead(own[1] / name)
    assert judge(own[1]).found == [("files", "0001-f1.h5", None), ("files", "0002-f2.h5", None)]


def test_an_extra_shard(own: Any, judge: Any) -> None:
    shutil.copy(own[1] / "0001-f1.h5", own[1] / "0009-other.h5")
    assert judge(own[1]).found == [("files", "0009-other.h5", None)]


def test_a_shard_in_the_place_of_another(own: Any, judge: Any) -> None:
    shutil.copy(own[1] / "0001-f1.h5", own[1] / "0002-f2.h5")
    values = judge(own[1])
    assert ("format", "0002-f2.h5", None) in values.found
    assert {each[1] for each in values.found} == {"0002-f2.h5"}


@pytest.mark.parametrize(
    "content", [None, "", "{", "[]", "{}", '{"format": "other", "version": 1}', "\0\xff"]
)
def test_a_missing_or_broken_index(own: Any, judge: Any, content: str | None) -> None:
    if content is None:
        (own[1] / "index.json").unlink()
    else:
        (own[1] / "index.json").write_text(content, encoding="latin-1")
    values = judge(own[1])
    assert values.found == [("files", "", None)]
    assert "index.json" in values.values["findings"][0]["what"]


def test_one_broken_folder_does_not_hide_another(own: Any, tmp_path: Path, judge: Any, damage: Any) -> None:
    other = shutil.copytree(own[1], tmp_path / "other")
    (own[1] / "index.json").unlink()
    damage(other / "0000-f0.h5", 1)
    assert {each[:2] for each in judge(own[1], other).found} == {
        ("files", ""), ("files", "0000-f0.h5"), ("pixels", "0000-f0.h5")
    }  # fmt: skip


def test_every_flipped_bit_of_a_record_in_the_index(own: Any, judge: Any) -> None:
    """Whatever the index says of its first shard: it is never an exception, and hardly ever unnoticed."""
    whole = (own[1] / "index.json").read_bytes()
    start = whole.index(b'"shards"')
    end = whole.index(b"}", start)
    unnoticed = set()
    for byte in range(start, end, 5):
        damaged = bytearray(whole)
        damaged[byte] ^= 1 << byte % 8
        (own[1] / "index.json").write_bytes(damaged)
        if not judge(own[1], "--sample", "1%").values["findings"]:
            unnoticed.add(chr(whole[byte]))
    assert unnoticed <= set(' \n,:"')  # between the values


# ---- sources -----------------------------------------------------------------------------------------------


NONSENSE = json.dumps(
    {"fg_list": "/x/train_fg.txt", "fg_dir": None, "alpha_dir": None, "bg_list": None, "bg_dir": None}
    | {"split": "train", "per_fg": "many"}
)


@pytest.fixture
def moved(own: Any, tmp_path: Path, build: Any) -> tuple[Path, Path]:
    """Shards that remember where a set was that is not there any more, and where it is now."""
    root = shutil.copytree(own[0], tmp_path / "at first")
    out = tmp_path / "of it" / "train"
    assert build(root, out).code == 0
    return root.rename(tmp_path / "now"), out


def test_sources_that_are_gone_are_told_and_no_fault(moved: tuple[Path, Path], judge: Any) -> None:
    values = judge(moved[1])
    assert values.code == 0
    assert values.values["verdict"] == "incomplete"
    (skipped,) = values.values["skipped"]
    assert (skipped["folder"], skipped["what"]) == (str(moved[1]), "the sources")
    assert "at first" in skipped["why"]
    assert "--sources" in skipped["why"]
    assert not values.tried.keys() & {"source", "decoder"}


@pytest.mark.parametrize("lists", [True, False], ids=["known", "forgotten"])
def test_sources_that_are_elsewhere_now(moved: tuple[Path, Path], judge: Any, lists: bool) -> None:
    if not lists:
        (moved[1] / ".build" / "lists.json").unlink()
        assert "not known" in judge(moved[1]).values["skipped"][0]["why"]
    values = judge(moved[1], "--sources", moved[0])
    assert not values.values["findings"]
    assert values.tried["source"] == 16


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"fg_list": 3}', NONSENSE, "[" * 99_999])
def test_what_the_build_left_behind_may_be_broken(own: Any, judge: Any, text: str) -> None:
    (own[1] / ".build" / "lists.json").write_text(text)
    values = judge(own[1])
    assert values.code == 0
    assert "not known" in values.values["skipped"][0]["why"]


def test_a_changed_source_is_named(own: Any, judge: Any) -> None:
    pixels = np.asarray(Image.open(own[0] / "bg" / "b3.jpg")).copy()
    Image.fromarray(255 - pixels).save(own[0] / "bg" / "b3.jpg")
    values = judge(own[1], "--sources", own[0])
    assert values.found == [("source", "0001-f1.h5", 1)]
    assert str(own[0] / "bg" / "b3.jpg") in values.values["findings"][0]["what"]


def test_a_missing_source_is_named_and_counted(own: Any, judge: Any) -> None:
    (own[0] / "bg" / "b4.jpg").unlink()
    values = judge(own[1], "--sources", own[0])
    assert values.found == [("source", "0002-f2.h5", None)]
    assert values.tried["source"] == 3 * 4 + 1


def test_quick_reads_no_source(own: Any, judge: Any) -> None:
    Image.new("RGB", (9, 9)).save(own[0] / "bg" / "b3.jpg")
    assert not judge(own[1], "--sources", own[0], "--quick").values["findings"]


# ---- the set -----------------------------------------------------------------------------------------------


def test_an_incomplete_set(own: Any, judge: Any, edit_index: Any) -> None:
    def drop(index: dict[str, Any]) -> None:
        index["shards"].pop()

    edit_index(own[1], drop)
    (own[1] / "0003-f3.h5").unlink()
    values = judge(own[1])
    assert values.found == [("set", "", None), ("set", "", None), ("set", "0003-f3.h5", None)]
    assert {(each["expected"], each["found"]) for each in values.values["findings"]} >= {
        ("8", "6"),
        ("6", "8"),
    }


def test_lists_that_say_other_backgrounds(own: Any, judge: Any) -> None:
    names = (own[0] / "train_bg.txt").read_text().split()
    names[2], names[3] = names[3], names[2]
    (own[0] / "train_bg.txt").write_text("\n".join(names))
    values = judge(own[1], "--sources", own[0], "--quick")
    assert values.found == [("set", "0001-f1.h5", 0)]
    finding = values.values["findings"][0]
    assert (finding["expected"], finding["found"]) == ("b3.jpg", "b2.jpg")
    assert finding["what"].startswith("2 backgrounds")


def test_names_of_backgrounds_that_the_shard_has_wrong(own: Any, judge: Any) -> None:
    with h5py.File(own[1] / "0002-f2.h5", "r+") as file:
        file["background_name"][1] = b"b9.jpg"
    values = judge(own[1], "--quick")
    assert values.found == [("set", "0002-f2.h5", 1)]


def test_lists_that_ask_for_more_and_for_less(own: Any, judge: Any) -> None:
    shutil.copy(own[0] / "fg" / "f0.png", own[0] / "fg" / "g.png")
    shutil.copy(own[0] / "alpha" / "f0.png", own[0] / "alpha" / "g.png")
    (own[0] / "train_fg.txt").write_text("f0.png\nf1.png\nf2.png\ng.png")
    values = judge(own[1], "--sources", own[0], "--quick")
    assert values.found == [("set", "0003-f3.h5", None), ("set", "0003-g.h5", None)]


def test_lists_that_ask_for_fewer_backgrounds(own: Any, judge: Any, edit_index: Any) -> None:
    edit_index(own[1], lambda index: index.update(per_fg=1))
    (own[1] / ".build" / "lists.json").unlink()
    values = judge(own[1], "--sources", own[0])
    assert {each[0] for each in values.found} == {"set", "source"}


def test_a_shard_of_another_split(own: Any, judge: Any, edit_index: Any) -> None:
    edit_index(own[1], lambda index: index.update(split="test"))
    assert {each[0] for each in judge(own[1], "--quick").found} == {"format", "set"}


@pytest.mark.parametrize("again", ["the same file", "half the size"])
def test_a_foreground_in_train_and_in_test(
    tmp_path: Path, image_set: Any, command: Any, judge: Any, again: str
) -> None:
    root = tmp_path / "set"
    for split in ("train", "test"):
        image_set(root, foregrounds=3, per_fg=1, split=split)
        names = [f"{split}{i}.png" for i in range(3)]
        for i, name in enumerate(names):
            Image.fromarray(smooth(10 * len(split) + i, 96, 128)).save(root / "fg" / name)
            Image.new("L", (128, 96), 200 + i).save(root / "alpha" / name)
            with Image.open(root / "alpha" / name) as alpha:
                alpha.putpixel((3, 3), 7)
                alpha.save(root / "alpha" / name)
        (root / f"{split}_fg.txt").write_text("\n".join(names))
    with (
        Image.open(root / "fg" / "train1.png") as picture,
        Image.open(root / "alpha" / "train1.png") as alpha,
    ):
        half = (64, 48) if again == "half the size" else picture.size
        picture.resize(half, Image.Resampling.BICUBIC).save(root / "fg" / "test2.png")
        alpha.resize(half).save(root / "alpha" / "test2.png")
    for split in ("train", "test"):
        arguments = ("--fg-list", root / f"{split}_fg.txt", "--per-fg", 1, "--jobs", 1)
        assert command("build-dataset", *arguments, "--out", tmp_path / "shards" / split).code == 0
    values = judge(tmp_path / "shards")
    assert values.found == [("duplicates", f"000{k}-train{k}.h5", None) for k in (0, 1, 1, 2)]
    # Both splits are over the same three backgrounds.
    whats = [each["what"] for each in values.values["findings"]]
    shared = [
        each for each in whats if each.startswith("1 background in train as well as in test: the first is")
    ]
    assert [f"test/000{k}-test{k}.h5" in each for k, each in enumerate(shared)] == [True] * 3
    (what,) = set(whats) - set(shared)
    assert "test/0002-test2.h5" in what
    assert "in test as well as in train" in what
    assert ("the same pixels" in what) == (again == "the same file")
