"""Files that pass for shards: whatever is not as our writer makes it is refused before a value is read."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dimtool.composer.shards.layout import BLOSC2, SHARED_CODEC, ShardError, filter_options
from dimtool.composer.shards.reader import Shard
from dimtool.composer.shards.tiles import HTJ2K, create_image_stack, tile_shape
from dimtool.composer.shards.writer import write_shard

SECRET = b"of another file: " * 3000


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory, shard_parts: Callable[..., Any]) -> bytes:
    path = tmp_path_factory.mktemp("shard") / "0000-a.h5"
    write_shard(path, *shard_parts(1, 2, 200, 150))
    return path.read_bytes()


@pytest.fixture
def shard(tmp_path: Path, pristine: bytes) -> Path:
    (tmp_path / "secret").write_bytes(SECRET)
    (tmp_path / "0000-a.h5").write_bytes(pristine)
    return tmp_path / "0000-a.h5"


def read_all(path: Path) -> None:
    """All that any reader asks a shard for."""
    with Shard(path) as shard:
        _ = (shard.header, shard.shape, shard.versions, shard.centers, shard.digests, shard.datasets)
        _ = (shard.source_digests, shard.background_sizes, shard.alpha(), shard.distance())
        shard.foreground()
        for i in range(len(shard)):
            shard.composite(i)
            shard.background(i)


def replaced(file: h5py.File, name: str, **options: Any) -> None:
    """A dataset of other properties with the same values, or of another shape or type with none."""
    values = file[name][...]
    del file[name]
    options.setdefault("shape", values.shape)
    options.setdefault("dtype", values.dtype)
    data = file.create_dataset(name, **options)
    if data.shape == values.shape and data.dtype == values.dtype:
        data[...] = values


def external(file: h5py.File) -> None:
    """The values of an array are another file's bytes."""
    del file["digest"]
    secret = str(Path(file.filename).with_name("secret"))
    file.create_dataset("digest", (2, 2, 32), np.uint8, external=[(secret, 0, 128)])


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((200, 150), np.uint8)
    layout[...] = h5py.VirtualSource(str(Path(file.filename).with_name("secret")), "alpha", (200, 150))
    del file["alpha"]
    file.create_virtual_dataset("alpha", layout)


def virtual_pipe(file: h5py.File) -> None:
    """Already its shape would be looked up in what it names, and a pipe is waited for."""
    pipe = Path(file.filename).with_name("pipe")
    os.mkfifo(pipe)
    unlimited = h5py.h5s.UNLIMITED
    target, source = (h5py.h5s.create_simple((200, 150), (unlimited, 150)) for _ in range(2))
    for space in (target, source):
        space.select_hyperslab((0, 0), (unlimited, 1), block=(1, 150))
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_virtual(target, str(pipe).encode(), b"alpha", source)
    del file["alpha"]
    whole = h5py.h5s.create_simple((200, 150), (unlimited, 150))
    h5py.h5d.create(file.id, b"alpha", h5py.h5t.STD_U8LE, whole, dcpl=properties)


def linked(link: Any) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file["alpha"]
        file["alpha"] = link

    return change


def attribute(name: str, value: object) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        file.attrs[name] = value

    return change


def reshaped(name: str, **options: Any) -> Callable[[h5py.File], None]:
    return lambda file: replaced(file, name, **options)


def overlong(file: h5py.File) -> None:
    """2^42 rows that nobody wrote: their shape alone asks for terabytes."""
    for name in ("digest", "background_source", "background_size", "background_name"):
        rest, kind = file[name].shape[1:], file[name].dtype
        del file[name]
        file.create_dataset(name, (2**42, *rest), kind)


def giant(file: h5py.File) -> None:
    for name, colours in (("alpha", ()), ("distance", ()), ("foreground", (3,))):
        replaced(file, name, shape=(60_000, 60_000, *colours), chunks=(128, 128, *colours), **BLOSC)


def skipping(name: str, place: tuple[int, ...]) -> Callable[[h5py.File], None]:
    """A tile that says its codec was left out; shorter than a tile is."""
    return lambda file: file[name].id.write_direct_chunk(place, b"ten bytes.", filter_mask=1)


def more(file: h5py.File) -> None:
    file["more"] = np.zeros(3)


def more_group(file: h5py.File) -> None:
    file.create_group("more")


def group(file: h5py.File) -> None:
    del file["alpha"]
    file.create_group("alpha")


def empty(file: h5py.File) -> None:
    del file["centers"]
    file.create_dataset("centers", data=h5py.Empty("u2"))


BLOSC = dict(hdf5plugin.Blosc2(cname="lz4hc", clevel=5, filters=hdf5plugin.Blosc2.NOFILTER))
TILE, WITH = {"chunks": (100, 75)}, {"chunks": (100, 75, 3)}
HOSTILE: dict[str, Callable[[h5py.File], None]] = {
    "external storage": external,
    "virtual": virtual,
    "a virtual one that grows": virtual_pipe,
    "soft link": linked(h5py.SoftLink("/distance")),
    "dangling link": linked(h5py.SoftLink("/nowhere")),
    "external link": linked(h5py.ExternalLink("secret", "alpha")),
    "a group": group,
    "one more dataset": more,
    "one more group": more_group,
    "one more attribute": attribute("note", 1),
    "blosc": reshaped("alpha", **TILE, **hdf5plugin.Blosc()),
    "bitshuffle": reshaped("distance", **TILE, **hdf5plugin.Bitshuffle()),
    "gzip": reshaped("foreground", **WITH, compression="gzip"),
    "another level": reshaped("alpha", **TILE, **hdf5plugin.Blosc2(cname="lz4hc", clevel=9, filters=0)),
    "shuffled": reshaped("alpha", **TILE, **hdf5plugin.Blosc2(cname="lz4hc", clevel=5)),
    "a checksum as well": reshaped("alpha", **TILE, **BLOSC, fletcher32=True),
    "no tiles": reshaped("alpha"),
    "other tiles": reshaped("alpha", chunks=(50, 75), **BLOSC),
    "it can grow": reshaped("alpha", maxshape=(None, 150), **TILE, **BLOSC),
    "16 bits": reshaped("alpha", dtype=np.uint16, **TILE, **BLOSC),
    "floats": reshaped("digest", dtype=np.float32),
    "texts of any length": reshaped("background_name", dtype=h5py.string_dtype()),
    "another shape": reshaped("alpha", shape=(200, 160), chunks=(100, 80), **BLOSC),
    "another count": reshaped("digest", shape=(3, 2, 32)),
    "one side less": reshaped("digest", shape=(2, 64)),
    "no space": empty,
    "a fill value": reshaped("alpha", fillvalue=7, **TILE, **BLOSC),
    "unwritten": reshaped("background_source", shape=(2, 2, 32), dtype=np.int8),
    "2^42 rows": overlong,
    "60,000 x 60,000": giant,
    "versions that are no texts": attribute("versions", np.bytes_("[1]")),
    "versions too deep": attribute("versions", np.bytes_("[" * 60_000)),
    "a text of any length": attribute("split", "train"),
    "a list of splits": attribute("split", np.array([b"train"] * 3)),
    "a number too long": attribute("index", np.arange(3)),
    "a number that is none": attribute("index", 1.5),
    "nothing": attribute("index", h5py.Empty("i8")),
    "digests of another shape": attribute("alpha_source", np.zeros((2, 2, 32), np.uint8)),
    "a tile of no codec": skipping("alpha", (0, 0)),
    "a tile of no codec in a stack": skipping("composite", (0, 0, 0, 0)),
}  # fmt: skip


def test_the_untouched_one_is_read(shard: Path) -> None:
    read_all(shard)


@pytest.mark.parametrize("name", HOSTILE)
def test_it_is_refused_in_one_line(shard: Path, name: str) -> None:
    with h5py.File(shard, "r+", libver=("v110", "v110")) as file:
        HOSTILE[name](file)
    with pytest.raises(ShardError) as caught:
        read_all(shard)
    message = str(caught.value)
    assert message.startswith(str(shard))
    assert message.splitlines() == [message]
    assert "of another file" not in message


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "0000-a.h5")
    with pytest.raises(ShardError, match="it is no file"):
        Shard(tmp_path / "0000-a.h5")


@settings(max_examples=25)
@given(st.integers(1, 3), st.integers(1, 300), st.integers(1, 300))
def test_what_the_writer_makes_of_any_size_is_taken(
    tmp_path_factory: pytest.TempPathFactory, count: int, height: int, width: int
) -> None:
    """The filters' options depend on the sides of a tile; those of 1 are another case."""
    with h5py.File(f"{count}.h5", "w", driver="core", backing_store=False) as file:
        tile = tile_shape(height, width)
        stack = create_image_stack(file, "stack", count, height, width)
        shared = file.create_dataset("map", (height, width, 3), "u1", chunks=(*tile, 3), **SHARED_CODEC)
        for data, codec in ((stack, HTJ2K), (shared, BLOSC2)):
            properties = data.id.get_create_plist()
            found = [properties.get_filter(i)[:3:2] for i in range(properties.get_nfilters())]
            assert found == [(codec, filter_options(codec, data.chunks))]


def test_the_codec_is_not_heard(shard: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """OpenJPH says on C's own streams what it makes of damage; a command's JSON would be broken by it."""
    with h5py.File(shard, "r+") as file:
        stack = file["composite"].id
        stream = bytearray(stack.read_direct_chunk((0, 0, 0, 0))[1])
    rng, refused = np.random.default_rng(3), 0
    for _ in range(40):
        damaged = bytearray(stream)
        damaged[int(rng.integers(98, 300))] ^= 1 << int(rng.integers(8))
        with h5py.File(shard, "r+") as file:
            file["composite"].id.write_direct_chunk(
                (0, 0, 0, 0), bytes(damaged[: rng.integers(99, len(stream))])
            )
        try:
            with Shard(shard) as opened:
                opened.composite(0)
        except ShardError:
            refused += 1
    assert refused > 5
    print(json.dumps({"heard": True}), flush=True)
    out, err = capfd.readouterr()
    assert json.loads(out) == {"heard": True}
    assert err == ""
