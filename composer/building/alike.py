"""Whether sources read in another way are the same pixels: an option for one file spares the others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ..shards.layout import ShardHeader
from ..shards.reader import Shard
from ..sources.images import Source, SourceError, pixel_digest, read_background, read_foreground
from ..sources.manifest import ForegroundEntry
from ..sources.mattes import read_alpha


def reads_alike(shard: Shard, asked: ShardHeader, entry: ForegroundEntry) -> bool:
    """Whether a shard differs from what is asked for in how its sources were read, and that only in name."""
    there = shard.header
    if replace(there, reading=asked.reading) != asked or there.reading.alpha_from != asked.reading.alpha_from:
        return False
    digests = shard.source_digests
    built_from = [digests["foreground"][1], digests["alpha"][1], *digests["background"][:, 1]]
    turned = there.reading.exif_transpose != asked.reading.exif_transpose
    try:
        return all(
            source is None or pixel_digest(source.pixels) == digest.tobytes()
            for source, digest in zip(_sources(entry, turned), built_from, strict=True)
        )
    except SourceError:
        return False


def _sources(entry: ForegroundEntry, turned: bool) -> Iterator[Source | None]:
    """Foreground, alpha and backgrounds, but None for those that the options in question do not touch."""
    yield read_foreground(entry.foreground, entry.reading) if turned else None
    yield read_alpha(entry.alpha, entry.reading)
    for path in entry.backgrounds:
        yield read_background(path, entry.reading) if turned else None
