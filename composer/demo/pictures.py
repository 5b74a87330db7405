"""One drawn foreground or background of a training set: what it follows from, and its files."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from ...files import part_of
from .backgrounds.settings import SETTINGS, background
from .camera import any_camera, take
from .drawing import Rng, UInt8, to_uint8
from .foregrounds.kinds import KINDS
from .palettes import PALETTES, palette
from .subjects import photograph_of

EDITION = 3  # of what is drawn from a seed: a set of another edition is not gone on with
FOREGROUND, BACKGROUND, PAIRS = range(3)  # what a seed is for
_LARGER = 1.15  # backgrounds than foregrounds, so that most need not be enlarged
_GOLDEN = 0.618_033_988_749_895

Drawer = TypeVar("Drawer")


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One foreground or background to draw: it follows from these values alone."""

    seed: int
    size: int
    number: int
    is_background: bool

    @property
    def kind(self) -> str:
        """Which of KINDS or SETTINGS it is."""
        return _in_turn(SETTINGS if self.is_background else KINDS, self.number)

    @property
    def palette(self) -> int:
        """Which palette it is painted with."""
        return int(self._rng().integers(PALETTES))

    @property
    def name(self) -> str:
        """Its name in the list."""
        return f"{self.kind}-{self.number:05}.jpg"

    def files(self) -> tuple[str, ...]:
        """Where it lies. The alpha is a PNG, so that it stays exact; it is found by its stem."""
        if self.is_background:
            return (f"bg/{self.name}",)
        return f"alpha/{Path(self.name).stem}.png", f"fg/{self.name}"

    def draw(self) -> tuple[UInt8, ...]:
        """The pixels of each of its files."""
        rng = self._rng()
        colours = palette(int(rng.integers(PALETTES)))
        shape = _shape(rng, self.size * (_LARGER if self.is_background else 1.0))
        if self.is_background:
            image = background(rng, shape, colours, SETTINGS[self.kind][0])
            return (to_uint8(take(rng, image, any_camera(rng))),)
        foreground, alpha = photograph_of(rng, KINDS[self.kind][0], colours, shape)
        return alpha, foreground

    def _rng(self) -> Rng:
        purpose = BACKGROUND if self.is_background else FOREGROUND
        return np.random.default_rng([self.seed, purpose, self.number])


def draw_picture(folder: Path, scratch: Path, picture: Picture) -> str:
    """Draw one picture into `folder`: each of its files appears complete. Returns its name.

    scratch: a folder for what is unfinished.
    """
    for file, pixels in zip(picture.files(), picture.draw(), strict=True):
        path = folder / file
        with part_of(path, scratch) as part:
            part.write_bytes(_encode(pixels, path.suffix))
    return picture.name


def _encode(pixels: UInt8, suffix: str) -> bytes:
    buffer = io.BytesIO()
    if suffix == ".png":
        Image.fromarray(pixels).save(buffer, "PNG", compress_level=6)
    else:
        Image.fromarray(pixels).save(buffer, "JPEG", quality=95, subsampling="4:4:4")
    return buffer.getvalue()


def _in_turn(kinds: dict[str, tuple[Drawer, float]], number: int) -> str:
    """Kinds spread as their shares have it, evenly over any run of numbers (the golden ratio's sequence)."""
    names, shares = list(kinds), np.cumsum([share for _, share in kinds.values()])
    place = (number * _GOLDEN + 0.5) % 1 * shares[-1]
    return names[min(int(np.searchsorted(shares, place, side="right")), len(names) - 1)]


def _shape(rng: Rng, size: float) -> tuple[int, int]:
    """Height and width about `size`, upright or not."""
    longer = size * rng.uniform(0.85, 1.1)
    sides = [round(longer), round(longer * rng.uniform(0.66, 1))]
    if rng.random() < 0.5:
        sides.reverse()
    return sides[0], sides[1]
