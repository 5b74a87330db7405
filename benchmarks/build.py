"""How fast, how small, how lean is `build-dataset` beside what people use?

    python benchmarks/build.py [--quick] [--data DIR] [--megapixels 0 2] [--jobs N] [--json FILE]

Four contestants make the same composites of the same foregrounds, by turns, in the same run: our build with
all it does (decoding, digests, writing, fsync, the hash of the file); the official per-pixel loop; the usual
fast script (Pillow's bicubic, NumPy float64 over whole images, PNGs of composite and background); and the
floor, which is decoding and enlarging the backgrounds and encoding the tiles, nothing else. One worker
process a core, each with foregrounds of its own, runs all four in an order that rotates, so that each is
timed on a machine as busy as for the others. Before any timing the four are run once and their pixels
compared; the floor's tiles must come to the bytes of the shard's. The loop and the script are timed on the
first few composites of each full-size foreground, and rates are by composites: what they do once for a
foreground, decoding it, is not charged to them, and all that we do once is charged to us.

Then: the real build end to end with one process and with two; the bytes; the memory of a worker at 4 MP.
Without `--data` the images are those of `../shared/data`, or procedural ones where that is absent.
"""

import argparse
import json
import math
import os
import platform
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

from PIL import features

from contest import SPAWN, Speed, clear, contest, speeds_of
from contestants import FLOOR, LOOP, SCRIPT, TIMED, MismatchError, dimtool_build
from dimtool.composer.building.build import build_dataset
from dimtool.composer.building.work import pixel_count
from dimtool.composer.engines.engine import core_count
from dimtool.composer.engines.local import LocalProcesses
from dimtool.composer.sources.manifest import ForegroundEntry, Manifest
from dimtool.progress import Silent
from dimtool.version import __version__
from inputs import find_data, manifest_of, prepare

SHARED = ("foreground", "alpha", "distance", "centers")  # in a shard once, however many composites it has
Json = dict[str, Any]
PACKAGES = ("numpy", "pillow", "h5py", "hdf5plugin", "imagecodecs", "scipy", "joblib")
Result = TypeVar("Result")


# Measuring


def in_new_process(function: Callable[..., Result], *arguments: object) -> Result:
    """The function's result, from a process that ends with it."""
    with SPAWN.Pool(1) as pool:
        return pool.apply(function, arguments)


def memory_of_build(entry: ForegroundEntry, folder: Path) -> float:
    """Build one shard and give this process's peak resident memory, 10^6 bytes."""
    clear(folder)
    dimtool_build(entry, folder, len(entry.backgrounds))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e6


def build_seconds(manifest: Manifest, folder: Path, workers: int) -> float:
    """The real build from nothing to index.json, the start of its worker processes included."""
    clear(folder)
    started = time.perf_counter()
    summary = build_dataset(manifest, folder, engine=LocalProcesses(workers=workers), reporter=Silent())
    seconds = time.perf_counter() - started
    if summary.composites != manifest.asked:
        raise SystemExit(f"{summary.composites} of {manifest.asked} composites built: {summary.failures}")
    return seconds


def bytes_report(sizes: Counter[str], composites: int, per_fg: int) -> dict[str, float]:
    """Bytes a composite by part, and the ratio to the PNGs; for 100 backgrounds the shared part is scaled."""
    shared = sum(sizes[name] for name in SHARED)
    rest = sizes["shard"] - sizes["composite"] - sizes["background"] - shared
    png = sizes["composite PNG"] + sizes["background PNG"]
    at_100 = sizes["shard"] - shared * (1 - per_fg / 100)
    parts = {
        "composite": sizes["composite"],
        "background": sizes["background"],
        "shared": shared,
        "rest": rest,
        "shard": sizes["shard"],
        "composite PNG": sizes["composite PNG"],
        "background PNG": sizes["background PNG"],
    }
    report = {name: size / composites for name, size in parts.items()}
    return {**report, "ratio": sizes["shard"] / png, "ratio at 100 (computed)": at_100 / png}


# Reporting


@dataclass(frozen=True, kw_only=True)
class Target:
    """A measured value beside what it must reach; `least`: it must be at least that, else at most."""

    what: str
    value: float
    bound: float
    least: bool = False
    unit: str = "x"

    @property
    def met(self) -> bool:
        """Whether the value is on the right side of the bound."""
        return self.value >= self.bound if self.least else self.value <= self.bound

    def __str__(self) -> str:
        relation, verdict = (">=" if self.least else "<="), ("met" if self.met else "MISSED")
        return f"{self.what:58}{self.value:9.2f} {self.unit:3} {relation} {self.bound:g}   {verdict}"


def machine() -> dict[str, str]:
    """What the figures depend on."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor() or platform.machine()
    codecs = ", ".join(f"{each} {features.version(each)}" for each in ("libjpeg_turbo", "zlib_ng", "zlib"))
    return {
        "processor": f"{model}, {core_count()} cores",
        "load before": f"{os.getloadavg()[0]:.2f} (figures are only sound near 0)",
        "Python": platform.python_version(),
        "dimtool": __version__,
        "packages": ", ".join(f"{name} {version(name)}" for name in PACKAGES),
        "Pillow's": codecs,
    }


def print_speeds(speeds: Sequence[Speed]) -> None:
    """The table of one size of image."""
    print(f"{'':16}{'composites/s':>14}{'ns/pixel':>10}{'time / ours':>13}{'over the rounds':>20}")
    for speed in speeds:
        low, middle, high = speed.ratio
        spread = f"{low:.2f} to {high:.2f}"
        print(
            f"{speed.contestant:16}{speed.composites_per_second:14.2f}{speed.ns_per_pixel:10.1f}"
            f"{middle:13.2f}{spread:>20}"
        )


def print_bytes(report: dict[str, float], per_fg: int) -> None:
    """What of a shard takes how much, beside the PNGs."""
    print("kB a composite:", ", ".join(f"{name} {report[name] / 1000:.1f}" for name in list(report)[:-2]))
    print(
        f"shard / PNGs: {report['ratio']:.3f} with {per_fg} backgrounds a foreground; "
        f"{report['ratio at 100 (computed)']:.3f} computed for 100, where only the shared part shrinks"
    )


def targets_of(label: str, speeds: Sequence[Speed], report: dict[str, float]) -> list[Target]:
    """What one size of image must reach."""
    ratio = {speed.contestant: speed.ratio[1] for speed in speeds}
    return [
        Target(what=f"{label}: as fast as the {SCRIPT}, times", value=ratio[SCRIPT], bound=6, least=True),
        Target(what=f"{label}: as fast as the {LOOP}, times", value=ratio[LOOP], bound=15, least=True),
        Target(what=f"{label}: time by the {FLOOR}'s", value=1 / ratio[FLOOR], bound=1.25),
        Target(what=f"{label}: bytes by the PNGs'", value=report["ratio"], bound=0.65),
    ]


# The runs


def run_contest(fg_list: Path, label: str, options: argparse.Namespace) -> tuple[Json, list[Target], float]:
    """Contest and bytes for one size; gives what goes to the JSON, the targets, and seconds a composite."""
    manifest = manifest_of(fg_list, options.per_fg)
    entries = manifest.entries[: options.foregrounds]
    chosen = replace(manifest, listed=len(entries), entries=entries)
    size = sum(pixel_count(each.alpha) for each in entries) / len(entries) / 1e6
    print(
        f"\n{label}: {len(entries)} foregrounds of {size:.2f} MP on average over "
        f"{options.per_fg} backgrounds, {options.jobs} processes, {options.rounds} rounds\n"
        "composites timed of each foreground: all, but for the "
        + ", ".join(f"{name} {min(count, options.per_fg)}" for name, count in TIMED.items())
    )
    timings, sizes = contest(chosen, fg_list.parent / "out", options.jobs, options.rounds)
    speeds = speeds_of(timings, options.jobs)
    report = bytes_report(sizes, chosen.asked, options.per_fg)
    print_speeds(speeds)
    print_bytes(report, options.per_fg)
    content = {"speeds": [vars(speed) for speed in speeds], "bytes": report}
    return content, targets_of(label, speeds, report), options.jobs / speeds[0].composites_per_second


def run_scaling(fg_list: Path, each: float, options: argparse.Namespace) -> tuple[Json, Target]:
    """The whole build with one process and with two, by turns, on enough composites of `each` seconds."""
    wanted = options.scaling_seconds / each
    foregrounds = len(manifest_of(fg_list, 1).entries)
    manifest = manifest_of(fg_list, max(1, math.ceil(wanted / foregrounds)))
    print(f"\nbuild_dataset, {manifest.asked} composites of {foregrounds} foregrounds, end to end")
    seconds: dict[int, list[float]] = {1: [], 2: []}
    for number in range(options.scaling_rounds):
        for workers in (1, 2) if number % 2 == 0 else (2, 1):
            seconds[workers].append(build_seconds(manifest, fg_list.parent / "built", workers))
    ratio = median(one / two for one, two in zip(seconds[1], seconds[2], strict=True))
    for workers, values in seconds.items():
        print(f"{workers} process{'es' * (workers > 1)}: {', '.join(f'{value:.1f}' for value in values)} s")
    what = f"one process -> two, {median(seconds[1]):.0f} s of work"
    content = {"composites": manifest.asked, "seconds": seconds, "ratio": ratio}
    return content, Target(what=what, value=ratio, bound=1.85, least=True)


def run_memory(data: Path, folder: Path) -> Target:
    """Peak memory of a fresh process that builds one shard of a foreground of 4 MP."""
    fg_list = in_new_process(prepare, data, folder, 4, 1)
    # Linux charges a new process with the peak of the one that starts it: ours must have done nothing yet.
    peak = in_new_process(memory_of_build, manifest_of(fg_list, 5).entries[0], folder / "out")
    return Target(what="peak memory of a worker, foreground of 4 MP", value=peak, bound=400, unit="MB")


def parse() -> argparse.Namespace:
    """The options, with what --quick changes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with fg/, alpha/, bg/ and Adobe's lists")
    parser.add_argument("--megapixels", type=float, nargs="+", help="sizes of foreground; 0: as they are")
    parser.add_argument("--foregrounds", type=int, help="for the contest, rounded to a multiple of --jobs")
    parser.add_argument("--per-fg", type=int, help="backgrounds a foreground in the contest")
    parser.add_argument("--rounds", type=int, help="rounds of the contest")
    parser.add_argument("--jobs", type=int, default=core_count(), help="processes; default: all cores")
    parser.add_argument("--quick", action="store_true", help="under a minute: small images, short runs")
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    full = {"megapixels": [0, 2], "foregrounds": 4, "per_fg": 20, "rounds": 3}
    quick = {"megapixels": [0], "foregrounds": 2, "per_fg": 5, "rounds": 2}
    options = parser.parse_args()
    for name, value in (quick if options.quick else full).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    options.foregrounds = options.jobs * max(1, options.foregrounds // options.jobs)
    options.scaling_seconds, options.scaling_rounds = (6, 1) if options.quick else (35, 2)
    options.scaling_foregrounds = 16 if options.quick else 40
    return options


def main() -> int:
    options = parse()
    content: Json = {"machine": machine(), "sizes": {}}
    for name, value in content["machine"].items():
        print(f"{name}: {value}")
    targets: list[Target] = []
    with tempfile.TemporaryDirectory(prefix="dimtool-bench-") as name:
        root = Path(name)
        data = in_new_process(find_data, options.data, root)
        print(f"images: {data}")
        memory = run_memory(data, root / "4 MP")
        for size in options.megapixels:
            label = f"{size:g} MP" if size else "own size"
            count = max(options.foregrounds, options.scaling_foregrounds)
            fg_list = in_new_process(prepare, data, root / label / "data", size, count)
            content["sizes"][label], reached, each = run_contest(fg_list, label, options)
            targets += reached
        content["scaling"], scaling = run_scaling(fg_list, each, options)
    targets += [scaling, memory]
    print("\nTargets, set for photographs and a machine with nothing else to do:")
    print("\n".join(str(target) for target in targets))
    if options.json:
        content["targets"] = [{**vars(target), "met": target.met} for target in targets]
        options.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except MismatchError as error:
        sys.exit(f"the contestants disagree: {error}")
