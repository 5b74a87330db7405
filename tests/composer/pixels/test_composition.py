"""The blend against the official per-pixel rule: every (alpha, F, B), both paths, any shape."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from dimtool.composer.pixels.composition import Compositor, composite, fit_background
from dimtool.composer.sources.images import read_background, read_foreground
from dimtool.composer.sources.mattes import read_alpha

UInt8 = NDArray[np.uint8]
TRIPLES = 256**3
PIXELS = 86  # three bands each: enough for 256 values of B


@pytest.fixture(scope="module")
def official() -> UInt8:
    """(256, 256, 256): the official value for each alpha, F, B, from sums of Python's own products."""
    table = np.empty((256, 256, 256), np.uint8)
    for alpha in range(256):
        a = alpha / 255
        front, back = [a * f for f in range(256)], [(1 - a) * b for b in range(256)]
        table[alpha] = np.trunc(np.add.outer(front, back))
    return table


def test_table_is_the_official_loop(official: UInt8) -> None:
    """The oracle itself: all corners and 60,000 triples, with the branches and `int` as written."""
    drawn = np.random.default_rng(1).integers(0, 256, (60_000, 3))
    corners = np.stack(np.meshgrid(*[[0, 1, 127, 128, 254, 255]] * 3), axis=-1).reshape(-1, 3)
    for alpha, f, b in (*drawn.tolist(), *corners.tolist()):
        a = alpha / 255
        expected = f if a >= 1 else int(a * f + (1 - a) * b) if a > 0 else b
        assert official[alpha, f, b] == expected


def test_table_is_the_exact_quotient_but_where_that_is_whole(official: UInt8) -> None:
    """Float64 falls short of some whole numbers; the rational value decides everything else."""
    alpha, f, b = (values.astype(np.int32) for values in np.ogrid[:256, :256, :256])
    whole, rest = np.divmod(alpha * f + (255 - alpha) * b, 255)
    short = whole - official
    assert short.min() == 0
    assert short.max() == 1
    assert (rest[short == 1] == 0).all()
    for a, front, back in np.argwhere(short == 1)[::997].tolist():
        exact = Fraction(a, 255) * front + (1 - Fraction(a, 255)) * back
        assert exact.denominator == 1
        assert official[a, front, back] == exact - 1


def every_triple(f: int, fillers: int) -> tuple[UInt8, UInt8, UInt8]:
    """One row with this F and all (alpha, B); after each pixel, `fillers` with alpha 0 or 255."""
    every = 1 + fillers
    alpha = np.zeros((1, 256 * PIXELS * every), np.uint8)
    foreground = np.full((1, alpha.size, 3), f, np.uint8)
    background = np.full_like(foreground, 255 - f)
    alpha[:, 1::2] = 255
    alpha[0, ::every] = np.arange(256).repeat(PIXELS)
    values = np.minimum(np.arange(3 * PIXELS), 255).reshape(PIXELS, 3)
    background[0, ::every] = np.tile(values, (256, 1))
    return foreground, alpha, background


@pytest.mark.parametrize("fillers", [0, 7], ids=["dense", "sparse"])
def test_all_triples(official: UInt8, fillers: int) -> None:
    """All 256^3 through `composite`: 99 % of each row, or 12 %, lie between alpha 0 and 255."""
    seen = np.zeros((256, 256, 256), np.bool_)
    for top in range(0, 256, 16):
        rows = [every_triple(f, fillers) for f in range(top, top + 16)]
        foreground, alpha, background = (np.concatenate(parts) for parts in zip(*rows, strict=True))
        inside = ((alpha > 0) & (alpha < 255)).mean(axis=1)
        assert (inside < 0.125).all() if fillers else (inside > 0.9).all()
        expected = official[alpha[..., None], foreground, background]
        assert np.array_equal(composite(foreground, alpha, background), expected)
        every = np.s_[:, :: 1 + fillers]
        seen[alpha[every][..., None], foreground[every], background[every]] = True
    assert seen.all()


def float32(a: UInt8, f: UInt8, b: UInt8) -> NDArray[np.float32]:
    part = a / np.float32(255)
    return part * f + (1 - part) * b


def rounded(a: UInt8, f: UInt8, b: UInt8) -> NDArray[np.float64]:
    return np.rint(a / 255 * f + (1 - a / 255) * b)


def whole_numbers(a: UInt8, f: UInt8, b: UInt8) -> NDArray[np.int64]:
    return (a.astype(np.int64) * f + (255 - a.astype(np.int64)) * b) // 255


def divided_last(a: UInt8, f: UInt8, b: UInt8) -> NDArray[np.float64]:
    return (a.astype(float) * f + (255.0 - a) * b) / 255


def from_the_difference(a: UInt8, f: UInt8, b: UInt8) -> NDArray[np.float64]:
    return b + a / 255 * (f.astype(float) - b)


def over_256(a: UInt8, f: UInt8, b: UInt8) -> NDArray[np.float64]:
    return a / 256 * f + (1 - a / 256) * b


def swapped(a: UInt8, f: UInt8, b: UInt8) -> NDArray[np.float64]:
    return a / 255 * b + (1 - a / 255) * f


def wrapped(a: UInt8, f: UInt8, b: UInt8) -> UInt8:
    return a * f + (255 - a) * b


@pytest.mark.parametrize(
    ("rule", "share"),
    [
        (float32, 0.00148),
        (rounded, 0.487),
        (whole_numbers, 0.00074),
        (divided_last, 0.00074),
        (from_the_difference, None),
        (over_256, None),
        (swapped, None),
        (wrapped, None),
    ],
)
def test_other_rules_are_told_apart(official: UInt8, rule: Callable[..., UInt8], share: float | None) -> None:
    """Each of these is what someone has written; the share that differs is known for four of them."""
    alpha, f, b = np.ogrid[:256, :256, :256]
    a, front, back = (values.astype(np.uint8) for values in (alpha, f, b))
    wrong = np.concatenate([rule(a[i : i + 32], front, back).astype(np.uint8) for i in range(0, 256, 32)])
    different = np.count_nonzero(wrong != official) / TRIPLES
    assert different > 0
    if share is not None:
        assert different == pytest.approx(share, rel=0.01)


@given(st.integers(1, 70), st.integers(1, 40), st.integers(0, 2**32), st.sampled_from([0, 0.05, 0.3, 1]))
def test_any_shape_is_the_official_loop(
    official_loop: Callable[..., UInt8], height: int, width: int, seed: int, soft: float
) -> None:
    """Rows of both kinds in one image; inputs that are read-only views of something else stay as they are."""
    rng = np.random.default_rng(seed)
    # A foreground that lies mirrored in memory, a background that lies transposed.
    foreground = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)[:, ::-1]
    background = rng.integers(0, 256, (width, height, 3), dtype=np.uint8).swapaxes(0, 1)
    hard = rng.choice([0, 255], (height, width))
    chosen = rng.random((height, width)) < soft
    alpha = np.where(chosen, rng.integers(0, 256, (height, width)), hard).astype(np.uint8)[::-1]
    inputs = foreground, alpha, background
    for array in inputs:
        array.flags.writeable = False
    before = [array.copy() for array in inputs]
    result = composite(*inputs)
    assert result.dtype == np.uint8
    assert np.array_equal(result, official_loop(*before))
    assert all(np.array_equal(array, copy) for array, copy in zip(inputs, before, strict=True))
    assert not any(np.shares_memory(result, array) for array in inputs)


@pytest.mark.parametrize(
    ("foreground", "alpha", "background"),
    [
        ((4, 5, 3), (4, 5), (4, 6, 3)),
        ((4, 5, 3), (5, 4), (4, 5, 3)),
        ((4, 5), (4, 5), (4, 5)),
        ((4, 5, 4), (4, 5), (4, 5, 4)),
        ((4, 5, 3), (4, 5, 1), (4, 5, 3)),
        ((1, 5, 3), (4, 5), (1, 5, 3)),
    ],
)
def test_shapes_that_do_not_belong_together(
    foreground: tuple[int, ...], alpha: tuple[int, ...], background: tuple[int, ...]
) -> None:
    """NumPy would broadcast some of these without a word."""
    with pytest.raises(ValueError, match="fit the background first") as caught:
        composite(np.zeros(foreground, np.uint8), np.zeros(alpha, np.uint8), np.zeros(background, np.uint8))
    assert "\n" not in str(caught.value)
    assert all(str(shape) in str(caught.value) for shape in (foreground, alpha, background))


@pytest.mark.parametrize(
    ("foreground", "background"),
    [
        ("GT03.png", "COCO_train2014_000000000009.jpg"),  # taller than its background
        ("GT12.png", "000000001503.jpg"),  # over twice as wide as its background
        ("GT16.png", "COCO_train2014_000000000086.jpg"),  # a grey photograph
        ("GT25.png", "000000007888.jpg"),
    ],
)
def test_real_images(
    real_data: Path, official_loop: Callable[..., UInt8], foreground: str, background: str
) -> None:
    """Files to composite beside the official code's steps, on crops where the matte is soft."""
    front = Image.open(real_data / "fg" / foreground).convert("RGB")
    matte = np.asarray(Image.open(real_data / "alpha" / foreground))
    matte = matte if matte.ndim == 2 else matte[..., 0]
    back = Image.open(real_data / "bg" / background).convert("RGB")
    ratio = max(front.width / back.width, front.height / back.height)
    if ratio > 1:
        size = int(np.ceil(back.width * ratio)), int(np.ceil(back.height * ratio))
        back = back.resize(size, Image.Resampling.BICUBIC)
    cut = np.asarray(back)[: front.height, : front.width]
    alpha = read_alpha(real_data / "alpha" / foreground).pixels
    ours = composite(
        read_foreground(real_data / "fg" / foreground).pixels,
        alpha,
        fit_background(read_background(real_data / "bg" / background).pixels, *alpha.shape),
    )
    assert ours.shape == (front.height, front.width, 3)
    soft = np.argwhere((matte > 0) & (matte < 255))
    for y, x in (soft[len(soft) // 3], soft[len(soft) // 2], soft[-1], (0, 0)):
        crop = np.s_[max(y - 25, 0) : y + 25, max(x - 25, 0) : x + 25]
        expected = official_loop(np.asarray(front)[crop], matte[crop], cut[crop])
        assert np.array_equal(ours[crop], expected)


@pytest.mark.parametrize("keep", [0, 40_000, 64_000_000])
def test_a_compositor_used_again_and_again_gives_what_a_new_one_gives(keep: int) -> None:
    """Whatever it keeps of the foreground: nothing, some rows, or all."""
    rng = np.random.default_rng(3)
    foreground = rng.integers(0, 256, (90, 70, 3), dtype=np.uint8)
    alpha = rng.integers(0, 256, (90, 70), dtype=np.uint8)
    alpha[:40], alpha[40:60, :60] = np.where(alpha[:40] > 128, 255, 0), 0  # rows with few between, and none
    compose = Compositor(foreground, alpha, keep=keep)
    for _ in range(3):
        background = rng.integers(0, 256, foreground.shape, dtype=np.uint8)
        a = alpha[..., None] / 255
        expected = (a * foreground + (1 - a) * background).astype(np.uint8)
        assert np.array_equal(compose(background), expected)
