"""A shard against the files that it was built from, where they are there."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from ...arrays import UInt8Image, UInt8Mask
from ...text import count
from ..building.work import fit_source
from ..pixels.composition import Compositor
from ..shards.layout import current_versions
from .originals import Original, Originals
from .subject import Subject, wrong_pixels


@dataclass
class Sources:
    """The source files of a shard, where they are there: decoded again, composed again."""

    subject: Subject

    @cached_property
    def originals(self) -> Originals | None:
        """None where the lists do not name the shard's sources."""
        entry = self.subject.task.entry
        return None if entry is None else Originals(self.subject.shard, entry)

    @cached_property
    def matte(self) -> tuple[UInt8Image, UInt8Mask] | None:
        """Foreground and alpha from their files; None where a file is not what the shard was built from."""
        if self.originals is None:
            return None
        self._tell(self.originals.foreground, None)
        self._tell(self.originals.alpha, None)
        return self.originals.matte

    @cached_property
    def compositor(self) -> Compositor | None:
        """What blends the sources' foreground over backgrounds, or None as `matte`."""
        return None if self.matte is None else Compositor(*self.matte)

    def check(self, i: int, layer: UInt8Image, stored: UInt8Image) -> None:
        """Composite `i` and its stored background against those of the source files, bit for bit."""
        if self.originals is None or (original := self.originals.background(i)) is None:
            return
        compose = self.compositor
        self._tell(original, i)
        self._check_size(i, original)
        if original.source is None or compose is None:
            return
        fitted = fit_source(original.source, *self.subject.shard.shape)
        if wrong := wrong_pixels(compose(fitted) != layer):
            what = f"it is not the composition of its sources in {count(wrong, 'pixel')}"
            self.subject.found("composition", what, composite=i)
        if wrong := wrong_pixels(fitted * self.subject.band[..., None] != stored):
            what = f"its background is not that of the source in {count(wrong, 'pixel')}"
            self.subject.found("composition", what, composite=i)

    def _check_size(self, i: int, original: Original) -> None:
        size = self.subject.background_sizes[i].tolist()
        if original.source is not None and size != [*original.source.pixels.shape[:2]]:
            what = "its background_size is not that of the source"
            self.subject.found(
                "format", what, composite=i, expected=original.source.pixels.shape[:2], found=size
            )

    def _tell(self, original: Original, i: int | None) -> None:
        """Count what was looked at, and say what is wrong with it."""
        tried = self.subject.tally.tried
        tried["source"] += 1
        tried["decoder"] += original.same_file
        if original.check == "decoder":
            versions = self.subject.shard.versions, current_versions()
            self.subject.found("decoder", original.what, composite=i, expected=versions[0], found=versions[1])
        elif original.check:
            self.subject.found(original.check, original.what, composite=i)
