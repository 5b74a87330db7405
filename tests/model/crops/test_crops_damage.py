"""Shards that give no crop, or no longer give one: named, left out or replaced, never in silence."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from dimtool.composer.shards.layout import ShardError
from dimtool.errors import WrongUseError
from dimtool.model.crops.batches import collate
from dimtool.model.crops.dataset import TrainingCrops
from dimtool.model.crops.reading import CropConfig
from dimtool.model.crops.variation import Variation

CONFIG = CropConfig(size=64, cuts=(64,), radii=(1, 8))
BAD = "0002-glass 2.h5"
PER_FG = 3


@pytest.fixture
def own_shards(train_shards: Path, tmp_path: Path) -> Path:
    """A copy that a test may break."""
    return shutil.copytree(train_shards, tmp_path / "shards")


def break_composite(path: Path, *layers: int) -> None:
    """Overwrite every tile of some composites with what no decoder takes; all else stays readable."""
    with h5py.File(path, "r+") as file:
        composite = file["composite"]
        _, height, width, _ = composite.shape
        for layer in layers:
            for y in range(0, height, composite.chunks[1]):
                for x in range(0, width, composite.chunks[2]):
                    composite.id.write_direct_chunk((layer, y, x, 0), b"no code stream at all")


def same(a: Any, b: Any) -> bool:
    return all(np.array_equal(a[name], b[name]) for name in ("image", "alpha", "trimap", "background"))


def one_line(error: pytest.ExceptionInfo[BaseException]) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


# ---- nothing to crop around --------------------------------------------------------------------------------


@pytest.fixture
def plain_folder(tmp_path: Path, write_plain: Callable[..., None]) -> Path:
    """Three shards; the second is opaque on one half and empty on none: it has no transition pixel."""
    soft = np.full((80, 90), 100, np.uint8)
    centers = np.argwhere(soft)[::7].astype(np.uint16)
    write_plain(tmp_path / "plain", soft, np.zeros_like(soft), centers)
    opaque: NDArray[np.uint8] = np.full((80, 90), 255, np.uint8)
    write_plain(tmp_path / "plain", opaque, np.full_like(opaque, 255), np.zeros((0, 2), np.uint16))
    write_plain(tmp_path / "plain", soft, np.zeros_like(soft), centers)
    return tmp_path / "plain"


@pytest.mark.parametrize("skip_bad", [False, True])
def test_a_foreground_without_a_transition_pixel_is_left_out(plain_folder: Path, skip_bad: bool) -> None:
    crops = TrainingCrops(plain_folder, CONFIG, skip_bad=skip_bad)
    assert crops.left_out == ["0001-plain 1.h5"]
    assert crops.unreadable == []
    assert [crops.name(i) for i in range(len(crops))] == ["plain 0_0", "plain 0_1", "plain 2_0", "plain 2_1"]
    for index in range(len(crops)):
        crop = crops[0, index]
        assert crop["trimap"].unique().tolist() == [128]
        assert crop["skipped"] == []


def test_where_all_are_left_out_there_is_no_crop(plain_folder: Path) -> None:
    crops = TrainingCrops(plain_folder, CONFIG, shards=[1])
    assert len(crops) == 0
    with pytest.raises(IndexError, match="crop 0 of 0 in"):
        crops[0]


def test_a_shard_that_keeps_less_of_the_background(tmp_path: Path, write_plain: Callable[..., None]) -> None:
    soft = np.full((80, 90), 100, np.uint8)
    centers = np.argwhere(soft)[::7].astype(np.uint16)
    write_plain(tmp_path / "plain", soft, np.zeros_like(soft), centers, radius=10)
    TrainingCrops(tmp_path / "plain", CropConfig(size=64, cuts=(64,), radii=(1, 7)))
    with pytest.raises(
        WrongUseError, match=r"radius of 8 .* 10 pixels of background that .*plain 0\.h5 keeps"
    ):
        TrainingCrops(tmp_path / "plain", CONFIG)


# ---- shards that cannot be opened --------------------------------------------------------------------------


def cut_short(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 3)


def not_hdf5(path: Path) -> None:
    path.write_bytes(b"something else")


@pytest.mark.parametrize("damage", [cut_short, not_hdf5, Path.unlink])
def test_a_shard_that_cannot_be_opened(
    train_shards: Path, own_shards: Path, damage: Callable[[Path], None]
) -> None:
    damage(own_shards / BAD)
    with pytest.raises(ShardError, match=BAD) as caught:
        TrainingCrops(own_shards, CONFIG)
    one_line(caught)
    crops = TrainingCrops(own_shards, CONFIG, skip_bad=True)
    assert crops.unreadable == [BAD]
    assert crops.left_out == []
    without = TrainingCrops(train_shards, CONFIG, shards=[0, 1, 3, 4, 5])
    assert len(crops) == len(without) == 5 * PER_FG
    assert all(same(crops[4, index], without[4, index]) for index in range(len(crops)))


def test_no_shard_can_be_opened(own_shards: Path) -> None:
    for path in own_shards.glob("*.h5"):
        not_hdf5(path)
    assert len(TrainingCrops(own_shards, CONFIG, skip_bad=True)) == 0


# ---- composites that cannot be read ------------------------------------------------------------------------


def test_a_composite_that_cannot_be_read(own_shards: Path) -> None:
    break_composite(own_shards / BAD, 1)
    index = 2 * PER_FG + 1
    with pytest.raises(ShardError, match=rf"{BAD}: composite cannot be read .*verify-composites") as caught:
        TrainingCrops(own_shards, CONFIG)[0, index]
    one_line(caught)


def test_it_is_replaced_by_another_and_named(train_shards: Path, own_shards: Path) -> None:
    break_composite(own_shards / BAD, 1)
    index = 2 * PER_FG + 1
    crops = TrainingCrops(own_shards, CONFIG, skip_bad=True, seed=2)
    whole = TrainingCrops(train_shards, CONFIG, seed=2)
    stood_in = set()
    for epoch in range(8):
        crop = crops[epoch, index]
        (skipped,) = crop["skipped"]
        assert skipped.startswith(f"{own_shards / BAD}: composite cannot be read")
        assert crop["image"].any()
        assert not same(crop, whole[epoch, index])
        stood_in.add(crop["alpha"].numpy().tobytes())
        again = TrainingCrops(own_shards, CONFIG, skip_bad=True, seed=2)
        assert same(again[epoch, index], crop)  # by the same, whoever asks
    assert len(stood_in) == 8
    for other in set(range(18)) - {index}:
        assert crops[0, other]["skipped"] == []
        assert same(crops[0, other], whole[0, other])


def test_a_batch_tells_all_that_was_skipped(own_shards: Path) -> None:
    break_composite(own_shards / BAD, 0, 2)
    crops = TrainingCrops(own_shards, CONFIG, skip_bad=True)
    batch = collate([crops[0, index] for index in range(2 * PER_FG, 3 * PER_FG)])
    named = [error for error in batch["skipped"] if BAD in error]
    assert len(named) >= 2  # a replacement may be a bad one, too
    assert batch["image"].shape == (PER_FG, 3, 64, 64)


def test_no_composite_can_be_read(own_shards: Path) -> None:
    for path in own_shards.glob("*.h5"):
        break_composite(path, *range(PER_FG))
    crops = TrainingCrops(own_shards, CONFIG, skip_bad=True, shards=[1, 2, 5])  # no opaque tile in a crop
    assert len(crops) == 3 * PER_FG
    with pytest.raises(ShardError, match=rf"^{own_shards}: no composite can be read; .*hair") as caught:
        crops[0, 0]
    one_line(caught)


def test_a_shard_that_disappears_while_it_is_trained_on(own_shards: Path) -> None:
    crops = TrainingCrops(own_shards, CONFIG, skip_bad=True)
    (own_shards / BAD).unlink()
    crop = crops[0, 2 * PER_FG]
    assert crop["image"].any()
    assert BAD in crop["skipped"][0]
    strict = TrainingCrops(own_shards, CONFIG, shards=[0, 1])
    (own_shards / "0000-solid 0.h5").unlink()
    with pytest.raises(ShardError, match=r"0000-solid 0\.h5 cannot be opened"):
        strict[0, 0]


def test_varied_crops_go_on_without_what_cannot_be_read(own_shards: Path) -> None:
    """A background that is taken out of a broken shard is the fault of the crop that wants it."""
    break_composite(own_shards / BAD, *range(PER_FG))
    config = replace(CONFIG, variation=Variation(recompose=1))
    strict, lenient = (TrainingCrops(own_shards, config, skip_bad=skip) for skip in (False, True))
    spoilt = 0
    for epoch in range(6):
        for index in (0, 4, 9, 13, 15):  # none of which is of the broken shard
            try:
                strict[epoch, index]
            except ShardError as error:
                assert BAD in str(error)
                spoilt += 1
                crop = lenient[epoch, index]
                assert BAD in crop["skipped"][0]
                assert crop["image"].any()
    assert 1 < spoilt < 15
