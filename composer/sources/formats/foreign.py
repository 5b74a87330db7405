"""Files that are no image for Pillow: called what they are, with what helps."""

from __future__ import annotations

import stat
from pathlib import Path

_HEAD = 512
_CONVERT = "convert it to PNG or JPEG (ImageMagick, GIMP and most viewers do)"
DEVELOP = "develop it to TIFF or JPEG (darktable, RawTherapee or the camera's program do)"
_AGAIN = "bring the file again"

# ISO media files say after `ftyp` what they are.
_BRANDS = {
    **dict.fromkeys(
        (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"),
        ("a HEIC photograph, which Pillow does not read", "convert it to PNG or JPEG (heif-convert does)"),
    ),
    **dict.fromkeys((b"avif", b"avis"), ("an AVIF image, which this Pillow does not read", _CONVERT)),
    b"crx ": ("a camera's raw file", DEVELOP),
}
_VIDEO = ("a video", "take its frames out as images (ffmpeg does)")
_JPEG_XL = ("a JPEG XL image, which Pillow does not read", "convert it to PNG or JPEG (djxl does)")
_BEGINNINGS = {
    b"\xff\x0a": _JPEG_XL,
    b"\0\0\0\x0cJXL ": _JPEG_XL,
    b"FUJIFILMCCD-RAW": ("a camera's raw file", DEVELOP),
    b"IIRO": ("a camera's raw file", DEVELOP),
    b"IIU\0": ("a camera's raw file", DEVELOP),
    b"v/1\x01": ("an OpenEXR image, which Pillow does not read", _CONVERT),
    b"#?RADIANCE": ("a Radiance HDR image, which Pillow does not read", _CONVERT),
    b"%PDF": ("a PDF document", "convert it to PNG (pdftoppm does)"),
    b"%!PS": ("a PostScript document", "convert it to PNG (Ghostscript does)"),
    b"PK\x03\x04": ("a ZIP archive", "unpack it"),
    b"\x1f\x8b": ("a gzip archive", "unpack it"),
    b"Rar!": ("a RAR archive", "unpack it"),
    b"7z\xbc\xaf": ("a 7z archive", "unpack it"),
    b"\x93NUMPY": ("a NumPy array", "save it as PNG"),
    b"MATLAB 5.0": ("a MATLAB file", "save its image as PNG"),
    b"\x89HDF": ("an HDF5 file", "save its image as PNG"),
    b"\x1aE\xdf\xa3": _VIDEO,
    b"version https://git-lfs": ("a Git LFS pointer, not the file itself", "fetch it with `git lfs pull`"),
}


def what_is(path: Path) -> str:
    """What a file that Pillow does not know is, and what to do about it; as `X is` goes on."""
    with path.open("rb") as stream:
        return what_begins(stream.read(_HEAD))


def what_begins(head: bytes) -> str:
    """The same of a content's first bytes, 512 at least or all of it."""
    if not head:
        return f"empty (0 bytes): {_AGAIN}"
    if head[4:8] == b"ftyp":
        kind, advice = _BRANDS.get(head[8:12], _VIDEO)
        return f"{kind}: {advice}"
    for beginning, (kind, advice) in _BEGINNINGS.items():
        if head.startswith(beginning):
            return f"{kind}: {advice}"
    text = head[:_HEAD].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if b"<svg" in text:
        return "an SVG drawing: convert it to PNG (rsvg-convert and Inkscape do)"
    if text.startswith((b"<!doctype html", b"<html")):
        return f"a web page, not an image: {_AGAIN}"
    return f"not an image that Pillow knows: {_AGAIN}"


_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def special_kind(path: Path) -> str:
    """What a path is where reading it could wait for ever; empty for files and folders. Raises OSError."""
    return _KINDS.get(stat.S_IFMT(path.stat().st_mode), "")
