"""A folder of shards as one sequence: order, windows, known backgrounds, handles, pickles and forks."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from dimtool.composer.shards.dataset import CompositeDataset, Sample, known_background
from dimtool.composer.shards.layout import ShardError, ShardHeader
from dimtool.composer.shards.writer import Layer, Matte

ShardParts = tuple[ShardHeader, Matte, list[Layer]]
Fill = Callable[[Path, list[tuple[int, int, int]]], list[ShardParts]]

SIZES = [(3, 40, 31), (1, 130, 260), (2, 7, 1), (4, 1, 9)]  # composites, height, width
TOTAL = 10


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory, shard_folder: Fill) -> tuple[Path, list[ShardParts]]:
    folder = tmp_path_factory.mktemp("shards")
    return folder, shard_folder(folder, SIZES)


@pytest.fixture(scope="module")
def folder(everything: tuple[Path, list[ShardParts]]) -> Path:
    return everything[0]


def flat(parts: list[ShardParts]) -> list[tuple[str, Matte, Layer]]:
    """(name, matte, layer) of each sample, in the order of the lists."""
    return [
        (f"{header.foreground.removesuffix('.png')}_{i}", matte, layer)
        for header, matte, layers in parts
        for i, layer in enumerate(layers)
    ]


def assert_is(sample: Sample, expected: tuple[str, Matte, Layer], window: tuple[slice, slice]) -> None:
    """Every array of the sample is that slice of what was written."""
    name, matte, layer = expected
    assert sample.name == name
    assert np.array_equal(sample.composite, layer.composite[window])
    assert np.array_equal(sample.foreground, matte.foreground.pixels[window])
    assert np.array_equal(sample.alpha, matte.alpha.pixels[window])
    assert np.array_equal(sample.distance, matte.distance[window])
    known = (matte.alpha.pixels == 0) | matte.band
    assert np.array_equal(sample.background, np.where(known[..., None], layer.background, 0)[window])


def test_samples_in_the_order_of_the_lists(everything: tuple[Path, list[ShardParts]]) -> None:
    folder, parts = everything
    dataset = CompositeDataset(folder)
    assert len(dataset) == TOTAL
    expected = flat(parts)
    for i in range(TOTAL):
        assert_is(dataset[i], expected[i], np.s_[:, :])
        assert_is(dataset[i - TOTAL], expected[i], np.s_[:, :])
        assert_is(dataset[np.int64(i)], expected[i], np.s_[:, :])
    assert [sample.name for sample in dataset] == [name for name, _, _ in expected]
    assert expected[0][0] == "Käfer 0 (1)_0"
    dataset.close()


def test_locate(folder: Path) -> None:
    dataset = CompositeDataset(folder)
    expected = [(number, layer) for number, size in enumerate(SIZES) for layer in range(size[0])]
    assert [dataset.locate(i) for i in range(TOTAL)] == expected
    assert [dataset.locate(i) for i in range(-TOTAL, 0)] == expected
    for number, record in enumerate(dataset.index.shards):
        assert dataset.record(number) == record
        assert (record.composites, record.height, record.width) == SIZES[number]


@pytest.mark.parametrize("i", [TOTAL, TOTAL + 1, -TOTAL - 1, 10**9])
def test_past_the_end(folder: Path, i: int) -> None:
    """`list(dataset)` and `for` of a plain sequence end by this error."""
    dataset = CompositeDataset(folder)
    for call in (dataset.__getitem__, dataset.sample, dataset.locate):
        with pytest.raises(IndexError, match=f"sample {i} of {TOTAL}") as caught:
            call(i)
        assert str(folder) in str(caught.value)


def test_folder_without_shards(tmp_path: Path, shard_folder: Fill) -> None:
    shard_folder(tmp_path, [])
    dataset = CompositeDataset(tmp_path)
    assert len(dataset) == 0
    assert list(dataset) == []
    for i in (0, -1):
        with pytest.raises(IndexError):
            dataset[i]


@given(st.data())
def test_windows_are_equal_slices_of_everything(
    everything: tuple[Path, list[ShardParts]], data: st.DataObject
) -> None:
    folder, parts = everything
    i = data.draw(st.integers(0, TOTAL - 1))
    expected = flat(parts)[i]
    ends = [
        sorted(data.draw(st.tuples(*[st.integers(0, side)] * 2))) for side in expected[1].alpha.pixels.shape
    ]
    window = slice(*ends[0]), slice(*ends[1])
    dataset = CompositeDataset(folder)
    assert_is(dataset.sample(i, window), expected, window)
    dataset.close()


@given(st.integers(0, 1000), st.integers(0, 6))
def test_background_is_known_where_it_matters(
    draw_alpha: Callable[..., NDArray[np.uint8]],
    slow_distance: Callable[..., NDArray[np.uint8]],
    noise: Callable[..., NDArray[np.uint8]],
    seed: int,
    radius: int,
) -> None:
    """The true background at alpha 0 and within the radius, whatever lies elsewhere in the stored one."""
    alpha = draw_alpha(seed, 20, 17)
    distance = slow_distance((alpha > 0) & (alpha < 255))
    truth = noise(seed, 20, 17, 3)
    composite = np.where((alpha == 0)[..., None], truth, noise(seed + 1, 20, 17, 3))
    stored = np.where(((alpha > 0) & (distance <= radius))[..., None], truth, 0)
    known = (alpha == 0) | (distance <= radius)
    result = known_background(stored, composite, alpha)
    assert np.array_equal(result[known], truth[known])
    assert not result[~known].any()


# ---- handles ----------------------------------------------------------------------------------------------


def open_shards(folder: Path) -> list[str]:
    """Names of this process's open files in a folder."""
    targets = []
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            targets.append(descriptor.readlink())
        except FileNotFoundError:  # the descriptor of this very listing
            continue
    return sorted(target.name for target in targets if target.parent == folder)


needs_proc = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="no /proc")


@needs_proc
@pytest.mark.parametrize("most", [1, 2, 3])
def test_handles_are_bounded(folder: Path, everything: tuple[Path, list[ShardParts]], most: int) -> None:
    """The most recently used ones stay open; whatever the order, the samples are right."""
    dataset = CompositeDataset(folder, max_open=most)
    expected = flat(everything[1])
    assert open_shards(folder) == []
    recent: list[int] = []
    for i in np.random.default_rng(most).integers(0, TOTAL, 60).tolist():
        assert_is(dataset[i], expected[i], np.s_[:, :])
        number = dataset.locate(i)[0]
        recent = [*(other for other in recent if other != number), number][-most:]
        assert open_shards(folder) == sorted(dataset.record(shard).file for shard in recent)
    dataset.close()
    assert open_shards(folder) == []
    assert_is(dataset[4], expected[4], np.s_[:, :])
    dataset.close()


@pytest.mark.parametrize("most", [0, -1])
def test_no_handle_at_all_is_a_wrong_argument(folder: Path, most: int) -> None:
    with pytest.raises(ValueError, match=f"max_open is {most}"):
        CompositeDataset(folder, max_open=most)


def test_shard_is_opened_once(folder: Path) -> None:
    dataset = CompositeDataset(folder)
    assert dataset.shard(1) is dataset.shard(1)
    assert dataset.shard(1) is not dataset.shard(0)
    dataset.close()


@needs_proc
def test_pickle(folder: Path, everything: tuple[Path, list[ShardParts]]) -> None:
    """A copy for another process carries no handles, and opens its own; the original keeps its own."""
    dataset = CompositeDataset(folder, max_open=2)
    before = dataset[0], dataset[3]
    assert len(open_shards(folder)) == 2
    data = pickle.dumps(dataset)
    assert len(data) < 5000
    copy = pickle.loads(data)
    assert len(open_shards(folder)) == 2
    assert len(copy) == TOTAL
    assert copy.max_open == 2
    expected = flat(everything[1])
    for i in (0, 3, 9):
        assert_is(copy[i], expected[i], np.s_[:, :])
    copy.close()
    assert_is(dataset[0], expected[0], np.s_[:, :])
    assert np.array_equal(before[1].composite, dataset[3].composite)
    dataset.close()


FORK = """
import hashlib, os, pickle, sys
from pathlib import Path
from dimtool.composer.shards.dataset import CompositeDataset

def digest(dataset):
    return hashlib.sha256(pickle.dumps([dataset[i].composite.tobytes() for i in order])).hexdigest()

order = [5, 0, 3, 9, 0, 4] * 5
dataset = CompositeDataset(Path(sys.argv[1]), max_open=4)
alone = digest(dataset)
parents = [dataset.shard(number) for number in range(4)]
children = []
for _ in range(2):
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        copied = [dataset.shard(number) for number in range(4)]
        assert not any(mine is theirs for mine in copied for theirs in parents)
        os.write(writing, digest(dataset).encode())
        os._exit(0)
    children.append((child, reading))
assert digest(dataset) == alone  # while the children read
assert all(dataset.shard(number) is parents[number] for number in range(4))
for child, reading in children:
    assert os.waitpid(child, 0)[1] == 0
    assert os.read(reading, 100).decode() == alone
assert digest(dataset) == alone
print(alone)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_use_after_fork(folder: Path, run_python: Callable[..., str]) -> None:
    """Children read at the same time as their parent, each through handles of its own."""
    # From 3.12 on Python warns of forks beside threads: NumPy's wait idle.
    alone = run_python(FORK, folder, flags=("-W", "error", "-W", "ignore::DeprecationWarning"))
    assert len(alone.strip()) == 64


# ---- folders that are no finished build -------------------------------------------------------------------


def test_missing_index(tmp_path: Path) -> None:
    with pytest.raises(ShardError, match="holds no shards: run `dimtool build-dataset`") as caught:
        CompositeDataset(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_missing_shard(tmp_path: Path, shard_folder: Fill) -> None:
    """The others are read all the same; the message names the file."""
    parts = shard_folder(tmp_path, SIZES[:3])
    (tmp_path / "0001-a.h5").unlink()
    dataset = CompositeDataset(tmp_path)
    assert_is(dataset[0], flat(parts)[0], np.s_[:, :])
    assert_is(dataset[4], flat(parts)[4], np.s_[:, :])
    with pytest.raises(ShardError, match=r"0001-a\.h5"):
        dataset[3]
    dataset.close()


@pytest.mark.parametrize("max_open", [1, 3])
def test_threads_read_at_once(folder: Path, max_open: int) -> None:
    """More shards than stay open: one that has to make room is not closed under who reads it."""
    expected = [sample.composite.copy() for sample in CompositeDataset(folder)]
    dataset = CompositeDataset(folder, max_open=max_open)
    order = np.random.default_rng(0).integers(0, len(dataset), 200).tolist()
    with ThreadPoolExecutor(8) as pool:
        right = pool.map(lambda i: np.array_equal(dataset[i].composite, expected[i]), order)
        assert all(right)
