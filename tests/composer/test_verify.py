"""verify-composites as a whole: the untouched set, the scope, sources, the set, exit codes; foreign eyes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image

from dimtool.composer import verify
from dimtool.composer.findings import CHECKS
from dimtool.composer.index import read_index, record_of

# ---- helpers -----------------------------------------------------------------------------------------------


@pytest.fixture
def judge(command: Any) -> Callable[..., dict[str, Any]]:
    """Verify, in this process if nothing else is said; the outcome as JSON, with the exit code."""

    def call(*arguments: object, jobs: int = 1) -> dict[str, Any]:
        outcome = command("verify-composites", *arguments, "--jobs", jobs, "--json")
        values: dict[str, Any] = json.loads(outcome.out)
        assert outcome.code == (1 if values["findings"] else 0)
        assert sum(check["wrong"] for check in values["checks"].values()) == len(values["findings"])
        return values | {"code": outcome.code, "stderr": outcome.lines}

    return call


def found(values: dict[str, Any]) -> list[tuple[str, str, int | None]]:
    return [(each["check"], each["shard"], each["composite"]) for each in values["findings"]]


def tried(values: dict[str, Any]) -> dict[str, int]:
    return {name: check["tried"] for name, check in values["checks"].items() if check["tried"]}


def damage(shard: Path, i: int) -> None:
    """Make composite `i` impossible to decode; the file keeps its size."""
    with h5py.File(shard) as file:
        info = file["composite"].id.get_chunk_info_by_coord((i, 0, 0, 0))
    with shard.open("r+b") as stream:
        stream.seek(info.byte_offset)
        stream.write(bytes(50))


def edit_index(out: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads((out / "index.json").read_text())
    change(content)
    (out / "index.json").write_text(json.dumps(content))


def smooth(seed: int, height: int, width: int) -> np.ndarray:
    """Something like a picture: random, and without fine detail."""
    coarse = np.random.default_rng(seed).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


# ---- the untouched set -------------------------------------------------------------------------------------


def test_an_untouched_set_has_no_finding(built: Path, command: Any) -> None:
    outcome = command("verify-composites", built, "--jobs", 1)
    assert outcome.code == 0
    assert "no finding" in outcome.out
    rows = [line.split() for line in outcome.out.splitlines()]
    assert [row for row in rows if row and row[0] in CHECKS] == [
        ["files", "4", "0"], ["format", "4", "0"], ["pixels", "8", "0"], ["composition", "8", "0"],
        ["maps", "4", "0"], ["source", "16", "0"], ["decoder", "16", "0"], ["set", "9", "0"],
        ["duplicates", "4", "0"],
    ]  # fmt: skip
    assert not outcome.lines


def test_as_json(built: Path, judge: Any) -> None:
    values = judge(built)
    assert values["folders"] == [str(built)]
    assert values["composites"] == 8
    assert values["findings"] == values["notes"] == []
    assert list(values["checks"]) == list(CHECKS)
    assert values["seconds"] > 0


def test_all_of_shards_is_the_default(own: Any, tmp_path: Path, judge: Any, monkeypatch: Any) -> None:
    root, _ = own
    (tmp_path / "work" / "shards").mkdir(parents=True)
    for split in ("train", "test"):
        shutil.copytree(own[1], tmp_path / "work" / "shards" / split)
    monkeypatch.chdir(tmp_path / "work")
    values = judge()
    assert values["folders"] == ["shards/test", "shards/train"]
    assert tried(values)["pixels"] == 16
    assert root.is_dir()


def test_one_shard_named_twice_is_looked_at_once(built: Path, judge: Any) -> None:
    assert tried(judge(built, built.parent, built)) == tried(judge(built))


def test_any_number_of_jobs_finds_the_same(own: Any, judge: Any) -> None:
    damage(own[1] / "0001-f1.h5", 1)
    damage(own[1] / "0003-f3.h5", 0)
    one, two = judge(own[1]), judge(own[1], jobs=2)
    assert found(one) == found(two)
    assert tried(one) == tried(two)
    assert {each[1] for each in found(one)} == {"0001-f1.h5", "0003-f3.h5"}


# ---- wrong use ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", ["101%", "-1%", "half", "nan%", "%", ""])
def test_a_share_that_is_none(built: Path, command: Any, share: str) -> None:
    outcome = command("verify-composites", built, f"--sample={share}")
    assert outcome.code == 2
    assert "percentage" in outcome.err


def test_no_shards(tmp_path: Path, command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    for arguments in ((), (tmp_path / "nowhere",), (tmp_path / "empty",)):
        outcome = command("verify-composites", *arguments)
        assert outcome.code == 2
        assert "shards" in outcome.err or "nowhere" in outcome.err
        assert not outcome.out


def test_sources_that_are_none(own: Any, tmp_path: Path, command: Any) -> None:
    (tmp_path / "nothing").mkdir()
    for where in (tmp_path / "nothing", tmp_path / "nowhere"):
        outcome = command("verify-composites", own[1], "--sources", where)
        assert outcome.code == 2
        assert str(where) in outcome.err
    (own[1] / ".build" / "lists.json").unlink()
    shutil.copy(own[0] / "train_fg.txt", own[0] / "train_fg_2.txt")
    outcome = command("verify-composites", own[1], "--sources", own[0])
    assert outcome.code == 2
    assert "2 lists" in outcome.err


# ---- the scope ---------------------------------------------------------------------------------------------


def test_quick_looks_at_sizes_formats_and_a_few_composites(
    own: Any, judge: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "QUICK", 3)
    assert tried(judge(own[1], "--quick")) == {
        "files": 4, "format": 4, "pixels": 3, "composition": 3, "set": 9, "duplicates": 4
    }  # fmt: skip
    edit_index(own[1], lambda index: index["shards"][2].update(sha256="0" * 64))
    assert not judge(own[1], "--quick")["findings"]
    assert found(judge(own[1])) == [("files", "0002-f2.h5", None)]


def test_quick_looks_at_every_shard_of_a_small_set(own: Any, judge: Any) -> None:
    damage(own[1] / "0002-f2.h5", 1)
    values = judge(own[1], "--quick")
    assert tried(values)["pixels"] == 8
    assert found(values) == [("pixels", "0002-f2.h5", 1)]


def test_quick_finds_a_shard_that_is_cut_off(own: Any, judge: Any) -> None:
    shard = own[1] / "0001-f1.h5"
    shard.write_bytes(shard.read_bytes()[:-5])
    assert {each[:2] for each in found(judge(own[1], "--quick"))} == {
        ("files", "0001-f1.h5"), ("format", "0001-f1.h5")
    }  # fmt: skip


def test_samples_are_drawn_by_the_seed(own: Any, judge: Any) -> None:
    """A quarter of eight composites: two, the same ones for the same seed, and in the end all of them."""
    for name in ("0000-f0", "0001-f1", "0002-f2", "0003-f3"):
        for i in range(2):
            damage(own[1] / f"{name}.h5", i)
    drawn = []
    for seed in range(24):
        values = judge(own[1], "--sample", "25%", "--seed", seed)
        assert tried(values)["pixels"] == 2
        drawn.append(frozenset(each for each in found(values) if each[0] == "pixels"))
        assert len(drawn[-1]) == 2
    again = judge(own[1], "--sample", "25%", "--seed", 3)
    assert {each for each in found(again) if each[0] == "pixels"} == drawn[3]
    assert len(set(drawn)) > 5
    assert len(frozenset().union(*drawn)) == 8


def test_a_sample_is_never_empty(built: Path, judge: Any) -> None:
    assert tried(judge(built, "--sample", "0.1%"))["pixels"] == 1
    assert tried(judge(built, "--sample", "100%"))["pixels"] == 8


# ---- files against the index -------------------------------------------------------------------------------


def test_a_missing_shard(own: Any, judge: Any) -> None:
    (own[1] / "0001-f1.h5").unlink()
    assert found(judge(own[1])) == [("files", "0001-f1.h5", None)]


def test_a_link_to_nothing_and_a_folder_are_no_shards(own: Any, judge: Any) -> None:
    for name, instead in (("0001-f1.h5", Path.mkdir), ("0002-f2.h5", lambda path: path.symlink_to("gone"))):
        (own[1] / name).unlink()
        instead(own[1] / name)
    assert found(judge(own[1])) == [("files", "0001-f1.h5", None), ("files", "0002-f2.h5", None)]


def test_an_extra_shard(own: Any, judge: Any) -> None:
    shutil.copy(own[1] / "0001-f1.h5", own[1] / "0009-other.h5")
    assert found(judge(own[1])) == [("files", "0009-other.h5", None)]


def test_a_shard_in_the_place_of_another(own: Any, judge: Any) -> None:
    shutil.copy(own[1] / "0001-f1.h5", own[1] / "0002-f2.h5")
    values = judge(own[1])
    assert ("format", "0002-f2.h5", None) in found(values)
    assert {each[1] for each in found(values)} == {"0002-f2.h5"}


@pytest.mark.parametrize(
    "content", [None, "", "{", "[]", "{}", '{"format": "other", "version": 1}', "\0\xff"]
)
def test_a_missing_or_broken_index(own: Any, judge: Any, content: str | None) -> None:
    if content is None:
        (own[1] / "index.json").unlink()
    else:
        (own[1] / "index.json").write_text(content, encoding="latin-1")
    values = judge(own[1])
    assert found(values) == [("files", "", None)]
    assert "index.json" in values["findings"][0]["what"]


def test_one_broken_folder_does_not_hide_another(own: Any, tmp_path: Path, judge: Any) -> None:
    other = shutil.copytree(own[1], tmp_path / "other")
    (own[1] / "index.json").unlink()
    damage(other / "0000-f0.h5", 1)
    assert {each[:2] for each in found(judge(own[1], other))} == {
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
        if not judge(own[1], "--sample", "1%")["findings"]:
            unnoticed.add(chr(whole[byte]))
    assert unnoticed <= set(' \n,:"')  # between the values


# ---- sources -----------------------------------------------------------------------------------------------


@pytest.fixture
def moved(own: Any, tmp_path: Path, build: Any) -> tuple[Path, Path]:
    """Shards that remember where a set was that is not there any more, and where it is now."""
    root = shutil.copytree(own[0], tmp_path / "at first")
    out = tmp_path / "of it" / "train"
    assert build(root, out).code == 0
    return root.rename(tmp_path / "now"), out


def test_sources_that_are_gone_are_told_and_no_fault(moved: tuple[Path, Path], judge: Any) -> None:
    values = judge(moved[1])
    assert values["code"] == 0
    assert len(values["notes"]) == 1
    assert "not compared with its sources" in values["notes"][0]
    assert "at first" in values["notes"][0]
    assert any("not compared" in line for line in values["stderr"])
    assert not tried(values).keys() & {"source", "decoder"}


@pytest.mark.parametrize("lists", [True, False], ids=["known", "forgotten"])
def test_sources_that_are_elsewhere_now(moved: tuple[Path, Path], judge: Any, lists: bool) -> None:
    if not lists:
        (moved[1] / ".build" / "lists.json").unlink()
        assert "not known" in judge(moved[1])["notes"][0]
    values = judge(moved[1], "--sources", moved[0])
    assert not values["findings"]
    assert tried(values)["source"] == 16


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"fg_list": 3}'])
def test_what_the_build_left_behind_may_be_broken(own: Any, judge: Any, text: str) -> None:
    (own[1] / ".build" / "lists.json").write_text(text)
    values = judge(own[1])
    assert values["code"] == 0
    assert "not known" in values["notes"][0]


def test_a_changed_source_is_named(own: Any, judge: Any) -> None:
    pixels = np.asarray(Image.open(own[0] / "bg" / "b3.jpg")).copy()
    Image.fromarray(255 - pixels).save(own[0] / "bg" / "b3.jpg")
    values = judge(own[1], "--sources", own[0])
    assert found(values) == [("source", "0001-f1.h5", 1)]
    assert str(own[0] / "bg" / "b3.jpg") in values["findings"][0]["what"]


def test_a_missing_source_is_named_and_counted(own: Any, judge: Any) -> None:
    (own[0] / "bg" / "b4.jpg").unlink()
    values = judge(own[1], "--sources", own[0])
    assert found(values) == [("source", "0002-f2.h5", None)]
    assert tried(values)["source"] == 3 * 4 + 1


def test_quick_reads_no_source(own: Any, judge: Any) -> None:
    Image.new("RGB", (9, 9)).save(own[0] / "bg" / "b3.jpg")
    assert not judge(own[1], "--sources", own[0], "--quick")["findings"]


# ---- the set -----------------------------------------------------------------------------------------------


def test_an_incomplete_set(own: Any, judge: Any) -> None:
    def drop(index: dict[str, Any]) -> None:
        index["shards"].pop()

    edit_index(own[1], drop)
    (own[1] / "0003-f3.h5").unlink()
    values = judge(own[1])
    assert found(values) == [("set", "", None), ("set", "0003-f3.h5", None)]
    assert (values["findings"][0]["expected"], values["findings"][0]["found"]) == ("8", "6")


def test_lists_that_say_other_backgrounds(own: Any, judge: Any) -> None:
    names = (own[0] / "train_bg.txt").read_text().split()
    names[2], names[3] = names[3], names[2]
    (own[0] / "train_bg.txt").write_text("\n".join(names))
    values = judge(own[1], "--sources", own[0], "--quick")
    assert found(values) == [("set", "0001-f1.h5", 0)]
    finding = values["findings"][0]
    assert (finding["expected"], finding["found"]) == ("b3.jpg", "b2.jpg")
    assert finding["what"].startswith("2 backgrounds")


def test_names_of_backgrounds_that_the_shard_has_wrong(own: Any, judge: Any) -> None:
    with h5py.File(own[1] / "0002-f2.h5", "r+") as file:
        file["background_name"][1] = b"b9.jpg"
    values = judge(own[1], "--quick")
    assert found(values) == [("set", "0002-f2.h5", 1)]


def test_lists_that_ask_for_more_and_for_less(own: Any, judge: Any) -> None:
    shutil.copy(own[0] / "fg" / "f0.png", own[0] / "fg" / "g.png")
    shutil.copy(own[0] / "alpha" / "f0.png", own[0] / "alpha" / "g.png")
    (own[0] / "train_fg.txt").write_text("f0.png\nf1.png\nf2.png\ng.png")
    values = judge(own[1], "--sources", own[0], "--quick")
    assert found(values) == [("set", "0003-f3.h5", None), ("set", "0003-g.h5", None)]


def test_lists_that_ask_for_fewer_backgrounds(own: Any, judge: Any) -> None:
    edit_index(own[1], lambda index: index.update(per_fg=1))
    (own[1] / ".build" / "lists.json").unlink()
    values = judge(own[1], "--sources", own[0])
    assert {each[0] for each in found(values)} == {"set", "source"}


def test_a_shard_of_another_split(own: Any, judge: Any) -> None:
    edit_index(own[1], lambda index: index.update(split="test"))
    assert {each[0] for each in found(judge(own[1], "--quick"))} == {"format"}


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
    assert found(values) == [("duplicates", "0001-train1.h5", None)]
    what = values["findings"][0]["what"]
    assert "test/0002-test2.h5" in what
    assert "in test as well as in train" in what
    assert ("the same pixels" in what) == (again == "the same file")


# ---- what is said ------------------------------------------------------------------------------------------


def test_findings_come_first_and_say_where(own: Any, command: Any) -> None:
    damage(own[1] / "0001-f1.h5", 1)
    outcome = command("verify-composites", own[1], "--jobs", 1)
    assert outcome.code == 1
    lines = outcome.out.splitlines()
    assert lines[0].startswith(f"files: {own[1]}/0001-f1.h5: the file's SHA-256 is wrong (expected ")
    assert lines[1].startswith(f"pixels: {own[1]}/0001-f1.h5 composite 1: it cannot be decoded")
    assert lines[2] == ""
    assert lines[-1].endswith("2 findings")
    assert re.search(r"^pixels +8 +1$", outcome.out, re.MULTILINE)


# ---- foreign eyes ------------------------------------------------------------------------------------------


def tool(name: str, *arguments: object) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not on this machine (Debian's hdf5-tools)")
    words = [path, *(str(each) for each in arguments)]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def test_h5dump_reads_the_structure(built: Path) -> None:
    """HDF5's own program, of whatever release the system has, without our codecs."""
    shard = built / "0001-f1.h5"
    text = tool("h5dump", "-H", "-p", shard)
    record = record_of(shard)
    height, width = record.height, record.width
    datasets = re.findall(
        r'^ {3}DATASET "(\w+)" \{.*?DATATYPE +(H5T_\w+).*?SIMPLE \{ \(([^)]*)\)', text, re.M | re.S
    )
    shapes = {name: (kind, tuple(map(int, shape.split(",")))) for name, kind, shape in datasets}
    assert shapes.pop("centers")[1][1] == 2
    u8, u16 = "H5T_STD_U8LE", "H5T_STD_U16LE"
    assert shapes == {
        "composite": (u8, (2, height, width, 3)),
        "background": (u8, (2, height, width, 3)),
        "foreground": (u8, (height, width, 3)),
        "alpha": (u8, (height, width)),
        "distance": (u8, (height, width)),
        "background_name": ("H5T_STRING", (2,)),
        "background_size": (u16, (2, 2)),
        "background_source": (u8, (2, 2, 32)),
        "digest": (u8, (2, 2, 32)),
    }
    assert set(re.findall(r'^ {3}ATTRIBUTE "(\w+)"', text, re.M)) == {
        "format", "version", "split", "index", "foreground", "background_radius", "versions",
        "foreground_source", "alpha_source",
    }  # fmt: skip
    assert "H5T_VARIABLE" not in text
    assert text.count("FILTER_ID 32033") == 2


def test_h5dump_reads_the_attributes(built: Path) -> None:
    shard = built / "0001-f1.h5"
    values = {
        name: re.findall(r"\(0\): (.*)", tool("h5dump", "-a", f"/{name}", shard))[0]
        for name in ("format", "version", "split", "index", "foreground", "background_radius")
    }
    assert values == {
        "format": '"dimtool-shard"', "version": "1", "split": '"train"', "index": "1",
        "foreground": '"f1.png"', "background_radius": "64",
    }  # fmt: skip


def test_h5ls_lists_it(built: Path) -> None:
    for record in read_index(built).shards:
        text = tool("h5ls", "-r", built / record.file)
        listed = dict(re.findall(r"/(\w+) +Dataset \{([^}]*)\}", text))
        assert listed["composite"] == f"2, {record.height}, {record.width}, 3"
        assert listed["alpha"] == f"{record.height}, {record.width}"
        assert len(listed) == 10
