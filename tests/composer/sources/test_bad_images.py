"""Files that are no use as sources: each gets one line that names it and says what to do."""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from dimtool.composer.sources.images import (
    MAX_PIXELS,
    MAX_SIDE,
    Source,
    SourceError,
    check_pixels,
    image_size,
    read_background,
    read_foreground,
)
from dimtool.composer.sources.mattes import read_alpha
from dimtool.errors import DimtoolError

Noise = Callable[..., NDArray[np.uint8]]
Reader = Callable[[Path], Source | tuple[int, int]]
READERS = [read_foreground, read_alpha, read_background]


def one_line(call: Reader, path: Path) -> str:
    """The message of the SourceError: one line that names the file and says what to do."""
    with pytest.raises(SourceError) as caught:
        call(path)
    message = str(caught.value)
    assert message.count(str(path)) == 1
    assert message.splitlines() == [message]
    assert re.search(r"\b(bring|save|scale|leave|take|check)\b", message), message
    assert isinstance(caught.value, DimtoolError)
    return message


def encoded(noise: Noise, kind: str, options: dict[str, object]) -> bytes:
    """Grey in three bands: no reader has anything against it but what is damaged."""
    stream = io.BytesIO()
    Image.fromarray(np.repeat(noise(0, 64, 57, 1), 3, axis=2)).save(stream, kind, **options)
    return stream.getvalue()


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("share", [0.02, 0.3, 0.9, 0.99])
@pytest.mark.parametrize(
    "how",
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("PNG", {}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "tiff_deflate"}),
        ("BMP", {}),
    ],
    ids=lambda how: "-".join([how[0], *map(str, how[1])]),
)
def test_truncated(
    tmp_path: Path, noise: Noise, read: Reader, how: tuple[str, dict[str, object]], share: float
) -> None:
    """Never the grey or black rest of an image."""
    data = encoded(noise, *how)
    path = tmp_path / "half a file (1).img"
    path.write_bytes(data)
    assert read(path).pixels.shape[:2] == (64, 57)
    path.write_bytes(data[: int(share * len(data))])
    assert "bring the file again" in one_line(read, path)


@pytest.mark.parametrize("call", [*READERS, image_size])
def test_missing_empty_and_foreign(tmp_path: Path, call: Reader) -> None:
    assert "does not exist" in one_line(call, tmp_path / "no such.png")
    empty = tmp_path / "empty.png"
    empty.touch()
    assert "empty (0 bytes)" in one_line(call, empty)
    text = tmp_path / "text.png"
    text.write_text("this is\nno image\n")
    assert "not an image" in one_line(call, text)
    text.write_bytes(b"\x89PNG\r\n\x1a\n")
    one_line(call, text)
    folder = tmp_path / "folder.png"
    folder.mkdir()
    assert "cannot be read (Is a directory)" in one_line(call, folder)


@pytest.mark.parametrize("call", [*READERS, image_size])
@pytest.mark.parametrize(("width", "height"), [(60_000, 60_000), (10_000, 9_000), (70_000, 2), (2, 70_000)])
def test_bomb(tmp_path: Path, call: Reader, width: int, height: int) -> None:
    """A file of some 60 bytes that claims to be enormous is refused by its header."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    path = tmp_path / "bomb.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )
    assert "scale it down or leave it out" in one_line(call, path)


def test_size_limits_are_inclusive() -> None:
    assert MAX_PIXELS == 3277 * 27_305
    for height, width in ((MAX_SIDE, 1), (1, MAX_SIDE), (3277, 27_305)):
        check_pixels(height, width, "it")
    for height, width in ((MAX_SIDE + 1, 1), (1, MAX_SIDE + 1), (3277, 27_306), (3278, 27_305)):
        with pytest.raises(SourceError, match=rf"^it is {width} x {height} pixels"):
            check_pixels(height, width, "it")


@pytest.mark.parametrize("mode", ["F", "CMYK", "YCbCr", "LAB"])
def test_modes_that_are_no_matte(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (5, 4)).save(tmp_path / "a.tif")
    message = one_line(read_alpha, tmp_path / "a.tif")
    assert mode in message
    assert "8-bit grey" in message


@pytest.mark.parametrize("call", READERS)
@pytest.mark.parametrize("value", [-1, 65_536, 2**31 - 1])
def test_32_bit_values_out_of_range(tmp_path: Path, call: Reader, value: int) -> None:
    path = tmp_path / "a.tif"
    Image.fromarray(np.array([[0, value]], np.int32)).save(path)
    assert "no 8 or 16-bit grey" in one_line(call, path)


@pytest.mark.parametrize("call", READERS)
def test_file_whose_name_is_in_every_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Reader
) -> None:
    """A short relative name is named all the same."""
    monkeypatch.chdir(tmp_path)
    Image.new("F", (5, 4)).save("e", format="TIFF")
    with pytest.raises(SourceError, match=r"^e: its values"):
        call(Path("e"))


@pytest.mark.parametrize("kind", ["AVIF", "JPEG", "PNG", "TIFF", "WEBP", "GIF"])
def test_flipped_bytes_give_pixels_or_a_line(tmp_path: Path, noise: Noise, kind: str) -> None:
    """Damage of any kind: whatever the decoders raise, a build goes on with the next file."""
    try:
        data = encoded(noise, kind, {})
    except (KeyError, OSError):
        pytest.skip(f"this Pillow writes no {kind}")
    rng = np.random.default_rng(3)
    path = tmp_path / "a.img"
    refused = 0
    for _ in range(120):
        damaged = bytearray(data)
        for place in rng.integers(0, rng.choice([40, 400, len(data)]), 4):
            damaged[min(place, len(data) - 1)] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            read_background(path)
        except SourceError as error:
            refused += 1
            assert str(error).splitlines() == [str(error)]
            assert str(path) in str(error)
    assert refused
