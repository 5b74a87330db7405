"""What is in a shard file, version 1: names, shapes, types. docs/format.md describes it in full."""

from __future__ import annotations

from dataclasses import dataclass

import hdf5plugin

from ...errors import DimtoolError
from ...version import __version__
from ..sources.images import decoder_versions
from ..sources.reading import ADOBE, Reading

FORMAT = "dimtool-shard"


VERSION = 1


BACKGROUND_RADIUS = 64


SHARED_CODEC = hdf5plugin.Blosc2(cname="lz4hc", clevel=5, filters=hdf5plugin.Blosc2.NOFILTER)


class ShardError(DimtoolError, ValueError):
    """A file is no shard, or a broken one; the message is one line that names it and says what to do."""


@dataclass(frozen=True, kw_only=True)
class ShardHeader:
    """What a shard is of: foreground number `index` of a `split`, over these backgrounds in this order.

    reading: how its sources were read, as `Reading.recorded` gives it. label: see composite_name.
    """

    split: str
    index: int
    foreground: str
    backgrounds: tuple[str, ...]
    background_radius: int = BACKGROUND_RADIUS
    reading: Reading = ADOBE.recorded
    label: str = ""


def current_versions() -> dict[str, str]:
    """Versions of dimtool and of its decoders, as they are written into a shard."""
    return {"dimtool": __version__, **decoder_versions()}


def datasets_of(count: int, height: int, width: int) -> dict[str, tuple[tuple[int | None, ...], str]]:
    """Shape and kind of type of each dataset of a shard; None is a length that the content decides."""
    image, mask = ((height, width, 3), "u1"), ((height, width), "u1")
    return {
        "composite": ((count, height, width, 3), "u1"),
        "background": ((count, height, width, 3), "u1"),
        "foreground": image,
        "alpha": mask,
        "distance": mask,
        "centers": ((None, 2), "u2"),
        "background_name": ((count,), "S"),
        "background_size": ((count, 2), "u2"),
        "background_source": ((count, 2, 32), "u1"),
        "digest": ((count, 2, 32), "u1"),
    }
