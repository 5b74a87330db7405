"""How fast do training crops come, beside the loader that people use, and does a GPU have to wait?

    python benchmarks/loader.py [--quick] [--data DIR] [--megapixels 2] [--workers N] [--json FILE]

Two loaders make the same crops of the same composites. Ours reads windows of shards. The usual one decodes
the whole PNGs of composite, foreground, alpha and background with Pillow, cuts, mirrors and scales them
with Pillow's bilinear filter, and makes a random trimap by dilation and erosion with an ellipse, all on the
scaled crop, where it is the cheapest. Both end with a batch of tensors. Before any timing their crops are
compared: image and alpha must be equal, the colours where the trimap is unknown.

Per worker: one process with one thread, the two by turns, in an order that rotates; the processor's time, so
that what else runs on the machine counts little. Then the wall clock of a DataLoader with N workers on either
side. Shards and PNGs are read from the page cache. Without `--data` the images are those of
`../shared/data`, or procedural ones where that is absent.
"""

import argparse
import json
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from build import Target, in_new_process, machine
from dimtool.composer.building.build import build_dataset
from dimtool.composer.engines.engine import core_count
from dimtool.composer.engines.local import LocalProcesses
from dimtool.composer.export.export import ExportPlan, export_images
from dimtool.composer.shards.reader import Shard
from dimtool.model.crops import reading
from dimtool.model.crops.batches import CropBatches, Position, collate
from dimtool.model.crops.dataset import TrainingCrops
from dimtool.model.crops.reading import NOTHING, Backgrounds, Crop, CropConfig, Cut
from dimtool.model.network.dim import Stage
from dimtool.progress import Silent
from inputs import find_data, manifest_of, prepare
from rates import TARGET, crops_at, flops_of_a_step

Json = dict[str, Any]
CORES = 16


# The usual loader


class UsualCrops(Dataset[Crop]):
    """Crops from PNG folders, at the places that ours would take; `stems`: of each composite, by index."""

    def __init__(self, folder: Path, ours: TrainingCrops) -> None:
        self.folder, self.config = folder, ours.config
        self.stems = [ours.name(index) for index in range(len(ours))]
        self.cuts: dict[Position, Cut] = {}

    def draw(self, ours: TrainingCrops, positions: Sequence[Position]) -> None:
        """Draw where ours will cut: no part of what is timed."""
        for epoch, index in positions:
            number, _ = ours.composites.locate(index)
            self.cuts[epoch, index] = ours.draw(ours.composites.shard(number), epoch, index)

    def __getitem__(self, position: Position) -> Crop:
        """See TrainingCrops."""
        stem, cut = self.stems[position[1]], self.cuts[position]
        of_foreground = f"{stem.rpartition('_')[0]}.png"
        paths = {
            "image": self.folder / "merged" / f"{stem}.png",
            "alpha": self.folder / "alpha" / of_foreground,
        }
        paths["foreground"] = self.folder / "fg" / of_foreground
        paths["background"] = self.folder / "bg" / f"{stem}.png"
        whole = {name: np.asarray(Image.open(path)) for name, path in paths.items()}
        np.argwhere((whole["alpha"] > 0) & (whole["alpha"] < 255))  # of these it would draw its centre
        pixels = {name: self._cut(each, cut) for name, each in whole.items()}
        pixels["trimap"] = trimap_by_ellipses(pixels["alpha"], cut.foreground_radius, cut.background_radius)
        return Crop(
            **{name: to_tensor(each) for name, each in pixels.items()},
            composite=NOTHING,
            skipped=[],
            backgrounds=Backgrounds(),
        )

    def _cut(self, whole: NDArray[np.uint8], cut: Cut) -> NDArray[np.uint8]:
        image = Image.fromarray(whole[cut.window])
        if image.width != self.config.size:
            image = image.resize((self.config.size, self.config.size), Image.Resampling.BILINEAR)
        return np.asarray(image)[:, ::-1] if cut.flip else np.asarray(image)


def to_tensor(pixels: NDArray[np.uint8]) -> Tensor:
    """(h, w) or (h, w, 3) to (c, h, w)."""
    return torch.from_numpy(np.atleast_3d(pixels).transpose(2, 0, 1).copy())


def trimap_by_ellipses(alpha: NDArray[np.uint8], inwards: int, outwards: int) -> NDArray[np.uint8]:
    """Unknown wherever a disc of these radii meets anything else than opaque, or than empty."""
    trimap = np.full(alpha.shape, 128, np.uint8)
    trimap[~dilated(alpha < 255, inwards)] = 255
    trimap[~dilated(alpha > 0, outwards)] = 0
    return trimap


def dilated(mask: NDArray[np.bool_], radius: int) -> NDArray[np.bool_]:
    """Dilation by a disc, a run of the disc at a time: running sums say whether a run meets the mask."""
    height, width = mask.shape
    padded = np.pad(mask, ((radius, radius), (radius + 1, radius)))
    sums = np.cumsum(padded, axis=1, dtype=np.int16)
    result = np.zeros(mask.shape, np.bool_)
    for y in range(-radius, radius + 1):
        reach = int((radius * radius - y * y) ** 0.5)
        rows = sums[radius + y : radius + y + height]
        right, left = radius + 1 + reach, radius - reach
        result |= rows[:, right : right + width] != rows[:, left : left + width]
    return result


# Measuring


def compare(ours: TrainingCrops, usual: UsualCrops, positions: Sequence[Position]) -> None:
    """Stop if the two make different crops."""
    for position in positions:
        mine, other = ours[position], usual[position]
        unknown = mine["trimap"] == 128
        masks = {"image": 1, "alpha": 1}
        masks |= {"foreground": unknown, "background": unknown} if ours.config.colours else {}
        for name, mask in masks.items():
            if not torch.equal(mine[name] * mask, other[name] * mask):
                raise SystemExit(f"the loaders disagree on the {name} of {position}")


def per_worker(
    contestants: Sequence[Dataset[Crop]], positions: Sequence[Position], batch: int, rounds: int
) -> list[list[float]]:
    """Processor's seconds a crop of each contestant, by rounds; every round has the same crops for each."""
    seconds: list[list[float]] = [[] for _ in contestants]
    for number in range(rounds):
        mine = positions[number::rounds]
        for k in range(len(contestants)):
            turn = (number + k) % len(contestants)
            started = time.process_time()
            for first in range(0, len(mine), batch):
                collate([contestants[turn][position] for position in mine[first : first + batch]])
            seconds[turn].append((time.process_time() - started) / len(mine))
    return seconds


@contextmanager
def timed(owner: object, name: str, key: Callable[..., str], spent: dict[str, float]) -> Iterator[None]:
    """Add the processor's time in a function to `spent`, under what `key` makes of its arguments."""
    original = getattr(owner, name)

    def wrapper(*arguments: Any, **options: Any) -> Any:
        started = time.process_time()
        try:
            return original(*arguments, **options)
        finally:
            spent[key(*arguments)] += time.process_time() - started

    setattr(owner, name, wrapper)
    try:
        yield
    finally:
        setattr(owner, name, original)


def parts(ours: TrainingCrops, positions: Sequence[Position]) -> dict[str, float]:
    """Milliseconds a crop of what ours does; the rest is whatever has no name here."""
    spent: dict[str, float] = defaultdict(float)
    with (
        timed(ours.composites, "shard", lambda _: "opening shards", spent),
        timed(Shard, "fill", lambda _, __, name, *___: f"reading {name}", spent),
        timed(reading, "known_background", lambda *_: "merging backgrounds", spent),
        timed(reading, "scaled_trimap", lambda *_: "trimap", spent),
        timed(reading, "scaled", lambda *_: "scaling", spent),
    ):
        started = time.process_time()
        for position in positions:
            crop = ours[position]
            stacking = time.process_time()
            collate([crop])
            spent["stacking"] += time.process_time() - stacking
        total = time.process_time() - started
    spent["rest"] = total - sum(spent.values())
    return {name: 1000 * value / len(positions) for name, value in spent.items()}


def through_loader(crops: Dataset[Crop], batches: Sequence[list[Position]], workers: int) -> float:
    """Crops a second, by the clock, of a DataLoader, from its first batch on."""
    loader = DataLoader(
        crops,
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=collate,
        multiprocessing_context="forkserver",
    )
    iterator = iter(loader)
    next(iterator)
    started, crops_seen = time.perf_counter(), 0
    for batch in iterator:
        crops_seen += len(batch["image"])
    return crops_seen / (time.perf_counter() - started)


def consumption() -> dict[int, float]:
    """Crops a second that an H200 takes in each stage, at the share that a step is to reach; computed."""
    stages: tuple[Stage, ...] = (1, 2, 3)
    return {stage: crops_at(TARGET, flops_of_a_step(stage)) for stage in stages}


# The runs


def make_inputs(data: Path, folder: Path, options: argparse.Namespace) -> None:
    """Shards of foregrounds of the wanted size, and their PNGs."""
    manifest = manifest_of(prepare(data, folder, options.megapixels, options.foregrounds), options.per_fg)
    engine = LocalProcesses(workers=1)  # in a pool's process there can be no other pool
    build_dataset(manifest, folder / "shards", engine=engine, reporter=Silent())
    export_images(ExportPlan(folder=folder / "shards", out=folder / "png"), engine=engine, reporter=Silent())


def contest(folder: Path, colours: bool, options: argparse.Namespace) -> Json:
    """Both loaders on one kind of crop; prints a table."""
    torch.set_num_threads(1)
    ours = TrainingCrops(folder / "shards", CropConfig(colours=colours))
    usual = UsualCrops(folder / "png", ours)
    wanted = CropBatches(len(ours), batch_size=1, seed=0, steps=options.crops * options.rounds)
    positions = [batch[0] for batch in wanted]
    usual.draw(ours, positions)
    compare(ours, usual, positions[:20])
    seconds = per_worker([ours, usual], positions, options.batch_size, options.rounds)
    ratios = [slow / fast for fast, slow in zip(*seconds, strict=True)]
    speeds = [1 / median(each) for each in seconds]
    kind = "stage 1: with foreground and background" if colours else "stages 2 and 3: composite and alpha"
    print(f"\n{kind}\n{'':12}{'ms a crop':>12}{'crops/s a worker':>20}{f'crops/s on {CORES}':>16}")
    for name, speed in zip(("dimtool", "usual"), speeds, strict=True):
        print(f"{name:12}{1000 / speed:12.1f}{speed:20.1f}{CORES * speed:16.0f}")
    print(f"ratio {median(ratios):.1f}, over the rounds {min(ratios):.1f} to {max(ratios):.1f}")
    spent = parts(ours, positions[: options.crops])
    print(
        "ms a crop: "
        + ", ".join(f"{name} {spent[name]:.2f}" for name in sorted(spent, key=lambda each: -spent[each]))
    )
    return {"crops_per_second": speeds, "ratio": ratios, "parts": spent}


def by_the_clock(folder: Path, options: argparse.Namespace) -> Json:
    """Both through a DataLoader, by turns; prints crops a second."""
    ours = TrainingCrops(folder / "shards")
    usual = UsualCrops(folder / "png", ours)
    speeds: dict[str, list[float]] = {"dimtool": [], "usual": []}
    for number in range(options.rounds):
        for name, crops, steps in (
            ("dimtool", ours, 15 * options.batches),
            ("usual", usual, options.batches),
        ):
            batches = list(
                CropBatches(
                    len(ours), batch_size=options.batch_size, seed=number, steps=options.workers + steps
                )
            )
            usual.draw(ours, [position for batch in batches for position in batch])
            speeds[name].append(through_loader(crops, batches, options.workers))
    print(f"\nDataLoader, {options.workers} workers, batches of {options.batch_size}, by the clock")
    for name, values in speeds.items():
        print(f"{name:12}{median(values):10.1f} crops/s, {min(values):.1f} to {max(values):.1f}")
    return speeds


def parse() -> argparse.Namespace:
    """The options, with what --quick changes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with fg/, alpha/, bg/ and Adobe's lists")
    parser.add_argument(
        "--megapixels", type=float, default=2.0, help="size of the foregrounds; 0: as they are"
    )
    parser.add_argument("--foregrounds", type=int, help="how many of them")
    parser.add_argument("--per-fg", type=int, default=4, help="backgrounds a foreground")
    parser.add_argument("--rounds", type=int, help="rounds of the contest")
    parser.add_argument("--crops", type=int, help="crops in a round")
    parser.add_argument("--batches", type=int, help="batches of the usual loader in a round by the clock")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--workers", type=int, default=core_count(), help="default: all cores")
    parser.add_argument("--quick", action="store_true", help="under two minutes: few images, short runs")
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    full = {"foregrounds": 18, "rounds": 5, "crops": 40, "batches": 6}
    quick = {"foregrounds": 4, "rounds": 3, "crops": 16, "batches": 2}
    options = parser.parse_args()
    for name, value in (quick if options.quick else full).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    return options


def main() -> int:
    options = parse()
    content: Json = {"machine": machine()}
    for name, value in content["machine"].items():
        print(f"{name}: {value}")
    with tempfile.TemporaryDirectory(prefix="dimtool-bench-") as name:
        root = Path(name)
        data = in_new_process(find_data, options.data, root)
        in_new_process(make_inputs, data, root / "set", options)
        print(f"images: {data}, {options.foregrounds} foregrounds of {options.megapixels:g} MP")
        content["stage 1"] = contest(root / "set", True, options)
        content["later"] = contest(root / "set", False, options)
        content["loader"] = by_the_clock(root / "set", options)
    content["consumption"] = consumption()
    print()
    for target in targets_of(content):
        print(target)
    if options.json:
        options.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return 0


def targets_of(content: Json) -> list[Target]:
    """What must be reached. The GPU's appetite is computed from FLOPs: `benchmarks/step.py` measures it."""
    targets = [
        Target(
            what=f"{name}: as fast as the usual loader, times",
            value=median(found["ratio"]),
            bound=15,
            least=True,
        )
        for name, found in (("stage 1", content["stage 1"]), ("stages 2 and 3", content["later"]))
    ]
    for stage, crops in content["consumption"].items():
        speed = content["stage 1" if stage == 1 else "later"]["crops_per_second"][0]
        what = f"stage {stage}: crops/s of {CORES} cores by an H200's {crops:.0f} (computed)"
        targets.append(Target(what=what, value=CORES * speed / crops, bound=1, least=True))
    return targets


if __name__ == "__main__":
    sys.exit(main())
