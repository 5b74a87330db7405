"""What does a matte take of memory and time, and what do tiles change?

    python benchmarks/inference.py [--checkpoint M] [--images DIR --trimaps DIR] [--quick]

1. Size after size, each in a new process: the peak of its resident memory, 6 GB at most, with a random
   slim network of width 0.25. 2. Tiles of a given memory beside the whole image: the largest difference of
   alpha, and the time. 3. Why the tiles overlap as far as they do: an image is cut in two, and the alpha of
   its left half compared with the whole image's, by the distance from the cut.

2 and 3 are of worth with a trained model (--checkpoint) and photographs (those of ../shared/data, where
they are): a random network hardly looks beyond its neighbourhood.
"""

import argparse
import multiprocessing
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from dimtool.arrays import UInt8Image, UInt8Mask
from dimtool.model.inference.matter import Matter, load, plan
from dimtool.model.inference.memory import bytes_needed, free_memory, pixels_that_fit
from dimtool.model.inference.tiling import receptive_margin
from dimtool.model.network.dim import DeepImageMatting, ModelConfig
from dimtool.text import size, table

NATURAL = Path(__file__).resolve().parents[2] / "shared" / "data" / "natural"
SIZES = ((1, 1), (31, 33), (5000, 200), (4000, 3000))
MOST = 6_000_000_000
DISTANCES = (0, 16, 32, 64, 96, 128, 160, 192, 288)
Case = tuple[str, UInt8Image, UInt8Mask]


def random_matter() -> Matter:
    """A slim network of width 0.25 whose refinement adds something."""
    torch.manual_seed(0)
    model = DeepImageMatting(ModelConfig(bottleneck="slim", width=0.25))
    if model.refinement is not None:
        torch.nn.init.normal_(model.refinement.prediction.weight, std=0.1)
    return Matter(model=model, device=torch.device("cpu"))


def peak_of(height: int, width: int, allowed: int | None) -> tuple[int, int, float]:
    """Tiles, the peak of this process's memory in bytes, and seconds, for a wholly unknown image."""
    torch.set_num_threads(1)
    matter = random_matter()
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    memory = free_memory(matter.device) if allowed is None else allowed
    tiles = plan(matter.model.config, (height, width), pixels_that_fit(matter.model.config, memory))
    start = time.perf_counter()
    alpha = matter.matte(image, np.full((height, width), 128, np.uint8), max_memory=allowed)
    seconds = time.perf_counter() - start
    if alpha.shape != (height, width):
        raise RuntimeError(f"alpha of {height} x {width} is {alpha.shape}")
    return len(tiles), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, seconds


def measure_sizes(*, quick: bool) -> bool:
    """Print the first table; whether all stay in their memory."""
    runs: list[tuple[int, int, int | None]] = [
        (*each, None) for each in SIZES if not quick or max(each) < 4000
    ]
    runs += [] if quick else [(4000, 3000, 2_000_000_000), (4000, 3000, 500_000_000)]
    rows, peaks = [], []
    for height, width, allowed in runs:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            tiles, peak, seconds = pool.apply(peak_of, (height, width, allowed))
        peaks.append(peak)
        asked = "what is free" if allowed is None else size(allowed)
        rows.append((f"{height} x {width}", asked, tiles, size(peak), f"{seconds:.1f} s"))
    print(table(("size", "memory allowed", "tiles", "peak of the process", "time"), rows))
    return max(peaks) < MOST


def cases(images: Path, trimaps: Path) -> Iterator[Case]:
    """Photographs with their trimaps; noise where there are none."""
    for path in sorted(trimaps.glob("*.png")) if images.is_dir() else []:
        if path.name.endswith("trimap2.png") or images != trimaps:
            image = np.asarray(Image.open(images / f"{path.name.partition('.')[0]}.png").convert("RGB"))
            trimap = np.asarray(Image.open(path).convert("L"))
            yield path.name, image, np.where(trimap % 255, 128, trimap).astype(np.uint8)
    if not images.is_dir():
        rng = np.random.default_rng(0)
        noise = rng.integers(0, 256, (900, 1100, 3), dtype=np.uint8)
        yield "noise", noise, np.full((900, 1100), 128, np.uint8)


def measure_tiles(matter: Matter, chosen: list[Case]) -> float:
    """Print the second table; the largest difference."""
    config, rows, largest = matter.model.config, [], 0.0
    least = 2 * receptive_margin(config) + 96
    for name, image, trimap in chosen:
        start = time.perf_counter()
        whole = matter.matte(image, trimap)
        middle = time.perf_counter()
        tiled = matter.matte(image, trimap, max_memory=bytes_needed(config, least**2))
        end = time.perf_counter()
        tiles = len(plan(config, trimap.shape, least**2))
        difference = float(abs(tiled - whole).max())
        largest = max(largest, difference)
        rows.append((name, tiles, f"{difference:.1e}", f"{middle - start:.2f} s", f"{end - middle:.2f} s"))
    print(table(("image", "tiles", "largest difference", "whole", "in tiles"), rows))
    return largest


def errors_by_distance(matter: Matter, case: Case) -> list[NDArray[np.float32]]:
    """The left half's errors in unknown pixels, for each range of distances from the cut."""
    _, image, trimap = case
    cut = trimap.shape[1] // 64 * 32
    error = abs(matter.matte(image[:, :cut], trimap[:, :cut]) - matter.matte(image, trimap)[:, :cut])
    found = []
    for near, far in zip(DISTANCES, [*DISTANCES[1:], cut], strict=True):
        strip = slice(max(0, cut - far), max(0, cut - near))
        found.append(error[:, strip][trimap[:, :cut][:, strip] == 128])
    return found


def measure_overlap(matter: Matter, chosen: list[Case]) -> None:
    """Print the third table."""
    rows = []
    everything = [errors_by_distance(matter, case) for case in chosen]
    for number, near in enumerate(DISTANCES):
        errors = np.concatenate([each[number] for each in everything])
        if errors.size:
            share = (errors > 1 / 255).mean()
            rows.append((f"from {near}", f"{errors.max():.3f}", f"{errors.mean():.2e}", f"{share:.1%}"))
    print(table(("pixels from the cut", "largest error", "mean", "over 1/255"), rows))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, help="a trained model; a random one without it")
    parser.add_argument("--images", type=Path, default=NATURAL, help="a folder of photographs, .png")
    parser.add_argument("--trimaps", type=Path, default=NATURAL, help="a folder of their trimaps")
    parser.add_argument("--quick", action="store_true", help="leave out 12 megapixels")
    options = parser.parse_args()
    torch.set_num_threads(1)
    matter = load(options.checkpoint, "cpu") if options.checkpoint else random_matter()
    chosen = list(cases(options.images, options.trimaps))
    small = measure_sizes(quick=options.quick)
    print()
    same = measure_tiles(matter, chosen) < 1e-5
    print()
    measure_overlap(matter, chosen)
    print(
        f"\n{'reached' if small and same else 'MISSED'}: under {size(MOST)}, tiles within 1e-5 of the whole"
    )
    return 0 if small and same else 1


if __name__ == "__main__":
    sys.exit(main())
