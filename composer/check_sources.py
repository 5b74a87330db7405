"""A shard against the files that it was built from, where they are there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..text import count
from .composition import composite
from .images import (
    Source,
    SourceError,
    UInt8Image,
    UInt8Mask,
    read_alpha,
    read_background,
    read_foreground,
)
from .shard import current_versions
from .subject import Subject, wrong_pixels
from .work import fit_source


@dataclass
class Sources:
    """The source files of a shard, where they are there: decoded again, composed again."""

    subject: Subject

    @cached_property
    def matte(self) -> tuple[UInt8Image, UInt8Mask] | None:
        """Foreground and alpha from their files; None where a file is not what the shard was built from."""
        entry, digests = self.subject.task.entry, self.subject.shard.source_digests
        if entry is None:
            return None
        foreground = self._decode(read_foreground, entry.foreground, digests["foreground"], None)
        alpha = self._decode(read_alpha, entry.alpha, digests["alpha"], None)
        return None if foreground is None or alpha is None else (foreground.pixels, alpha.pixels)

    @cached_property
    def background_digests(self) -> NDArray[np.uint8]:
        return self.subject.shard.source_digests["background"]

    def check(self, i: int, layer: UInt8Image, stored: UInt8Image) -> None:
        """Composite `i` and its stored background against those of the source files, bit for bit."""
        entry, matte = self.subject.task.entry, self.matte
        if entry is None or i >= len(entry.backgrounds):  # the lists ask for fewer
            return
        background = self._decode(read_background, entry.backgrounds[i], self.background_digests[i], i)
        if background is None or matte is None:
            return
        fitted = fit_source(background, *matte[1].shape)
        if wrong := wrong_pixels(composite(*matte, fitted) != layer):
            what = f"it is not the composition of its sources in {count(wrong, 'pixel')}"
            self.subject.found("composition", what, composite=i)
        if wrong := wrong_pixels(fitted * self.subject.band[..., None] != stored):
            what = f"its background is not that of the source in {count(wrong, 'pixel')}"
            self.subject.found("composition", what, composite=i)

    def _decode(
        self, read: Callable[[Path], Source], path: Path, digests: NDArray[np.uint8], i: int | None
    ) -> Source | None:
        """The decoded file, if it is byte for byte and pixel for pixel what the shard was built from."""
        tally = self.subject.tally
        tally.tried["source"] += 1
        try:
            source = read(path)
        except SourceError as error:
            self.subject.found("source", str(error), composite=i)
            return None
        same_file, same_pixels = (source.digests == digests).all(axis=1)
        if not same_file:
            pixels = "its pixels are the same" if same_pixels else "its pixels too"
            self.subject.found("source", f"{path} has changed since the build, {pixels}", composite=i)
            return None
        tally.tried["decoder"] += 1
        if not same_pixels:
            what = f"{path} is the same file, but decodes to other pixels than when the shard was built"
            versions = self.subject.shard.versions, current_versions()
            self.subject.found("decoder", what, composite=i, expected=versions[0], found=versions[1])
            return None
        return source
