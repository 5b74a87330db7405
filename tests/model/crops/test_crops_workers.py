"""What a crop is depends on (seed, epoch, index) alone; batches are one sequence, whoever reads them."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from dimtool.errors import WrongUseError
from dimtool.model.crops.batches import CropBatches, Position, collate
from dimtool.model.crops.dataset import TrainingCrops
from dimtool.model.crops.reading import Crop, CropConfig

CONFIG = CropConfig(size=64, cuts=(64, 96, 128))
TENSORS = ("image", "trimap", "alpha", "foreground", "background")
EVERY = [(epoch, index) for epoch in (0, 7) for index in range(18)]


@pytest.fixture(scope="module")
def crops(train_shards: Path) -> Iterator[TrainingCrops]:
    made = TrainingCrops(train_shards, CONFIG, seed=3)
    yield made
    made.composites.close()


@pytest.fixture
def own_shards(train_shards: Path, tmp_path: Path) -> Path:
    """Files that no other test has open: HDF5 opens a file only once."""
    return shutil.copytree(train_shards, tmp_path / "shards")


@pytest.fixture(scope="module")
def expected(crops: TrainingCrops) -> dict[Position, tuple[bytes, ...]]:
    return {position: content(crops[position]) for position in EVERY}


def content(crop: Crop) -> tuple[bytes, ...]:
    return tuple(crop[name].numpy().tobytes() for name in TENSORS)  # type: ignore[literal-required]


def open_shards(folder: Path) -> int:
    """How many files of a folder this process has open."""
    return sum(link.resolve().parent == folder.resolve() for link in Path("/proc/self/fd").iterdir())


# ---- one crop ----------------------------------------------------------------------------------------------


def test_any_order_and_any_global_state_give_the_same(
    train_shards: Path, expected: dict[Position, tuple[bytes, ...]]
) -> None:
    others = TrainingCrops(train_shards, CONFIG, seed=3, max_open=1)
    for number, position in enumerate(random.Random(0).sample(EVERY, len(EVERY))):
        random.seed(number)
        np.random.seed(number)  # noqa: NPY002
        torch.manual_seed(number)
        assert content(others[position]) == expected[position]
    others.composites.close()


def test_global_states_are_left_alone(crops: TrainingCrops) -> None:
    def states() -> tuple[Any, ...]:
        numpy_state = np.random.get_state(legacy=False)  # noqa: NPY002
        return random.getstate(), str(numpy_state), torch.get_rng_state().tolist()

    before = states()
    assert crops[0, 3]
    assert list(CropBatches(18, batch_size=2, seed=0, steps=3))
    assert states() == before


def test_a_bare_index_is_of_the_first_epoch(
    crops: TrainingCrops, expected: dict[Position, tuple[bytes, ...]]
) -> None:
    assert content(crops[5]) == expected[0, 5]


def test_every_epoch_is_new(expected: dict[Position, tuple[bytes, ...]]) -> None:
    assert len(set(expected.values())) == len(EVERY)
    for index in range(18):
        alphas = {expected[epoch, index][TENSORS.index("alpha")] for epoch in (0, 7)}
        assert len(alphas) == 2


def test_composites_of_a_foreground_are_cut_at_places_of_their_own(
    expected: dict[Position, tuple[bytes, ...]],
) -> None:
    alphas = [expected[0, index][TENSORS.index("alpha")] for index in range(18)]
    assert len(set(alphas)) == 18


def test_another_seed_gives_others(train_shards: Path, expected: dict[Position, tuple[bytes, ...]]) -> None:
    others = TrainingCrops(train_shards, CONFIG, seed=4)
    assert not {content(others[position]) for position in EVERY} & set(expected.values())
    others.composites.close()


def test_the_number_of_open_files_is_bounded(own_shards: Path) -> None:
    crops = TrainingCrops(own_shards, CONFIG, max_open=2)
    assert len(crops) == 18
    assert open_shards(own_shards) == 0  # though it has looked at each
    most = 0
    for index in random.Random(1).sample(range(18), 18):
        assert crops[index]["image"].any()
        most = max(most, open_shards(own_shards))
    assert most == 2
    crops.composites.close()
    assert open_shards(own_shards) == 0


# ---- worker processes --------------------------------------------------------------------------------------


def loader(crops: TrainingCrops, workers: int, method: str | None) -> DataLoader[Crop]:
    return DataLoader(
        crops,
        batch_sampler=CropBatches(len(crops), batch_size=3, seed=crops.seed, start=2, steps=8),
        num_workers=workers,
        collate_fn=collate,
        multiprocessing_context=method,
    )


@pytest.mark.parametrize(("method", "workers"), [("fork", 2), ("forkserver", 2), ("spawn", 1)])
# Python 3.12 warns of what is meant here: this process has threads, and shards open, when it forks.
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # more than there are processors
def test_workers_give_what_one_process_gives(crops: TrainingCrops, method: str, workers: int) -> None:
    alone = [content(batch) for batch in loader(crops, 0, None)]
    assert crops.composites._open  # handles that came through a fork give wrong data
    assert [content(batch) for batch in loader(crops, workers, method)] == alone
    assert [content(batch) for batch in loader(crops, 0, None)] == alone


def test_a_batch_is_its_crops_one_above_the_other(crops: TrainingCrops) -> None:
    batch, *_ = loader(crops, 0, None)
    positions, *_ = CropBatches(18, batch_size=3, seed=3, start=2, steps=1)
    for place, position in enumerate(positions):
        for name in TENSORS:
            assert torch.equal(batch[name][place], crops[position][name])  # type: ignore[literal-required]
    for name in ("image", "foreground", "background"):
        stacked = batch[name]  # type: ignore[literal-required]
        assert stacked.shape == (3, 3, 64, 64)
        assert stacked.is_contiguous(memory_format=torch.channels_last)
    assert batch["trimap"].shape == batch["alpha"].shape == (3, 1, 64, 64)


def test_batches_without_colours(train_shards: Path) -> None:
    crops = TrainingCrops(train_shards, CropConfig(size=32, cuts=(32,), colours=False))
    batch = collate([crops[0], crops[1]])
    assert batch["image"].shape == (2, 3, 32, 32)
    assert batch["foreground"].numel() == batch["background"].numel() == 0
    crops.composites.close()


# ---- the sequence of batches -------------------------------------------------------------------------------

counts = st.integers(1, 40)
seeds = st.integers(0, 2**40)


def flat(batches: CropBatches) -> list[Position]:
    return list(chain.from_iterable(batches))


@given(counts, st.integers(1, 9), seeds, st.integers(1, 4))
def test_every_composite_once_an_epoch(count: int, batch_size: int, seed: int, epochs: int) -> None:
    steps = -(-count * epochs // batch_size)
    batches = CropBatches(count, batch_size=batch_size, seed=seed, steps=steps)
    assert [len(batch) for batch in batches] == [batch_size] * steps == [batch_size] * len(batches)
    samples = flat(batches)
    for epoch in range(epochs):
        here = samples[epoch * count : (epoch + 1) * count]
        assert sorted(here) == [(epoch, index) for index in range(count)]


@given(counts, st.integers(1, 9), seeds, st.integers(0, 60), st.integers(0, 20))
def test_a_resumed_sequence_goes_on_where_it_was(
    count: int, batch_size: int, seed: int, start: int, steps: int
) -> None:
    undisturbed = list(CropBatches(count, batch_size=batch_size, seed=seed, steps=start + steps))
    resumed = CropBatches(count, batch_size=batch_size, seed=seed, start=start, steps=steps)
    assert list(resumed) == undisturbed[start:]
    assert list(resumed) == undisturbed[start:]  # iterating again begins again
    assert len(resumed) == steps


@given(counts, st.integers(1, 4), st.integers(1, 5), seeds, st.integers(0, 30))
def test_processes_share_each_batch(count: int, share: int, world: int, seed: int, start: int) -> None:
    def of(rank: int, world: int) -> list[list[Position]]:
        size = share * world_size
        return list(
            CropBatches(count, batch_size=size, seed=seed, start=start, steps=5, rank=rank, world=world)
        )

    world_size = world
    together = [of(rank, world) for rank in range(world)]
    assert all(len(batch) == share for ours in together for batch in ours)
    assert [list(chain.from_iterable(batch)) for batch in zip(*together, strict=True)] == of(0, 1)


def test_each_epoch_and_each_seed_has_an_order_of_its_own() -> None:
    orders = set()
    for seed in range(5):
        samples = flat(CropBatches(30, batch_size=30, seed=seed, steps=6))
        orders |= {tuple(i for epoch, i in samples if epoch == wanted) for wanted in range(6)}
    assert len(orders) == 30
    assert tuple(range(30)) not in orders


def test_sequences_that_are_refused() -> None:
    with pytest.raises(WrongUseError, match="a batch of 6 cannot be shared equally by 4 processes"):
        CropBatches(10, batch_size=6, seed=0, steps=1, world=4)
    with pytest.raises(WrongUseError, match="no composite to train on"):
        CropBatches(0, batch_size=1, seed=0, steps=1)
