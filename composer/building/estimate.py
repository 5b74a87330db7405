"""What a build will take, from a few composites built for the purpose and thrown away."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..sources.images import SourceError
from ..sources.manifest import ForegroundEntry, Manifest
from .work import Built, ShardJob, build_shard, pixel_count

_TRIALS = 3
_MORE = 4  # backgrounds beyond the first, whose cost is a composite's; the rest is the foreground's own


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Foregrounds, composites and their pixels are counted; bytes and seconds are scaled up from a trial."""

    foregrounds: int
    composites: int
    pixels: int
    bytes: int
    seconds: float
    jobs: int


def estimate_build(manifest: Manifest, jobs: int) -> Estimate:
    """What `jobs` processes will take, from a trial: three foregrounds over one and over five backgrounds.

    They are a small, a middling and a large one.
    Raises SourceError where none of them can be built.
    """
    pixels = cache(pixel_count)  # pieces of a foreground share its matte
    sizes = {entry: size for entry in manifest.entries if (size := pixels(entry.alpha))}
    ordered = sorted(sizes, key=sizes.__getitem__)
    picked = {ordered[len(ordered) * (2 * q + 1) // (2 * _TRIALS)] for q in range(_TRIALS)} if ordered else ()
    costs = {entry: cost for entry in picked if (cost := _cost(entry, manifest.split)) is not None}
    if not costs:
        raise SourceError("no foreground of the list can be built: run the build to see why")
    # Rows: of a piece by itself, of a composite. Columns: seconds, bytes. All for each pixel.
    rates = sum(costs.values(), np.zeros((2, 2))) / sum(sizes[entry] for entry in costs)
    composed = sum(size * len(entry.backgrounds) for entry, size in sizes.items())
    seconds, size = sum(sizes.values()) * rates[0] + composed * rates[1]
    return Estimate(
        foregrounds=len({entry.index for entry in sizes}),
        composites=sum(len(entry.backgrounds) for entry in sizes),
        pixels=composed,
        bytes=round(size),
        seconds=float(seconds) / min(jobs, len(sizes)),
        jobs=jobs,
    )


def _cost(entry: ForegroundEntry, split: str) -> NDArray[np.float64] | None:
    """(2, 2): seconds and bytes of the foreground itself, and of one composite; None where it fails."""
    backgrounds = [(entry.background_names * (_MORE + 1))[:n] for n in (1, _MORE + 1)]
    paths = [(entry.backgrounds * (_MORE + 1))[:n] for n in (1, _MORE + 1)]
    one, more = (
        _measure(replace(entry, background_names=names, backgrounds=files), split)
        for names, files in zip(backgrounds, paths, strict=True)
    )
    if one is None or more is None:
        return None
    layer = np.maximum((more - one) / _MORE, 0)
    return np.stack([np.maximum(one - layer, 0), layer])


def _measure(entry: ForegroundEntry, split: str) -> NDArray[np.float64] | None:
    with tempfile.TemporaryDirectory(prefix="dimtool-") as name:
        folder = Path(name)
        started = time.perf_counter()
        outcome = build_shard(ShardJob(entry=entry, split=split, folder=folder, scratch=folder))
        seconds = time.perf_counter() - started
    return np.array([seconds, outcome.record.bytes]) if isinstance(outcome, Built) else None
