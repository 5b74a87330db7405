"""A training as users run it: the step alone, the loader alone, both together, then `evaluate`. In one run.

    python benchmarks/training.py --shards shards/train --test-shards shards/test [--steps 200] [--workers 16]

The step runs on one batch again and again; the loader gives batches to nobody; then `train` runs one stage on
these shards, validates its model on whole images, and its log says crops a second and what part of the time
the device waited. Last, `dimtool evaluate` scores that model on the test shards, beside the forward passes of
these images alone. Targets, on a GPU: a share of 40 % (see `rates.py`), waiting under 5 %. Without a GPU the
script runs end to end on a narrow network and says what it would run on one; those figures are no GPU's.
"""

from __future__ import annotations

import argparse
import io
import json
import tempfile
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import torch

from dimtool.cli import run
from dimtool.composer.engines.engine import core_count
from dimtool.composer.pixels.trimap import trimap_of
from dimtool.composer.shards.dataset import CompositeDataset
from dimtool.model.crops.dataset import TrainingCrops
from dimtool.model.inference.matter import load
from dimtool.model.network.dim import DeepImageMatting, Stage
from dimtool.model.processes.feeding import Feed
from dimtool.model.processes.workers import Workers
from dimtool.model.runs.config import TrainConfig
from dimtool.model.training.reporting import Silent
from dimtool.model.training.stages import train
from rates import TARGET, flops, share
from step import seconds
from variants import Runner, cases, make_batch

_WAITING = 0.05


def configuration(options: argparse.Namespace, out: Path) -> TrainConfig:
    """The training's: on a GPU the whole network in bf16, compiled."""
    cuda = torch.cuda.is_available()
    small: dict[str, Any] = {"width": 0.125, "bottleneck": "slim", "crop_size": 96, "crop_cuts": (96, 160)}
    return TrainConfig(
        shards=options.shards,
        out=out,
        stages=(options.stage,),
        steps=options.steps,
        batch_size=options.batch_size,
        workers=options.workers,
        precision="bf16" if cuda else "tf32",
        compile=cuda,
        weights="none",
        val_count=options.val_count,
        log_every=max(1, options.steps // 5),
        **({} if cuda else small),
    )


def step_alone(config: TrainConfig, device: torch.device, stage: Stage) -> tuple[float, float]:
    """Crops a second, and their share of a matrix product's rate that is measured here."""
    network = DeepImageMatting(config.model)
    network.set_stage(stage)
    case = cases(config.precision, compiling=config.compile)[-1]
    runner = Runner(case, network, device, learning_rate=1e-5)
    count = config.plan(stage).batch_size
    batch = make_batch(count, config.crop_size, seed=0, pinned=device.type == "cuda")
    for _ in range(3):
        runner.step(batch)
    speed = count / seconds(lambda: runner.step(batch), times=50 if device.type == "cuda" else 3)
    side = 8192 if device.type == "cuda" else 512
    a, b = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    rate = 2 * side**3 / seconds(lambda: a @ b, times=10)
    return speed, share(speed, flops(network, config.crop_size)[1], rate)


def loader_alone(config: TrainConfig, stage: Stage, batches: int) -> float:
    """Crops a second, the workers' start not counted."""
    crops = TrainingCrops(config.shards, config.crops(stage), seed=1)
    count = config.plan(stage).batch_size
    workers = Workers(config.workers, cores=core_count())
    feed = Feed(crops, batch_size=count, workers=workers, pinned=torch.cuda.is_available(), note=print)
    feed.begin(0, batches + 1)
    feed.next()
    started = time.perf_counter()
    for _ in range(batches):
        feed.next()
    return batches * count / (time.perf_counter() - started)


def trained(config: TrainConfig) -> tuple[float, float, float]:
    """Crops a second and part of the time waited, of the last report; seconds of all, with validation."""
    started = time.perf_counter()
    train(config, Silent())
    spent = time.perf_counter() - started
    rows = [json.loads(line) for line in (config.out / "metrics.jsonl").read_text("utf-8").splitlines()]
    last = [row for row in rows if "crops_per_second" in row][-1]
    return last["crops_per_second"], last["waiting"], spent


def evaluated(model: Path, shards: Path, out: Path, workers: int) -> tuple[float, float]:
    """Composites a second of `dimtool evaluate`, start to page, and of the forward passes alone."""
    composites = CompositeDataset(shards)
    started = time.perf_counter()
    arguments = ["--checkpoint", model, "--shards", shards, "--out", out, "--workers", workers]
    with redirect_stdout(io.StringIO()):
        if code := run(["evaluate", *map(str, arguments)]):
            raise SystemExit(f"evaluate ended with {code}")
    whole = len(composites) / (time.perf_counter() - started)
    matter = load(model)
    forward = 0.0
    for i in range(len(composites)):
        sample = composites.composite(i)
        trimap = trimap_of(sample.alpha, sample.distance, 10, 10)
        began = time.perf_counter()
        matter.matte(sample.composite, trimap)  # whose result is on the CPU: the device has finished
        forward += time.perf_counter() - began
    return whole, len(composites) / forward


def main() -> None:
    cuda = torch.cuda.is_available()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shards", type=Path, required=True)
    parser.add_argument("--test-shards", type=Path, required=True)
    parser.add_argument("--stage", type=int, choices=(1, 2, 3), default=1)
    parser.add_argument("--batch-size", type=int, default=32 if cuda else 2)
    parser.add_argument("--steps", type=int, default=200 if cuda else 5)
    parser.add_argument("--workers", type=int, default=core_count() if cuda else 1)
    parser.add_argument("--val-count", type=int, default=20 if cuda else 1)
    options = parser.parse_args()
    device = torch.device("cuda" if cuda else "cpu")
    torch.backends.cudnn.benchmark = True
    with tempfile.TemporaryDirectory() as folder:
        config = configuration(options, Path(folder) / "run")
        print(torch.cuda.get_device_name() if cuda else "no GPU here: a trial; its figures are no GPU's")
        if not cuda:
            print("on one: width 1, fc6, 200 batches of 32 crops of 320, bf16, compiled, a worker a core")
        speed, part = step_alone(config, device, options.stage)
        print(f"step alone    {speed:10.2f} crops/s, share {part:.1%} (target {TARGET:.0%} on a GPU)")
        print(f"loader alone  {loader_alone(config, options.stage, options.steps):10.2f} crops/s")
        speed, waiting, spent = trained(config)
        print(f"training      {speed:10.2f} crops/s, waiting {waiting:.1%} (target {_WAITING:.0%} on a GPU)")
        print(f"in all        {spent:10.2f} s for {options.steps} steps, validation and checkpoint")
        out = Path(folder) / "evaluation"
        whole, forward = evaluated(config.out, options.test_shards, out, max(1, options.workers))
        print(f"evaluate      {whole:10.2f} composites/s, {whole / forward:.0%} of the forward passes alone")


if __name__ == "__main__":
    main()
