"""Faults of a shard's file and format are planted, found, and named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import pytest

from dimtool.composer.verification import check_shard as checks
from dimtool.composer.verification.check_shard import check_shard
from dimtool.composer.verification.subject import ShardTask

NAME = "0000-f0.h5"
STACKS = ("composite", "background")
SHARED = ("foreground", "alpha", "distance")


# ---- the untouched shard -----------------------------------------------------------------------------------


def test_an_untouched_shard_has_no_finding(pristine: tuple[Path, Path], bench: Any) -> None:
    root, out = pristine
    report = bench.check(out, root)
    assert not report.tally.findings
    assert report.tally.tried == {
        "files": 1, "format": 1, "maps": 1, "pixels": 2, "composition": 2, "source": 4, "decoder": 4
    }  # fmt: skip


def test_the_set_has_what_the_tests_need(pristine: tuple[Path, Path], bench: Any) -> None:
    """Several tiles an image, some of the backgrounds' not kept; pixels of every kind."""
    with h5py.File(pristine[1] / NAME) as file:
        assert len(bench.streams_of(file["composite"])) == 8
        assert 0 < len(bench.streams_of(file["background"])) < 8
        alpha = file["alpha"][...]
    for values in (alpha == 0, alpha == 255, (alpha > 0) & (alpha < 255)):
        assert values.sum() > 100


# ---- the file ----------------------------------------------------------------------------------------------


def test_wrong_size_and_wrong_sha256(pristine: tuple[Path, Path], bench: Any) -> None:
    _, out = pristine
    record = bench.first(out)
    for wrong, words in (
        (replace(record, bytes=record.bytes + 1), "size"),
        (replace(record, sha256="0" * 64), "SHA-256"),
    ):
        report = check_shard(ShardTask(folder=out, split="train", record=wrong))
        finding = bench.only(report, "files")
        assert words in finding.what
        assert finding.expected != finding.found
    unhashed = ShardTask(folder=out, split="train", record=wrong, hash_file=False)
    assert not check_shard(unhashed).tally.findings


def test_a_file_that_the_disk_cannot_read(folder: Path, monkeypatch: pytest.MonkeyPatch, bench: Any) -> None:
    def broken(_: Path) -> str:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(checks, "file_sha256", broken)
    assert "Input/output error" in bench.only(bench.check(folder), "files").what


@pytest.mark.parametrize("left", [0, 1, 100, 5_000, -100_000, -4_000, -1])
def test_a_truncated_shard(folder: Path, left: int, bench: Any) -> None:
    whole = (folder / NAME).read_bytes()
    (folder / NAME).write_bytes(whole[:left])
    report = check_shard(ShardTask(folder=folder, split="train", record=bench.first(folder)))
    assert bench.kinds(report) == {"files", "format"}
    assert report.tally.findings[0].found == str(len(whole[:left]))
    assert report.facts is None


def test_what_is_no_hdf5_at_all(folder: Path, bench: Any) -> None:
    (folder / NAME).write_bytes(bytes(10_000))
    assert "cannot be opened" in bench.only(bench.check(folder), "format").what


# ---- the format --------------------------------------------------------------------------------------------

DATASETS = [*STACKS, *SHARED, "centers", "background_name", "background_size", "background_source", "digest"]


@pytest.mark.parametrize("name", DATASETS)
def test_a_missing_dataset(folder: Path, name: str, bench: Any) -> None:
    with bench.opened(folder) as file:
        del file[name]
    assert name in bench.only(bench.check(folder), "format").what


@pytest.mark.parametrize("name", [name for name in DATASETS if name != "background_name"])
@pytest.mark.parametrize("other", ["group", "nowhere", "empty", "longer", "wider type", "float"])
def test_something_else_in_place_of_a_dataset(folder: Path, name: str, other: str, bench: Any) -> None:
    with bench.opened(folder) as file:
        values = file[name][...]
        del file[name]
        if other == "group":
            file.create_group(name)
        elif other == "nowhere":
            file[name] = h5py.SoftLink("/there/is/nothing")
        elif other == "empty":
            file[name] = h5py.Empty("u1")
        elif other == "longer":
            file[name] = np.concatenate([values, values[:, :1]], axis=1)
        else:
            file[name] = values.astype(">u2" if other == "wider type" else "f4")
    assert name in bench.only(bench.check(folder), "format").what


@pytest.mark.parametrize(
    ("name", "value"),
    [("version", 1), ("format", "dimtool-index"), ("split", "test"), ("index", 1), ("foreground", "f1.png"),
     ("foreground_source", np.zeros((2, 3), "u1")), ("alpha_source", 0), ("versions", "{")],
)  # fmt: skip
def test_a_wrong_attribute(folder: Path, name: str, value: object, bench: Any) -> None:
    with bench.opened(folder) as file:
        file.attrs[name] = value
    bench.only(bench.check(folder), "format")


@pytest.mark.parametrize("name", ["background_radius", "foreground_source", "versions", "format"])
def test_a_missing_attribute(folder: Path, name: str, bench: Any) -> None:
    with bench.opened(folder) as file:
        del file.attrs[name]
    assert "run `dimtool verify" not in bench.only(bench.check(folder), "format").what


def test_another_alpha_asks_for_other_tiles(folder: Path, bench: Any) -> None:
    with bench.opened(folder) as file:
        file["distance"][...] = 0
        file["alpha"][...] = 255
    finding = bench.only(bench.check(folder, maps=False), "format")
    assert finding.what == "background tiles are missing in every composite"


def test_another_radius_is_no_shard_of_this_version(folder: Path, bench: Any) -> None:
    with bench.opened(folder) as file:
        file.attrs["background_radius"] = 63
    finding = bench.only(bench.check(folder), "format")
    assert (finding.expected, finding.found) == ("64", "63")


def test_bytes_behind_the_end(folder: Path, bench: Any) -> None:
    """HDF5 does not mind them, and the index was sealed anew."""
    with (folder / NAME).open("ab") as file:
        file.write(b"more than a shard has")
    assert "does not end where" in bench.only(bench.check(folder), "format").what


def test_other_versions_than_in_the_index(folder: Path, bench: Any) -> None:
    with bench.opened(folder) as file:
        file.attrs["versions"] = np.bytes_('{"dimtool": "7"}')
    assert "other versions" in bench.only(bench.check(folder), "format").what


def test_a_shard_of_fewer_composites(folder: Path, bench: Any) -> None:
    report = check_shard(
        ShardTask(
            folder=folder, split="train", record=replace(bench.first(folder), composites=3), hash_file=False
        )
    )
    assert "not the shard that the index names" in bench.only(report, "format").what


@pytest.mark.parametrize("name", STACKS)
def test_a_missing_tile(folder: Path, name: str, bench: Any) -> None:
    with bench.opened(folder) as file:
        streams = bench.streams_of(file[name])
        (composite, *_), _ = streams.popitem()
        bench.replace_streams(file, name, streams)
    finding = bench.only(bench.check(folder), "format")
    assert (finding.what, finding.composite, finding.found) == (f"{name} tiles are missing", composite, "1")


def test_a_tile_too_many_where_another_is_missing(folder: Path, bench: Any) -> None:
    """The number is right; a tile that is not to be kept has taken the place of one that is."""
    with bench.opened(folder) as file:
        streams = bench.streams_of(file["background"])
        free = min(bench.streams_of(file["composite"]).keys() - streams.keys())
        streams[free] = streams.pop((1, 0, 0, 0))
        bench.replace_streams(file, "background", streams)
    report = bench.check(folder)
    found = [(each.check, each.what, each.composite, each.found) for each in report.tally.findings]
    assert found == [
        ("format", "background tiles are missing", 1, "1"),
        ("format", "background tiles are too many", free[0], "1"),
    ]


@pytest.mark.parametrize(
    "layout",
    [{}, {"compression": "gzip"}, {"chunks": (1, 64, 64, 3), "compression": 32033},
     {"chunks": (1, 120, 120, 3), **hdf5plugin.Zstd()}],
    ids=["contiguous", "gzip", "small tiles", "zstd"],
)  # fmt: skip
def test_another_layout(folder: Path, layout: dict[str, Any], bench: Any) -> None:
    with bench.opened(folder) as file:
        pixels = file["composite"][...]
        del file["composite"]
        file.create_dataset("composite", data=pixels, **layout)
    assert "as in a shard" in bench.only(bench.check(folder), "format").what


def test_no_text_lies_where_damage_hangs_hdf5(pristine: tuple[Path, Path]) -> None:
    """A flipped bit in a size on the global heap, which has no checksum, sends HDF5 into an endless loop."""
    assert b"GCOL" not in (pristine[1] / NAME).read_bytes()
