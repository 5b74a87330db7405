"""The files that a shard was built from, decoded again, where they are there and still the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...arrays import UInt8Image, UInt8Mask
from ...storage.remote import Place
from ..building.work import fit_source
from ..shards.reader import Shard
from ..sources.images import Source, SourceError, read_background, read_foreground
from ..sources.manifest import ForegroundEntry
from ..sources.mattes import read_alpha
from ..sources.reading import Reading


class Original(NamedTuple):
    """A source file decoded again: `source`, or None and the check that fails (`source`, `decoder`) and why.

    same_file: whether it is, byte for byte, what the shard was built from.
    """

    source: Source | None
    same_file: bool
    check: str = ""
    what: str = ""


@dataclass
class Originals:
    """The sources of a shard; one is used only if it is, file and pixels, what the shard was built from."""

    shard: Shard
    entry: ForegroundEntry

    @cached_property
    def foreground(self) -> Original:
        """The foreground's file."""
        return self._decode(read_foreground, self.entry.foreground, self._digests["foreground"])

    @cached_property
    def alpha(self) -> Original:
        """The matte's file."""
        return self._decode(read_alpha, self.entry.alpha, self._digests["alpha"])

    @property
    def matte(self) -> tuple[UInt8Image, UInt8Mask] | None:
        """Foreground (h, w, 3) and alpha (h, w), or None where one of them cannot be used."""
        foreground, alpha = self.foreground.source, self.alpha.source
        return None if foreground is None or alpha is None else (foreground.pixels, alpha.pixels)

    def background(self, i: int) -> Original | None:
        """The file of background `i`; None where the lists ask for fewer."""
        if i >= len(self.entry.backgrounds):
            return None
        return self._decode(read_background, self.entry.backgrounds[i], self._digests["background"][i])

    def fitted(self, i: int) -> UInt8Image | None:
        """Background `i` as it was fitted to the foreground, or None."""
        original = self.background(i)
        if original is None or original.source is None:
            return None
        return fit_source(original.source, *self.shard.shape)

    def _decode(
        self, read: Callable[[Place, Reading], Source], path: Place, digests: NDArray[np.uint8]
    ) -> Original:
        """As the shard says that its sources were read."""
        reading = self.shard.header.reading
        return decode(lambda each: read(each, reading), path, digests)

    @cached_property
    def _digests(self) -> dict[str, NDArray[np.uint8]]:
        return self.shard.source_digests


def decode(read: Callable[[Place], Source], path: Place, digests: NDArray[np.uint8]) -> Original:
    """Read a source and hold it against its two digests, of the file and of its pixels."""
    try:
        source = read(path)
    except SourceError as error:
        return Original(None, False, "source", str(error))
    same_file, same_pixels = (source.digests == digests).all(axis=1)
    if not same_file:
        pixels = "its pixels are the same" if same_pixels else "its pixels too"
        return Original(None, False, "source", f"{path} has changed since the build, {pixels}")
    if not same_pixels:
        what = f"{path} is the same file, but decodes to other pixels than when the shard was built"
        return Original(None, True, "decoder", what)
    return Original(source, True)
