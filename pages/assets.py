"""The images of a report: files named after their content, and what a page needs to show one."""

from __future__ import annotations

import hashlib
import io
import re
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

IMAGES = "images"
THUMBNAIL = 360  # pixels of the longer side; shown smaller, so that they are sharp on a dense screen
_OWN = re.compile(r"[0-9a-f]{16}\.(png|svg|webp)")


@dataclass(frozen=True, kw_only=True)
class Picture:
    """An image on the page, or in its place the reason why there is none (`src` empty, `alt` the reason).

    src: relative to the page. width, height: of the file, in pixels. alt: what it shows, for those who
    cannot see it. full: the same, pixel by pixel. close: whether it is enlarged until pixels are squares.
    """

    caption: str
    alt: str
    src: str = ""
    width: int = 0
    height: int = 0
    full: str = ""
    close: bool = False


@dataclass(kw_only=True)
class Assets:
    """Files in `folder`/images.

    A file is named after the hash of its content: a page that is already there keeps showing its own
    pictures until it is replaced, and equal pictures are one file.
    """

    folder: Path
    _used: set[str] = field(default_factory=set)

    def add(self, content: bytes, suffix: str) -> str:
        """Keep a file; its address relative to the page."""
        name = hashlib.sha256(content).hexdigest()[:16] + suffix
        path = self.folder / IMAGES / name
        if name not in self._used and not (path.is_file() and path.read_bytes() == content):
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
        self._used.add(name)
        return f"{IMAGES}/{name}"

    def photo(self, pixels: NDArray[np.uint8], caption: str, alt: str) -> Picture:
        """A thumbnail of (h, w) or (h, w, 3) uint8, compressed a little."""
        return self._small(thumbnail(pixels, THUMBNAIL), caption, alt)

    def linked(self, picture: Image.Image, caption: str, alt: str) -> Picture:
        """A thumbnail of a picture, and the whole of it: without loss where it is grey or has a palette."""
        small = picture.convert("RGB")
        small.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
        if picture.mode == "RGB":
            full = self.add(_encoded(picture, "WEBP", quality=92, method=2), ".webp")
        else:
            full = self.add(_encoded(picture, "PNG"), ".png")
        return replace(self._small(small, caption, alt), full=full)

    def _small(self, small: Image.Image, caption: str, alt: str) -> Picture:
        src = self.add(_encoded(small, "WEBP", quality=86, method=4), ".webp")
        return Picture(caption=caption, alt=alt, src=src, width=small.width, height=small.height)

    def exact(self, image: Image.Image, caption: str, alt: str, full: Image.Image | None = None) -> Picture:
        """A picture without loss, to be looked at close up; or, given `full`, a link to that."""
        return Picture(
            caption=caption,
            alt=alt,
            src=self.add(_encoded(image, "PNG", optimize=True), ".png"),
            width=image.width,
            height=image.height,
            full=self.add(_encoded(full, "PNG", optimize=True), ".png") if full else "",
            close=full is None,
        )

    def prune(self) -> None:
        """Remove the pictures of earlier reports; files that no report wrote stay."""
        for path in (self.folder / IMAGES).glob("*"):
            if _OWN.fullmatch(path.name) and path.name not in self._used:
                path.unlink()


def placeholder(caption: str, reason: str) -> Picture:
    """What stands where there is no picture."""
    return Picture(caption=caption, alt=reason)


def _encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def thumbnail(pixels: NDArray[np.uint8], side: int) -> Image.Image:
    """An (h, w) or (h, w, 3) array as an RGB picture of at most side x side pixels."""
    picture = Image.fromarray(np.ascontiguousarray(pixels)).convert("RGB")
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    return picture
