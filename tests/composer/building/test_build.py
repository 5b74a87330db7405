"""What a build leaves in its folder, and what a dry run does not."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401 -- registers the filter that plain h5py reads the tiles with
import numpy as np
import pytest
from PIL import Image

# ---- what is there in the end ------------------------------------------------------------------------------


def test_every_composite_is_the_official_one_of_its_sources(
    sources: Path, built: Path, official_loop: Callable[..., np.ndarray]
) -> None:
    """From the files to the pixels that plain h5py reads, by an oracle of its own."""
    backgrounds = (sources / "train_bg.txt").read_text().split("\n")
    for k in range(4):
        foreground = np.asarray(Image.open(sources / f"fg/f{k}.png"))
        alpha = np.asarray(Image.open(sources / f"alpha/f{k}.png"))
        with h5py.File(built / f"{k:04}-f{k}.h5") as shard:
            assert shard["background_name"].asstr()[:].tolist() == backgrounds[2 * k : 2 * k + 2]
            for i in range(2):
                photograph = Image.open(sources / "bg" / backgrounds[2 * k + i])
                expected = official_loop(foreground, alpha, _official_fit(photograph, *alpha.shape))
                np.testing.assert_array_equal(shard["composite"][i], expected)


def _official_fit(photograph: Image.Image, height: int, width: int) -> np.ndarray:
    ratio = max(width / photograph.width, height / photograph.height)
    if ratio > 1:
        size = (int(np.ceil(photograph.width * ratio)), int(np.ceil(photograph.height * ratio)))
        photograph = photograph.resize(size, Image.Resampling.BICUBIC)
    return np.asarray(photograph)[:height, :width]


def test_the_index_lists_the_shards_as_they_are(built: Path) -> None:
    index = json.loads((built / "index.json").read_text())
    assert (index["format"], index["split"], index["per_fg"]) == ("dimtool-index", "train", 2)
    assert (index["asked"], index["composites"]) == (8, 8)
    assert [record["file"] for record in index["shards"]] == [f"{k:04}-f{k}.h5" for k in range(4)]
    for k, record in enumerate(index["shards"]):
        data = (built / record["file"]).read_bytes()
        assert record["sha256"] == hashlib.sha256(data).hexdigest()
        assert (record["bytes"], record["index"], record["composites"]) == (len(data), k, 2)
        with h5py.File(built / record["file"]) as shard:
            assert (record["height"], record["width"]) == shard["alpha"].shape


def test_nothing_else_is_left(built: Path) -> None:
    assert sorted(path.name for path in built.iterdir()) == [
        ".build",
        *(f"{k:04}-f{k}.h5" for k in range(4)),
        "index.json",
    ]
    names = sorted(path.name for path in (built / ".build").iterdir())
    assert names.pop(0).startswith("backgrounds-")
    assert names == [
        "journal.jsonl",
        "lists.json",
        "lock",
        "places.json",
    ]


def test_the_number_of_jobs_does_not_show(
    sources: Path, built: Path, build: Any, tmp_path: Path, visible: Any
) -> None:
    outcome = build(sources, tmp_path / "two", jobs=2)
    assert outcome.code == 0
    assert visible(tmp_path / "two") == visible(built)


def test_the_summary_says_what_is_there(sources: Path, build: Any, tmp_path: Path) -> None:
    outcome = build(sources, tmp_path / "shards")
    assert outcome.out.startswith(f"{tmp_path}/shards: 4 shards, 8 composites, ")
    assert "the paper" not in outcome.out  # the set is not Adobe's
    again = build(sources, tmp_path / "shards")
    assert again.starting("note") == [f"note: 8 of 8 composites are in {tmp_path}/shards from before"]
    assert "; 0 built in" in again.out


# ---- a dry run ---------------------------------------------------------------------------------------------


def test_a_dry_run_creates_nothing(
    sources: Path, build: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, contents: Any
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.chdir(tmp_path)
    before = contents(sources)
    outcome = build(sources, tmp_path / "a/b/shards", "--dry-run")
    assert outcome.code == 0
    assert outcome.out.startswith(f"{tmp_path}/a/b/shards: 4 foregrounds x 2 backgrounds, 8 composites")
    assert list(tmp_path.rglob("*")) == [temporary]
    assert contents(sources) == before


def test_a_dry_run_names_what_is_missing(own: tuple[Path, Path], build: Any, tmp_path: Path) -> None:
    root, _ = own
    (root / "alpha/f1.png").unlink()
    outcome = build(root, tmp_path / "new", "--dry-run")
    assert outcome.code == 1
    assert outcome.starting("error") == [f"error: f1.png is not in {root / 'alpha'} or below: bring the file"]
    assert "6 composites" in outcome.out
    assert not (tmp_path / "new").exists()
