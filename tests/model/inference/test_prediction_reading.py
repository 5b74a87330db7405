"""What `dimtool predict` reads: photographs and trimaps of every mode, depth and orientation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import dimtool
from dimtool.model.inference.pairs import Pair, PairError, read_pair

UInt8 = NDArray[np.uint8]


def grey_of(mode: str, grey: UInt8) -> tuple[NDArray[np.generic], UInt8]:
    """Pixels as a file of that mode holds them, and the colours that they must become."""
    colours = np.dstack([grey] * 3)
    if mode == "I;16":
        wide = np.random.default_rng(8).integers(0, 65536, grey.shape).astype(np.uint16)
        return wide, np.dstack([np.rint(wide / 257).astype(np.uint8)] * 3)
    if mode == "1":
        return grey > 99, np.where(colours > 99, 255, 0).astype(np.uint8)
    return {"L": grey, "LA": np.dstack([grey, 255 - grey])}[mode], colours


@pytest.mark.parametrize("mode", ["L", "LA", "1", "I;16"])
def test_grey_photographs_of_any_depth(pictures, pair, mode):
    pixels, expected = grey_of(mode, pictures.image(7)[..., 0])
    pictures.save(pixels, pair.image)
    with Image.open(pair.image) as image:
        assert image.mode == mode
    assert np.array_equal(read_pair(pair)[0], expected)


def test_colours_with_alpha_a_palette_and_cmyk(pictures, pair, tmp_path):
    colours = pictures.image(3) // 128 * 255  # of eight colours a palette loses none
    rgba = Pair(
        pictures.save(np.dstack([colours, pictures.image()[..., 0]]), tmp_path / "rgba.png"), pair.trimap
    )
    Image.fromarray(colours).quantize(8).save(tmp_path / "p.png")
    ink = Image.fromarray(np.dstack([255 - colours, 0 * colours[..., :1]]), "CMYK")
    ink.save(tmp_path / "cmyk.tif")
    for path, mode in ((rgba.image, "RGBA"), (tmp_path / "p.png", "P"), (tmp_path / "cmyk.tif", "CMYK")):
        with Image.open(path) as image:
            assert image.mode == mode
        assert np.array_equal(read_pair(Pair(path, pair.trimap))[0], colours)


@pytest.mark.parametrize("kind", ["RGB", "RGBA", "LA", "P", "I;16"])
def test_trimaps_of_any_mode(pictures, pair, tmp_path, kind):
    trimap = pictures.trimap()
    opaque = np.full_like(trimap, 255)
    pixels = {
        "RGB": np.dstack([trimap] * 3),
        "RGBA": np.dstack([trimap, trimap, trimap, opaque]),
        "LA": np.dstack([trimap, opaque]),
        "I;16": trimap.astype(np.uint16) * 257,
    }
    path = tmp_path / "trimap.png"
    if kind == "P":
        Image.fromarray(pixels["RGB"]).quantize(3).save(path)
    else:
        pictures.save(pixels[kind], path)
    with Image.open(path) as image:
        assert image.mode == kind
    assert np.array_equal(read_pair(Pair(pair.image, path))[1], trimap)


# Where each stored pixel is shown, by the EXIF standard: (what the 0th row is, what the 0th column is).
TURNED: dict[int, Callable[[UInt8], UInt8]] = {
    1: lambda x: x,  # top, left
    2: lambda x: x[:, ::-1],  # top, right
    3: lambda x: x[::-1, ::-1],  # bottom, right
    4: lambda x: x[::-1],  # bottom, left
    5: lambda x: x.swapaxes(0, 1),  # left, top
    6: lambda x: x.swapaxes(0, 1)[:, ::-1],  # right, top
    7: lambda x: x.swapaxes(0, 1)[::-1, ::-1],  # right, bottom
    8: lambda x: x.swapaxes(0, 1)[::-1],  # left, bottom
}


def tagged(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize("orientation", TURNED)
def test_photograph_and_trimap_are_turned_upright_each_by_its_own_tag(pictures, pair, orientation):
    image, trimap, turn = pictures.image(), pictures.trimap(), TURNED[orientation]
    pictures.save(image, pair.image, exif=tagged(orientation))
    pictures.save(trimap, pair.trimap, exif=tagged(orientation))
    read = read_pair(pair)
    assert np.array_equal(read[0], turn(image)) and np.array_equal(read[1], turn(trimap))
    pictures.save(
        np.ascontiguousarray(turn(trimap)), pair.trimap
    )  # upright already, as most programs write it
    assert np.array_equal(read_pair(pair)[1], turn(trimap))


def test_a_trimap_of_the_stored_photograph_does_not_fit_the_upright_one(pictures, pair):
    pictures.save(pictures.image(), pair.image, exif=tagged(6))
    message = (
        rf"^{pair.trimap} is 50 x 37 and {pair.image} 37 x 50 pixels, each turned by its own EXIF tag: "
        "make the trimap of the whole image, as viewers show it$"
    )
    with pytest.raises(PairError, match=message):
        read_pair(pair)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([127], r"has 1 value beside 0, 128 and 255: 127; save it without smoothing or JPEG, or give --thr"),
        ([1, 2, 3, 129, 200, 254], r"has 6 values beside 0, 128 and 255: 1, 2, 3, 129, 200 \.\.\.;"),
    ],
)
def test_a_trimap_of_other_values_is_refused_with_them(pictures, pair, values, message):
    trimap = pictures.trimap()
    trimap[0, : len(values)] = values
    pictures.save(trimap, pair.trimap)
    with pytest.raises(PairError, match=rf"^{pair.trimap} {message}"):
        read_pair(pair)


def test_with_a_threshold_it_is_taken(pictures, pair):
    ramp = np.arange(256, dtype=np.uint8).reshape(8, 32)
    pictures.save(pictures.image(0, 8, 32), pair.image)
    pictures.save(ramp, pair.trimap)
    expected = [0] * 26 + [128] * 204 + [255] * 26
    assert read_pair(pair, threshold=True)[1].ravel().tolist() == expected


def test_a_coloured_trimap_is_refused(pictures, pair):
    colours = np.zeros((*pictures.SIZE, 3), np.uint8)
    colours[:9, :, 0], colours[9:, :, 1] = 255, 255
    pictures.save(colours, pair.trimap)
    with pytest.raises(
        dimtool.errors.DimtoolError, match=rf"^{pair.trimap}: it is coloured .*: save it in grey"
    ):
        read_pair(pair)
