"""How the sources of a build are read, where that is a choice."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

ALPHA_SOURCES = ("alpha", "alpha-a", "fg")


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How source files become pixels. The defaults are Adobe's way, for Adobe's kind of files.

    alpha_from: where the matte is: `alpha`, the grey of the matte's file; `alpha-a`, its A; `fg`, the A
    of the foreground's file. alpha_max: the value that means opaque; None for the largest that the file
    can hold. exif_transpose: whether all sources are turned upright as their EXIF tag says; None for as
    they are stored, with a tag on a foreground or a matte refused.
    """

    alpha_from: str = "alpha"
    alpha_max: int | None = None
    exif_transpose: bool | None = None

    @property
    def recorded(self) -> Reading:
        """What the pixels depend on: a tag that is passed over gives those that a refused one would."""
        return replace(self, exif_transpose=bool(self.exif_transpose))

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
        maximum = reading.alpha_max
        whole = maximum is None or (type(maximum) is int and maximum > 0)
        if reading.alpha_from not in ALPHA_SOURCES or not whole or type(reading.exif_transpose) is not bool:
            raise unknown
        return reading


ADOBE = Reading()
