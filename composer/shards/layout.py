"""What is in a shard file, version 2: names, shapes, types. docs/format.md describes it in full."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import hdf5plugin

from ...errors import DimtoolError
from ...version import __version__
from ..sources.images import decoder_versions
from ..sources.reading import ADOBE, Reading
from .tiles import HTJ2K

FORMAT = "dimtool-shard"
VERSION = 2  # 1 had SHA-256 for the digests of pixels
BACKGROUND_RADIUS = 64

BLOSC2 = 32026  # the filter's number at the HDF Group's registry
SHARED_CODEC = hdf5plugin.Blosc2(cname="lz4hc", clevel=5, filters=hdf5plugin.Blosc2.NOFILTER)


class ShardError(DimtoolError, ValueError):
    """A file is no shard, or a broken one; the message is one line that names it and says what to do."""


@dataclass(frozen=True, kw_only=True)
class ShardHeader:
    """What a shard is of: foreground number `index` of a `split`, over these backgrounds in this order.

    first: the number of the first of them among the foreground's, not 0 in a further piece of it. reading:
    how its sources were read, as `Reading.recorded` gives it. label: see composite_name.
    """

    split: str
    index: int
    foreground: str
    backgrounds: tuple[str, ...]
    background_radius: int = BACKGROUND_RADIUS
    reading: Reading = ADOBE.recorded
    label: str = ""
    first: int = 0


def current_versions() -> dict[str, str]:
    """Versions of dimtool and of its decoders, as they are written into a shard."""
    return {"dimtool": __version__, **decoder_versions()}


class Dataset(NamedTuple):
    """How a dataset is stored.

    shape: `n` composites of `h` x `w` pixels; `m` is a length that the content decides. kind: of its
    values, as NumPy writes it. codec: the HDF5 filter of its tiles; 0 where it is not cut into tiles.
    """

    shape: tuple[str | int, ...]
    kind: str
    codec: int = 0


DATASETS = {
    "composite": Dataset(("n", "h", "w", 3), "|u1", HTJ2K),
    "background": Dataset(("n", "h", "w", 3), "|u1", HTJ2K),
    "foreground": Dataset(("h", "w", 3), "|u1", BLOSC2),
    "alpha": Dataset(("h", "w"), "|u1", BLOSC2),
    "distance": Dataset(("h", "w"), "|u1", BLOSC2),
    "centers": Dataset(("m", 2), "<u2"),
    "background_name": Dataset(("n",), "|S"),
    "background_size": Dataset(("n", 2), "<u2"),
    "background_source": Dataset(("n", 2, 32), "|u1"),
    "digest": Dataset(("n", 2, 32), "|u1"),
}

# Root attributes: a text of fixed length, a number of 64 bits, or a pair of digests, (2, 32) uint8.
ATTRIBUTES: dict[str, type[str] | type[int] | type[bytes]] = {
    "format": str,
    "version": int,
    "split": str,
    "index": int,
    "foreground": str,
    "background_radius": int,
    "versions": str,
    "label": str,  # these three only where there is something to say
    "reading": str,
    "first": int,
    "foreground_source": bytes,
    "alpha_source": bytes,
}


def filter_options(codec: int, chunk: tuple[int, ...]) -> tuple[int, ...]:
    """What HDF5 keeps with the filter of a dataset that is cut into chunks of this shape."""
    if codec == HTJ2K:
        # Columns, rows and colours, as the filter sees them: sides of 1 do not count.
        *most, last = (side for side in chunk if side > 1)
        rows, columns, colours = {0: (1, last, 1), 1: (*most, last, 1), 2: (*most, last)}[len(most)]
        return 1, 1, columns, rows, colours
    # Its revision, three that the filter fills in, the size of a chunk; level, no shuffle, LZ4HC; the shape.
    return 1, 0, 1, math.prod(chunk), 5, 0, 2, len(chunk), *chunk
