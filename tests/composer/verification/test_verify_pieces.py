"""verify-composites over a set whose foregrounds are cut into several shards."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import pytest

from dimtool.composer.shards.index import Index, by_index, record_of, write_index

NAMES = [f"000{k}-f{k}{piece}.h5" for k in range(2) for piece in ("", ".1", ".2")]


@pytest.fixture(scope="module")
def five(image_set: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    root: Path = image_set(tmp_path_factory.mktemp("five"), foregrounds=2, per_fg=5, side=40)
    return root


@pytest.fixture(scope="module")
def cut(five: Path, build: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two foregrounds over five backgrounds each: shards of 2, 2 and 1."""
    out = tmp_path_factory.mktemp("cut") / "train"
    assert build(five, out, "--per-shard", 2, per_fg=5).code == 0
    return out


@pytest.fixture
def mine(cut: Path, tmp_path: Path) -> Path:
    return shutil.copytree(cut, tmp_path / "mine")


def record(name: str) -> Callable[[dict[str, Any]], Any]:
    return lambda index: next(each for each in index["shards"] if each["file"] == name)


def test_a_set_of_pieces_is_good(five: Path, cut: Path, mine: Path, judge: Any) -> None:
    """With the lists that it was built from, and with their folder alone; pieces are no duplicates."""
    for jobs in (1, 2):
        verdict = judge(cut, jobs=jobs)
        assert (verdict.code, verdict.values["verdict"]) == (0, "good")
        assert (verdict.tried["pixels"], verdict.tried["duplicates"]) == (10, 2)
    shutil.rmtree(mine / ".build")
    assert judge(mine, "--sources", five).values["verdict"] == "good"


def test_a_missing_piece_is_found(mine: Path, judge: Any) -> None:
    (mine / NAMES[1]).unlink()
    assert judge(mine).found == [("files", NAMES[1], None)]


@pytest.mark.parametrize("known", [True, False])
def test_a_piece_taken_away_with_its_record_is_found(
    mine: Path, judge: Any, edit_index: Any, *, known: bool
) -> None:
    """A gap, by the index alone; whatever the sums are made to say."""
    (mine / NAMES[4]).unlink()
    if not known:
        shutil.rmtree(mine / ".build")

    def without(index: dict[str, Any]) -> None:
        index["shards"] = [each for each in index["shards"] if each["file"] != NAMES[4]]
        index["asked"] = index["composites"] = 8

    edit_index(mine, without)
    findings = judge(mine).values["findings"]
    assert any(f["shard"] == NAMES[5] and "first composite" in f["what"] for f in findings)
    assert any("the lists ask for this shard" in f["what"] for f in findings) == known


def test_the_last_piece_taken_away_with_its_record_is_found(mine: Path, judge: Any, edit_index: Any) -> None:
    (mine / NAMES[5]).unlink()
    shutil.rmtree(mine / ".build")

    def without(index: dict[str, Any]) -> None:
        del index["shards"][5]
        index["asked"] = index["composites"] = 9

    edit_index(mine, without)
    findings = judge(mine).values["findings"]
    assert [(f["shard"], f["expected"], f["found"]) for f in findings] == [(NAMES[4], "3", "2")]


def test_pieces_that_overlap_are_found(mine: Path, judge: Any, edit_index: Any) -> None:
    """One that begins a composite too early: its header is made to agree with the index."""
    with h5py.File(mine / NAMES[1], "r+") as shard:
        shard.attrs["first"] = 1
    edit_index(mine, lambda index: record(NAMES[1])(index).update(first=1))
    findings = judge(mine).values["findings"]
    assert {(f["shard"], f["expected"], f["found"]) for f in findings if "first composite" in f["what"]} == {
        (NAMES[1], "2", "1"),
        (NAMES[2], "3", "4"),
    }


def test_a_piece_that_says_another_place_than_the_index_is_found(mine: Path, judge: Any) -> None:
    with h5py.File(mine / NAMES[2], "r+") as shard:
        del shard.attrs["first"]
    found = judge(mine).found
    assert ("format", NAMES[2], None) in found
    assert {name for _, name, _ in found} == {NAMES[2]}


def test_two_pieces_exchanged_are_found(mine: Path, judge: Any) -> None:
    (mine / NAMES[0]).rename(mine / "x")
    (mine / NAMES[1]).rename(mine / NAMES[0])
    (mine / "x").rename(mine / NAMES[1])
    assert {("format", NAMES[0], None), ("format", NAMES[1], None)} <= set(judge(mine).found)


def test_a_surplus_piece_is_found(mine: Path, judge: Any) -> None:
    shutil.copy(mine / NAMES[2], mine / "0000-f0.3.h5")
    assert judge(mine).found == [("files", "0000-f0.3.h5", None)]


def test_a_piece_of_another_matte_is_found(
    mine: Path, five: Path, build: Any, judge: Any, tmp_path: Path
) -> None:
    """By the pieces alone: another foreground's pixels under this one's name, and an index that agrees."""
    root = shutil.copytree(five, tmp_path / "set")
    for folder in ("fg", "alpha"):
        shutil.copy(root / folder / "f1.png", root / folder / "f0.png")
    assert build(root, tmp_path / "other", "--per-shard", 2, per_fg=5).code == 0
    shutil.copy(tmp_path / "other" / NAMES[2], mine / NAMES[2])
    shutil.rmtree(mine / ".build")
    _index_anew(mine)
    findings = judge(mine).values["findings"]
    assert [(f["check"], f["shard"]) for f in findings] == [("set", NAMES[2])]
    assert "pixels that it has in 0000-f0.h5" in findings[0]["what"]


def _index_anew(out: Path) -> None:
    records = by_index([record_of(path) for path in out.glob("*.h5")])
    write_index(out, Index(split="train", per_fg=5, asked=10, shards=records))


def test_one_damaged_piece_is_repaired_alone(
    mine: Path, cut: Path, mend: Any, damage: Any, *, visible: Any, stamps: Any
) -> None:
    damage(mine / NAMES[4], 1)
    before = stamps(mine)
    code, repair = mend(mine)
    assert (code, repair["rebuilt"], repair["findings"]) == (0, [str(mine / NAMES[4])], [])
    changed = {name for name, stamp in stamps(mine).items() if stamp != before[name]}
    assert changed == {NAMES[4]}
    assert visible(mine) == visible(cut)


def test_a_sample_is_of_the_whole_set(cut: Path, judge: Any) -> None:
    assert judge(cut, "--sample", "50%").tried["pixels"] == 5
    assert judge(cut, "--quick").tried["pixels"] == 10


def test_the_report_of_pieces(cut: Path, command: Any, tmp_path: Path) -> None:
    assert command("verify-composites", cut, "--report", tmp_path / "report", "--jobs", 1).code == 0
    page = (tmp_path / "report/index.html").read_text()
    assert 'id="foreground-1"' in page
    assert 'id="foreground-2"' not in page
