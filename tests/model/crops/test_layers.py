"""Layers of a crop: where scaling and turning take pixels from, and which backgrounds are really known."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dimtool.composer.pixels.trimap import transition_distance, transition_region
from dimtool.composer.shards.reader import Shard
from dimtool.model.crops.backgrounds import LOOKS, BackgroundFinder
from dimtool.model.crops.dataset import TrainingCrops
from dimtool.model.crops.layers import Place, Square, draw_place, nearest, resampled
from dimtool.model.crops.reading import Backgrounds, CropConfig
from dimtool.model.crops.variation import Variation

Pixels = NDArray[np.uint8]

SIZE = 96
CONFIG = CropConfig(size=SIZE, cuts=(96, 144), variation=Variation(recompose=1, zoom=1.5, turn=40))


@pytest.fixture(scope="module")
def shards(train_shards: Path) -> Iterator[list[Shard]]:
    opened = [Shard(path) for path in sorted(train_shards.glob("*.h5"))]
    yield opened
    for shard in opened:
        shard.close()


places = st.builds(
    lambda seed, shape: draw_place(
        shape, (shape[0] // 2, shape[1] // 3), CONFIG, 40, np.random.default_rng(seed)
    ),
    st.integers(0, 100_000),
    st.tuples(st.integers(60, 400), st.integers(60, 400)),
)


# ---- places ------------------------------------------------------------------------------------------------


@given(places)
def test_pixels_come_from_where_geometry_says(place: Place) -> None:
    side = place.window[0].stop - place.window[0].start
    ramp = np.arange(side) * 200 / side + 20
    x, y = (np.rint(each).astype(np.uint8) for each in np.broadcast_arrays(ramp, ramp[:, None]))
    # From the middle of the crop, back through mirror, turn and scale.
    k = (np.arange(SIZE) + 0.5 - SIZE / 2) * (side / place.between)
    across, down = np.meshgrid(-k if place.flip else k, k)
    angle = math.radians(place.turn)
    expected_x = across * math.cos(angle) + down * math.sin(angle) + side / 2
    expected_y = -across * math.sin(angle) + down * math.cos(angle) + side / 2
    pixel = 200 / side
    for ramp_of, expected in ((x, expected_x), (y, expected_y)):
        wanted = expected * pixel + 20 - pixel / 2
        inner = (slice(3, -3), slice(3, -3))  # at the border of the image filters see one side only
        assert np.abs(resampled(ramp_of, place).astype(float) - wanted)[inner].max() < 1.5 + pixel / 2
        # The one in the middle is at most half the diagonal away, of the source's pixels and the turn's.
        far = pixel * (0.71 + 0.71 * max(place.scale, 1))
        assert np.abs(nearest(ramp_of, place).astype(float) - wanted).max() < 1 + far
    colours = np.stack([x, y, x], axis=2)
    np.testing.assert_array_equal(resampled(colours, place)[..., 1], resampled(y, place))


@given(places, st.tuples(st.integers(60, 400), st.integers(60, 400)), st.integers(0, 1000))
def test_a_place_lies_inside(place: Place, shape: tuple[int, int], seed: int) -> None:
    middle = tuple(int(each) for each in np.random.default_rng(seed).integers(shape))
    place = draw_place(shape, middle, CONFIG, 40, np.random.default_rng(seed))  # type: ignore[arg-type]
    rows, columns = place.window
    assert rows.stop - rows.start == columns.stop - columns.start <= min(shape)
    for part, at, length in zip(place.window, middle, shape, strict=True):
        assert 0 <= part.start <= at < part.stop <= length


def test_zoomed_cuts_are_as_often_lesser_as_greater() -> None:
    config = CropConfig(size=SIZE, cuts=(100,), variation=Variation(zoom=2))
    drawn = [draw_place((900, 900), (450, 450), config, 0, np.random.default_rng(k)) for k in range(2000)]
    factors = np.log2([place.scale * SIZE / 100 for place in drawn])
    counts, _ = np.histogram(factors, np.linspace(-1.01, 1.01, 5))
    assert counts.sum() == 2000
    assert counts.min() > 400
    assert {place.turn for place in drawn} == {0}


@given(st.integers(0, 1000))
@settings(max_examples=30)
def test_distances_are_in_pixels_of_the_crop(shards: list[Shard], seed: int) -> None:
    draw = np.random.default_rng(seed)
    place = draw_place(shards[0].shape, shards[0].center(seed), CONFIG, 40, draw)
    layer = Square(shards[0], place).layer()
    measured = transition_distance(transition_region(layer.alpha)).astype(float)
    # Measured in the crop alone: what is nearer than its border cannot be nearer to anything outside.
    k = np.arange(SIZE)
    border = np.minimum.outer(*[np.minimum(k, SIZE - 1 - k)] * 2)
    inside = measured < border - 2
    assert inside.any()
    # Filtering widens the transition region by a pixel or two of the source, and both are rounded up.
    assert np.abs(layer.distance - measured)[inside].max() < 3 + 2 / min(place.scale, 1)


# ---- backgrounds -------------------------------------------------------------------------------------------


@given(places=st.data())
@settings(max_examples=60)
def test_where_a_background_is_not_hidden_it_is_the_composited_one(
    shards: list[Shard], train_shards: Path, decoded: Callable[..., Any], places: st.DataObject
) -> None:
    number = places.draw(st.sampled_from([0, 1, 2, 3, 5]))
    shard, whole = shards[number], decoded(train_shards, number)
    middle = tuple(places.draw(st.integers(0, side - 1)) for side in shard.shape)
    draw = np.random.default_rng(places.draw(st.integers(0, 1000)))
    place = draw_place(shard.shape, middle, CONFIG, 40, draw)  # type: ignore[arg-type]
    square = Square(shard, place)
    truth = resampled(whole.background[1][place.window], place)
    known = ~square.hidden()
    np.testing.assert_array_equal(square.backdrop(1)[known], truth[known])
    # And nothing is called hidden that a composite shows.
    assert known[square.layer().alpha < 255].all()


def test_hidden_is_not_empty_here(shards: list[Shard]) -> None:
    # Or the test above would show nothing.
    place = Place((slice(10, 210), slice(10, 210)), SIZE, SIZE, 0.0, flip=False)
    assert 0.05 < Square(shards[0], place).hidden().mean() < 0.95


@given(st.integers(0, 10_000))
@settings(max_examples=40)
def test_a_found_background_shows_nothing_hidden(
    shards: list[Shard], train_shards: Path, decoded: Callable[..., Any], seed: int
) -> None:
    # Only the shard with the opaque core is drawn from; its true backgrounds are the oracle.
    seen: list[tuple[int, Place]] = []

    def others(draw: np.random.Generator) -> tuple[Shard, int]:
        return shards[0], int(draw.integers(3))

    class Spy(Square):
        def backdrop(self, i: int) -> Pixels:
            seen.append((i, self.place))
            return super().backdrop(i)

    draw = np.random.default_rng(seed)
    wanted = np.zeros((SIZE, SIZE), np.bool_)
    top, left = draw.integers(0, SIZE - 20, 2)
    wanted[top : top + 40, left : left + 40] = True
    if seed % 2:  # lines between the pixels that are looked up in the coarse map
        wanted[np.arange(SIZE) % 8 == 4] = wanted[:, np.arange(SIZE) % 8 == 4] = False
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dimtool.model.crops.backgrounds.Square", Spy)
        found, search = BackgroundFinder(others, CONFIG).find(wanted, draw)
    assert found is not None
    assert search.asked == search.found == 1
    (i, place), *more = seen
    assert not more
    assert place.turn == 0
    truth = resampled(decoded(train_shards, 0).background[i][place.window], place)
    np.testing.assert_array_equal(found[wanted], truth[wanted])


def test_a_crop_without_another_background_keeps_its_own(
    tmp_path: Path, write_plain: Callable[..., None]
) -> None:
    # Opaque all over, but for a strip that is too narrow for any crop.
    alpha = np.full((200, 200), 255, np.uint8)
    alpha[:, 100] = 128
    distance = np.abs(np.arange(200) - 100).astype(np.uint8)[None].repeat(200, 0)
    centers = np.array([[100, 100]], np.uint16)
    write_plain(tmp_path / "plain", alpha, distance, centers, radius=10)
    config = CropConfig(size=SIZE, cuts=(SIZE,), variation=Variation(recompose=1))
    crops = TrainingCrops(tmp_path / "plain", config)
    crop = crops[0, 0]
    assert crop["backgrounds"] == Backgrounds(asked=1, found=0, looked=LOOKS) or crop["backgrounds"].found
    assert (crop["background"][:, crop["alpha"][0] < 255] == 99).all()
    crops.composites.close()
