"""Colours, noise and JPEG: what is drawn, and how strong it comes out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from dimtool.composer.pixels.composition import composite
from dimtool.model.crops.appearance import Change, draw_change, noisy, recoloured, through_jpeg, worn
from dimtool.model.crops.layers import Layer
from dimtool.model.crops.variation import Variation

Pixels = NDArray[np.uint8]


@given(st.integers(0, 10_000), st.floats(0, 2))
def test_a_change_is_its_formula(noise: Callable[..., Pixels], seed: int, strength: float) -> None:
    change = draw_change(strength, np.random.default_rng(seed))
    colours = noise(seed, 12, 9, 3)
    moved = np.rint(np.clip(colours @ change.matrix.T + 255 * change.bias, 0, 255))
    expected = 255 * (moved / 255) ** change.gamma
    # Rounded before the curve and after it; Pillow multiplies in float32, and a curve may be steep near 0.
    off = np.abs(change(colours) - expected)
    assert np.percentile(off, 95) <= 1.01
    assert off[moved > 8].max(initial=0) <= 3


def test_no_strength_is_no_change(noise: Callable[..., Pixels]) -> None:
    colours = noise(1, 30, 30, 3)
    np.testing.assert_array_equal(draw_change(0, np.random.default_rng(0))(colours), colours)


def test_changes_one_after_the_other(noise: Callable[..., Pixels]) -> None:
    colours = noise(2, 30, 30, 3) // 2 + 60  # nothing is cut off
    first, second = (draw_change(0.3, np.random.default_rng(k)) for k in (5, 6))
    straight = second(first._replace(gamma=1.0)(colours)).astype(int)
    assert np.abs(second.after(first)(colours) - straight).max() <= 2


@given(st.integers(0, 10_000))
def test_a_linear_change_of_both_is_that_of_the_composite(
    noise: Callable[..., Pixels], draw_alpha: Callable[..., Pixels], seed: int
) -> None:
    # Where nothing is cut off: C = a F + (1 - a) B, each of the three rounded and the sum truncated.
    drawn = draw_change(1.0, np.random.default_rng(seed))
    change = Change(drawn.matrix / (2 * np.abs(drawn.matrix).sum(axis=1).max()), np.full(3, 0.3), 1.0)
    foreground, background, alpha = (
        noise(seed, 16, 16, 3),
        noise(seed + 1, 16, 16, 3),
        draw_alpha(seed, 16, 16),
    )
    before = change(composite(foreground, alpha, background)).astype(int)
    after = composite(change(foreground), alpha, change(background))
    assert np.abs(after - before).max() <= 2


def test_foreground_and_background_change_together_and_a_little_apart() -> None:
    grey = np.full((4, 4, 3), 120, np.uint8)
    layer = Layer(grey, np.full((4, 4), 255, np.uint8), np.zeros((4, 4), np.float32))
    pairs = []
    for seed in range(300):
        changed, background = recoloured(layer, grey, 1.0, np.random.default_rng(seed))
        pairs.append((changed.colours[0, 0, 1], background[0, 0, 1]))
    foregrounds, backgrounds = np.array(pairs, float).T
    assert 25 < backgrounds.std() < 70
    assert 0.6 < np.corrcoef(foregrounds, backgrounds)[0, 1] < 0.97


@pytest.mark.parametrize("deviation", [1.0, 5.0, 20.0])
def test_noise_is_normal_and_of_that_deviation(deviation: float) -> None:
    grey = np.full((200, 200, 3), 128, np.uint8)
    values = noisy(grey, deviation, np.random.default_rng(3)) - 128.0
    assert values.std() == pytest.approx(deviation, rel=0.06)
    assert abs(values.mean()) < 0.02 * deviation + 0.01
    assert np.abs(values).max() <= 3 * deviation
    assert abs(np.corrcoef(values[..., 0].ravel(), values[..., 1].ravel())[0, 1]) < 0.02


def test_noise_stops_at_black_and_white() -> None:
    for level in (0, 255):
        values = noisy(np.full((50, 50, 3), level, np.uint8), 30, np.random.default_rng(4))
        assert np.abs(values.astype(int) - level).max() < 90


def test_worse_jpegs_are_further_off() -> None:
    ramp = np.add.outer(np.arange(64), 2 * np.arange(64)).astype(np.uint8)
    image = np.stack([ramp, ramp.T, 255 - ramp], axis=2)
    off = [np.abs(through_jpeg(image, quality).astype(int) - image).mean() for quality in (30, 95)]
    assert 0 < off[1] < off[0] < 30


def test_the_share_that_is_compressed(noise: Callable[..., Pixels]) -> None:
    image = noise(5, 16, 16, 3)
    changed = [
        not np.array_equal(worn(image, Variation(jpeg=0.3), np.random.default_rng(seed)), image)
        for seed in range(400)
    ]
    assert 0.24 < np.mean(changed) < 0.36
