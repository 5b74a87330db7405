"""Reading shards: windows, and files that are no shard, or no longer a whole one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401 (registers the filters)
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dimtool.composer.shards.layout import ShardError, ShardHeader
from dimtool.composer.shards.reader import Shard
from dimtool.composer.shards.writer import Layer, Matte, write_shard
from dimtool.errors import DimtoolError

ShardParts = tuple[ShardHeader, Matte, list[Layer]]
HEIGHT, WIDTH = 200, 300
DATASETS = [
    "composite",
    "background",
    "foreground",
    "alpha",
    "distance",
    "centers",
    "background_name",
    "background_size",
    "background_source",
    "digest",
]
ATTRIBUTES = ["format", "version", "split", "index", "foreground", "background_radius"]


@pytest.fixture(scope="module")
def parts(shard_parts: Callable[..., ShardParts]) -> ShardParts:
    return shard_parts(5, 2, HEIGHT, WIDTH)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory, parts: ShardParts) -> Path:
    target = tmp_path_factory.mktemp("shard") / "0005-a.h5"
    write_shard(target, *parts)
    return target


@pytest.fixture
def copy(path: Path, tmp_path: Path) -> Path:
    """The same shard, to be broken."""
    target = tmp_path / "0005 (1).h5"
    target.write_bytes(path.read_bytes())
    return target


def bounds(side: int) -> st.SearchStrategy[slice]:
    """Slices with and without ends, over tile borders, of no pixels, past the end."""
    ends = st.one_of(st.none(), st.integers(0, side + 20))
    return st.builds(slice, ends, ends).filter(lambda part: (part.start or 0) <= side)


@given(bounds(HEIGHT), bounds(WIDTH), st.integers(0, 1))
def test_windows_are_slices_of_the_whole(
    path: Path, parts: ShardParts, rows: slice, columns: slice, i: int
) -> None:
    _, matte, layers = parts
    window = rows, columns
    stored = layers[i].background * matte.band[..., None]
    with Shard(path) as shard:
        assert np.array_equal(shard.composite(i, window), layers[i].composite[window])
        assert np.array_equal(shard.background(i, window), stored[window])
        assert np.array_equal(shard.foreground(window), matte.foreground.pixels[window])
        assert np.array_equal(shard.alpha(window), matte.alpha.pixels[window])
        assert np.array_equal(shard.distance(window), matte.distance[window])


@pytest.mark.parametrize("i", [2, 17, -3])
def test_no_such_composite(path: Path, i: int) -> None:
    with Shard(path) as shard, pytest.raises(IndexError):
        shard.composite(i)


def test_a_window_decodes_only_the_tiles_that_it_touches(copy: Path, parts: ShardParts) -> None:
    """One tile is broken: windows beside it are read, those with a pixel of it are an error with its file."""
    with h5py.File(copy, "r+") as file:
        file["composite"].id.write_direct_chunk((0, 100, 100, 0), b"no code stream")
    composite = parts[2][0].composite
    with Shard(copy) as shard:
        for window in (np.s_[:100, :], np.s_[:, :100], np.s_[:, 200:], np.s_[100:, 200:300]):
            assert np.array_equal(shard.composite(0, window), composite[window])
        assert np.array_equal(shard.composite(1), parts[2][1].composite)
        for window in (np.s_[:101, :101], np.s_[:, :], np.s_[199:, 199:]):
            assert str(copy) in one_line(lambda window=window: shard.composite(0, window))


def one_line(call: Callable[[], object]) -> str:
    """The message of the ShardError, which is one line and says what to do."""
    with pytest.raises(ShardError) as caught:
        call()
    message = str(caught.value)
    assert message.splitlines() == [message]
    assert any(advice in message for advice in ("build it again", "verify-composites", "name one"))
    assert isinstance(caught.value, DimtoolError)
    return message


def opened(path: Path) -> Callable[[], object]:
    return lambda: Shard(path).close()


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.9, 0.999])
def test_truncated(copy: Path, share: float) -> None:
    """As a crash or a full disk leaves it."""
    data = copy.read_bytes()
    copy.write_bytes(data[: int(share * len(data))])
    assert str(copy) in one_line(opened(copy))


def test_no_shard_at_all(tmp_path: Path) -> None:
    text = tmp_path / "text.h5"
    text.write_text("not\nHDF5\n" * 1000)
    for path in (tmp_path / "missing.h5", text, tmp_path):
        assert str(path) in one_line(opened(path))
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["alpha"] = np.zeros((3, 3), np.uint8)
    assert str(tmp_path / "other.h5") in one_line(opened(tmp_path / "other.h5"))


@pytest.mark.parametrize(
    ("name", "value"),
    [("version", 1), ("version", 3), ("version", "1"), ("format", np.bytes_("dimtool-index")), ("format", 1)],
)
def test_another_format_or_version(copy: Path, name: str, value: object) -> None:
    with h5py.File(copy, "r+") as file:
        file.attrs[name] = value
    message = one_line(opened(copy))
    assert str(copy) in message
    assert name in message
    assert "version 2" in message


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_missing_attribute(copy: Path, name: str) -> None:
    with h5py.File(copy, "r+") as file:
        del file.attrs[name]
    assert str(copy) in one_line(opened(copy))


@pytest.mark.parametrize("name", [*DATASETS, "versions", "foreground_source", "alpha_source"])
def test_missing_content(copy: Path, name: str) -> None:
    """Whatever is asked for and is not there names the file; what is there is still read."""
    with h5py.File(copy, "r+") as file:
        del (file if name in file else file.attrs)[name]
    asked: dict[str, Callable[[Shard], object]] = {
        "composite": lambda shard: shard.composite(0),
        "background": lambda shard: shard.background(1, np.s_[:5, :5]),
        "foreground": lambda shard: shard.foreground(),
        "alpha": lambda shard: (shard.alpha(), shard.shape),
        "distance": lambda shard: shard.distance(),
        "centers": lambda shard: shard.centers,
        "background_name": lambda shard: shard.header,
        "background_size": lambda shard: shard.background_sizes,
        "background_source": lambda shard: shard.source_digests,
        "foreground_source": lambda shard: shard.source_digests,
        "alpha_source": lambda shard: shard.source_digests,
        "digest": lambda shard: shard.digests,
        "versions": lambda shard: shard.versions,
    }

    def ask(what: Callable[[Shard], object]) -> None:
        with Shard(copy) as shard:
            what(shard)

    assert str(copy) in one_line(lambda: ask(asked[name]))
    if name != "background_name":
        for other, what in asked.items():
            if name not in other and not {name, other} <= {
                "background_source",
                "foreground_source",
                "alpha_source",
            }:
                ask(what)


def test_shape_without_its_dataset(copy: Path) -> None:
    with h5py.File(copy, "r+") as file:
        del file["alpha"]
    with Shard(copy) as shard:
        assert str(copy) in one_line(lambda: shard.shape)


@pytest.mark.parametrize("value", ["{", "", np.bytes_(b'"\xff"')])
def test_versions_that_are_no_json(copy: Path, value: object) -> None:
    with h5py.File(copy, "r+") as file:
        file.attrs["versions"] = value
    with Shard(copy) as shard:
        assert str(copy) in one_line(lambda: shard.versions)


def test_damaged_shared_array(copy: Path) -> None:
    """A tile that its codec did not make."""
    with h5py.File(copy, "r+") as file:
        file["alpha"].id.write_direct_chunk((0, 0), b"garbage")
    with Shard(copy) as shard:
        assert str(copy) in one_line(shard.alpha)
        shard.foreground()


def test_flipped_bytes_give_content_or_a_line(copy: Path) -> None:
    """Damage anywhere, most of it in the metadata: no other exception, so that a build can go on."""
    data, rng = copy.read_bytes(), np.random.default_rng(6)
    refused = 0
    for _ in range(150):
        damaged = bytearray(data)
        for place in rng.integers(0, rng.choice([3000, len(data)]), 3):
            damaged[place] ^= 1 << rng.integers(8)
        copy.write_bytes(damaged)
        try:
            with Shard(copy) as shard:
                _ = (shard.shape, shard.versions, shard.centers, shard.digests, shard.source_digests)
                shard.alpha()
        except ShardError as error:
            refused += 1
            assert str(copy) in str(error)
            assert str(error).splitlines() == [str(error)]
    assert refused


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="no /proc")
def test_refused_file_is_not_kept_open(copy: Path) -> None:
    """Also while the error is still at hand, which holds the reader alive."""
    with h5py.File(copy, "r+") as file:
        del file.attrs["split"]
    with pytest.raises(ShardError) as caught:
        Shard(copy)
    assert caught.value.__traceback__ is not None
    descriptors = [entry for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()]
    assert copy not in [entry.readlink() for entry in descriptors if entry.exists()]


def test_closed_shard_is_an_error(path: Path) -> None:
    with Shard(path) as shard:
        shard.alpha()
    assert str(path) in one_line(shard.alpha)


def test_shard_is_read_beside_other_readers(path: Path) -> None:
    """No lock is taken: a finished shard never changes, and some file systems have no locks."""
    with Shard(path) as one, Shard(path) as other, h5py.File(path, "r", locking=False):
        assert np.array_equal(one.alpha(), other.alpha())
