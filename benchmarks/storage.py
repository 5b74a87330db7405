"""Crops from an object store, beside the same from a disk: cold, by ranges, and through a warm cache.

    python benchmarks/storage.py shards/train s3://bucket/train [--crops 400] [--rounds 5]

Both are the same set, the second one in a store that the environment leads to (AWS_ENDPOINT_URL). One
process makes the crops of a random order from each of: the disk; the store through a cache that holds the
set, the two by turns; the store by ranges, without a cache; the store with an empty cache, where whole
shards come. All but the last are the processor's time, so that what else runs on the machine counts little.
Requests and bytes are counted where they are asked for.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from dimtool.composer.shards.dataset import CompositeDataset
from dimtool.composer.shards.reader import Shard
from dimtool.model.crops.reading import CropConfig, draw_cut, read_crop
from dimtool.storage.remote import Remote, read_url

Clock = Callable[[], float]


class Counted(Remote):
    """An object whose parts are counted as they are asked for."""

    files: ClassVar[list[Any]] = []

    def opened(self) -> Any:
        self.files.append(super().opened())
        return self.files[-1]


def positions(dataset: CompositeDataset, crops: int) -> Iterator[tuple[int, int, np.random.Generator]]:
    """Shard and composite of each crop, in a random order that is the same each time."""
    for number in np.random.default_rng(1).integers(0, len(dataset), crops).tolist():
        yield (*dataset.locate(number), np.random.default_rng([2, number]))


def seconds(dataset: CompositeDataset, crops: int, clock: Clock = time.process_time) -> float:
    """How long a process takes for so many crops; the processor's time, unless the network is to count."""
    config, started = CropConfig(), clock()
    for number, layer, draw in positions(dataset, crops):
        shard = dataset.shard(number)
        read_crop(shard, layer, draw_cut(shard, config, draw), config)
    return clock() - started


def by_ranges(url: str, dataset: CompositeDataset, crops: int) -> tuple[float, float, float]:
    """(seconds, requests, bytes) a crop where only what is read comes; each shard stays open."""
    config, shards, place = CropConfig(), dict[int, Shard](), read_url(url)
    started = time.process_time()
    for number, layer, draw in positions(dataset, crops):
        if number not in shards:
            file = place / dataset.record(number).file
            shards[number] = Shard(Counted(file.protocol, file.path))
        read_crop(shards[number], layer, draw_cut(shards[number], config, draw), config)
    took = time.process_time() - started
    caches = [file.file.cache for file in Counted.files]
    asked = sum(each.miss_count for each in caches), sum(each.total_requested_bytes for each in caches)
    return took / crops, asked[0] / crops, asked[1] / crops


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("url")
    parser.add_argument("--crops", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as cache:
        os.environ["DIMTOOL_CACHE"] = cache
        here, there = CompositeDataset(given.folder), CompositeDataset(given.url)
        size, composites = here.index.bytes, len(here)
        cold = seconds(there, given.crops, time.perf_counter)
        seconds(here, given.crops)
        pairs = [(seconds(here, given.crops), seconds(there, given.crops)) for _ in range(given.rounds)]
        disk, warm = (given.crops / statistics.median(each) for each in zip(*pairs, strict=True))
        ratio = statistics.median(mine / its for mine, its in pairs)
        took, requests, bytes_ = by_ranges(given.url, here, min(given.crops, 60))
    shards = len(here.index.shards)
    print(f"{composites:,} composites in {shards} shards, {size / 1e6:.1f} MB")
    print(f"disk            {disk:7.1f} crops/s")
    print(f"warm cache      {warm:7.1f} crops/s, {ratio:.3f} of the disk's rate (median of pairs)")
    print(
        f"cold, whole     {given.crops / cold:7.1f} crops/s over the first {given.crops}: {shards} requests, "
    )
    print(
        f"                {size / composites / 1e3:.0f} kB and {shards / composites:.3f} requests a composite"
    )
    print(
        f"cold, by ranges {1 / took:7.1f} crops/s: {bytes_ / 1e3:.0f} kB and {requests:.1f} requests a crop"
    )


if __name__ == "__main__":
    main()
