"""What a shard holds beside what it should hold: expected, found, and the difference as pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from ...arrays import UInt8Image, UInt8Mask
from ...pages.assets import THUMBNAIL, Assets, Picture, placeholder
from ..pixels.composition import composite
from ..pixels.trimap import background_band, transition_distance, transition_region
from ..shards.dataset import known_background
from ..shards.decoder import TileDecoder, TileError
from ..shards.layout import ShardError
from ..shards.reader import Shard
from ..shards.tiles import used_tiles
from ..sources.manifest import ForegroundEntry
from ..verification.originals import Originals
from .difference import amplified, close_up, difference, palette, shrunk

_CLOSE_UP = 60  # pixels of the longer side
_MARK = (90, 200, 255)

Pixels = NDArray[np.uint8]
# An image, or the reason why there is none.
Maybe = Pixels | str


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One image: `whole` is expected, found, difference; `close` the same around the greatest difference.

    what: which image; origin: where the expected one comes from; verdict: how they differ.
    """

    what: str
    origin: str
    verdict: str
    whole: tuple[Picture, ...]
    close: tuple[Picture, ...] = ()


@dataclass
class Suspect:
    """A shard in which something was found, and its sources where the lists still name them.

    A source is used only if it is, file and pixels, what the shard was built from.
    """

    shard: Shard
    entry: ForegroundEntry | None
    assets: Assets

    @cached_property
    def _originals(self) -> Originals | None:
        return None if self.entry is None else Originals(self.shard, self.entry)

    def composites(self, numbers: Sequence[int]) -> Iterator[Comparison]:
        """Each composite of `numbers` with its background, against what they should be."""
        alpha, distance = self.shard.alpha(), self.shard.distance()
        band = background_band(alpha, distance, self.shard.header.background_radius)
        read_composite = TileDecoder(self.shard.dataset("composite"))
        read_stored = TileDecoder(self.shard.dataset("background"), used_tiles(band))
        for i in numbers:
            found, stored = _attempt(read_composite, i), _attempt(read_stored, i)
            fitted = self._originals.fitted(i) if self._originals else None
            matte = self._originals.matte if self._originals else None
            if fitted is None or matte is None:
                yield self._inside(i, found, stored)
                continue
            whole = composite(*matte, fitted)
            kept = fitted * band[..., None]
            pairs = ((self._name(i), whole, found), (f"background {i} (black: not kept)", kept, stored))
            wrong = [pair for pair in pairs if isinstance(pair[2], str) or (pair[1] != pair[2]).any()]
            for pair in wrong or pairs[:1]:
                yield self._against_source(*pair)

    def maps(self) -> Iterator[Comparison]:
        """The arrays that all composites share, where they are not what they should be."""
        foreground, alpha = self.shard.foreground(), self.shard.alpha()
        matte = (self._originals.matte if self._originals else None) or ()
        for name, expected, found in zip(("foreground", "alpha"), matte, (foreground, alpha), strict=False):
            if not np.array_equal(expected, found):
                yield self._against_source(name, expected, found)
        distance = transition_distance(transition_region(alpha))
        if not np.array_equal(distance, self.shard.distance()):
            origin = "computed again from the shard’s alpha"
            yield _compared("distance", origin, (distance, self.shard.distance()), self.assets)

    def _inside(self, i: int, found: Maybe, stored: Maybe) -> Comparison:
        """A composite against the shard's own foreground, alpha and background."""
        origin = "composed again from the shard’s own foreground, alpha and background"
        expected: Maybe = "not known: composite or background cannot be decoded"
        if not isinstance(found, str) and not isinstance(stored, str):
            alpha = self.shard.alpha()
            expected = composite(self.shard.foreground(), alpha, known_background(stored, found, alpha))
        equal = (
            "No pixel differs where alpha is over 0. Where it is 0, the composite is the only copy of its "
            "background: with the source images there (--sources), this page shows what differs."
        )
        return _compared(self._name(i), origin, (expected, found), self.assets, equal)

    def _name(self, i: int) -> str:
        return f"composite {i} over {self.shard.header.backgrounds[i]}"

    def _against_source(self, what: str, expected: Pixels, found: Maybe) -> Comparison:
        equal = (
            "No pixel differs from the sources, here or in the background: what is damaged is the digest, or "
            "the shard’s own foreground or alpha."
        )
        return _compared(what, "made again from the source images", (expected, found), self.assets, equal)


def _attempt(read: Callable[[int], UInt8Image], i: int) -> Maybe:
    try:
        return read(i)
    except (TileError, ShardError) as error:
        return f"cannot be decoded: {error}"


def _compared(
    what: str, origin: str, images: tuple[Maybe, Maybe], assets: Assets, equal: str = ""
) -> Comparison:
    """Expected and found; `equal` is what to say where no pixel differs."""
    expected, found = images
    pictures = [
        placeholder(name, image) if isinstance(image, str) else assets.photo(image, name, f"{name}: {what}")
        for name, image in (("expected", expected), ("found", found))
    ]
    if isinstance(expected, str) or isinstance(found, str):
        pictures.append(placeholder("difference", "nothing to compare"))
        verdict = "It cannot be decoded." if isinstance(found, str) else "It cannot be composed again."
        return Comparison(what=what, origin=origin, verdict=verdict, whole=tuple(pictures))
    apart = difference(expected, found)
    wrong = int(np.count_nonzero(apart))
    pictures.append(difference_picture(apart, assets))
    if not wrong:
        return Comparison(what=what, origin=origin, verdict=equal, whole=tuple(pictures))
    return Comparison(
        what=what,
        origin=origin,
        verdict=f"{wrong:,} of {apart.size:,} pixels differ, by up to {apart.max()} of 255.",
        whole=tuple(pictures),
        close=tuple(_close_ups(expected, found, apart, assets)),
    )


def difference_picture(apart: UInt8Mask, assets: Assets) -> Picture:
    """The whole difference, with a frame where the close-up lies; it links to every pixel of it."""
    wrong = int(np.count_nonzero(apart))
    bright = amplified(apart)
    # Three pixels wide, a single one is still seen where the page is narrow.
    small = _coloured(ndimage.maximum_filter(shrunk(bright, THUMBNAIL), 3)).convert("RGB")
    if wrong:
        rows, columns = close_up(apart, _CLOSE_UP)
        scale = small.width / apart.shape[1]
        frame = [
            (columns.start * scale, rows.start * scale),
            ((columns.stop - 1) * scale, (rows.stop - 1) * scale),
        ]
        ImageDraw.Draw(small).rectangle(frame, outline=_MARK, width=2)
    alt = f"difference, amplified: {wrong:,} pixels, the rest is black"
    return assets.exact(small, "difference, amplified", alt, full=_coloured(bright))


def _close_ups(expected: Pixels, found: Pixels, apart: UInt8Mask, assets: Assets) -> Iterator[Picture]:
    window = close_up(apart, _CLOSE_UP)
    where = f"rows {window[0].start} to {window[0].stop}, columns {window[1].start} to {window[1].stop}"
    for name, pixels in (("expected", expected), ("found", found)):
        image = Image.fromarray(np.ascontiguousarray(pixels[window]))
        yield assets.exact(image, f"{name}, close up", f"{name}, {where}")
    yield assets.exact(_coloured(amplified(apart)[window]), "difference, close up", f"difference, {where}")


def _coloured(bright: UInt8Mask) -> Image.Image:
    image = Image.fromarray(np.ascontiguousarray(bright))
    image.putpalette(palette().tobytes())
    return image
