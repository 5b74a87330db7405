"""The transition region, the distance to it and the trimaps of it, against searches through every pair."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from dimtool.composer.pixels import trimap
from dimtool.composer.pixels.trimap import (
    background_band,
    sample_centers,
    transition_distance,
    transition_region,
    trimap_of,
)

UInt8 = NDArray[np.uint8]
Mask = NDArray[np.bool_]

SHAPES = array_shapes(min_dims=2, max_dims=2, max_side=11)
ALPHAS = arrays(np.uint8, SHAPES, elements=st.sampled_from([0, 0, 0, 255, 255, 255, 1, 128, 254]))
LITERAL = {  # seed: the sample of `test_sample_is_the_same_for_ever`
    0: [[0, 2], [0, 3], [1, 2], [1, 4], [2, 2], [6, 8]],
    17: [[1, 0], [1, 3], [1, 6], [2, 0], [5, 6], [5, 8]],
}
MASKS = arrays(np.bool_, SHAPES, elements=st.sampled_from([False, False, False, True]))


def slow_region(alpha: UInt8) -> Mask:
    """A pixel at a time: soft, or with a neighbour above, below, left or right at the other end."""
    values = {(y, x): value for y, row in enumerate(alpha.tolist()) for x, value in enumerate(row)}
    region = np.zeros(alpha.shape, np.bool_)
    for (y, x), value in values.items():
        around = [values.get(place) for place in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1))]
        region[y, x] = 0 < value < 255 or 255 - value in around
    return region


def dilated(region: Mask, radius: int) -> Mask:
    """The region stamped at each offset of a disc."""
    height, width = region.shape
    framed = np.pad(region, radius)
    result = np.zeros_like(region)
    for dy in range(-radius, radius + 1):
        for dx in range(-radius, radius + 1):
            if dy * dy + dx * dx <= radius * radius:
                result |= framed[radius + dy :, radius + dx :][:height, :width]
    return result


@given(ALPHAS)
def test_transition_region(alpha: UInt8) -> None:
    assert np.array_equal(transition_region(alpha), slow_region(alpha))


@pytest.mark.parametrize("value", [0, 255])
@pytest.mark.parametrize("shape", [(3, 4), (1, 1)])
def test_no_transition_in_a_constant_matte(shape: tuple[int, int], value: int) -> None:
    assert not transition_region(np.full(shape, value, np.uint8)).any()


def test_hard_edge_has_both_its_sides() -> None:
    """Along a row and along a column; a corner that only touches is no edge, but its neighbours are."""
    alpha = np.zeros((4, 5), np.uint8)
    alpha[:2, :2] = 255
    assert transition_region(alpha).astype(int).tolist() == [
        [0, 1, 1, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 1, 0, 0, 0],
        [0, 0, 0, 0, 0],
    ]


@given(MASKS)
def test_distance(slow_distance: Callable[..., UInt8], region: Mask) -> None:
    before = region.copy()
    distance = transition_distance(region)
    assert distance.dtype == np.uint8
    assert np.array_equal(distance, slow_distance(region))
    assert np.array_equal(region, before)


@pytest.mark.parametrize("shape", [(200, 31), (3, 700), (700, 3), (64, 64), (65, 1), (1, 1)])
def test_distance_in_larger_images(slow_distance: Callable[..., UInt8], shape: tuple[int, int]) -> None:
    """Many rows, and further than 255 away: `min` must come before the cast to eight bits."""
    region = np.zeros(shape, np.bool_)
    region[[0, shape[0] // 8], [shape[1] // 2, shape[1] // 5]] = True
    distance = transition_distance(region)
    assert np.array_equal(distance, slow_distance(region))
    assert (distance.max() == 255) == (max(shape) == 700)


@pytest.mark.parametrize(("away", "expected"), [(254, 254), (255, 255), (256, 255), (600, 255)])
def test_distance_at_its_cap(away: int, expected: int) -> None:
    region = np.zeros((1, 601), np.bool_)
    region[0, 0] = True
    assert transition_distance(region)[0, away] == expected


@pytest.mark.parametrize("shape", [(5, 4), (1, 1)])
def test_distance_to_nothing(shape: tuple[int, int]) -> None:
    assert (transition_distance(np.zeros(shape, np.bool_)) == 255).all()


def test_distance_is_rounded_up() -> None:
    """One diagonal step is further than 1: a disc of radius 1 is a cross."""
    region = np.zeros((3, 3), np.bool_)
    region[1, 1] = True
    assert transition_distance(region).tolist() == [[2, 1, 2], [1, 0, 1], [2, 1, 2]]


@given(ALPHAS, st.integers(0, 7), st.integers(0, 7))
def test_trimap_is_the_region_dilated_by_a_disc_to_each_side(alpha: UInt8, inward: int, outward: int) -> None:
    """What is left of the sure foreground and background once the region is dilated into each."""
    region = slow_region(alpha)
    expected = np.full(alpha.shape, 128, np.uint8)
    expected[(alpha == 255) & ~dilated(region, inward)] = 255
    expected[(alpha == 0) & ~dilated(region, outward)] = 0
    assert np.array_equal(
        trimap_of(alpha, transition_distance(transition_region(alpha)), inward, outward), expected
    )


def around_a_disc() -> tuple[UInt8, UInt8]:
    """A soft-edged disc on a large canvas, and its distance map."""
    y, x = np.ogrid[:121, :131]
    alpha = np.clip((40 - np.hypot(y - 60, x - 64)) * 100, 0, 255).astype(np.uint8)
    return alpha, transition_distance(slow_region(alpha))


@pytest.mark.parametrize(("inward", "outward"), [(0, 0), (1, 9), (9, 1), (17, 4), (130, 0), (0, 130)])
def test_wide_trimaps(inward: int, outward: int) -> None:
    """Erosion and dilation each have the width that was asked for; other discs and squares have not."""
    alpha, distance = around_a_disc()
    region = slow_region(alpha)
    result = trimap_of(alpha, distance, inward, outward)
    assert np.array_equal(result == 255, (alpha == 255) & ~dilated(region, inward))
    assert np.array_equal(result == 0, (alpha == 0) & ~dilated(region, outward))
    assert set(np.unique(result)) <= {0, 128, 255}
    if inward != outward:
        assert not np.array_equal(result, trimap_of(alpha, distance, outward, inward))
    if 1 < inward < 20:
        assert not np.array_equal(result == 255, (alpha == 255) & ~dilated(region, inward - 1))


@pytest.mark.parametrize("radii", [(-1, 5), (5, -1), (255, 5), (5, 255), (5, 10_000)])
def test_radius_out_of_range(radii: tuple[int, int]) -> None:
    """255 is "at least 255 away": no radius can be told from that."""
    alpha, distance = around_a_disc()
    with pytest.raises(ValueError, match="is not in 0 to 254") as caught:
        trimap_of(alpha, distance, *radii)
    assert str(next(radius for radius in radii if radius != 5)) in str(caught.value)


@given(ALPHAS, st.integers(0, 254))
def test_background_band(alpha: UInt8, radius: int) -> None:
    """Everything that a trimap of that radius leaves unknown and that shows some foreground."""
    distance = transition_distance(slow_region(alpha))
    expected = (alpha > 0) & dilated(slow_region(alpha), min(radius, 20))
    assert np.array_equal(background_band(alpha, distance, radius), expected)
    unknown = trimap_of(alpha, distance, radius, radius) == 128
    assert not (unknown & (alpha > 0) & ~expected).any()


# ---- centers ----------------------------------------------------------------------------------------------


@given(MASKS, st.integers(0, 500))
def test_few_centers_are_all_of_the_region(region: Mask, seed: int) -> None:
    centers = sample_centers(region, seed)
    assert centers.dtype == np.uint16
    assert centers.shape == (region.sum(), 2)
    assert centers.tolist() == [[y, x] for y, x in np.ndindex(region.shape) if region[y, x]]


@given(MASKS, st.integers(0, 500), st.integers(1, 30))
def test_many_centers_are_a_sample(region: Mask, seed: int, most: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trimap, "MAX_CENTERS", most)
        centers = [tuple(center) for center in sample_centers(region, seed).tolist()]
        again = [tuple(center) for center in sample_centers(region.copy(), seed).tolist()]
    assert centers == again == sorted(set(centers))
    assert len(centers) == min(most, region.sum())
    assert all(region[center] for center in centers)


def test_sample_is_the_same_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Literal: shards of today and of next year must agree byte for byte, whatever NumPy's release."""
    monkeypatch.setattr(trimap, "MAX_CENTERS", 6)
    region = np.ones((7, 9), np.bool_)
    region[3] = False
    assert sample_centers(region, 0).tolist() == LITERAL[0]
    assert sample_centers(region, 17).tolist() == LITERAL[17]


def test_sample_is_even(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each pixel is as likely as any other: over 400 seeds, 100 draws each on average (deviation 8.7)."""
    monkeypatch.setattr(trimap, "MAX_CENTERS", 16)
    drawn = np.zeros((8, 8))
    for seed in range(400):
        y, x = sample_centers(np.ones((8, 8), np.bool_), seed).T
        drawn[y, x] += 1
    assert drawn.sum() == 16 * 400
    assert 60 < drawn.min() < drawn.max() < 140


def test_the_cap_itself() -> None:
    region = np.ones((300, 300), np.bool_)
    assert len(sample_centers(region[:, :200], 1)) == 60_000
    assert len(np.unique(sample_centers(region, 1), axis=0)) == 65_536


def test_centers_at_the_far_end_of_the_largest_image() -> None:
    """16 bits hold the last row and column that the format takes."""
    region = np.zeros((65_535, 1), np.bool_)
    region[-1] = True
    assert sample_centers(region, 0).tolist() == [[65_534, 0]]
    assert sample_centers(region.T, 0).tolist() == [[0, 65_534]]
