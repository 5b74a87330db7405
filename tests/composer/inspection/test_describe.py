from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import h5py
import pytest

from dimtool.composer.inspection.describe import as_text, describe
from dimtool.composer.shards.layout import ShardError


def test_a_shard_is_described_as_h5py_sees_it(built: Path) -> None:
    path = built / "0001-f1.h5"
    said = describe(path)
    with h5py.File(path) as shard:
        assert {row["dataset"] for row in said["datasets"]} == set(shard)
        for row in said["datasets"]:
            dataset = shard[row["dataset"]]
            assert row["shape"] == " x ".join(map(str, dataset.shape))
            assert row["type"] == str(dataset.dtype)
            assert row["stored bytes"] == dataset.id.get_storage_size()
        height, width = shard["alpha"].shape
    assert said["size"] == f"{width} x {height}"
    assert (said["foreground"], said["split"], said["index"], said["composites"]) == ("f1.png", "train", 1, 2)
    assert said["backgrounds"] == ["b2.jpg", "b3.jpg"]
    assert said["bytes per composite pixel"] == round(path.stat().st_size / (2 * height * width), 3)


def test_a_folder_is_described_by_its_index(built: Path) -> None:
    said = describe(built)
    assert (said["split"], said["foregrounds"], said["composites"]) == ("train", 4, "8 of 8 asked")
    assert [row["file"] for row in said["shards"]] == [f"{k:04}-f{k}.h5" for k in range(4)]
    assert [row["bytes"] for row in said["shards"]] == [
        (built / row["file"]).stat().st_size for row in said["shards"]
    ]


def test_the_text_has_a_line_for_each_thing(built: Path) -> None:
    lines = as_text(describe(built)).split("\n")
    assert lines[0] == f"folder: {built}"
    assert lines[-4].split()[:3] == ["0000-f0.h5", "0", "f0.png"]
    assert len({len(line) for line in lines[-5:]}) == 1  # aligned
    text = as_text(describe(built / "0000-f0.h5"))
    assert "composites: 2" in text
    assert any(line.startswith("distance ") for line in text.split("\n"))


def test_a_folder_with_no_shards_is_described_too(built: Path, tmp_path: Path) -> None:
    index = (built / "index.json").read_text()
    start, end = index.index("[", index.index('"shards"')), index.rindex("]")
    (tmp_path / "index.json").write_text(index[: start + 1] + index[end:])
    assert "foregrounds: 0" in as_text(describe(tmp_path))


def test_what_is_no_shard_and_no_folder_of_them_is_said(built: Path, tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_text("no HDF5")
    with h5py.File(tmp_path / "b.h5", "w") as other:
        other["x"] = 1
    shutil.copy(built / "0000-f0.h5", tmp_path / "c.h5")
    (tmp_path / "c.h5").write_bytes((tmp_path / "c.h5").read_bytes()[:9000])
    for name, complaint in (
        ("a.h5", "cannot be opened"),
        ("b.h5", "is not a whole shard"),
        ("c.h5", "cannot be opened"),
        (".", "index.json does not exist: finish `dimtool build-dataset` for it"),
    ):
        with pytest.raises(ShardError, match=complaint):
            describe(tmp_path / name)


def test_a_damaged_index_of_tiles_is_told_in_a_line(built: Path, tmp_path: Path, command: Any) -> None:
    """HDF5 keeps a list of a dataset's tiles, under a checksum, that it reads only when it is asked for."""
    data = bytearray((built / "0001-f1.h5").read_bytes())
    data[data.rindex(b"FAHD") + 10] ^= 1
    (tmp_path / "0001-f1.h5").write_bytes(data)
    outcome = command("inspect", tmp_path / "0001-f1.h5")
    assert outcome.code == 1
    assert str(tmp_path / "0001-f1.h5") in outcome.lines[-1]
