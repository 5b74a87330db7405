"""How the sources of a build are read, where that is a choice."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

ALPHA_SOURCES = ("alpha", "alpha-a", "fg")

ANY_ALPHA = 65_535
"""As alpha_max: opaque is what the file can hold at most, and any matte is taken."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How source files become pixels. The defaults are Adobe's way, for Adobe's kind of files.

    alpha_from: where the matte is: `alpha`, the grey of the matte's file; `alpha-a`, its A; `fg`, the A
    of the foreground's file. alpha_max: the value that means opaque, where the file can hold so much; None
    for the largest that it can hold, with mattes refused that stay far below. exif_transpose: whether all
    sources are turned upright as their EXIF tag says; None for as they are stored, with a tag on a
    foreground or a matte refused.
    """

    alpha_from: str = "alpha"
    alpha_max: int | None = None
    exif_transpose: bool | None = None

    @property
    def recorded(self) -> Reading:
        """What the pixels depend on: what is only refused or let pass makes no others."""
        return replace(self, alpha_max=self.alpha_max or ANY_ALPHA, exif_transpose=bool(self.exif_transpose))

    def __str__(self) -> str:
        """As options."""
        values = self.values()
        options = [f"--{key.replace('_', '-')} {value}" for key, value in values.items() if value is not True]
        turned = ["--exif-transpose"] if self.exif_transpose else []
        return " ".join([*options, *turned]) or "no option"

    def values(self) -> dict[str, Any]:
        """What is not Adobe's way, by name: what shard and index say."""
        usual = asdict(ADOBE.recorded)
        return {key: value for key, value in asdict(self.recorded).items() if value != usual[key]}

    @classmethod
    def of(cls, values: object) -> Reading:
        """What `values` gave. Raises ValueError."""
        unknown = ValueError(f"its sources were read in a way that this release does not know: {values}")
        if not isinstance(values, dict) or values.keys() - asdict(ADOBE).keys():
            raise unknown
        reading = replace(ADOBE.recorded, **values)
        whole = type(reading.alpha_max) is int and 0 < reading.alpha_max <= ANY_ALPHA
        if reading.alpha_from not in ALPHA_SOURCES or not whole or type(reading.exif_transpose) is not bool:
            raise unknown
        return reading


ADOBE = Reading()
