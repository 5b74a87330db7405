"""The background of a composite as a picture: whole, or with a mark that says that it is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ...arrays import UInt8Image, UInt8Mask
from ..shards.dataset import known_background
from ..shards.reader import Shard
from ..sources.manifest import ForegroundEntry
from ..verification.originals import Originals

_KEY, _HOLES = "Comment", "black deep inside the opaque foreground, where the background is not known"


class Backgrounds:
    """The backgrounds of one shard.

    A shard keeps a background near the matte's transition; where alpha is 0 the composite is the background.
    The rest, deep inside an opaque foreground, is known from the source images alone, where `entry` says
    which they are: one is used only if it is, file and pixels, what the shard was built from.
    """

    def __init__(self, shard: Shard, alpha: UInt8Mask, entry: ForegroundEntry | None) -> None:
        self._alpha = alpha
        self._unknown = (alpha > 0) & (shard.distance() > shard.header.background_radius)
        self._originals = Originals(shard, entry) if entry is not None else None

    def picture(self, i: int, stored: UInt8Image, composite: UInt8Image) -> tuple[UInt8Image, bool]:
        """Background `i`, (h, w, 3), and whether it is whole; else it is black where it is not known."""
        known = known_background(stored, composite, self._alpha)
        if not self._unknown.any():
            return known, True
        whole = self._originals.fitted(i) if self._originals is not None else None
        if whole is None:
            return known, False
        return np.where(self._unknown[..., None], whole, known), True


def holes_mark() -> PngInfo:
    """What a picture with holes says of itself: to people, and to an export that goes on."""
    mark = PngInfo()
    mark.add_text(_KEY, _HOLES)
    return mark


def has_holes(path: Path) -> bool:
    """Whether a background that is there says that it has holes; its header alone is read."""
    try:
        with Image.open(path) as image:
            return image.info.get(_KEY) == _HOLES
    except (OSError, ValueError, SyntaxError):  # no picture of ours; a check of it is not this one's business
        return False
