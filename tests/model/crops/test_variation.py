"""Varied crops: whatever is drawn, C = a F + (1 - a) B holds, and no trimap says what is not so."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dimtool.composer.pixels.composition import composite
from dimtool.composer.pixels.trimap import transition_region
from dimtool.composer.shards.reader import Shard
from dimtool.errors import WrongUseError
from dimtool.model.crops.batches import collate
from dimtool.model.crops.dataset import TrainingCrops
from dimtool.model.crops.layers import Layer
from dimtool.model.crops.reading import Backgrounds, Crop, CropConfig
from dimtool.model.crops.variation import PLAIN, Variation
from dimtool.model.crops.varied import joined

Pixels = NDArray[np.uint8]

SIZE = 96
TENSORS = ("image", "trimap", "alpha", "foreground", "background")
EVERYTHING = Variation(
    radii="log", uneven=0.5, recompose=0.7, join=0.5, zoom=1.6, turn=30, colour=1, noise=9, jpeg=0.5
)


def configuration(variation: Variation, **values: Any) -> CropConfig:
    return CropConfig(**{"size": SIZE, "cuts": (96, 144), "radii": (1, 20), "variation": variation, **values})


def as_pixels(crop: Crop, name: str) -> Pixels:
    """(s, s, 3), or (s, s) for one channel."""
    pixels = crop[name].permute(1, 2, 0).numpy()  # type: ignore[literal-required]
    return pixels[..., 0] if pixels.shape[2] == 1 else pixels  # type: ignore[no-any-return]


def content(crop: Crop) -> tuple[bytes, ...]:
    return tuple(crop[name].numpy().tobytes() for name in TENSORS)  # type: ignore[literal-required]


@pytest.fixture(scope="module")
def varied(train_shards: Path) -> Iterator[Callable[[Variation], TrainingCrops]]:
    made: dict[Variation, TrainingCrops] = {}

    def crops(variation: Variation) -> TrainingCrops:
        return made.setdefault(variation, TrainingCrops(train_shards, configuration(variation), seed=6))

    yield crops
    for each in made.values():
        each.composites.close()


# ---- what holds in every crop ------------------------------------------------------------------------------

variations = st.sampled_from(
    [
        EVERYTHING,
        Variation(radii="log"),
        Variation(uneven=1),
        Variation(recompose=1),
        Variation(join=1),
        Variation(zoom=2),
        Variation(turn=45),
        Variation(colour=2),
        Variation(noise=20),
        Variation(jpeg=1),
    ]
)


@given(variations, st.integers(0, 100), st.integers(0, 17))
@settings(max_examples=120)
def test_composition_and_trimap(
    varied: Callable[[Variation], TrainingCrops], variation: Variation, epoch: int, index: int
) -> None:
    crop = varied(variation)[epoch, index]
    image, trimap, alpha, foreground, background = (as_pixels(crop, name) for name in TENSORS)
    assert {pixels.shape[:2] for pixels in (image, trimap, alpha, foreground, background)} == {(SIZE, SIZE)}
    if variation.wears:
        # Of noise there may be so little that nothing is left of it.
        assert variation.jpeg < 1 or not np.array_equal(image, as_pixels(crop, "composite"))
        image = as_pixels(crop, "composite")
    else:
        assert not crop["composite"].numel()
    a = alpha[..., None] / 255
    # The official rule truncates; to the loss, which divides by 255, that is less than 1 / 255 off.
    np.testing.assert_array_equal(image, np.trunc(a * foreground + (1 - a) * background))
    assert (alpha[trimap == 255] == 255).all()
    assert (alpha[trimap == 0] == 0).all()
    assert set(np.unique(trimap)) <= {0, 128, 255}
    assert (trimap == 128).any()


def test_nothing_is_varied_by_default(train_shards: Path) -> None:
    # The paper's crops, as they were before any could be varied: draws and pixels, made anew here.
    crops = TrainingCrops(train_shards, CropConfig(size=64, cuts=(64,), radii=(1, 9)), seed=2)
    assert crops.config.variation == PLAIN
    paths = sorted(train_shards.glob("*.h5"))
    for epoch, index in [(0, 0), (3, 7), (1, 11), (2, 17), (5, 4)]:
        number, i = divmod(index, 3)
        draw = np.random.default_rng([1, 2, epoch, index])
        with Shard(paths[number]) as shard:
            draw.integers(1)
            center = shard.center(int(draw.integers(shard.center_count)))
            inwards, outwards = draw.integers(1, 10, 2).tolist()
            window = tuple(
                slice(start, start + 64)
                for start in (
                    min(max(at - 32, 0), side - 64) for at, side in zip(center, shard.shape, strict=True)
                )
            )
            step = -1 if draw.random() < 0.5 else 1
            alpha, distance = shard.alpha(window), shard.distance(window)  # type: ignore[arg-type]
            trimap = np.where((alpha == 255) & (distance > inwards), 255, 128)
            trimap[(alpha == 0) & (distance > outwards)] = 0
            image = shard.composite(i, window)  # type: ignore[arg-type]
        crop = crops[epoch, index]
        for name, expected in {"image": image, "alpha": alpha, "trimap": trimap}.items():
            np.testing.assert_array_equal(as_pixels(crop, name), expected[:, ::step])
        assert crop["backgrounds"] == Backgrounds(0, 0, 0)


def test_what_is_drawn_depends_on_seed_epoch_and_index_alone(train_shards: Path) -> None:
    config = configuration(EVERYTHING)
    crops = TrainingCrops(train_shards, config, seed=1)
    positions = [(epoch, index) for epoch in (0, 4) for index in range(0, 18, 3)]
    expected = {position: content(crops[position]) for position in positions}
    assert len(set(expected.values())) == len(positions)
    others = pickle.loads(pickle.dumps(TrainingCrops(train_shards, config, seed=1, max_open=1)))
    for number, position in enumerate(reversed(positions)):
        torch.manual_seed(number)
        assert content(others[position]) == expected[position]
    crops.composites.close()
    others.composites.close()


def test_shards_may_be_closed_on_the_way(
    train_shards: Path, varied: Callable[[Variation], TrainingCrops]
) -> None:
    # A second foreground is read before the first one's own background.
    variation = Variation(join=1)
    one = TrainingCrops(train_shards, configuration(variation), seed=6, max_open=1)
    for index in range(0, 18, 2):
        assert content(one[0, index]) == content(varied(variation)[0, index])
    one.composites.close()


def test_crops_without_colours_have_the_same_pictures(train_shards: Path) -> None:
    both = [
        TrainingCrops(train_shards, configuration(EVERYTHING, colours=colours)) for colours in (True, False)
    ]
    for index in range(4):
        with_colours, without = (crops[2, index] for crops in both)
        for name in ("image", "trimap", "alpha"):
            assert torch.equal(with_colours[name], without[name])  # type: ignore[literal-required]
        assert not any(without[name].numel() for name in ("foreground", "background", "composite"))  # type: ignore[literal-required]
    for crops in both:
        crops.composites.close()


# ---- two foregrounds ---------------------------------------------------------------------------------------


@given(st.integers(0, 10_000))
def test_a_joined_foreground_is_one_over_the_other(
    noise: Callable[..., Pixels], draw_alpha: Callable[..., Pixels], seed: int
) -> None:
    front, back = (
        Layer(noise(seed + k, 20, 24, 3), draw_alpha(seed + k, 20, 24, 5), np.zeros((20, 24), np.float32))
        for k in (0, 1)
    )
    background = noise(seed + 2, 20, 24, 3)
    once = joined(front, back)
    twice = composite(front.colours, front.alpha, composite(back.colours, back.alpha, background))
    # Joined colours and alpha are rounded by a half each, and every composite is truncated.
    difference = np.abs(composite(once.colours, once.alpha, background).astype(int) - twice)
    assert difference.max() <= 2
    a1, a2 = (each.alpha[..., None].astype(float) / 255 for each in (front, back))
    weight = a1 + (1 - a1) * a2
    exact = (a1 * front.colours + (1 - a1) * a2 * back.colours) / np.where(weight > 0, weight, 1)
    assert np.abs(once.colours - exact)[weight[..., 0] > 0].max(initial=0) <= 0.51
    opaque = (front.alpha == 255) | (back.alpha == 255)
    assert (once.alpha[opaque] == 255).all()
    np.testing.assert_array_equal(once.alpha == 0, (front.alpha == 0) & (back.alpha == 0))
    assert (once.distance[(once.alpha > 0) & (once.alpha < 255)] == 0).all()


def test_joining_leaves_something_to_learn(varied: Callable[[Variation], TrainingCrops]) -> None:
    # Behind or before the solid one, whole crops of others would be opaque.
    plain, both = varied(Variation(radii="log")), varied(Variation(join=1))
    changed = 0
    for epoch in range(4):
        for index in range(18):
            before, after = (as_pixels(crops[epoch, index], "alpha") for crops in (plain, both))
            left, there = (int(transition_region(alpha).sum()) for alpha in (after, before))
            assert left >= 0.4 * there  # half of it before the crop was scaled
            changed += not np.array_equal(before, after)
    assert changed > 30


# ---- together ----------------------------------------------------------------------------------------------


def test_batches_tell_how_the_search_went(varied: Callable[[Variation], TrainingCrops]) -> None:
    crops = [varied(EVERYTHING)[0, index] for index in range(12)]
    batch = collate(crops)
    assert torch.equal(batch["composite"][3], crops[3]["composite"])
    total = batch["backgrounds"]
    assert total.asked == sum(crop["backgrounds"].asked for crop in crops)
    assert 4 <= total.asked <= 12
    assert total.looked >= total.found >= 1
    assert Counter(crop["backgrounds"].asked for crop in crops)[0] == 12 - total.asked


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"radii": "normal"}, "radii drawn 'normal': choose even or log"),
        ({"uneven": 1.5}, "uneven is 1.5: a share"),
        ({"recompose": -0.1}, "recompose is -0.1"),
        ({"join": float("nan")}, "join is nan"),
        ({"zoom": 0.5}, "a zoom of 0.5: at least 1"),
        ({"zoom": float("inf")}, "a zoom of inf"),
        ({"turn": 46}, "turned by 46 degrees: from 0 to 45"),
        ({"colour": -1}, "a strength of -1: from 0 to 2"),
        ({"noise": 51}, "noise of 51 levels"),
        ({"jpeg": 30}, "jpeg is 30: a share"),
    ],
)
def test_variations_that_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(WrongUseError, match=message):
        Variation(**values)


def test_what_filters_mix_in_must_be_kept(tmp_path: Path, write_plain: Callable[..., None]) -> None:
    grey, distance = np.full((90, 90), 128, np.uint8), np.zeros((90, 90), np.uint8)
    write_plain(tmp_path / "plain", grey, distance, np.array([[40, 40]], np.uint16), radius=8)
    config = configuration(Variation(turn=5), cuts=(96,))
    assert len(TrainingCrops(tmp_path / "plain", config)) == 2
    with pytest.raises(WrongUseError, match=r"scaled by 2 mix in more than the 8 pixels .*plain 0\.h5 keeps"):
        TrainingCrops(tmp_path / "plain", configuration(Variation(turn=5, zoom=2), cuts=(96,)))


def test_a_greater_zoom_needs_lesser_radii() -> None:
    with pytest.raises(WrongUseError, match="radius of 100 in crops scaled by 3 is beyond"):
        CropConfig(size=320, cuts=(640,), radii=(1, 100), variation=Variation(zoom=1.5))
