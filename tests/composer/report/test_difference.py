"""The pictures of a difference must not lose a pixel, whatever their size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from PIL import Image

from dimtool.composer.report.compare import difference_picture
from dimtool.composer.report.difference import amplified, close_up, difference, palette, shrunk
from dimtool.pages.assets import Assets

masks = arrays.arrays(np.uint8, arrays.array_shapes(min_dims=2, max_dims=2, max_side=40))


@given(st.data())
def test_a_difference_is_that_of_the_channel_farthest_apart(data: st.DataObject) -> None:
    shape = data.draw(arrays.array_shapes(min_dims=2, max_dims=2, max_side=6))
    first, second = (data.draw(arrays.arrays(np.uint8, (*shape, 3))) for _ in range(2))
    found = difference(first, second)
    for y, x in np.ndindex(shape):
        assert found[y, x] == max(
            abs(int(a) - int(b)) for a, b in zip(first[y, x], second[y, x], strict=True)
        )
    np.testing.assert_array_equal(difference(first[..., 0], second[..., 0]), difference(*[
        np.repeat(each[..., :1], 3, axis=2) for each in (first, second)
    ]))  # fmt: skip


def test_images_of_two_sizes_have_no_difference() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3, 3\) and \(3, 2, 3\)"):
        difference(np.zeros((2, 3, 3), np.uint8), np.zeros((3, 2, 3), np.uint8))


@given(masks)
def test_amplifying_keeps_zeros_and_order_and_makes_a_difference_of_1_visible(
    apart: NDArray[np.uint8],
) -> None:
    bright = amplified(apart)
    np.testing.assert_array_equal(bright == 0, apart == 0)
    assert bright[apart > 0].min(initial=255) >= 90
    order = np.argsort(apart, axis=None)
    assert (np.diff(bright.ravel()[order].astype(int)) >= 0).all()
    if apart.max() > 1:
        assert bright.max() == 255


def test_only_no_difference_is_black() -> None:
    brightness = palette()[0].astype(int).sum(axis=1)
    assert brightness[0] == 0
    assert brightness[90:].min() > 200
    assert (np.diff(brightness) >= 0).all()


@given(masks, st.integers(1, 50))
def test_a_small_picture_keeps_the_greatest_of_each_place(apart: NDArray[np.uint8], side: int) -> None:
    small = shrunk(apart, side)
    assert max(small.shape) <= max(side, 1)
    assert small.max() == apart.max()
    if max(apart.shape) <= side:
        np.testing.assert_array_equal(small, apart)
    # Every pixel lies in one place of the small picture, whose value is at least its own.
    for (y, x), value in np.ndenumerate(apart):
        rows, columns = (
            sum(j * length // size <= at for j in range(size)) - 1
            for at, length, size in zip((y, x), apart.shape, small.shape, strict=True)
        )
        assert small[rows, columns] >= value


@given(masks, st.integers(1, 50))
def test_a_close_up_holds_the_greatest_difference(apart: NDArray[np.uint8], side: int) -> None:
    rows, columns = close_up(apart, side)
    window = apart[rows, columns]
    assert window.shape == (rows.stop - rows.start, columns.stop - columns.start)
    assert 1 <= max(window.shape) <= max(side, 1)
    assert window.max() == apart.max()
    if max(apart.shape) <= side:
        assert window.shape == apart.shape


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 2), (400, 300)])
@pytest.mark.parametrize("corner", [0, -1])
def test_the_picture_shows_a_single_pixel_of_any_image(
    tmp_path: Path, shape: tuple[int, int], corner: int
) -> None:
    apart = np.zeros(shape, np.uint8)
    apart[corner, corner] = 1
    picture = difference_picture(apart, Assets(folder=tmp_path))
    for src in (picture.src, picture.full):
        with Image.open(tmp_path / src) as image:
            shown = np.asarray(image.convert("RGB"))
        # Orange at its place or, in the thumbnail, the frame around it.
        assert shown[corner, corner].max() > 90
    assert shown.shape[:2] == shape
    assert np.count_nonzero(shown.any(axis=2)) == 1
