"""Mattes that are nowhere opaque, or nowhere clear: smoke and glass may be so, and a wrong scale looks so."""

from __future__ import annotations

from collections.abc import Iterable

from ...text import count, some
from .work import Built

# What JPEG and smoothing leave of 255 and 0 is no news.
_NEARLY_OPAQUE, _NEARLY_CLEAR = 240, 15


def faint_mattes(built: Iterable[Built]) -> list[str]:
    """A note on those of the mattes just built that stay under 240, and one on those over 15 everywhere."""
    faint, veiled = [], []
    ranges = {(each.record.index, each.record.foreground): each.alpha_range for each in built}
    for (_, foreground), (lowest, highest) in sorted(ranges.items()):
        faint += [f"{foreground}: {highest} at most"] if highest < _NEARLY_OPAQUE else []
        veiled += [f"{foreground}: {lowest} at least"] if lowest > _NEARLY_CLEAR else []
    return [
        f"{count(len(found), 'matte')} nowhere {what} ({some(found)}): right for smoke, glass and the like"
        for found, what in ((faint, "opaque"), (veiled, "clear"))
        if found
    ]
