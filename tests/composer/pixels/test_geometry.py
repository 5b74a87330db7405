"""Where a background lands behind a foreground, against a bicubic filter of our own and the official rule."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from dimtool.composer.pixels.composition import fit_background, fitted_size
from dimtool.composer.sources.images import MAX_PIXELS, SourceError

UInt8 = NDArray[np.uint8]
Size = tuple[int, int]  # height, width

# Foreground, background.
CASES = {
    "smaller": ((20, 30), (41, 53)),
    "larger": ((60, 50), (31, 29)),
    "wider but shorter": ((13, 61), (40, 37)),
    "taller but narrower": ((67, 12), (35, 44)),
    "equal": ((31, 47), (31, 47)),
    "equal in height": ((31, 20), (31, 47)),
    "a pixel larger": ((32, 47), (31, 46)),
    "odd": ((33, 57), (19, 21)),
    "a float over the whole number": ((29, 5), (7, 7)),
    "the other side a float over": ((100, 166), (15, 10)),
    "a background of 1 x 1": ((5, 7), (1, 1)),
    "a background one pixel wide": ((3, 9), (8, 1)),
    "a background one pixel high": ((9, 3), (1, 8)),
    "a foreground of 1 x 1": ((1, 1), (6, 5)),
    "a foreground one pixel wide": ((50, 1), (7, 9)),
}


def cubic(x: float) -> float:
    """Keys' cubic convolution with a = -1/2."""
    x = abs(x)
    if x < 1:
        return (1.5 * x - 2.5) * x * x + 1
    return ((-0.5 * x + 2.5) * x - 4) * x + 2 if x < 2 else 0.0


def weights(old: int, new: int) -> NDArray[np.float64]:
    """(new, old) weights as whole numbers of 2^-22, in float64: sums with 8-bit pixels are exact."""
    scale = old / new
    stretch = max(scale, 1.0)
    table = np.zeros((new, old))
    for i in range(new):
        center = (i + 0.5) * scale
        first = max(int(center - 2 * stretch + 0.5), 0)
        last = min(int(center + 2 * stretch + 0.5), old)
        taps = [cubic((x - center + 0.5) / stretch) for x in range(first, last)]
        total = 0.0
        for tap in taps:  # one after the other: `sum` has compensated its rounding since Python 3.12
            total += tap
        table[i, first:last] = [int(tap / total * 2**22 + math.copysign(0.5, tap)) for tap in taps]
    return table


def bicubic(image: UInt8, height: int, width: int) -> UInt8:
    """Pillow's 8-bit bicubic filter: along the rows, then along the columns, each rounded and clipped."""
    across = np.einsum("ox,yxc->yoc", weights(image.shape[1], width), image.astype(float), optimize=True)
    across = np.clip(np.floor(across / 2**22 + 0.5), 0, 255)
    down = np.einsum("oy,yxc->oxc", weights(image.shape[0], height), across, optimize=True)
    return np.clip(np.floor(down / 2**22 + 0.5), 0, 255).astype(np.uint8)


def official_fit(background: UInt8, height: int, width: int) -> UInt8:
    """The official rule, sizes as width and height as it has them."""
    h_bg, w_bg = background.shape[:2]
    ratio = max(width / w_bg, height / h_bg)
    if ratio > 1:
        background = bicubic(background, math.ceil(h_bg * ratio), math.ceil(w_bg * ratio))
    return background[0:height, 0:width]


@pytest.mark.parametrize("case", CASES)
def test_cases(noise: Callable[..., UInt8], case: str) -> None:
    size, old = CASES[case]
    background = noise(7, *old, 3)
    before = background.copy()
    fitted = fit_background(background, *size)
    assert fitted.shape == (*size, 3)
    assert fitted.dtype == np.uint8
    assert fitted.flags.c_contiguous
    assert np.array_equal(fitted, official_fit(before, *size))
    assert np.array_equal(background, before)


@given(
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.tuples(st.integers(1, 24), st.integers(1, 24)),
    st.integers(0, 2**32),
    st.booleans(),
)
def test_any_size(noise: Callable[..., UInt8], size: Size, old: Size, seed: int, hard: bool) -> None:
    """Random pixels, and black and white ones: there the filter overshoots and clips in both passes."""
    background = noise(seed, *old, 3)
    if hard:
        background = (background > 127).astype(np.uint8) * np.uint8(255)
    assert np.array_equal(fit_background(background, *size), official_fit(background, *size))


@given(
    st.tuples(st.integers(1, 300), st.integers(1, 300)),
    st.tuples(st.integers(1, 200), st.integers(1, 200)),
    st.integers(0, 2**32),
)
def test_any_size_against_pillow_in_one_step(
    noise: Callable[..., UInt8], size: Size, old: Size, seed: int
) -> None:
    """What the official code calls: the whole image enlarged, then cut."""
    background = noise(seed, *old, 3)
    new = fitted_size(*size, *old)
    whole = background if new == old else resized(background, *new)
    assert np.array_equal(fit_background(background, *size), whole[: size[0], : size[1]])


@pytest.mark.parametrize(
    ("name", "size"), [("000000001503.jpg", (527, 800)), ("000000000133.jpg", (800, 643))]
)
def test_real_photographs(real_data: Path, name: str, size: Size) -> None:
    background = np.asarray(Image.open(real_data / "bg" / name).convert("RGB"))
    assert np.array_equal(fit_background(background, *size), official_fit(background, *size))


@given(*[st.integers(1, 5000)] * 4)
def test_fitted_size(height: int, width: int, h_bg: int, w_bg: int) -> None:
    """Against exact fractions: float64 adds a row or column only where the exact size is a whole number."""
    new = fitted_size(height, width, h_bg, w_bg)
    ratio = max(Fraction(width, w_bg), Fraction(height, h_bg))
    if ratio <= 1:
        assert new == (h_bg, w_bg)
        return
    for side, old, needed in ((new[0], h_bg, height), (new[1], w_bg, width)):
        exact = ratio * old
        assert side >= needed
        assert side - math.ceil(exact) in ((0, 1) if exact.denominator == 1 else (0,))


def resized(background: UInt8, height: float, width: float, filter_: int = Image.Resampling.BICUBIC) -> UInt8:
    return np.asarray(Image.fromarray(background).resize((int(width), int(height)), filter_))


def scaled(background: UInt8, ratio: float, round_: Callable[[float], float] = math.ceil) -> UInt8:
    return resized(background, round_(background.shape[0] * ratio), round_(background.shape[1] * ratio))


def ratio_of(background: UInt8, size: Size) -> float:
    return max(size[0] / background.shape[0], size[1] / background.shape[1])


def always_resized(background: UInt8, size: Size) -> UInt8:
    return scaled(background, ratio_of(background, size))[: size[0], : size[1]]


def stretched(background: UInt8, size: Size) -> UInt8:
    return resized(background, *size) if ratio_of(background, size) > 1 else background[: size[0], : size[1]]


def from_the_centre(background: UInt8, size: Size) -> UInt8:
    large = scaled(background, max(ratio_of(background, size), 1))
    top, left = (large.shape[0] - size[0]) // 2, (large.shape[1] - size[1]) // 2
    return large[top : top + size[0], left : left + size[1]]


def smaller_ratio(background: UInt8, size: Size) -> UInt8:
    ratio = min(size[0] / background.shape[0], size[1] / background.shape[1])
    return scaled(background, max(ratio, 1))[: size[0], : size[1]]


def rounded_size(background: UInt8, size: Size) -> UInt8:
    return scaled(background, max(ratio_of(background, size), 1), round)[: size[0], : size[1]]


def exact_size(background: UInt8, size: Size) -> UInt8:
    h_bg, w_bg = background.shape[:2]
    ratio = max(Fraction(size[0], h_bg), Fraction(size[1], w_bg), Fraction(1))
    return resized(background, math.ceil(h_bg * ratio), math.ceil(w_bg * ratio))[: size[0], : size[1]]


def bilinear(background: UInt8, size: Size) -> UInt8:
    ratio = max(ratio_of(background, size), 1)
    height, width = (math.ceil(side * ratio) for side in background.shape[:2])
    return resized(background, height, width, Image.Resampling.BILINEAR)[: size[0], : size[1]]


def tiled(background: UInt8, size: Size) -> UInt8:
    repeats = [-(-side // old) for side, old in zip(size, background.shape[:2], strict=True)]
    return np.tile(background, (*repeats, 1))[: size[0], : size[1]]


@pytest.mark.parametrize(
    "rule",
    [
        always_resized,
        stretched,
        from_the_centre,
        smaller_ratio,
        rounded_size,
        exact_size,
        bilinear,
        tiled,
    ],
)
def test_other_rules_are_told_apart(
    noise: Callable[..., UInt8], rule: Callable[[UInt8, Size], UInt8]
) -> None:
    """The cases above are enough to catch what others do."""
    different = []
    for case, (size, old) in CASES.items():
        background = noise(7, *old, 3)
        if not np.array_equal(rule(background, size), official_fit(background, *size)):
            different.append(case)
    assert different


@pytest.mark.parametrize(
    ("old", "size", "enlarged"),
    [((400, 1), (10, 170), "170 x 68000"), ((10, 9), (10_000, 5), "9000 x 10000")],
    ids=["too long", "too many pixels"],
)
def test_enlarged_bomb_is_refused(noise: Callable[..., UInt8], old: Size, size: Size, enlarged: str) -> None:
    """One pixel of width behind 170 asks for 170 times the height, though only ten rows are wanted."""
    with pytest.raises(SourceError, match="leave it out") as caught:
        fit_background(noise(0, *old, 3), *size)
    assert f"is {enlarged} pixels" in str(caught.value)
    assert f"{MAX_PIXELS:,}" in str(caught.value)
    assert "\n" not in str(caught.value)
