"""What does varying the training crops cost, and what do varied crops look like?

    python benchmarks/variation.py SHARDS [--crops N] [--rounds N] [--sheet sheet.png]

One process with one thread reads crops of each kind by turns, in an order that rotates: the processor's time
a crop, as a ratio to the plain ones of the same round. Beside it the share of unknown pixels in the trimaps
and how many windows were looked at for each background. `--sheet` writes a picture of the first crops of
every kind: image, trimap, alpha, foreground, background.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from dimtool.model.crops.dataset import TrainingCrops
from dimtool.model.crops.reading import Crop, CropConfig
from dimtool.model.crops.variation import Variation

ALL = Variation(
    radii="log", uneven=0.5, recompose=0.9, join=0.2, zoom=1.5, turn=10, colour=0.5, noise=5, jpeg=0.3
)
KINDS = {
    "plain": ((1, 20), Variation()),
    "radii by logarithms": ((1, 40), Variation(radii="log")),
    "uneven trimaps": ((1, 40), Variation(radii="log", uneven=1)),
    "recomposed": ((1, 20), Variation(recompose=1)),
    "joined": ((1, 20), Variation(join=1)),
    "zoomed": ((1, 20), Variation(zoom=1.5)),
    "turned": ((1, 20), Variation(turn=10)),
    "recoloured": ((1, 20), Variation(colour=0.5)),
    "noise": ((1, 20), Variation(noise=10)),
    "JPEG": ((1, 20), Variation(jpeg=1)),
    "all of it, in part": ((1, 40), ALL),
}
TENSORS = ("image", "trimap", "alpha", "foreground", "background")


def seconds_a_crop(kinds: Sequence[TrainingCrops], count: int, rounds: int) -> list[list[float]]:
    """Processor's seconds a crop, of each kind by rounds; every round has the same composites for each."""
    seconds: list[list[float]] = [[] for _ in kinds]
    for number in range(rounds):
        for k in range(len(kinds)):
            turn = (number + k) % len(kinds)
            started = time.process_time()
            for index in range(count):
                kinds[turn][number, index % len(kinds[turn])]
            seconds[turn].append((time.process_time() - started) / count)
    return seconds


def report(name: str, crops: TrainingCrops, seconds: Sequence[float], plain: Sequence[float]) -> str:
    """A line of the table."""
    seen = [crops[0, index % len(crops)] for index in range(40)]
    unknown = np.mean([(crop["trimap"] == 128).float().mean() for crop in seen])
    asked, found, looked = (sum(each) for each in zip(*(crop["backgrounds"] for crop in seen), strict=True))
    ratio = median(mine / other for mine, other in zip(seconds, plain, strict=True))
    search = f"{looked / asked:.2f} windows, {found / asked:.0%} found" if asked else ""
    return f"{name:20} {1000 * median(seconds):7.2f} {ratio:7.2f} {unknown:9.0%}   {search}"


def strip(crop: Crop) -> NDArray[np.uint8]:
    """A crop's tensors beside each other, (s, 5 s, 3)."""
    pictures = [crop[name] for name in TENSORS]
    return np.concatenate([each.expand(3, -1, -1).permute(1, 2, 0).numpy() for each in pictures], axis=1)


def write_sheet(kinds: Sequence[TrainingCrops], path: Path, each: int = 4) -> None:
    """Write the sheet: a row a kind."""
    size = kinds[0].config.size
    rows = [np.concatenate([strip(crops[0, 17 * k % len(crops)]) for k in range(each)], 1) for crops in kinds]
    sheet = Image.fromarray(np.concatenate(rows))
    sheet.resize((each * 5 * size // 4, len(kinds) * size // 4), Image.Resampling.BOX).save(path)


def main() -> int:
    """Measure, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("shards", type=Path, help="a folder with index.json")
    parser.add_argument("--crops", type=int, default=40, help="a kind and round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sheet", type=Path, help="write a picture of some crops")
    options = parser.parse_args()
    torch.set_num_threads(1)
    kinds = [
        TrainingCrops(options.shards, CropConfig(radii=radii, variation=variation))
        for radii, variation in KINDS.values()
    ]
    if options.sheet:
        write_sheet(kinds, options.sheet)
    seconds = seconds_a_crop(kinds, options.crops, options.rounds)
    print(f"{'':20} {'ms':>7} {'ratio':>7} {'unknown':>9}")
    for name, crops, mine in zip(KINDS, kinds, seconds, strict=True):
        print(report(name, crops, mine, seconds[0]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
