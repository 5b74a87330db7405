"""How far does a recipe bring a small network in few steps, beside another?

    python benchmarks/recipes.py [--recipe fast] [--seeds 0,1,2] [--set learning-rate=1e-3 --set recompose=0%]

Draws the demo's images at 128 pixels (32 foregrounds over 3 backgrounds each, and 8 others that are never
trained on), trains a slim network of width 1/8 in the three stages, and scores 16 composites of the others,
with trimaps of radius 5: mean SAD as a share of the trivial answer's, the trimap as alpha, and the gradient
error, in thousands. Steps, crops and radii fit such small images; the rest is the recipe's, but for what
--set says.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dimtool.composer.building.build import build_dataset
from dimtool.composer.demo import make_demo
from dimtool.composer.engines.local import LocalProcesses
from dimtool.composer.pixels.trimap import UNKNOWN, trimap_of
from dimtool.composer.shards.dataset import CompositeDataset
from dimtool.composer.sources.manifest import Lists, read_manifest
from dimtool.metrics import gradient, sad
from dimtool.model.commands.train import train_command
from dimtool.model.inference.matter import Matter, to_uint8
from dimtool.model.network.checkpoint import load_model
from dimtool.progress import Silent

STEPS = "500,100,150"
RADIUS = 5
FITTING = [
    *("--bottleneck", "slim", "--width", "0.125", "--crop-size", "96", "--crop-cuts", "96,128"),
    *("--radii", "1,6", "--stage2-radius", str(RADIUS), "--val-radius", str(RADIUS), "--workers", "0"),
    *("--save-every", "100000", "--keep", "9"),
]


def draw(root: Path, *, seed: int, foregrounds: int, each: int) -> Path:
    """The demo's shards, small."""
    images, shards = root / "images", root / "shards"
    counts = {"train": foregrounds, "test": 1, "backgrounds_per_train": each, "backgrounds_per_test": 1}
    make_demo(images, seed=seed, size=128, **counts)
    manifest = read_manifest(Lists(fg_list=images / "train_fg.txt", per_fg=each))
    build_dataset(manifest, shards, engine=LocalProcesses(workers=1), reporter=Silent())
    return shards


def score(model: Path | None, shards: Path) -> tuple[float, float]:
    """Mean SAD and gradient error of a model, or of the trivial answer, over all composites."""
    composites = CompositeDataset(shards)
    matter = None if model is None else Matter(model=load_model(model), device=torch.device("cpu"))
    found = []
    for number in range(len(composites)):
        sample = composites.composite(number)
        trimap = trimap_of(sample.alpha, sample.distance, RADIUS, RADIUS)
        if matter is not None:
            answer = to_uint8(matter.matte(sample.composite, trimap))
        else:
            answer = np.where(trimap == UNKNOWN, np.uint8(128), trimap)
        found.append((sad(answer, sample.alpha, trimap), gradient(answer, sample.alpha, trimap)))
    means = np.mean(found, 0)
    return float(means[0]), float(means[1])


def train(arguments: list[str]) -> None:
    """As `dimtool train` does."""
    context = train_command.make_context("train", arguments)
    with context:
        train_command.invoke(context)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recipe", default="fast")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--steps", default=STEPS)
    parser.add_argument("--set", action="append", default=[], metavar="OPTION=VALUE")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        measure(options, Path(folder))


def measure(options: argparse.Namespace, root: Path) -> None:
    """Train and print."""
    ours = draw(root / "train", seed=0, foregrounds=32, each=3)
    others = draw(root / "unseen", seed=100, foregrounds=8, each=2)
    trivial, _ = score(None, others)
    given: list[Any] = [
        word for each in options.set for word in (f"--{each.split('=')[0]}", each.split("=")[1])
    ]
    print(
        f"recipe {options.recipe} {' '.join(given)}, steps {options.steps}; trivial answer: SAD {trivial:.3f}"
    )
    print("seed  stage   SAD / trivial's   gradient error   minutes", flush=True)
    for seed in options.seeds.split(","):
        out, started = root / f"run {seed}", time.perf_counter()
        words = [
            "--shards",
            ours,
            "--val-shards",
            others,
            "--out",
            out,
            "--seed",
            seed,
            "--steps",
            options.steps,
        ]
        train([str(each) for each in ["--recipe", options.recipe, *FITTING, *words, *given]])
        minutes = (time.perf_counter() - started) / 60
        for stage, steps in enumerate(options.steps.split(","), 1):
            error, slopes = score(out / "checkpoints" / f"stage{stage}-step{int(steps):08}", others)
            print(
                f"{seed:>4}  {stage:>5}   {error / trivial:>15.3f}   {slopes:>14.3f}   {minutes:>7.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
