"""The contest: all contestants on the same foregrounds, by turns, in as many processes as there are cores."""

import shutil
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import median

from contestants import NAMES, OURS, TIMED, contestants, verify
from dimtool.composer.building.work import pixel_count
from dimtool.composer.sources.manifest import ForegroundEntry, Manifest

SPAWN = get_context("spawn")


@dataclass(frozen=True, kw_only=True)
class Share:
    """What one worker process does: these foregrounds, so many rounds; `turn` shifts its rotation."""

    entries: tuple[ForegroundEntry, ...]
    folder: Path
    rounds: int
    turn: int


@dataclass(frozen=True, kw_only=True)
class Timing:
    """One call of a contestant in one process."""

    contestant: str
    round: int
    composites: int
    pixels: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Medians over the rounds. ratio: the contestant's time by ours in one round; least, median, most."""

    contestant: str
    composites_per_second: float
    ns_per_pixel: float
    ratio: tuple[float, float, float]


def contest(manifest: Manifest, folder: Path, jobs: int, rounds: int) -> tuple[list[Timing], Counter[str]]:
    """Time all contestants in `jobs` processes at once, which start together."""
    shares = [
        Share(entries=manifest.entries[k::jobs], folder=folder / str(k), rounds=rounds, turn=k)
        for k in range(jobs)
    ]
    with SPAWN.Pool(jobs, initializer=SPAWN.Barrier(jobs).wait) as pool:
        results = pool.map(run_share, shares, chunksize=1)
    timings = [timing for part, _ in results for timing in part]
    return timings, sum((sizes for _, sizes in results), Counter())


def speeds_of(timings: Sequence[Timing], jobs: int) -> list[Speed]:
    """Rates of all processes together: `jobs` times the composites by the seconds of process time."""
    cells: dict[str, dict[int, list[Timing]]] = {name: defaultdict(list) for name in NAMES}
    for timing in timings:
        cells[timing.contestant][timing.round].append(timing)
    rates, costs = {}, {}
    for name, rounds in cells.items():
        seconds = {k: sum(t.seconds for t in cell) for k, cell in rounds.items()}
        rates[name] = {k: jobs * sum(t.composites for t in rounds[k]) / seconds[k] for k in rounds}
        costs[name] = {k: 1e9 * seconds[k] / sum(t.pixels for t in rounds[k]) for k in rounds}
    result = []
    for name in NAMES:
        ratios = [rates[OURS][k] / rate for k, rate in rates[name].items()]
        result.append(
            Speed(
                contestant=name,
                composites_per_second=median(rates[name].values()),
                ns_per_pixel=median(costs[name].values()),
                ratio=(min(ratios), median(ratios), max(ratios)),
            )
        )
    return result


def run_share(share: Share) -> tuple[list[Timing], Counter[str]]:
    """Check, then time; gives the timings and the bytes of what was made."""
    sizes: Counter[str] = Counter()
    for entry in share.entries:
        clear(share.folder)
        sizes.update(verify(entry, share.folder))
    timings: list[Timing] = []
    for number in range(share.rounds):
        for k, entry in enumerate(share.entries):
            first = (number + k + share.turn) % len(NAMES)
            order = (*NAMES[first:], *NAMES[:first])
            timings += time_foreground(entry, share.folder, order, number)
    return timings, sizes


def time_foreground(
    entry: ForegroundEntry, folder: Path, order: Sequence[str], number: int
) -> Iterator[Timing]:
    """Time every contestant once on one foreground, each in an empty folder."""
    runs = contestants(entry, folder)
    for name in order:
        count = min(TIMED.get(name, len(entry.backgrounds)), len(entry.backgrounds))
        clear(folder)
        started = time.perf_counter()
        runs[name](count)
        seconds = time.perf_counter() - started
        pixels = count * pixel_count(entry.alpha)
        yield Timing(contestant=name, round=number, composites=count, pixels=pixels, seconds=seconds)


def clear(folder: Path) -> None:
    """Make the folder anew, with nothing in it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
