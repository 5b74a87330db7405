"""verify-composites as a command: the untouched set, wrong use, the scope, what is said; foreign eyes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from dimtool.composer.building.work import DiskFullError
from dimtool.composer.shards.index import read_index, record_of
from dimtool.composer.verification import repair, verify
from dimtool.composer.verification.findings import CHECKS

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
    assert values.values["folders"] == [str(built)]
    assert values.values["composites"] == 8
    assert values.values["findings"] == values.values["notes"] == []
    assert list(values.values["checks"]) == list(CHECKS)
    assert values.values["seconds"] > 0


def test_all_of_shards_is_the_default(built: Path, tmp_path: Path, judge: Any, monkeypatch: Any) -> None:
    for split in ("train", "test"):
        shutil.copytree(built, tmp_path / "shards" / split)
    monkeypatch.chdir(tmp_path)
    values = judge()
    assert values.values["folders"] == ["shards/test", "shards/train"]
    assert values.tried["pixels"] == 16


def test_one_shard_named_twice_is_looked_at_once(built: Path, judge: Any) -> None:
    assert judge(built, built.parent, built).tried == judge(built).tried


def test_one_folder_under_two_names_is_looked_at_once(
    built: Path, judge: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(built.parent)
    values = judge(built.name, built)
    assert values.values["folders"] == [built.name]
    assert values.values["findings"] == []


def test_any_number_of_jobs_finds_the_same(own: Any, judge: Any, damage: Any) -> None:
    damage(own[1] / "0001-f1.h5", 1)
    damage(own[1] / "0003-f3.h5", 0)
    one, two = judge(own[1]), judge(own[1], jobs=2)
    assert one.found == two.found
    assert one.tried == two.tried
    assert {each[1] for each in one.found} == {"0001-f1.h5", "0003-f3.h5"}


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
    own: Any, judge: Any, monkeypatch: pytest.MonkeyPatch, edit_index: Any
) -> None:
    monkeypatch.setattr(verify, "QUICK", 3)
    assert judge(own[1], "--quick").tried == {
        "files": 4, "format": 4, "pixels": 3, "composition": 3, "set": 9, "duplicates": 4
    }  # fmt: skip
    edit_index(own[1], lambda index: index["shards"][2].update(sha256="0" * 64))
    assert not judge(own[1], "--quick").values["findings"]
    assert judge(own[1]).found == [("files", "0002-f2.h5", None)]


def test_quick_looks_at_every_shard_of_a_small_set(own: Any, judge: Any, damage: Any) -> None:
    damage(own[1] / "0002-f2.h5", 1)
    values = judge(own[1], "--quick")
    assert values.tried["pixels"] == 8
    assert values.found == [("pixels", "0002-f2.h5", 1)]


def test_quick_finds_a_shard_that_is_cut_off(own: Any, judge: Any) -> None:
    shard = own[1] / "0001-f1.h5"
    shard.write_bytes(shard.read_bytes()[:-5])
    assert {each[:2] for each in judge(own[1], "--quick").found} == {
        ("files", "0001-f1.h5"), ("format", "0001-f1.h5")
    }  # fmt: skip


def test_samples_are_drawn_by_the_seed(own: Any, judge: Any, damage: Any) -> None:
    """A quarter of eight composites: two, the same ones for the same seed, and in the end all of them."""
    for name in ("0000-f0", "0001-f1", "0002-f2", "0003-f3"):
        for i in range(2):
            damage(own[1] / f"{name}.h5", i)
    drawn = []
    for seed in range(24):
        values = judge(own[1], "--sample", "25%", "--seed", seed)
        assert values.tried["pixels"] == 2
        drawn.append(frozenset(each for each in values.found if each[0] == "pixels"))
        assert len(drawn[-1]) == 2
    again = judge(own[1], "--sample", "25%", "--seed", 3)
    assert {each for each in again.found if each[0] == "pixels"} == drawn[3]
    assert len(set(drawn)) > 5
    assert len(frozenset().union(*drawn)) == 8


def test_a_sample_is_never_empty(built: Path, judge: Any) -> None:
    assert judge(built, "--sample", "0.1%").tried["pixels"] == 1
    assert judge(built, "--sample", "100%").tried["pixels"] == 8


def test_quick_and_a_sample_are_two_scopes(built: Path, command: Any) -> None:
    outcome = command("verify-composites", built, "--quick", "--sample", "1%")
    assert outcome.code == 2
    assert "--quick looks into 200 composites" in outcome.err


@pytest.mark.parametrize("form", [["--json"], []])
def test_what_was_found_is_told_though_the_repair_fails(
    own: Any, command: Any, damage: Any, monkeypatch: pytest.MonkeyPatch, form: list[str]
) -> None:
    def full(*_: object, **__: object) -> None:
        raise DiskFullError("no space is left")

    monkeypatch.setattr(repair, "repair_shards", full)
    damage(own[1] / "0002-f2.h5", 1)
    outcome = command("verify-composites", own[1], "--jobs", 1, "--repair", *form)
    assert outcome.code == 1
    assert outcome.lines == ["dimtool: no space is left"]
    if form:
        assert {each["shard"] for each in json.loads(outcome.out)["findings"]} == {"0002-f2.h5"}
    else:
        assert "0002-f2.h5 composite 1" in outcome.out


# ---- what is said ------------------------------------------------------------------------------------------


def test_findings_come_first_and_say_where(own: Any, command: Any, damage: Any) -> None:
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
        "format": '"dimtool-shard"', "version": "2", "split": '"train"', "index": "1",
        "foreground": '"f1.png"', "background_radius": "64",
    }  # fmt: skip


def test_h5ls_lists_it(built: Path) -> None:
    for record in read_index(built).shards:
        text = tool("h5ls", "-r", built / record.file)
        listed = dict(re.findall(r"/(\w+) +Dataset \{([^}]*)\}", text))
        assert listed["composite"] == f"2, {record.height}, {record.width}, 3"
        assert listed["alpha"] == f"{record.height}, {record.width}"
        assert len(listed) == 10
