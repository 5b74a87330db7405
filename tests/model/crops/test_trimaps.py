"""Trimaps as a hand paints them: wide ones occur, they change from place to place, and they stay right."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dimtool.composer.pixels.trimap import transition_distance, transition_region
from dimtool.model.crops.trimaps import draw_radii, draw_trimap, painted
from dimtool.model.crops.variation import Variation

Pixels = NDArray[np.uint8]


@pytest.mark.parametrize(("radii", "octaves"), [((1, 32), 5), ((2, 8), 2)])
def test_each_octave_of_radii_is_as_likely(radii: tuple[int, int], octaves: int) -> None:
    draw = np.random.default_rng(0)
    pairs = np.array([draw_radii(radii, Variation(radii="log"), draw) for _ in range(4000)])
    assert pairs.min() >= radii[0]
    assert pairs.max() <= radii[1]
    for side in pairs.T:
        counts, _ = np.histogram(np.log2(side), octaves)
        assert counts.min() > 0.9 * counts.mean()
    assert abs(np.corrcoef(pairs.T)[0, 1]) < 0.05  # each side has its own


def test_even_radii_are_whole_and_reach_both_ends() -> None:
    draw = np.random.default_rng(1)
    drawn = list(itertools.chain(*(draw_radii((0, 3), Variation(), draw) for _ in range(400))))
    assert set(drawn) == {0, 1, 2, 3}


def test_a_radius_of_zero_has_a_logarithm() -> None:
    draw = np.random.default_rng(2)
    drawn = list(itertools.chain(*(draw_radii((0, 8), Variation(radii="log"), draw) for _ in range(200))))
    assert 0.5 <= min(drawn) < 1 < max(drawn) <= 8


@given(st.integers(0, 10_000), st.booleans(), st.floats(0, 60), st.floats(0, 60))
@settings(max_examples=60)
def test_only_what_is_far_from_any_transition_is_known(
    draw_alpha: Callable[..., Pixels], seed: int, uneven: bool, inwards: float, outwards: float
) -> None:
    alpha = draw_alpha(seed, 80, 80, block=27)
    distance = transition_distance(transition_region(alpha)).astype(np.float32)
    trimap = draw_trimap(alpha, distance, (inwards, outwards), np.random.default_rng(seed), uneven=uneven)
    assert (alpha[trimap == 255] == 255).all()
    assert (alpha[trimap == 0] == 0).all()
    assert (trimap[distance == 0] == 128).all()
    if not uneven:
        expected = np.where((alpha == 255) & (distance > inwards), 255, 128)
        expected[(alpha == 0) & (distance > outwards)] = 0
        np.testing.assert_array_equal(trimap, expected)


@pytest.mark.parametrize("uneven", [False, True])
def test_a_soft_pixel_is_unknown_however_far_the_stored_transition_is(uneven: bool) -> None:
    # Filters make soft pixels beside those that are soft in the source.
    for soft in (1, 254):
        alpha = np.full((64, 64), 0 if soft == 1 else 255, np.uint8)
        alpha[20:24, 30] = soft
        distance = np.full((64, 64), 90, np.float32)
        trimap = draw_trimap(alpha, distance, (3, 3), np.random.default_rng(0), uneven=uneven)
        assert (trimap[alpha == soft] == 128).all()
        assert (trimap != 128).any()


def edge() -> tuple[Pixels, NDArray[np.float32]]:
    """A soft vertical edge in the middle of 160 x 160."""
    alpha = np.where(np.arange(160) < 80, 255, 0).astype(np.uint8)[None].repeat(160, 0)
    alpha[:, 80] = 128
    return alpha, transition_distance(transition_region(alpha)).astype(np.float32)


def test_uneven_bands_change_their_width() -> None:
    alpha, distance = edge()
    widths = []
    for seed in range(60):
        trimap = draw_trimap(alpha, distance, (10, 10), np.random.default_rng(seed), uneven=True)
        widths.append((trimap == 128).sum(axis=1))
    inside = np.array([np.percentile(each, 90) / np.percentile(each, 10) for each in widths])
    assert np.median(inside) > 1.5  # even bands would give 1
    assert 15 < np.median(widths) < 45  # around the 21 to 23 that the radii give, and what is painted


@given(st.integers(0, 3000))
@settings(max_examples=40)
def test_what_is_painted_touches_the_transition_region(seed: int) -> None:
    alpha, _ = edge()
    mask = painted(alpha, np.random.default_rng(seed))
    assert mask.shape == alpha.shape
    assert mask[:, 80].any()


def test_without_a_transition_pixel_nothing_is_painted() -> None:
    assert not painted(np.full((40, 40), 255, np.uint8), np.random.default_rng(0)).any()


def test_painting_reaches_as_far_as_hands_do() -> None:
    # Hand-made bands are mostly even, with patches several times as wide.
    alpha, _ = edge()
    shares = [painted(alpha, np.random.default_rng(seed)).mean() for seed in range(200)]
    assert 0.02 < np.median(shares) < 0.25
    assert max(shares) > 0.2
