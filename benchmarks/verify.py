"""How fast is a full verification beside decoding what is stored, and beside the build?

    python benchmarks/verify.py [--data DIR] [--megapixels 2] [--foregrounds 4] [--per-fg 100] [--rounds 3]

One process, by turns, on the same shards, in processor time for each pixel of the composites: decoding the
composites through HDF5; decoding the kept backgrounds too; every check of the shard without its sources;
every check with them; and building the shard. Without `--data` the images are those of `../shared/data`, or
procedural ones where that is absent.
"""

import argparse
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import median

from contest import clear
from contestants import dimtool_build
from dimtool.composer.shards.index import ShardRecord, record_of
from dimtool.composer.shards.reader import Shard
from dimtool.composer.sources.manifest import ForegroundEntry
from dimtool.composer.verification.check_shard import check_shard
from dimtool.composer.verification.subject import ShardTask
from inputs import find_data, manifest_of, prepare

COMPOSITES, STORED, INSIDE, SOURCES, BUILD = (
    "composites decoded",
    "and backgrounds decoded",
    "verified in the shard",
    "verified with sources",
    "built",
)


def decode(path: Path, *stacks: str) -> None:
    """Read every image of the stacks, as any HDF5 program does."""
    with Shard(path) as shard:
        for name in stacks:
            for i in range(len(shard)):
                shard.dataset(name)[i]


def verify(folder: Path, record: ShardRecord, entry: ForegroundEntry | None) -> None:
    """All checks of a shard; with its sources where there is an entry."""
    report = check_shard(ShardTask(folder=folder, split="train", record=record, entry=entry))
    if report.tally.findings:
        raise SystemExit(f"the shard is not right: {report.tally.findings[0]}")


def runs(entry: ForegroundEntry, folder: Path, again: Path) -> dict[str, Callable[[], None]]:
    """What is timed on one shard."""
    path = folder / entry.shard_name
    record = record_of(path)

    def build() -> None:
        clear(again)
        dimtool_build(entry, again, len(entry.backgrounds))

    return {
        COMPOSITES: lambda: decode(path, "composite"),
        STORED: lambda: decode(path, "composite", "background"),
        INSIDE: lambda: verify(folder, record, None),
        SOURCES: lambda: verify(folder, record, entry),
        BUILD: build,
    }


def measure(fg_list: Path, options: argparse.Namespace) -> dict[str, list[float]]:
    """Nanoseconds a pixel of each round, over all foregrounds."""
    entries = manifest_of(fg_list, options.per_fg).entries
    shards, again = fg_list.parent / "shards", fg_list.parent / "again"
    clear(shards)
    for entry in entries:
        dimtool_build(entry, shards, len(entry.backgrounds))
    seconds: dict[str, list[float]] = defaultdict(lambda: [0.0] * options.rounds)
    pixels = 0
    for entry in entries:
        record = record_of(shards / entry.shard_name)
        pixels += record.composites * record.height * record.width
        for number in range(options.rounds):
            timed = list(runs(entry, shards, again).items())
            for name, run in timed[number:] + timed[:number]:
                started = time.process_time()
                run()
                seconds[name][number] += time.process_time() - started
    return {name: [1e9 * each / pixels for each in values] for name, values in seconds.items()}


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with fg/, alpha/, bg/ and Adobe's lists")
    parser.add_argument("--megapixels", type=float, default=2, help="size of a foreground; 0: as it is")
    parser.add_argument("--foregrounds", type=int, default=4)
    parser.add_argument("--per-fg", type=int, default=100, help="backgrounds a foreground")
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


def main() -> int:
    options = parse()
    with tempfile.TemporaryDirectory(prefix="dimtool-bench-") as name:
        root = Path(name)
        fg_list = prepare(
            find_data(options.data, root), root / "data", options.megapixels, options.foregrounds
        )
        costs = measure(fg_list, options)
    middle = {name: median(values) for name, values in costs.items()}
    for name, value in middle.items():
        print(f"{name:26}{value:7.1f} ns/pixel ({min(costs[name]):.1f} to {max(costs[name]):.1f})")
    for name, reference in ((INSIDE, COMPOSITES), (INSIDE, STORED), (SOURCES, BUILD)):
        ratios = [b / a for a, b in zip(costs[name], costs[reference], strict=True)]
        print(f"{name}, by the speed of '{reference}': {median(ratios):.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
