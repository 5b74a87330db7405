"""Which band of a file is the matte, what means opaque, and what is refused as no matte."""

from __future__ import annotations

import io
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from dimtool.composer.sources.images import Source, SourceError, read_foreground
from dimtool.composer.sources.mattes import (
    GREY_SPREAD,
    read_alpha,
    read_prediction,
    read_trimap,
    read_truth,
)
from dimtool.composer.sources.reading import Reading

Noise = Callable[..., NDArray[np.uint8]]
READERS = [read_alpha, read_truth, read_prediction, read_trimap]


def save(pixels: NDArray[Any], path: Path, mode: str | None = None, **options: object) -> Path:
    image = Image.fromarray(pixels)
    assert mode is None or image.mode == mode
    image.save(path, **options)
    return path


def refused(read: Callable[..., Source], *arguments: object) -> str:
    with pytest.raises(SourceError) as caught:
        read(*arguments)
    message = str(caught.value)
    assert message.splitlines() == [message]
    assert message.startswith(f"{arguments[0]}")
    return message


# ---- the band ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("extension", ["png", "tif"])
@pytest.mark.parametrize("bands", [2, 3, 4])
@pytest.mark.parametrize("a", [0, 128, 255])
def test_band_0_where_the_bands_agree_and_a_is_constant(
    *, tmp_path: Path, noise: Noise, read: Callable[..., Source], extension: str, bands: int, a: int
) -> None:
    matte = noise(0, 23, 17)
    pixels = np.repeat(matte[..., None], bands, axis=2)
    if bands != 3:
        pixels[..., -1] = a
    found = read(save(pixels, tmp_path / f"a.{extension}", {2: "LA", 3: "RGB", 4: "RGBA"}[bands])).pixels
    assert np.array_equal(found, matte)
    assert (found.shape, found.dtype) == ((23, 17), np.uint8)


@pytest.mark.parametrize("bands", [2, 4])
def test_an_a_that_says_the_same_does_no_harm(tmp_path: Path, noise: Noise, bands: int) -> None:
    pixels = np.repeat(noise(0, 9, 8, 1), bands, axis=2)
    assert np.array_equal(read_alpha(save(pixels, tmp_path / "a.png")).pixels, pixels[..., 0])


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("band", [0, 1, 2])
def test_colour_beyond_what_encoders_do_to_grey_is_refused(
    tmp_path: Path, noise: Noise, read: Callable[..., Source], band: int
) -> None:
    """One pixel is enough; as much as the tolerance is grey still, and band 0 is taken."""
    pixels = np.repeat(noise(0, 23, 17, 1), 3, axis=2)
    pixels[3, 4] = 100
    pixels[3, 4, band] = 100 + GREY_SPREAD
    assert np.array_equal(read(save(pixels, tmp_path / "a.png")).pixels, pixels[..., 0])
    pixels[3, 4, band] += 1
    assert "it is coloured (its bands differ by up to 9)" in refused(read, save(pixels, tmp_path / "a.png"))


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("kind", ["colours", "white", "LA", "palette"])
def test_a_matte_in_a_is_never_mistaken_for_band_0(
    tmp_path: Path, noise: Noise, read: Callable[..., Source], kind: str
) -> None:
    path, a = tmp_path / "a.png", noise(7, 23, 17)
    if kind == "palette":
        image = Image.fromarray(a)
        image.putpalette(noise(1, 256, 3).tobytes())
        image.save(path, transparency=bytes(range(256)))
    else:
        colours = noise(3, 23, 17, {"LA": 1}.get(kind, 3))
        save(np.dstack([np.full_like(colours, 255) if kind == "white" else colours, a]), path)
    assert "matte is in A" in refused(read, path)
    assert np.array_equal(read_alpha(path, Reading(alpha_from="alpha-a")).pixels, a)
    assert np.array_equal(read_alpha(path, Reading(alpha_from="fg")).pixels, a)


def test_what_has_no_a_gives_none(tmp_path: Path, noise: Noise) -> None:
    path = save(noise(0, 5, 6, 3), tmp_path / "a.png")
    message = refused(read_alpha, path, Reading(alpha_from="fg"))
    assert "it has no A band" in message
    assert "--alpha-dir" in message


def test_a_photograph_is_called_one(tmp_path: Path, noise: Noise) -> None:
    message = refused(read_alpha, save(noise(0, 9, 8, 3), tmp_path / "a.jpg"))
    assert "if it is a photograph, name the mattes instead (a build's: --alpha-dir)" in message


@given(
    quality=st.integers(1, 100),
    subsampling=st.integers(0, 2),
    progressive=st.booleans(),
    seed=st.integers(0, 99),
)
def test_jpeg_leaves_grey_grey(
    *,
    tmp_path_factory: pytest.TempPathFactory,
    draw_alpha: Callable[..., NDArray[np.uint8]],
    quality: int,
    subsampling: int,
    progressive: bool,
    seed: int,
) -> None:
    """A matte saved as RGB in JPEG, however: what Pillow decodes in band 0, and no alarm."""
    matte = draw_alpha(seed, 40, 33)
    matte[0, :16], matte[-1, -16:] = 0, 255
    path = tmp_path_factory.mktemp("matte") / "a.jpg"
    image = Image.fromarray(np.dstack([matte] * 3))
    image.save(path, quality=quality, subsampling=subsampling, progressive=progressive)
    assert np.array_equal(read_alpha(path).pixels, np.asarray(Image.open(path))[..., 0])


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("quality", [30, 75, 95])
def test_real_mattes_in_jpeg_are_no_false_alarm(
    real_data: Path, tmp_path: Path, mode: str, quality: int
) -> None:
    for each in sorted((real_data / "alpha").iterdir())[:6]:
        Image.open(each).convert(mode).save(tmp_path / "a.jpg", quality=quality)
        alpha = read_alpha(tmp_path / "a.jpg").pixels
        assert (alpha.min(), alpha.max()) == (0, 255)


def test_real_photographs_are_never_a_matte(real_data: Path) -> None:
    for each in [*sorted((real_data / "bg").iterdir())[:40], *(real_data / "fg").iterdir()]:
        with Image.open(each) as image:
            colours = np.asarray(image.convert("RGB"))
        if np.ptp(colours, axis=2).max() > 20:  # some are black and white
            refused(read_alpha, each)


# ---- what means opaque -------------------------------------------------------------------------------------


def _written(values: NDArray[np.generic], path: Path, kind: str) -> Path:
    """Values in a container of 8 or 16 bits."""
    deep = values.astype(np.uint16 if "16" in kind else np.uint8)
    return save(deep, path.with_suffix(".tif" if "tif" in kind else ".png"))


@pytest.mark.parametrize(
    ("highest", "kind", "scale"),
    [
        (1, "png", 1), (2, "png", 2), (20, "png", 20), (100, "png", 100), (127, "png", 127),
        (255, "png16", 255), (1000, "png16", 1023), (4095, "tif16", 4095), (32_767, "png16", 32_767),
    ],
)  # fmt: skip
def test_values_far_below_full_scale_are_refused_and_the_scale_that_is_offered_is_right(
    tmp_path: Path, highest: int, kind: str, scale: int
) -> None:
    values = np.linspace(0, highest, 200).round().reshape(10, 20)
    path = _written(values, tmp_path / "a", kind)
    message = refused(read_alpha, path)
    assert f"from 0 to {highest}" in message
    assert f"pass --alpha-max {scale}" in message
    expected = [[int(Fraction(int(v) * 255, scale) + Fraction(1, 2)) for v in row] for row in values]
    assert read_alpha(path, Reading(alpha_max=scale)).pixels.tolist() == expected
    assert f"from 0 to {highest}" in refused(read_truth, path)
    assert read_prediction(path).pixels.max() < 129


@pytest.mark.parametrize(("kind", "full"), [("png", 255), ("png16", 65_535)])
def test_a_faint_matte_is_taken_by_the_option_that_is_offered(tmp_path: Path, kind: str, full: int) -> None:
    path = _written(np.array([[0, full // 3]]), tmp_path / "a", kind)
    assert "--alpha-max 65535, which takes any" in refused(read_alpha, path)
    for most in (full, 65_535):
        assert read_alpha(path, Reading(alpha_max=most)).pixels.tolist() == [[0, 85]]
    assert read_alpha(path, Reading().recorded).pixels.tolist() == [[0, 85]]


@pytest.mark.parametrize("lowest", [0, 1, 40])
@pytest.mark.parametrize("highest", [129, 180, 254])
def test_smoke_and_glass_are_taken_as_they_are(tmp_path: Path, lowest: int, highest: int) -> None:
    path = save(np.array([[lowest, highest]], np.uint8), tmp_path / "a.png")
    assert read_alpha(path).pixels.tolist() == [[lowest, highest]]


def test_values_over_the_scale_are_refused(tmp_path: Path) -> None:
    path = save(np.array([[0, 130]], np.uint8), tmp_path / "a.png")
    assert "its values reach 130, over --alpha-max 100" in refused(read_alpha, path, Reading(alpha_max=100))


def test_a_label_map_is_refused_and_taken_by_its_indices(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1, 1, 0]], np.uint8))
    image.putpalette([0, 0, 0, 128, 0, 0])
    image.save(tmp_path / "a.png")
    assert "label map of 0 to 1: pass --alpha-max 1" in refused(read_alpha, tmp_path / "a.png")
    found = read_alpha(tmp_path / "a.png", Reading(alpha_max=1)).pixels
    assert found.tolist() == [[0, 255, 255, 0]]


def test_a_grey_palette_gives_its_greys_not_its_indices(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1, 2, 0]], np.uint8))
    image.putpalette([255] * 3 + [9] * 3 + [0] * 3)
    image.save(tmp_path / "a.png")
    assert read_alpha(tmp_path / "a.png").pixels.tolist() == [[255, 9, 0, 255]]


@pytest.mark.parametrize("bits", [8, 16])
def test_a_tiff_whose_white_is_0_is_turned_round(tmp_path: Path, bits: int) -> None:
    """The file itself is made here, tag by tag: few programs write such ones."""
    full = 2**bits - 1
    path = tmp_path / "a.tif"
    path.write_bytes(_white_is_zero([[0, full], [full // 5, full]], bits))
    assert read_alpha(path).pixels.tolist() == [[255, 0], [204, 0]]
    assert read_foreground(path).pixels[..., 1].tolist() == [[255, 0], [204, 0]]


def _white_is_zero(rows: list[list[int]], bits: int) -> bytes:
    data = b"".join(value.to_bytes(bits // 8, "little") for row in rows for value in row)
    tags = [
        (256, len(rows[0])), (257, len(rows)), (258, bits), (259, 1), (262, 0), (273, 8), (277, 1),
        (278, len(rows)), (279, len(data)),
    ]  # fmt: skip
    padded = data + b"\0" * (len(data) % 2)
    stream = io.BytesIO()
    stream.write(b"II*\0" + (8 + len(padded)).to_bytes(4, "little") + padded)
    stream.write(len(tags).to_bytes(2, "little"))
    for tag, value in tags:
        stream.write(tag.to_bytes(2, "little") + b"\x03\0" + (1).to_bytes(4, "little"))
        stream.write(value.to_bytes(4, "little"))
    stream.write(bytes(4))
    return stream.getvalue()


# ---- the record of how it was read -------------------------------------------------------------------------


@given(
    st.builds(
        Reading,
        alpha_from=st.sampled_from(["alpha", "alpha-a", "fg"]),
        alpha_max=st.none() | st.integers(1, 65_535),
        exif_transpose=st.none() | st.booleans(),
    )
)
def test_a_reading_is_recorded_and_known_again(reading: Reading) -> None:
    assert Reading.of(reading.values()) == reading.recorded
    assert (reading.values() == {}) == (reading.recorded == Reading().recorded)


@pytest.mark.parametrize(
    "values",
    [
        None,
        [],
        1,
        {"x": 1},
        {"alpha_from": "?"},
        {"alpha_max": 0},
        {"alpha_max": "1"},
        {"alpha_max": 65_536},
        {"alpha_max": None},
        {"exif_transpose": 2},
    ],
)
def test_a_record_that_makes_no_sense_is_refused(values: object) -> None:
    with pytest.raises(ValueError, match="does not know"):
        Reading.of(values)
