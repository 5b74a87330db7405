"""A foreground with more backgrounds than a shard takes: several shards, and everything that reads them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image

from dimtool.composer.shards.dataset import CompositeDataset
from dimtool.composer.shards.index import by_index, read_index
from dimtool.model.crops.dataset import TrainingCrops
from dimtool.model.crops.reading import CropConfig
from dimtool.model.training.validation import one_matte

PER_FG = 7


@pytest.fixture(scope="module")
def seven(image_set: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two foregrounds over seven backgrounds each."""
    root: Path = image_set(tmp_path_factory.mktemp("seven"), foregrounds=2, per_fg=PER_FG, side=40)
    return root


@pytest.fixture(scope="module")
def whole(seven: Path, build: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One shard a foreground."""
    out = tmp_path_factory.mktemp("whole") / "train"
    assert build(seven, out, per_fg=PER_FG).code == 0
    return out


@pytest.fixture(scope="module")
def cut(seven: Path, build: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three shards a foreground, of 3, 3 and 1. Not to be changed."""
    out = tmp_path_factory.mktemp("cut") / "train"
    assert build(seven, out, "--per-shard", 3, per_fg=PER_FG).code == 0
    return out


@pytest.fixture
def mine(cut: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return shutil.copytree(cut, tmp_path / "mine")


NAMES = [f"000{k}-f{k}{piece}.h5" for k in range(2) for piece in ("", ".1", ".2")]


def firsts(out: Path) -> list[tuple[str, int, int]]:
    return [(each.file, each.first, each.composites) for each in read_index(out).shards]


# ---- what is there -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("per_shard", [1, 2, 3, 6, 7, 100])
def test_pieces_hold_what_one_shard_holds(
    seven: Path, whole: Path, build: Any, tmp_path: Path, per_shard: int
) -> None:
    """Every array of every piece, byte for byte, tiles as they are stored; the shared ones in each."""
    out = tmp_path / "out"
    assert build(seven, out, "--per-shard", per_shard, per_fg=PER_FG).code == 0
    for k in range(2):
        with h5py.File(whole / f"000{k}-f{k}.h5") as one:
            for number, first in enumerate(range(0, PER_FG, per_shard)):
                name = f"000{k}-f{k}.{number}.h5" if number else f"000{k}-f{k}.h5"
                with h5py.File(out / name) as piece:
                    assert piece.attrs.get("first", 0) == first
                    assert ("first" in piece.attrs) == (first > 0)
                    _same_values(one, piece, first)
    if per_shard >= PER_FG:
        assert (out / "index.json").read_bytes() == (whole / "index.json").read_bytes()


def _same_values(one: h5py.File, piece: h5py.File, first: int) -> None:
    count = len(piece["digest"])
    for name in ("foreground", "alpha", "distance", "centers"):
        np.testing.assert_array_equal(one[name][:], piece[name][:])
    for name in ("background_name", "background_size", "background_source", "digest"):
        np.testing.assert_array_equal(one[name][first : first + count], piece[name][:])
    for name in ("composite", "background"):
        there, here = one[name].id, piece[name].id
        for k in range(here.get_num_chunks()):
            i, *corner = here.get_chunk_info(k).chunk_offset
            assert here.read_direct_chunk((i, *corner)) == there.read_direct_chunk((first + i, *corner))


def test_the_index_lists_the_pieces_in_their_order(cut: Path) -> None:
    sizes = [(0, 3), (3, 3), (6, 1)] * 2
    assert firsts(cut) == [(name, *size) for name, size in zip(NAMES, sizes, strict=True)]
    shards = json.loads((cut / "index.json").read_text())["shards"]
    assert [each.get("first") for each in shards] == [None, 3, 6] * 2
    index = read_index(cut)
    assert (index.foregrounds, index.composites, index.asked) == (2, 14, 14)
    assert by_index(index.shards[::-1]) == index.shards


def test_a_set_has_the_same_composites_under_the_same_names(whole: Path, cut: Path) -> None:
    one, several = CompositeDataset(whole), CompositeDataset(cut)
    assert len(one) == len(several) == 14
    assert [several.name(i) for i in range(14)] == [f"f{k}_{i}" for k in range(2) for i in range(PER_FG)]
    for i in range(14):
        for name, value in vars(one[i]).items():
            np.testing.assert_array_equal(vars(several[i])[name], value)


def test_the_number_of_jobs_does_not_show(
    seven: Path, cut: Path, build: Any, tmp_path: Path, visible: Any
) -> None:
    assert build(seven, tmp_path / "out", "--per-shard", 3, per_fg=PER_FG, jobs=2).code == 0
    assert visible(tmp_path / "out") == visible(cut)


# ---- built again -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gone", [[1], [0, 5], [2, 3, 4]])
def test_only_missing_pieces_are_built(
    seven: Path, cut: Path, mine: Path, *, build: Any, visible: Any, stamps: Any, gone: list[int]
) -> None:
    for number in gone:
        (mine / NAMES[number]).unlink()
    before = stamps(mine)
    assert build(seven, mine, "--per-shard", 3, per_fg=PER_FG).code == 0
    assert before.items() <= stamps(mine).items()
    assert visible(mine) == visible(cut)


def test_what_is_built_stays_cut_as_it_is(seven: Path, mine: Path, build: Any, stamps: Any) -> None:
    before = stamps(mine)
    outcome = build(seven, mine, per_fg=PER_FG)
    assert outcome.code == 0
    assert stamps(mine) == before
    assert any("stays cut as it is: 3, 3, 1" in note for note in outcome.starting("note"))


def test_a_build_that_is_killed_between_pieces_goes_on(
    seven: Path, cut: Path, tmp_path: Path, *, build: Any, build_arguments: Any, start: Any, visible: Any
) -> None:
    out = tmp_path / "out"
    more = ("--per-shard", 3)
    while len(list(out.glob("*.h5"))) < len(NAMES) - 1:
        there = len(list(out.glob("*.h5")))
        process = start(*build_arguments(seven, out, *more, per_fg=PER_FG))
        while process.poll() is None and len(list(out.glob("*.h5"))) < there + 2:
            pass
        process.kill()
        process.wait()
    assert build(seven, out, *more, per_fg=PER_FG).code == 0
    assert visible(out) == visible(cut)


def test_a_missing_background_costs_its_piece_alone(seven: Path, build: Any, tmp_path: Path) -> None:
    root, out = shutil.copytree(seven, tmp_path / "set"), tmp_path / "out"
    (root / "bg/b4.jpg").unlink()
    outcome = build(root, out, "--per-shard", 3, per_fg=PER_FG)
    assert outcome.code == 1
    assert "1 piece of 1 foreground could not be built" in outcome.out
    assert sorted(path.name for path in out.glob("*.h5")) == sorted({*NAMES} - {NAMES[1]})
    (line,) = (out / "failures.jsonl").read_text().splitlines()
    assert (json.loads(line)["index"], json.loads(line)["shard"]) == (0, NAMES[1])


def test_a_missing_matte_is_told_once(seven: Path, build: Any, tmp_path: Path) -> None:
    root = shutil.copytree(seven, tmp_path / "set")
    (root / "alpha/f0.png").unlink()
    outcome = build(root, tmp_path / "out", "--per-shard", 3, per_fg=PER_FG)
    assert outcome.code == 1
    assert len(outcome.starting("error")) == 1
    assert "3 pieces of 1 foreground could not be built" in outcome.out


def test_fewer_backgrounds_than_are_there_are_refused(seven: Path, mine: Path, build: Any) -> None:
    outcome = build(seven, mine, "--per-shard", 3, per_fg=6)
    assert outcome.code == 2
    assert "another --out" in outcome.err


def test_a_dry_run_counts_pieces_once_each(seven: Path, command: Any, tmp_path: Path) -> None:
    options = ("--per-fg", PER_FG, "--per-shard", 3, "--out", tmp_path, "--dry-run", "--json", "--jobs", 1)
    values = json.loads(command("build-dataset", "--fg-list", seven / "train_fg.txt", *options).out)
    assert (values["foregrounds"], values["composites"]) == (2, 14)


# ---- readers -----------------------------------------------------------------------------------------------


def test_an_export_has_the_official_names(whole: Path, cut: Path, command: Any, tmp_path: Path) -> None:
    trees = []
    for name, shards, jobs in (("whole", whole, 1), ("cut1", cut, 1), ("cut2", cut, 2)):
        out = tmp_path / name
        outcome = command("export-images", shards, out, "--jobs", jobs, "--json")
        assert json.loads(outcome.out)["composites"] == 14
        assert json.loads(outcome.out)["written"] >= 2 * 2 + 3 * 14
        trees.append(
            {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*.*") if p.suffix == ".png"}
        )
        trees[-1]["annotations"] = (out / "annotations.json").read_bytes()
    assert "merged/f1_6.png" in trees[0]
    assert trees[0] == trees[1] == trees[2]
    again = json.loads(command("export-images", cut, tmp_path / "cut1", "--jobs", 1, "--json").out)
    assert (again["written"], again["kept"]) == (0, 2 * 2 + 3 * 14)


def test_inspection_shows_pieces(cut: Path, whole: Path, command: Any, tmp_path: Path) -> None:
    values = json.loads(command("inspect", cut, "--json").out)
    assert (values["foregrounds"], values["order"]) == (2, "official")
    assert [each["first"] for each in values["shards"]] == [0, 3, 6] * 2
    assert "first" not in json.loads(command("inspect", whole, "--json").out)["shards"][0]
    out = tmp_path / "picture.png"
    for place, arguments in ((5, (cut, "--image", 12)), (5, (cut / NAMES[4], "--image", 2))):
        assert command("inspect", *arguments, "--out", out).code == 0
        np.testing.assert_array_equal(
            np.asarray(Image.open(out)), CompositeDataset(whole)[7 + place].composite
        )
    assert command("inspect", cut, "--sheet", out).code == 0


def test_training_sees_each_once_and_a_foreground_on_one_side(cut: Path) -> None:
    crops = TrainingCrops(cut, CropConfig(size=32, cuts=(32,), radii=(1, 3)))
    assert sorted(crops.name(i) for i in range(len(crops))) == sorted(
        f"f{k}_{i}" for k in range(2) for i in range(PER_FG)
    )
    assert one_matte(CompositeDataset(cut), skip_bad=False) == [[0, 1, 2], [3, 4, 5]]


def test_a_foreground_stays_on_one_side_where_a_piece_cannot_be_read(mine: Path) -> None:
    (mine / NAMES[0]).write_bytes(b"spoilt")
    assert one_matte(CompositeDataset(mine), skip_bad=True) == [[0, 1, 2], [3, 4, 5]]
