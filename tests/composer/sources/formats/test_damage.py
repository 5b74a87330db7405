"""JPEG damage that libjpeg decodes without a word, and sound files that look like damage."""

from __future__ import annotations

import io
import os
import socket
import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from dimtool.composer.sources.images import SourceError, image_size, read_background
from dimtool.composer.sources.mattes import read_alpha

Harm = Callable[[bytes], bytes]
KINDS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "fine": {"subsampling": 0, "quality": 97},
    "coarse": {"quality": 20, "optimize": True},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_rows": 1},
    "often restarted": {"restart_marker_blocks": 3},
}


def photograph(seed: int, height: int = 240, width: int = 320) -> Image.Image:
    """Smooth colours and some grain: codes of about as many bits as those of a photograph."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (height // 20, width // 20, 3), np.uint8))
    smooth = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC), float)
    return Image.fromarray((smooth + rng.normal(0, 6, smooth.shape)).clip(0, 255).astype(np.uint8))


def jpeg(seed: int, kind: str, mode: str = "RGB") -> bytes:
    stream = io.BytesIO()
    photograph(seed).convert(mode).save(stream, "JPEG", **KINDS[kind])
    return stream.getvalue()


def at(data: bytes, share: float) -> int:
    """A place within the codes."""
    start = data.rindex(b"\xff\xda") if data.count(b"\xff\xda") == 1 else len(data) // 4
    return start + int(share * (len(data) - start))


HARMS: dict[str, Harm] = {
    "cut and closed": lambda data: data[: at(data, 0.5)] + b"\xff\xd9",
    "cut near the end and closed": lambda data: data[: at(data, 0.95)] + b"\xff\xd9",
    "a kilobyte lost": lambda data: data[: at(data, 0.3)] + data[at(data, 0.3) + 1000 :],
    "400 bytes lost": lambda data: data[: at(data, 0.6)] + data[at(data, 0.6) + 400 :],
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("harm", HARMS)
def test_what_decodes_to_grey_or_garbage_is_named(tmp_path: Path, kind: str, harm: str) -> None:
    """Pillow alone reads it: so the test plants what it says."""
    path, found = tmp_path / "a.jpg", 0
    for seed in range(6):
        harmed = HARMS[harm](jpeg(seed, kind))
        silent = np.asarray(Image.open(io.BytesIO(harmed)))
        assert (silent != np.asarray(photograph(seed))).any()
        path.write_bytes(harmed)
        try:
            read_background(path)
        except SourceError as error:
            found += 1
            assert str(error).startswith(f"{path} is damaged (")
            assert "bring the file again" in str(error)
    # Codes go on making sense now and then, until they fit again: then no reader can know.
    assert found >= 5


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_sound_files_are_read_as_pillow_does(tmp_path: Path, kind: str, mode: str) -> None:
    path = tmp_path / "a.jpg"
    for seed in range(4):
        whole = jpeg(seed, kind, mode)
        for data in (whole, whole + b"\0" * 500, whole[:-2] + b"\0" * 100 + whole[-2:], whole + whole):
            path.write_bytes(data)
            expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
            assert np.array_equal(read_background(path).pixels, expected)


@pytest.mark.parametrize("size", [(1, 1), (7, 9), (16, 16), (17, 33)])
def test_the_smallest_are_sound(tmp_path: Path, size: tuple[int, int]) -> None:
    for value in (0, 128, 255):
        Image.new("RGB", size, (value, 0, 9)).save(tmp_path / "a.jpg")
        expected = np.asarray(Image.open(tmp_path / "a.jpg"))
        assert np.array_equal(read_background(tmp_path / "a.jpg").pixels, expected)


def test_several_pictures_in_a_file_are_sound(tmp_path: Path) -> None:
    photograph(1).save(tmp_path / "a.mpo", save_all=True, append_images=[photograph(2)])
    expected = np.asarray(Image.open(io.BytesIO((tmp_path / "a.mpo").read_bytes())))
    assert np.array_equal(read_background(tmp_path / "a.mpo").pixels, expected)


def test_real_photographs_are_sound(real_data: Path) -> None:
    for path in sorted((real_data / "bg").iterdir())[:40]:
        expected = np.asarray(Image.open(path).convert("RGB"))
        assert np.array_equal(read_background(path).pixels, expected)


# ---- what is not damaged -----------------------------------------------------------------------------------


def _info(chunk: Callable[[PngInfo], None]) -> PngInfo:
    info = PngInfo()
    chunk(info)
    return info


LONG = "node " * 300_000
PNGS: dict[str, dict[str, Any]] = {
    "a compressed text": {"pnginfo": _info(lambda info: info.add_text("workflow", LONG, zip=True))},
    "a plain text": {"pnginfo": _info(lambda info: info.add_text("prompt", LONG))},
    "an international text": {"pnginfo": _info(lambda info: info.add_itxt("x", LONG, zip=True))},
    "a text behind the pixels": {
        "pnginfo": _info(lambda info: info.add(b"zTXt", b"k\0\0" + zlib.compress(LONG.encode()), True))
    },
    "a profile": {"icc_profile": bytes(1_300_000)},
}


@pytest.mark.parametrize("kind", PNGS)
def test_a_png_with_long_texts_is_sound(
    tmp_path: Path, noise: Callable[..., NDArray[np.uint8]], kind: str
) -> None:
    pixels = noise(0, 30, 40, 3)
    Image.fromarray(pixels).save(tmp_path / "a.png", **PNGS[kind])
    assert np.array_equal(read_background(tmp_path / "a.png").pixels, pixels)
    assert image_size(tmp_path / "a.png") == (30, 40)


def test_a_png_with_long_texts_that_is_damaged_is_damaged(tmp_path: Path) -> None:
    photograph(0).save(tmp_path / "a.png", **PNGS["a compressed text"])
    data = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(SourceError, match="is damaged"):
        read_background(tmp_path / "a.png")


# ---- what is no image --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "what", "advice"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0", "a HEIC photograph", "convert it"),
        (b"\0\0\0\x18ftypisom\0\0\0\0", "a video", "take its frames out"),
        (b"\0\0\0\x18ftypcrx \0\0\0\0", "a camera's raw file", "develop it"),
        (b"\xff\x0a\0\0", "a JPEG XL image", "convert it"),
        (b"%PDF-1.7\n", "a PDF document", "convert it"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "a PostScript document", "convert it"),
        (b"PK\x03\x04", "a ZIP archive", "unpack it"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer", "git lfs pull"),
        (b'<?xml version="1.0"?>\n<svg width="9"/>', "an SVG drawing", "convert it"),
        (b"<!DOCTYPE html>", "a web page", "bring the file again"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file", "save its image"),
        (b"nothing known", "not an image that Pillow knows", "bring the file again"),
    ],
)
def test_a_foreign_file_is_called_what_it_is(tmp_path: Path, head: bytes, what: str, advice: str) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(head + bytes(600))
    for read in (read_background, read_alpha, image_size):
        with pytest.raises(SourceError, match=rf"^{path} is {what}.*: .*{advice}"):
            read(path)


def test_a_reduced_picture_of_a_raw_file_is_not_the_photograph(tmp_path: Path) -> None:
    photograph(0).save(tmp_path / "a.tif", tiffinfo={254: 1})
    with pytest.raises(SourceError, match="has a reduced picture first"):
        read_background(tmp_path / "a.tif")


@pytest.mark.parametrize("read", [read_background, read_alpha, image_size])
def test_pipes_and_sockets_keep_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Callable[[Path], object]
) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "link.jpg").symlink_to(tmp_path / "pipe.jpg")
    told: list[str] = []

    def ask() -> None:
        for name in ("pipe.jpg", "link.jpg", "socket.jpg", "device.jpg"):
            try:
                read(tmp_path / name)
            except SourceError as error:
                told.append(str(error))

    (tmp_path / "device.jpg").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as listening:
        monkeypatch.chdir(tmp_path)  # paths of sockets are short
        listening.bind("socket.jpg")
        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        thread.join(20)
    assert [line.split(" is ")[1].split(",")[0] for line in told] == [
        "a named pipe", "a named pipe", "a socket", "a device"
    ]  # fmt: skip
