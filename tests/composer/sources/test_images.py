"""Files of every kind, really written, against what their pixels must become."""

from __future__ import annotations

import hashlib
import io
import re
import struct
from collections.abc import Callable
from fractions import Fraction
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from blake3 import blake3
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps

from dimtool.composer.sources.images import (
    Source,
    SourceError,
    decoder_versions,
    image_size,
    pixel_digest,
    read_background,
    read_foreground,
)
from dimtool.composer.sources.mattes import read_alpha
from dimtool.composer.sources.reading import Reading

UInt8 = NDArray[np.uint8]
Noise = Callable[..., UInt8]
Reader = Callable[[Path], Source]
HEIGHT, WIDTH = 23, 17
READERS = [read_foreground, read_alpha, read_background]


def save(pixels: NDArray[np.generic], path: Path, mode: str | None = None, **options: object) -> Path:
    image = Image.fromarray(pixels)
    assert mode is None or image.mode == mode
    image.save(path, **options)
    return path


def gray(pixels: UInt8) -> UInt8:
    """(h, w) as (h, w, 3)."""
    return np.stack([pixels] * 3, axis=-1)


def palette_file(noise: Noise, path: Path, **options: object) -> UInt8:
    """A paletted file; its colours, (h, w, 3), by a look-up of our own."""
    indices, palette = noise(1, HEIGHT, WIDTH), noise(2, 256, 3)
    image = Image.fromarray(indices)
    image.putpalette(palette.tobytes())
    assert image.mode == "P"
    image.save(path, **options)
    return palette[indices]


# ---- colours: foregrounds and backgrounds -----------------------------------------------------------------


@pytest.mark.parametrize("read", [read_foreground, read_background])
@pytest.mark.parametrize("extension", ["png", "tif", "bmp", "webp"])
def test_rgb_is_taken_as_it_is(tmp_path: Path, noise: Noise, read: Reader, extension: str) -> None:
    pixels = noise(0, HEIGHT, WIDTH, 3)
    options = {"lossless": True} if extension == "webp" else {}
    source = read(save(pixels, tmp_path / f"a.{extension}", "RGB", **options))
    assert np.array_equal(source.pixels, pixels)
    assert source.pixels.dtype == np.uint8


@pytest.mark.parametrize("read", [read_foreground, read_background])
@pytest.mark.parametrize("extension", ["png", "tif"])
def test_rgba_gives_its_colours(tmp_path: Path, noise: Noise, read: Reader, extension: str) -> None:
    """Neither premultiplied nor laid over anything: also where A is 0."""
    pixels = noise(0, HEIGHT, WIDTH, 4)
    pixels[:5, ..., 3] = 0
    source = read(save(pixels, tmp_path / f"a.{extension}", "RGBA"))
    assert np.array_equal(source.pixels, pixels[..., :3])
    assert source.pixels.flags.c_contiguous


@pytest.mark.parametrize("read", [read_foreground, read_background])
@pytest.mark.parametrize(
    "transparency", [None, 7, bytes(range(256))], ids=["opaque", "one clear", "all half clear"]
)
def test_palette_gives_its_colours(tmp_path: Path, noise: Noise, read: Reader, transparency: object) -> None:
    options = {} if transparency is None else {"transparency": transparency}
    colours = palette_file(noise, tmp_path / "a.png", **options)
    assert np.array_equal(read(tmp_path / "a.png").pixels, colours)


@pytest.mark.parametrize("read", [read_foreground, read_background])
def test_grey_is_repeated(tmp_path: Path, noise: Noise, read: Reader) -> None:
    pixels = noise(0, HEIGHT, WIDTH, 2)
    for name, values, options in (
        ("L", pixels[..., 0], {}),
        ("L", pixels[..., 0], {"transparency": 9}),
        ("LA", pixels, {}),
    ):
        source = read(save(values, tmp_path / "a.png", name, **options))
        assert np.array_equal(source.pixels, gray(pixels[..., 0]))


@pytest.mark.parametrize("read", [read_foreground, read_background])
def test_bilevel_is_black_and_white(tmp_path: Path, noise: Noise, read: Reader) -> None:
    bits = noise(0, HEIGHT, WIDTH) > 127
    source = read(save(bits, tmp_path / "a.png", "1"))
    assert np.array_equal(source.pixels, gray(bits * np.uint8(255)))


@pytest.mark.parametrize("read", [read_foreground, read_background])
def test_cmyk(tmp_path: Path, noise: Noise, read: Reader) -> None:
    """Pillow's rule, with no profile: of what K leaves, C, M and Y take their share, rounded to nearest."""
    inks = noise(0, HEIGHT, WIDTH, 4).astype(int)
    Image.frombytes("CMYK", (WIDTH, HEIGHT), bytes(inks.ravel().tolist())).save(tmp_path / "a.tif")
    light = 255 - inks[..., 3:]
    expected = light - (2 * inks[..., :3] * light + 255) // 510
    assert np.array_equal(read(tmp_path / "a.tif").pixels, expected)


@pytest.fixture(params=range(1, 9))
def tagged(request: pytest.FixtureRequest, tmp_path: Path, noise: Noise) -> tuple[int, Path]:
    """An EXIF orientation and `turned.jpg` with it; `plain.jpg` beside it, the same without."""
    image = Image.fromarray(np.repeat(noise(0, HEIGHT, WIDTH, 1), 3, axis=2))
    exif = Image.Exif()
    exif[0x0112] = request.param
    image.save(tmp_path / "plain.jpg", quality=90)
    image.save(tmp_path / "turned.jpg", quality=90, exif=exif)
    return request.param, tmp_path / "turned.jpg"


def test_exif_rotation_of_a_background_is_not_applied(tagged: tuple[int, Path]) -> None:
    """The same pixels as the file without the tag; a viewer would turn or mirror it."""
    orientation, path = tagged
    plain = read_background(path.with_name("plain.jpg")).pixels
    assert np.array_equal(read_background(path).pixels, plain)
    with Image.open(path) as opened:
        as_viewed = np.asarray(ImageOps.exif_transpose(opened))
    assert np.array_equal(as_viewed, plain) == (orientation == 1)
    assert image_size(path) == (HEIGHT, WIDTH)


@pytest.mark.parametrize("read", [read_foreground, read_alpha])
def test_exif_rotation_of_foreground_and_matte_is_asked_for(
    tagged: tuple[int, Path], read: Callable[..., Source]
) -> None:
    orientation, path = tagged
    plain = read(path.with_name("plain.jpg")).pixels
    if orientation == 1:
        assert np.array_equal(read(path).pixels, plain)
        return
    with pytest.raises(
        SourceError, match=rf"^{path}: .*EXIF.* \(orientation {orientation}\): pass --exif-transpose"
    ):
        read(path)
    assert np.array_equal(read(path, Reading(exif_transpose=False)).pixels, plain)


@pytest.mark.parametrize("read", READERS)
def test_exif_rotation_as_viewers_do_it(tagged: tuple[int, Path], read: Callable[..., Source]) -> None:
    _, path = tagged
    with Image.open(path) as opened:
        as_viewed = np.asarray(ImageOps.exif_transpose(opened))
    upright = read(path, Reading(exif_transpose=True)).pixels
    assert np.array_equal(upright, as_viewed[..., 0] if read is read_alpha else as_viewed)


@pytest.mark.parametrize("tag", [0, 9, 65535])
def test_an_exif_orientation_that_means_nothing_is_none(tmp_path: Path, noise: Noise, tag: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = tag
    Image.fromarray(noise(0, 4, 5)).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(read_alpha(tmp_path / "a.png").pixels, noise(0, 4, 5))


@pytest.mark.parametrize("read", [read_foreground, read_background])
@pytest.mark.parametrize(("extension", "options"), [("png", {}), ("jpg", {"quality": 92}), ("tif", {})])
def test_profile_changes_nothing(
    tmp_path: Path, noise: Noise, read: Reader, extension: str, options: dict[str, object]
) -> None:
    """A profile that exchanges red and blue: a conversion would show, and nothing of it is carried on."""
    pixels = noise(0, HEIGHT, WIDTH, 3)
    plain = read(save(pixels, tmp_path / f"plain.{extension}", **options))
    tagged = read(save(pixels, tmp_path / f"tagged.{extension}", icc_profile=exchanging_profile(), **options))
    with Image.open(tmp_path / f"tagged.{extension}") as image:
        found = image.info["icc_profile"]
        managed = ImageCms.profileToProfile(image, io.BytesIO(found), ImageCms.createProfile("sRGB"))
    assert np.abs(np.asarray(managed, float) - np.asarray(image)).max() > 50
    assert np.array_equal(tagged.pixels, plain.pixels)
    assert type(tagged.pixels) is np.ndarray
    assert vars(tagged).keys() == {"path", "pixels", "file_sha256"}


def exchanging_profile() -> bytes:
    """A matrix profile (ICC version 2) whose red primary is blue, and the other way round."""

    def xyz(x: float, y: float, z: float) -> bytes:
        return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in (x, y, z)))

    tags = {
        b"rXYZ": xyz(0.143, 0.061, 0.714),
        b"gXYZ": xyz(0.385, 0.717, 0.097),
        b"bXYZ": xyz(0.436, 0.222, 0.014),
        b"wtpt": xyz(0.9642, 1.0, 0.8249),
    } | {name: b"curv\0\0\0\0" + struct.pack(">IHH", 1, 0x0100, 0) for name in (b"rTRC", b"gTRC", b"bTRC")}
    table, body = struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        table += name + struct.pack(">II", 128 + 4 + 12 * len(tags) + len(body), len(data))
        body += data
    head = struct.pack(
        ">I4sI4s4s4s", 132 + 12 * len(tags) + len(body), b"\0" * 4, 0x02100000, b"mntr", b"RGB ", b"XYZ "
    )
    head += b"\0" * 12 + b"acsp" + b"\0" * 28 + xyz(0.9642, 1.0, 0.8249)[8:] + b"\0" * 48
    assert len(head) == 128
    return head + table + body


# ---- mattes -----------------------------------------------------------------------------------------------


def test_official_test_matte(tmp_path: Path, noise: Noise) -> None:
    """Three equal bands and A = 255: an alpha taken from band 3 would be opaque everywhere."""
    matte = noise(0, HEIGHT, WIDTH)
    pixels = np.dstack([matte, matte, matte, np.full_like(matte, 255)])
    assert np.array_equal(read_alpha(save(pixels, tmp_path / "a.png", "RGBA")).pixels, matte)


@pytest.mark.parametrize("extension", ["png", "tif", "bmp"])
def test_grey_alpha_is_taken_as_it_is(tmp_path: Path, noise: Noise, extension: str) -> None:
    pixels = noise(0, HEIGHT, WIDTH)
    assert np.array_equal(read_alpha(save(pixels, tmp_path / f"a.{extension}", "L")).pixels, pixels)


def test_jpeg_alpha_is_what_pillow_decodes(tmp_path: Path, noise: Noise) -> None:
    """Training mattes are JPEG: values near 0 and 255 stay as noisy as they are."""
    path = save(np.where(noise(0, HEIGHT, WIDTH) > 127, 255, 0).astype(np.uint8), tmp_path / "a.jpg", "L")
    alpha = read_alpha(path).pixels
    assert np.array_equal(alpha, np.asarray(Image.open(path)))
    assert len(np.unique(alpha)) > 2


def test_bilevel_alpha_is_0_and_255(tmp_path: Path, noise: Noise) -> None:
    bits = noise(0, HEIGHT, WIDTH) > 127
    assert np.array_equal(read_alpha(save(bits, tmp_path / "a.png", "1")).pixels, bits * np.uint8(255))


DEEP = np.arange(65536).reshape(256, 256)


@cache
def nearest_257ths() -> list[int]:
    return [int(Fraction(v, 257) + Fraction(1, 2)) for v in range(65536)]


def deep_file(path: Path, kind: str) -> Path:
    """All 65,536 values as a 16-bit PNG, a TIFF of either byte order, a 32-bit TIFF or a PGM."""
    if kind == "MM.tif":
        Image.frombytes("I;16B", (256, 256), DEEP.astype(">u2").tobytes()).save(path)
    elif kind == "32.tif":
        Image.fromarray(DEEP.astype(np.int32)).save(path)
    elif kind == "pgm":
        path.write_bytes(b"P5 256 256 65535\n" + DEEP.astype(">u2").tobytes())
    else:
        Image.fromarray(DEEP.astype(np.uint16)).save(path)
    return path


@pytest.mark.parametrize("kind", ["png", "II.tif", "MM.tif", "32.tif", "pgm"])
def test_16_bit_is_rounded_to_nearest(tmp_path: Path, kind: str) -> None:
    """Each of the 65,536 values against the exact fraction; 257 is odd, so that there are no ties."""
    expected = np.array(nearest_257ths()).reshape(256, 256)
    path = deep_file(tmp_path / f"a.{kind}", kind)
    assert np.array_equal(read_alpha(path).pixels, expected)
    assert np.array_equal(read_foreground(path).pixels, gray(expected))
    assert np.array_equal(read_background(path).pixels, gray(expected))
    for wrong in (DEEP >> 8, DEEP // 257, np.minimum(DEEP, 255), np.rint(DEEP / 256)):
        assert not np.array_equal(wrong, expected)


# ---- what is known of a source ----------------------------------------------------------------------------


@pytest.mark.parametrize("read", READERS)
def test_digests(tmp_path: Path, noise: Noise, read: Reader) -> None:
    """Of the file's bytes and of the decoded pixels: the same pixels in another file share the second one."""
    pixels = np.repeat(noise(0, HEIGHT, WIDTH, 1), 4, axis=2)
    fast = read(save(pixels, tmp_path / "fast.png", compress_level=1))
    small = read(save(pixels, tmp_path / "small.png", compress_level=9))
    for source in (fast, small):
        decoded = pixels[..., 0] if read is read_alpha else pixels[..., :3]
        by_row = b"".join(bytes(row.ravel().tolist()) for row in decoded)
        of_file, of_pixels = source.digests
        assert of_file.tobytes() == hashlib.sha256(source.path.read_bytes()).digest()
        assert of_pixels.tobytes() == blake3(by_row).digest()
        assert source.digests.shape == (2, 32)
    assert (fast.digests == small.digests).all(axis=1).tolist() == [False, True]


def test_a_pixel_digest_is_blake3_of_the_values_in_c_order(noise: Noise) -> None:
    # Published with the algorithm: of no bytes, and of the 1,025 bytes 0, 1, ... 250, 0, 1, ...
    known = {
        0: "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
        1025: "d00278ae47eb27b34faecf67b4fe263f82d5412916c1ffd97c8cb7fb814b8444",
    }
    for length, digest in known.items():
        assert pixel_digest((np.arange(length) % 251).astype(np.uint8)).hex() == digest
    pixels = noise(0, 6, 4, 3)
    for view in (pixels, pixels[::-1], pixels[:, ::2], pixels.swapaxes(0, 1), np.asfortranarray(pixels)):
        assert pixel_digest(view) == blake3(bytes(view.ravel(order="C").tolist())).digest()


def test_decoder_versions_are_known() -> None:
    versions = decoder_versions()
    assert versions["pillow"] == Image.__version__
    assert versions["numpy"] == np.__version__
    assert re.match(r"\d", versions["libjpeg"])


def test_image_size_is_height_and_width(tmp_path: Path, noise: Noise) -> None:
    assert image_size(save(noise(0, HEIGHT, WIDTH), tmp_path / "a.png")) == (HEIGHT, WIDTH)
