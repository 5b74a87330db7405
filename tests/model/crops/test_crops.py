"""Crops: their pixels are what Pillow cuts out of the whole images, their trimaps what SciPy measures."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from torch import Tensor

from dimtool.composer.shards.reader import Shard
from dimtool.model.crops.dataset import TrainingCrops
from dimtool.model.crops.reading import Crop, CropConfig, Cut, read_crop, scaled_trimap

Pixels = NDArray[np.uint8]

SIZE = 160
CONFIG = CropConfig(size=SIZE, cuts=(160, 240, 320))  # the paper's scales: 1, 1.5 and 2
SIDES = (160, 240, 320, 159, 201, 61, 17)  # of windows; the last ones are enlarged
FOREGROUNDS, PER_FG = 6, 3


def as_pixels(tensor: Tensor) -> Pixels:
    """(c, h, w) to (h, w, 3), or (h, w) for one channel."""
    pixels = np.ascontiguousarray(tensor.permute(1, 2, 0).numpy())
    return pixels[..., 0] if pixels.shape[2] == 1 else pixels


def pillow_crop(whole: Pixels, cut: Cut) -> Pixels:
    """What Pillow cuts out of a whole image, scales with its antialiased bilinear filter, and mirrors."""
    rows, columns = cut.window
    image = Image.fromarray(whole).crop((columns.start, rows.start, columns.stop, rows.stop))
    if image.width != SIZE:
        image = image.resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    return np.asarray(image)[:, ::-1] if cut.flip else np.asarray(image)


def furthest(a: Pixels, b: Pixels, where: NDArray[np.bool_] | None = None) -> int:
    """The greatest difference of two images, in levels."""
    difference = np.abs(a.astype(int) - b)
    return int(difference.max() if where is None else difference[where].max(initial=0))


class Case(NamedTuple):
    """A crop to be read: of composite `i` of shard `number`."""

    number: int
    i: int
    cut: Cut


@pytest.fixture(scope="module")
def shards(train_shards: Path) -> Any:
    opened = [Shard(path) for path in sorted(train_shards.glob("*.h5"))]
    yield opened
    for shard in opened:
        shard.close()


@pytest.fixture(scope="module")
def wholes(train_shards: Path, decoded: Callable[..., Any]) -> list[Any]:
    return [decoded(train_shards, number) for number in range(FOREGROUNDS)]


def draw_case(data: st.DataObject, shapes: list[tuple[int, int]], sides: tuple[int, ...], most: int) -> Case:
    """Any square inside any image, with any radii up to `most`."""
    number = data.draw(st.integers(0, len(shapes) - 1), "shard")
    side = min(data.draw(st.sampled_from(sides), "side"), *shapes[number])
    top, left = (data.draw(st.integers(0, length - side)) for length in shapes[number])
    inwards, outwards = data.draw(st.tuples(*[st.integers(0, most)] * 2), "radii")
    window = slice(top, top + side), slice(left, left + side)
    cut = Cut(window, inwards, outwards, flip=data.draw(st.booleans(), "flip"))
    return Case(number, data.draw(st.integers(0, PER_FG - 1), "composite"), cut)


def check_pixels(crop: Crop, whole: Any, case: Case) -> None:
    """Every pixel where it is promised: exact where nothing is scaled, else as near as Pillow rounds."""
    bound = 0 if case.cut.window[0].stop - case.cut.window[0].start == SIZE else 1
    image, alpha, trimap = (as_pixels(crop[name]) for name in ("image", "alpha", "trimap"))
    assert furthest(image, pillow_crop(whole.composite[case.i], case.cut)) <= bound
    assert furthest(alpha, pillow_crop(whole.alpha, case.cut)) <= bound
    unknown = trimap == 128
    background, foreground = as_pixels(crop["background"]), as_pixels(crop["foreground"])
    assert furthest(background, pillow_crop(whole.background[case.i], case.cut), unknown) <= bound
    assert furthest(foreground, pillow_crop(whole.foreground, case.cut), unknown) <= bound


# ---- pixels ------------------------------------------------------------------------------------------------


@given(st.data())
@settings(max_examples=60)
def test_pixels_are_those_that_pillow_cuts_out(shards: Any, wholes: list[Any], data: st.DataObject) -> None:
    case = draw_case(data, [whole.alpha.shape for whole in wholes], SIDES, most=20)
    crop = read_crop(shards[case.number], case.i, case.cut, CONFIG)
    check_pixels(crop, wholes[case.number], case)
    assert {name: tuple(crop[name].shape) for name in ("image", "trimap", "alpha")} == {
        "image": (3, SIZE, SIZE),
        "trimap": (1, SIZE, SIZE),
        "alpha": (1, SIZE, SIZE),
    }
    assert crop["skipped"] == []


@given(st.data())
@settings(max_examples=150)
def test_colours_are_right_up_to_the_last_tile(shards: Any, wholes: list[Any], data: st.DataObject) -> None:
    # A window that takes a corner of a tile, and a trimap that ends just there: what scaling mixes in comes
    # from a tile without an unknown pixel.
    whole, shard = wholes[0], shards[0]
    side = data.draw(st.sampled_from([240, 320]))
    corners = [divmod(place, 4) for place in range(16)]
    row, column = data.draw(st.sampled_from(corners))
    into = data.draw(st.tuples(*[st.integers(1, 6)] * 2), "pixels of the tiles before")
    starts = [min(max(100 * row - into[0], 0), 400 - side), min(max(96 * column - into[1], 0), 381 - side)]
    at = [
        min(max(100 * row - data.draw(st.integers(-6, 6)), 0), 399),
        min(max(96 * column - data.draw(st.integers(-6, 6)), 0), 380),
    ]
    near = math.sqrt(squared_distance(whole.alpha)[at[0], at[1]]) * SIZE / side
    radius = min(max(0, round(near) + data.draw(st.integers(-2, 2))), 29)
    window = slice(starts[0], starts[0] + side), slice(starts[1], starts[1] + side)
    case = Case(0, 1, Cut(window, radius, radius, flip=False))
    check_pixels(read_crop(shard, 1, case.cut, CONFIG), whole, case)


@given(st.data())
@settings(max_examples=30)
def test_an_unknown_pixel_is_its_foreground_over_its_background(
    shards: Any, wholes: list[Any], data: st.DataObject
) -> None:
    # What the compositional loss assumes, as the official code computes it.
    case = draw_case(data, [whole.alpha.shape for whole in wholes], (SIZE,), most=64 - 3)
    assume(case.number != 4)  # the tiny foreground, which is scaled
    crop = read_crop(shards[case.number], case.i, case.cut, CONFIG)
    unknown = as_pixels(crop["trimap"]) == 128
    a = as_pixels(crop["alpha"])[unknown, None] / 255
    foreground, background = (as_pixels(crop[name])[unknown] for name in ("foreground", "background"))
    composed = np.trunc(a * foreground + (1 - a) * background)
    np.testing.assert_array_equal(as_pixels(crop["image"])[unknown], composed)


def test_without_colours_all_else_is_the_same(shards: Any) -> None:
    plain = CropConfig(size=SIZE, cuts=CONFIG.cuts, colours=False)
    window = slice(31, 31 + 240), slice(40, 40 + 240)
    for cut in (Cut(window, 3, 9, flip=True), Cut(window, 12, 1, flip=False)):
        with_colours, without = (read_crop(shards[0], 2, cut, config) for config in (CONFIG, plain))
        for name in ("image", "trimap", "alpha"):
            np.testing.assert_array_equal(with_colours[name], without[name])
        assert without["foreground"].numel() == without["background"].numel() == 0


# ---- trimaps -----------------------------------------------------------------------------------------------


def transition(alpha: Pixels) -> NDArray[np.bool_]:
    """0 < alpha < 255, and pixels of 255 with a 4-neighbour of 0, and the other way round."""
    framed = np.pad(alpha, 1, constant_values=128)
    around = (framed[:-2, 1:-1], framed[2:, 1:-1], framed[1:-1, :-2], framed[1:-1, 2:])
    beside = {value: np.any([each == value for each in around], axis=0) for value in (0, 255)}
    soft = ~np.isin(alpha, (0, 255))
    return soft | ((alpha == 255) & beside[0]) | ((alpha == 0) & beside[255])  # type: ignore[no-any-return]


def squared_distance(alpha: Pixels) -> NDArray[np.int64]:
    """Squares of the distances to the transition region of a whole matte, exact."""
    return _squared(alpha.tobytes(), alpha.shape)


@lru_cache(maxsize=16)
def _squared(data: bytes, shape: tuple[int, int]) -> NDArray[np.int64]:
    alpha = np.frombuffer(data, np.uint8).reshape(shape)
    distance = ndimage.distance_transform_edt(~transition(alpha))
    return np.rint(np.square(distance)).astype(np.int64)


def expected_trimap(alpha: Pixels, cut: Cut, size: int = SIZE) -> Pixels:
    """A class for each pixel, from the source pixel in its middle and its distance over there."""
    rows, columns = cut.window
    side = rows.stop - rows.start
    at = [math.floor((k + 0.5) * side / size) for k in range(size)]
    values = alpha[rows, columns][np.ix_(at, at)]
    squared = squared_distance(alpha)[rows, columns][np.ix_(at, at)]
    result = np.full((size, size), 128, np.uint8)
    # Distances are whole pixels of the source, upwards: the unknown region has the radius at least.
    for value, radius in ((255, cut.foreground_radius), (0, cut.background_radius)):
        result[(values == value) & (squared > math.ceil(radius * side / size) ** 2)] = value
    return result[:, ::-1] if cut.flip else result


@given(st.data())
@settings(max_examples=60)
def test_trimaps_are_distances_to_the_transition_region(
    shards: Any, wholes: list[Any], data: st.DataObject
) -> None:
    case = draw_case(data, [whole.alpha.shape for whole in wholes], SIDES, most=29)
    crop = read_crop(shards[case.number], case.i, case.cut, CONFIG)
    np.testing.assert_array_equal(
        as_pixels(crop["trimap"]), expected_trimap(wholes[case.number].alpha, case.cut)
    )


@pytest.mark.parametrize("side", [SIZE, 240, 320, 100])
def test_radii_are_pixels_of_the_result(side: int) -> None:
    # A straight edge between two halves: the widths can be counted.
    columns = np.arange(side)
    alpha = np.where(columns < side // 2, 255, 0).astype(np.uint8)[None].repeat(side, 0)
    away = np.where(columns < side // 2, side // 2 - 1 - columns, columns - side // 2)
    distance = away.astype(np.uint8)[None].repeat(side, 0)
    for inwards, outwards in ((0, 20), (20, 0), (7, 13), (1, 1)):
        trimap = scaled_trimap(alpha, distance, SIZE, inwards, outwards)
        widths = Counter(zip(trimap[0].tolist(), (np.arange(SIZE) < SIZE // 2).tolist(), strict=True))
        for width, radius in ((widths[128, True], inwards), (widths[128, False], outwards)):
            # And the transition region's own pixel on that side, and upwards to a whole one of the source.
            assert radius <= width <= radius + 2 * max(1, SIZE / side)


# ---- the data set ------------------------------------------------------------------------------------------


def places(crop: Pixels, whole: Pixels) -> NDArray[np.intp]:
    """Rows and columns at which a crop lies in a whole image."""
    size = crop.shape[0]
    first = sliding_window_view(whole[: whole.shape[0] - size + 1], size, axis=1)  # (y, x, 3, size)
    candidates = np.argwhere((first == crop[0].T).all((2, 3)))
    found = [at for at in candidates if (whole[at[0] :, at[1] :][:size, :size] == crop).all()]
    return np.array(found)


def test_each_item_is_a_piece_of_the_composite_that_it_names(train_shards: Path, wholes: list[Any]) -> None:
    crops = TrainingCrops(train_shards, CropConfig(size=48, cuts=(48,)), seed=5)
    assert len(crops) == FOREGROUNDS * PER_FG
    flipped = 0
    for index in range(len(crops)):
        number, i = divmod(index, PER_FG)
        stem = sorted(train_shards.glob("*.h5"))[number].stem.partition("-")[2]
        assert crops.name(index) == f"{stem}_{i}"
        whole, crop = wholes[number], crops[3, index]
        image, alpha = as_pixels(crop["image"]), as_pixels(crop["alpha"])
        found = places(image, whole.composite[i])
        if not len(found):
            flipped, image, alpha = flipped + 1, image[:, ::-1], alpha[:, ::-1]
            found = places(image, whole.composite[i])
        ((y, x),) = found
        np.testing.assert_array_equal(whole.alpha[y : y + 48, x : x + 48], alpha)
        if all(0 < start < length - 48 for start, length in zip((y, x), whole.alpha.shape, strict=True)):
            assert transition(whole.alpha)[y + 24, x + 24]
    assert 0 < flipped < len(crops)


def test_only_the_shards_that_are_asked_for(train_shards: Path) -> None:
    crops = TrainingCrops(train_shards, CONFIG, shards=[5, 1])
    assert [crops.name(i) for i in range(len(crops))] == [
        *(f"noisy 5_{i}" for i in range(PER_FG)),
        *(f"hair 1_{i}" for i in range(PER_FG)),
    ]
    for index in (-1, len(crops)):
        with pytest.raises(IndexError, match=rf"^crop {index} of 6 in .*{train_shards.name}$"):
            crops[0, index]
