"""The shard file as docs/format.md has it: every array back, for us and for plain HDF5; the same bytes."""

from __future__ import annotations

import errno
import json
import os
import pickle
from collections.abc import Callable, Iterator
from itertools import chain, repeat
from pathlib import Path
from tempfile import TemporaryDirectory

import h5py
import hdf5plugin
import numpy as np
import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dimtool.composer.shards.layout import ShardHeader, current_versions
from dimtool.composer.shards.reader import Shard
from dimtool.composer.shards.writer import Layer, Matte, write_shard
from dimtool.composer.sources.images import decoder_versions
from dimtool.version import __version__

ShardParts = tuple[ShardHeader, Matte, list[Layer]]
Parts = Callable[..., ShardParts]

BLOSC2, HTJ2K = 32026, 32033


@pytest.fixture(scope="module")
def parts(shard_parts: Parts) -> ShardParts:
    """Three composites with a partial tile at both edges; a band that leaves some tiles out."""
    return shard_parts(4, 3, 150, 270)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory, parts: ShardParts) -> Path:
    target = tmp_path_factory.mktemp("shard") / "0004-a.h5"
    write_shard(target, *parts)
    return target


def stored_background(matte: Matte, layer: Layer) -> NDArray[np.uint8]:
    """The background where the band has it; 0 elsewhere."""
    return np.where(matte.band[..., None], layer.background, 0)


def test_everything_comes_back(path: Path, parts: ShardParts) -> None:
    header, matte, layers = parts
    with Shard(path) as shard:
        assert shard.header == header
        assert len(shard) == 3
        assert shard.shape == (150, 270)
        assert np.array_equal(shard.foreground(), matte.foreground.pixels)
        assert np.array_equal(shard.alpha(), matte.alpha.pixels)
        assert np.array_equal(shard.distance(), matte.distance)
        assert np.array_equal(shard.centers, matte.centers)
        assert shard.centers.dtype == np.uint16
        for i, layer in enumerate(layers):
            assert np.array_equal(shard.composite(i), layer.composite)
            assert np.array_equal(shard.background(i), stored_background(matte, layer))


def test_what_is_written_beside_the_pixels(path: Path, parts: ShardParts) -> None:
    _, matte, layers = parts
    with Shard(path) as shard:
        for i, layer in enumerate(layers):
            composite, background = shard.digests[i]
            assert composite.tobytes() == blake3(layer.composite.tobytes()).digest()
            stored = stored_background(matte, layer)
            assert background.tobytes() == blake3(stored.tobytes()).digest()
        sources = shard.source_digests
        assert np.array_equal(sources["foreground"], matte.foreground.digests)
        assert np.array_equal(sources["alpha"], matte.alpha.digests)
        assert np.array_equal(sources["background"], [layer.source.digests for layer in layers])
        assert shard.background_sizes.tolist() == [[3, 5], [4, 5], [5, 5]]
        assert shard.versions == current_versions() == {"dimtool": __version__, **decoder_versions()}


def is_variable(attribute: h5py.h5a.AttrID) -> bool:
    kind = attribute.get_type()
    return isinstance(kind, h5py.h5t.TypeStringID) and kind.is_variable_str()


def test_file_is_as_the_format_says(path: Path, parts: ShardParts) -> None:
    """Shapes, types, chunks, filters, attributes, and nothing else."""
    n, h, w, m = 3, 150, 270, len(parts[1].centers)
    image, chunk = (n, h, w, 3), (1, 75, 90, 3)
    expected = {
        "composite": (image, "u1", chunk, [HTJ2K]),
        "background": (image, "u1", chunk, [HTJ2K]),
        "foreground": ((h, w, 3), "u1", (75, 90, 3), [BLOSC2]),
        "alpha": ((h, w), "u1", (75, 90), [BLOSC2]),
        "distance": ((h, w), "u1", (75, 90), [BLOSC2]),
        "centers": ((m, 2), "<u2", None, []),
        "background_name": ((n,), "S", None, []),
        "background_size": ((n, 2), "<u2", None, []),
        "background_source": ((n, 2, 32), "u1", None, []),
        "digest": ((n, 2, 32), "u1", None, []),
    }
    with h5py.File(path) as file:
        assert set(file) == set(expected)
        for name, (shape, kind, chunks, filters) in expected.items():
            data, plist = file[name], file[name].id.get_create_plist()
            assert data.shape == shape
            assert data.dtype.kind == "S" if kind == "S" else data.dtype == np.dtype(kind)
            assert data.chunks == chunks
            assert [plist.get_filter(i)[0] for i in range(plist.get_nfilters())] == filters
            # A time of change in the file would make each build another.
            assert not plist.get_obj_track_times()
        assert h5py.check_string_dtype(file["background_name"].dtype).encoding == "utf-8"
        found = {name: np.asarray(value).tolist() for name, value in file.attrs.items()}
        # Texts of variable length lie in a heap without a checksum, and a flipped bit there hangs HDF5.
        assert not any(is_variable(file.attrs.get_id(name)) for name in found)
    found = {name: value.decode() if isinstance(value, bytes) else value for name, value in found.items()}
    for name in ("foreground_source", "alpha_source"):
        assert np.shape(found.pop(name)) == (2, 32)
    assert found.pop("versions") == json.dumps(current_versions(), sort_keys=True)
    assert found == {
        "format": "dimtool-shard",
        "version": 2,
        "split": "train",
        "index": 4,
        "foreground": "Käfer 4 (1).png",
        "background_radius": 2,
    }


def test_backgrounds_have_only_the_tiles_that_the_band_touches(path: Path, parts: ShardParts) -> None:
    """The others are never written, and read as zeros."""
    band = parts[1].band
    touched = {(y, x) for y in (0, 75) for x in (0, 90, 180) if band[y : y + 75, x : x + 90].any()}
    assert 0 < len(touched) < 6
    with h5py.File(path) as file:
        stack = file["background"].id
        offsets = [stack.get_chunk_info(i).chunk_offset for i in range(stack.get_num_chunks())]
        assert sorted(offsets) == sorted((i, y, x, 0) for i in range(3) for y, x in touched)
        assert file["composite"].id.get_num_chunks() == 3 * 6
        for y, x in {(y, x) for y in (0, 75) for x in (0, 90, 180)} - touched:
            assert not file["background"][:, y : y + 75, x : x + 90].any()


PLAIN_READER = """
import sys
sys.modules["dimtool"] = sys.modules["imagecodecs"] = None  # importing either would fail
import h5py, hdf5plugin, numpy
with h5py.File(sys.argv[1], "r", locking=False) as file:
    arrays = {name: data[()] for name, data in file.items()}
    arrays["background_name"] = arrays["background_name"].astype("S100")  # without h5py's metadata
    arrays["window"] = file["composite"][2, 100:150, 120:140]
    assert file.attrs["format"] == b"dimtool-shard"
numpy.savez(sys.argv[2], **arrays)
"""


def test_plain_h5py_reads_it_in_a_process_without_dimtool(
    path: Path, parts: ShardParts, run_python: Callable[..., str], tmp_path: Path
) -> None:
    _, matte, layers = parts
    run_python(PLAIN_READER, path, tmp_path / "read.npz", flags=("-W", "error", "-I"))
    with np.load(tmp_path / "read.npz") as read:
        assert np.array_equal(read["composite"], [layer.composite for layer in layers])
        assert np.array_equal(read["window"], layers[2].composite[100:150, 120:140])
        assert np.array_equal(read["background"], [stored_background(matte, layer) for layer in layers])
        assert np.array_equal(read["foreground"], matte.foreground.pixels)
        assert np.array_equal(read["alpha"], matte.alpha.pixels)
        assert np.array_equal(read["distance"], matte.distance)
        assert np.array_equal(read["centers"], matte.centers)
        assert [name.decode() for name in read["background_name"].tolist()] == list(parts[0].backgrounds)


SIDES = st.one_of(st.integers(1, 9), st.integers(125, 131))


@settings(max_examples=20)
@given(SIDES, SIDES, st.integers(1, 3), st.integers(0, 100))
def test_any_size_comes_back(shard_parts: Parts, height: int, width: int, count: int, seed: int) -> None:
    """Sides of one pixel, below, at and above a tile's."""
    header, matte, layers = shard_parts(seed, count, height, width)
    with TemporaryDirectory() as folder:
        write_shard(Path(folder) / "a.h5", header, matte, layers)
        with Shard(Path(folder) / "a.h5") as shard:
            assert np.array_equal(shard.alpha(), matte.alpha.pixels)
            for i, layer in enumerate(layers):
                assert np.array_equal(shard.composite(i), layer.composite)
                assert np.array_equal(shard.background(i), stored_background(matte, layer))
        with h5py.File(Path(folder) / "a.h5") as file:
            assert np.array_equal(file["composite"], [layer.composite for layer in layers])


WRITER = """
import pickle, sys
from pathlib import Path
from dimtool.composer.shards.writer import write_shard
write_shard(Path(sys.argv[2]), *pickle.loads(Path(sys.argv[1]).read_bytes()))
"""


def test_same_arguments_same_bytes(
    path: Path, parts: ShardParts, run_python: Callable[..., str], tmp_path: Path
) -> None:
    """In another process, at another time, under another name, from a generator; another pixel shows."""
    (tmp_path / "parts").write_bytes(pickle.dumps(parts))
    run_python(WRITER, tmp_path / "parts", tmp_path / "other.h5")
    write_shard(tmp_path / "here.h5", parts[0], parts[1], iter(parts[2]))
    assert (tmp_path / "other.h5").read_bytes() == path.read_bytes()
    assert (tmp_path / "here.h5").read_bytes() == path.read_bytes()
    changed = [*parts[2][:2], parts[2][2]._replace(composite=parts[2][2].composite ^ 1)]
    write_shard(tmp_path / "changed.h5", parts[0], parts[1], changed)
    assert (tmp_path / "changed.h5").read_bytes() != path.read_bytes()


def test_nothing_is_ever_overwritten(path: Path, parts: ShardParts, tmp_path: Path) -> None:
    """Not a shard, and not a file of another kind."""
    before = path.read_bytes()
    note = tmp_path / "note.txt"
    note.write_text("mine")
    for target in (path, note):
        with pytest.raises(FileExistsError):
            write_shard(target, *parts)
    assert path.read_bytes() == before
    assert note.read_text() == "mine"


@pytest.mark.parametrize("given", [0, 1, 2, 4, 5, 40])
def test_wrong_number_of_layers(parts: ShardParts, tmp_path: Path, given: int) -> None:
    """One too many is the dangerous one: HDF5 takes that chunk, and writes over its own memory."""
    header, matte, layers = parts
    with pytest.raises(ValueError, match="3 backgrounds"):
        write_shard(tmp_path / "a.h5", header, matte, (layers[i % 3] for i in range(given)))


def test_layers_are_taken_one_at_a_time(parts: ShardParts, tmp_path: Path) -> None:
    """A build holds one composite in memory, not a hundred: no layer is kept, and none is asked for early."""
    header, matte, layers = parts
    asked: list[int] = []

    def produce() -> Iterator[Layer]:
        for i, layer in enumerate(layers):
            asked.append(i)
            yield layer

    endless = chain(produce(), repeat(None))
    with pytest.raises(ValueError, match="more layers"):
        write_shard(tmp_path / "a.h5", header, matte, endless)
    assert asked == [0, 1, 2]


@pytest.mark.parametrize("share", [0, 0.001, 0.1, 0.5, 0.9, 1])
def test_disk_full_at_any_byte(
    path: Path, parts: ShardParts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    """An OSError that says so, and a process that lives on: HDF5 itself would crash as it closes the file."""
    left = needed = 10**9
    refused = 0
    write = os.pwrite

    def limited(descriptor: int, data: memoryview, offset: int) -> int:
        nonlocal left, refused
        if not left:
            refused += 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        done = write(descriptor, data[:left], offset)
        left -= done
        return done

    monkeypatch.setattr(os, "pwrite", limited)
    write_shard(tmp_path / "enough.h5", *parts)
    left = max(int(share * (needed - left)) - 1, 0)
    unread = iter(parts[2])
    with pytest.raises(OSError, match="No space left") as caught:
        write_shard(tmp_path / "full.h5", *parts[:2], unread)
    assert caught.value.errno == errno.ENOSPC
    assert refused == 1  # nothing is written behind a gap
    assert len(list(unread)) >= 2 * (share < 0.1)  # and no more is composed than what cannot be written
    monkeypatch.undo()
    write_shard(tmp_path / "next.h5", *parts)
    assert (tmp_path / "next.h5").read_bytes() == path.read_bytes()


def test_file_is_written_for_old_libraries_too(path: Path) -> None:
    """Format bounds of HDF5 1.10: a superblock of version 2 or 3, which libraries from 1.10 on read."""
    data = path.read_bytes()
    assert data[:8] == b"\x89HDF\r\n\x1a\n"
    assert data[8] in (2, 3)
    assert len(data) == path.stat().st_size
    assert os.access(path, os.R_OK)
    assert hdf5plugin.Blosc2.filter_id == BLOSC2


def test_the_same_bytes_whoever_holds_on_to_what_is_written(
    path: Path, parts: ShardParts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Profilers, Dask's workers among them, hold the frames of other threads, and the datasets in them."""
    held: list[h5py.Dataset] = []
    create = h5py.Group.create_dataset

    def and_hold(self: h5py.Group, *arguments: object, **options: object) -> h5py.Dataset:
        held.append(create(self, *arguments, **options))
        return held[-1]

    monkeypatch.setattr(h5py.Group, "create_dataset", and_hold)
    write_shard(tmp_path / "a.h5", *parts)
    assert len(held) > 4
    assert (tmp_path / "a.h5").read_bytes() == path.read_bytes()
