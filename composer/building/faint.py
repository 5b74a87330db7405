"""Mattes that are nowhere opaque, or nowhere clear: smoke and glass may be so, and a wrong scale looks so."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...text import count, some
from ..shards.index import ShardRecord
from ..shards.reader import Shard

# What JPEG and smoothing leave of 255 and 0 is no news.
_NEARLY_OPAQUE, _NEARLY_CLEAR = 240, 15


def faint_mattes(folder: Path, built: Sequence[ShardRecord]) -> list[str]:
    """A note on those of the shards just built that stay under 240, and one on those over 15 everywhere."""
    faint, veiled = [], []
    for record in built:
        with Shard(folder / record.file) as shard:
            alpha = shard.alpha()
        lowest, highest = int(alpha.min()), int(alpha.max())
        faint += [f"{record.foreground}: {highest} at most"] if highest < _NEARLY_OPAQUE else []
        veiled += [f"{record.foreground}: {lowest} at least"] if lowest > _NEARLY_CLEAR else []
    return [
        f"{count(len(found), 'matte')} nowhere {what} ({some(found)}): right for smoke, glass and the like"
        for found, what in ((faint, "opaque"), (veiled, "clear"))
        if found
    ]
