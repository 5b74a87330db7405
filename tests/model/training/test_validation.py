"""Validation: foregrounds that training never sees, and the SAD that whole images then have."""

from __future__ import annotations

import os
import random
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from dimtool.composer.shards.dataset import CompositeDataset
from dimtool.composer.shards.layout import ShardError
from dimtool.errors import WrongUseError
from dimtool.model.inference.matter import Matter
from dimtool.model.network.dim import DeepImageMatting, ModelConfig
from dimtool.model.processes.ranks import Ranks
from dimtool.model.runs.beginning import RunError
from dimtool.model.runs.config import TrainConfig
from dimtool.model.training.stages import split_data
from dimtool.model.training.validation import (
    ValidationSet,
    pick,
    refuse_common_foregrounds,
    split_foregrounds,
    validate,
)

pytestmark = pytest.mark.usefixtures("one_thread")

Pixels = NDArray[np.uint8]
PER_FG = 3


# ---- who is held out ---------------------------------------------------------------------------------------


@given(st.integers(1, 500), st.floats(0, 0.99), st.integers(0, 2**32))
def test_a_split_is_disjoint_and_leaves_none_out(count: int, share: float, seed: int) -> None:
    wanted = max(1, round(share * count)) if share > 0 else 0
    if wanted >= count:
        with pytest.raises(WrongUseError, match=f"^{count} foregrounds cannot be split .* --val-share 0$"):
            split_foregrounds(count, share, seed)
        return
    training, validation = split_foregrounds(count, share, seed)
    assert sorted([*training, *validation]) == list(range(count))
    assert len(validation) == wanted
    assert (training, validation) == (sorted(training), sorted(validation))
    random.seed(seed + 1)
    assert split_foregrounds(count, share, seed) == (training, validation)


def test_seeds_hold_out_others_and_every_foreground_at_some_time() -> None:
    held = [tuple(split_foregrounds(20, 0.2, seed)[1]) for seed in range(40)]
    assert len(set(held)) > 35
    counts = Counter(number for each in held for number in each)
    assert set(counts) == set(range(20))
    assert max(counts.values()) < 20


def test_a_training_has_the_rest_and_all_composites_of_it(train_shards: Path) -> None:
    config = TrainConfig(shards=train_shards, val_share=0.4, val_count=100, seed=5)
    training, data = split_data(config)
    assert data is not None
    held = {number // PER_FG for number in data.numbers}
    assert len(held) == 2  # of 6
    assert held | set(training) == set(range(6))
    assert not held & set(training)
    assert sorted(data.numbers) == sorted(PER_FG * number + i for number in held for i in range(PER_FG))
    assert split_data(replace(config, val_share=0.0)) == (list(range(6)), None)


def test_one_matte_under_several_names_is_on_one_side(
    tmp_path: Path, write_plain: Callable[..., None]
) -> None:
    """As in Adobe's set, where some foregrounds stand twice."""
    centers = np.zeros((1, 2), np.uint16)
    for value in (100, 101, 100, 102, 101, 103):
        matte = np.full((50, 60), value, np.uint8)
        write_plain(tmp_path / "shards", matte, np.zeros_like(matte), centers)
    sizes = set()
    for seed in range(12):
        config = TrainConfig(shards=tmp_path / "shards", val_share=0.25, seed=seed)
        training, data = split_data(config)
        assert data is not None
        held = {data.composites.locate(number)[0] for number in data.numbers}
        assert held | set(training) == set(range(6))
        assert not held & set(training)
        assert all(len({a in held, b in held}) == 1 for a, b in ((0, 2), (1, 4)))
        sizes.add(len(held))
    assert sizes == {1, 2}  # one matte of four


def test_shards_of_their_own_to_validate_on(train_shards: Path, val_shards: Path) -> None:
    training, data = split_data(TrainConfig(shards=train_shards, val_shards=val_shards, val_radius=7))
    assert training == list(range(6))
    assert data is not None
    assert (data.composites.folder, list(data.numbers), data.radius) == (val_shards, list(range(6)), 7)


def test_the_test_set_is_refused(train_shards: Path, test_shards: Path) -> None:
    for config in (
        TrainConfig(shards=train_shards, val_shards=test_shards),
        TrainConfig(shards=test_shards),
        TrainConfig(shards=test_shards, val_share=0),
    ):
        with pytest.raises(RunError, match=f"^{test_shards} is a test set: "):
            split_data(config)


# ---- foregrounds in common ---------------------------------------------------------------------------------


@pytest.fixture
def folders(tmp_path: Path, write_plain: Callable[..., None]) -> tuple[Path, Path]:
    """Two folders of two shards; the last one of each has the same matte, under another name."""
    mattes = [np.full((50, 60), value, np.uint8) for value in (100, 101, 102)]
    centers = np.zeros((1, 2), np.uint16)
    for name, order in (("ours", (0, 1)), ("theirs", (2, 1))):
        for number in order:
            write_plain(tmp_path / name, mattes[number], np.zeros_like(mattes[0]), centers)
        path = tmp_path / name / "0001-plain 1.h5"
        path.rename(path.with_name(f"0001-{name}.h5"))
        index = tmp_path / name / "index.json"
        index.write_text(index.read_text().replace("plain 1", name))
    return tmp_path / "ours", tmp_path / "theirs"


def refuse(ours: Path, theirs: Path, *, skip_bad: bool = False) -> None:
    refuse_common_foregrounds(CompositeDataset(ours), CompositeDataset(theirs), skip_bad=skip_bad)


@pytest.mark.parametrize("skip_bad", [False, True])
def test_a_matte_in_both_is_refused_whatever_its_name(folders: tuple[Path, Path], skip_bad: bool) -> None:
    ours, theirs = folders
    message = rf"^{theirs} has the matte theirs\.png, which {ours} has as ours\.png: .*--val-share$"
    with pytest.raises(WrongUseError, match=message):
        refuse(ours, theirs, skip_bad=skip_bad)


def test_different_mattes_are_fine(train_shards: Path, val_shards: Path, test_shards: Path) -> None:
    refuse(train_shards, val_shards)
    refuse(train_shards, test_shards)
    with pytest.raises(WrongUseError, match=r"which .* has as "):
        refuse(train_shards, train_shards)


def test_a_broken_shard_while_mattes_are_compared(folders: tuple[Path, Path]) -> None:
    ours, theirs = folders
    os.truncate(ours / "0000-plain 0.h5", 100)
    with pytest.raises(ShardError, match=r"0000-plain 0\.h5"):
        refuse(ours, theirs)
    with pytest.raises(WrongUseError, match=r"theirs\.png"):
        refuse(ours, theirs, skip_bad=True)
    os.truncate(ours / "0001-ours.h5", 100)
    refuse(ours, theirs, skip_bad=True)


# ---- which composites --------------------------------------------------------------------------------------


@given(st.sets(st.integers(0, 5)), st.integers(1, 20))
def test_composites_are_spread_over_the_foregrounds(train_shards: Path, shards: set[int], count: int) -> None:
    numbers = pick(_dataset(train_shards), sorted(shards), count)
    assert len(set(numbers)) == len(numbers) == min(count, PER_FG * len(shards))
    counts = Counter(number // PER_FG for number in numbers)
    assert set(counts) <= shards
    if len(numbers) >= len(shards):
        assert set(counts) == shards
        assert max(counts.values(), default=0) - min(counts.values(), default=0) <= 1


_OPENED: dict[Path, CompositeDataset] = {}


def _dataset(folder: Path) -> CompositeDataset:
    return _OPENED.setdefault(folder, CompositeDataset(folder))


# ---- the error ---------------------------------------------------------------------------------------------


class Green:
    """In the place of a model: alpha is the image's green, wherever it is sought."""

    def __init__(self) -> None:
        self.trimaps: list[Pixels] = []

    def matte(self, image: Pixels, trimap: Pixels) -> NDArray[np.float32]:
        self.trimaps.append(trimap)
        return np.where(trimap == 128, image[..., 1], trimap).astype(np.float32) / np.float32(255)


def green_sad(whole: Any, i: int, radius: int) -> tuple[float, Pixels]:
    """What `Green` errs by on composite `i`, in thousands of pixels, and the trimap that it has."""
    alpha = whole.alpha.astype(int)
    padded = np.pad(alpha, 1, mode="edge")
    around = np.stack([padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]])
    region = (alpha % 255 != 0) | (np.abs(around - alpha) == 255).any(0)
    unknown = ndimage.distance_transform_edt(~region) <= radius
    error = np.abs(whole.composite[i][..., 1].astype(int) - alpha)[unknown].sum() / 255 / 1000
    return float(error), np.where(unknown, 128, alpha).astype(np.uint8)


def run_green(data: ValidationSet) -> tuple[Any, list[Pixels]]:
    green = Green()
    return validate(green, data, Ranks()), green.trimaps  # type: ignore[arg-type]


@pytest.mark.parametrize("radius", [0, 10, 33])
def test_the_mean_sad_of_whole_images(train_shards: Path, decoded: Callable[..., Any], radius: int) -> None:
    numbers = [0, 4, 8, 11, 17]
    found, trimaps = run_green(ValidationSet(CompositeDataset(train_shards), numbers, radius))
    expected = [green_sad(decoded(train_shards, n // PER_FG), n % PER_FG, radius) for n in numbers]
    for trimap, (_, wanted) in zip(trimaps, expected, strict=True):
        np.testing.assert_array_equal(trimap, wanted)
    assert found.sad == pytest.approx(np.mean([error for error, _ in expected]), rel=1e-12)
    assert found.skipped == []
    truths = [decoded(train_shards, n // PER_FG).alpha.astype(int) for n in numbers]
    halves = [np.abs(a - t)[t == 128].sum() / 255e3 for a, t in zip(truths, trimaps, strict=True)]
    assert found.trivial == pytest.approx(np.mean(halves), rel=1e-12)


class Share(Ranks):
    """One process of two, which knows what those before it gathered."""

    def __init__(self, index: int, gathered: list[Any]) -> None:
        super().__init__()
        self.index, self.count, self.gathered = index, 2, gathered

    def each(self, work: Callable[[], Any]) -> Any:
        return work()

    def gather(self, value: Any) -> list[Any]:
        self.gathered.append(value)
        return self.gathered


def test_processes_share_the_set_and_find_what_one_does(train_shards: Path) -> None:
    data = ValidationSet(CompositeDataset(train_shards), [0, 4, 8, 11, 17], 10)
    alone, _ = run_green(data)
    gathered: list[Any] = []
    validate(Green(), data, Share(1, gathered))  # type: ignore[arg-type]
    together = validate(Green(), data, Share(0, gathered))  # type: ignore[arg-type]
    assert [len(share) for share in gathered] == [2, 3]
    assert (together.sad, together.trivial) == (alone.sad, alone.trivial)
    assert all(map(torch.equal, together.examples, alone.examples))
    assert len(together.examples) == len(alone.examples)


def test_a_set_s_digest_is_of_its_data_numbers_and_radius(train_shards: Path, val_shards: Path) -> None:
    composites = CompositeDataset(train_shards)
    sets = [
        ValidationSet(composites, [0, 4], 10),
        ValidationSet(composites, [0, 5], 10),
        ValidationSet(composites, [0, 4], 9),
        ValidationSet(CompositeDataset(val_shards), [0, 4], 10),
    ]
    assert len({each.digest for each in sets}) == 4
    assert sets[0].digest == ValidationSet(CompositeDataset(train_shards), (0, 4), 10).digest


def test_a_network_s_error(val_shards: Path, decoded: Callable[..., Any]) -> None:
    torch.manual_seed(0)
    model = DeepImageMatting(ModelConfig(bottleneck="slim", width=1 / 64))
    matter = Matter(model=model, device=torch.device("cpu"))
    found = validate(matter, ValidationSet(CompositeDataset(val_shards), [1], 5), Ranks())
    whole = decoded(val_shards, 0)
    trimap = green_sad(whole, 1, 5)[1]
    image = torch.from_numpy(whole.composite[1]).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        alpha = model(image, torch.from_numpy(trimap)[None, None] / 255).alpha[0, 0].numpy()
    difference = np.abs(np.rint(alpha * 255) - whole.alpha)[trimap == 128]
    assert found.sad == pytest.approx(difference.sum() / 255 / 1000, rel=1e-3)


@pytest.mark.parametrize(("count", "examples"), [(1, 1), (4, 4), (5, 3), (8, 4), (9, 3), (18, 4)])
def test_a_few_examples_to_look_at(train_shards: Path, count: int, examples: int) -> None:
    found, _ = run_green(ValidationSet(CompositeDataset(train_shards), range(count), 10))
    assert len(found.examples) == examples


def test_an_example_shows_image_trimap_prediction_and_truth(
    train_shards: Path, decoded: Callable[..., Any]
) -> None:
    found, trimaps = run_green(ValidationSet(CompositeDataset(train_shards), [5, 1], 10))
    small, large = (picture.permute(1, 2, 0).numpy() for picture in found.examples)
    whole = decoded(train_shards, 1)
    prediction = np.where(trimaps[0] == 128, whole.composite[2][..., 1], trimaps[0])
    grey = [mask[..., None].repeat(3, 2) for mask in (trimaps[0], prediction, whole.alpha)]
    np.testing.assert_array_equal(small, np.concatenate([whole.composite[2], *grey], axis=1))
    assert large.shape == (384, 4 * 366, 3)  # 400 x 381 scaled to 384 x 366
    image = Image.fromarray(decoded(train_shards, 0).composite[1]).resize((366, 384))
    np.testing.assert_array_equal(large[:, :366], np.asarray(image))


# ---- what cannot be scored ---------------------------------------------------------------------------------


@pytest.fixture
def broken(train_shards: Path, tmp_path: Path) -> Path:
    """A copy whose third shard is cut short."""
    folder = shutil.copytree(train_shards, tmp_path / "shards")
    path = folder / "0002-glass 2.h5"
    os.truncate(path, path.stat().st_size // 3)
    return folder


def test_what_cannot_be_read_is_left_out_and_counted(
    train_shards: Path, broken: Path, decoded: Callable[..., Any]
) -> None:
    data = ValidationSet(CompositeDataset(broken), [0, 6, 7, 17], 10)
    with pytest.raises(ShardError, match=r"0002-glass 2\.h5"):
        run_green(data)
    found, _ = run_green(replace(data, skip_bad=True))
    assert len(found.skipped) == 2
    assert all("0002-glass 2.h5" in line and "\n" not in line for line in found.skipped)
    errors = [green_sad(decoded(train_shards, n // PER_FG), n % PER_FG, 10)[0] for n in (0, 17)]
    assert found.sad == pytest.approx(np.mean(errors), rel=1e-12)


def test_none_can_be_read(broken: Path) -> None:
    data = ValidationSet(CompositeDataset(broken), [6, 8], 10, skip_bad=True)
    with pytest.raises(
        ShardError, match=rf"^{broken}: there is no composite to validate on; .*glass"
    ) as caught:
        run_green(data)
    assert "\n" not in str(caught.value)


def test_a_composite_without_an_unknown_pixel(tmp_path: Path, write_plain: Callable[..., None]) -> None:
    # No build makes one, and crops leave it out as well.
    opaque, soft = np.full((50, 60), 255, np.uint8), np.full((50, 60), 100, np.uint8)
    write_plain(tmp_path / "plain", opaque, np.full_like(opaque, 255), np.zeros((0, 2), np.uint16))
    write_plain(tmp_path / "plain", soft, np.zeros_like(soft), np.zeros((1, 2), np.uint16))
    found, _ = run_green(ValidationSet(CompositeDataset(tmp_path / "plain"), [0, 2], 10))
    assert found.sad == pytest.approx(50 * 60 * abs(99 - 100) / 255 / 1000)
    assert found.skipped == [f"{tmp_path}/plain: plain 0_0 has no unknown pixel to be scored"]
