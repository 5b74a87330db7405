"""What an engine costs beside the work: the same build on this machine's processes and on Dask, in turns.

Wall time, and processor time of all processes that take part: driver, workers, and Dask's scheduler. Then how
many tasks a second pass through Dask that do nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dimtool.composer.building.build import build_dataset
from dimtool.composer.demo import make_demo
from dimtool.composer.engines.dask import DaskCluster
from dimtool.composer.engines.engine import Engine
from dimtool.composer.engines.local import LocalProcesses
from dimtool.composer.sources.lists import Lists
from dimtool.composer.sources.manifest import Manifest, read_manifest
from dimtool.progress import Silent

PER_SHARD = 100


@contextmanager
def cluster(folder: Path, workers: int) -> Iterator[tuple[str, list[int]]]:
    """A scheduler and workers on this machine: its address, and all their process ids."""
    file, python = folder / "scheduler.json", [sys.executable, "-m"]
    quiet = ["--host", "127.0.0.1", "--no-dashboard"]
    scheduler = [*python, "distributed.cli.dask_scheduler", *quiet, "--port", "0"]
    started = [start([*scheduler, "--scheduler-file", str(file)], folder)]
    while not file.exists():
        time.sleep(0.05)
    address: str = json.loads(file.read_text())["address"]
    worker = [*python, "distributed.cli.dask_worker", address, *quiet, "--nthreads", "1", "--no-nanny"]
    started += [start(worker, folder) for _ in range(workers)]
    try:
        yield address, [each.pid for each in started]
    finally:
        for each in started:
            each.terminate()
            each.wait()


def start(command: list[str], folder: Path) -> subprocess.Popen[bytes]:
    """A process whose libraries keep to one thread, as those of our own workers do."""
    with (folder / "log").open("ab") as log:
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        return subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env=environment)


def processor_seconds(others: list[int]) -> float:
    """Of this process, its children that have ended, and of `others`."""
    fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in others]
    ticks = sum(int(each[11]) + int(each[12]) for each in fields)
    return sum(os.times()[:4]) + ticks / os.sysconf("SC_CLK_TCK")


def timed(manifest: Manifest, folder: Path, engine: Engine, others: list[int]) -> tuple[float, float, str]:
    """Wall seconds, processor seconds and the fingerprint of a build."""
    before, started = processor_seconds(others), time.perf_counter()
    summary = build_dataset(manifest, folder, engine=engine, reporter=Silent())
    return time.perf_counter() - started, processor_seconds(others) - before, summary.fingerprint


def main() -> None:
    """Print both builds, round by round, the medians of their ratios, and the rate of empty tasks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, default=770, help="about the longer side: 770 is 0.5 MP")
    parser.add_argument("--tasks", type=int, default=100_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dimtool-") as name, cluster(Path(name), options.workers) as made:
        folder, (address, processes) = Path(name), made
        make_demo(folder / "set", size=options.size, train=options.shards, backgrounds_per_train=4)
        lists = Lists(fg_list=folder / "set/train_fg.txt", per_fg=PER_SHARD, reuse_bg=True)
        manifest = read_manifest(lists)
        with DaskCluster(address=address) as dask:
            timed(manifest, folder / "warm", dask, processes)
            ratios = []
            for round_ in range(options.rounds):
                here = LocalProcesses(workers=options.workers)
                local = timed(manifest, folder / f"local{round_}", here, [])
                there = timed(manifest, folder / f"dask{round_}", dask, processes)
                assert local[2] == there[2], "the sets differ"
                ratios.append((there[0] / local[0], there[1] / local[1]))
                print(f"local {local[0]:.2f} s, {local[1]:.2f} s of processor time; "
                      f"dask {there[0]:.2f} s, {there[1]:.2f} s")  # fmt: skip
            wall, processor = (statistics.median(each) for each in zip(*ratios, strict=True))
            print(f"dask / local: {wall:.3f} of the time, {processor:.3f} of the processor time")
            started = time.perf_counter()
            count = sum(1 for _ in dask.run(abs, range(options.tasks)))
            print(f"{count:,} empty jobs: {count / (time.perf_counter() - started):,.0f} a second")


if __name__ == "__main__":
    main()
