"""It learns: every stage, in a minute on a CPU, foregrounds that it never saw."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import hdf5plugin  # noqa: F401  h5py needs its filters
import numpy as np
import pytest

from dimtool.composer.building.build import build_dataset
from dimtool.composer.demo import make_demo
from dimtool.composer.engines.local import LocalProcesses
from dimtool.composer.sources.lists import Lists
from dimtool.composer.sources.manifest import read_manifest
from dimtool.model.network.dim import Stage
from dimtool.model.network.layers import Normalisation
from dimtool.model.runs.config import TrainConfig
from dimtool.model.training import reporting
from dimtool.model.training.stages import train
from dimtool.progress import Silent

# Steps and greatest rate of each stage, for plain convolutions and for those normalised over the batch, which
# learn as much in a part of the steps. They leave a margin that seeds do not use up.
STAGES: dict[Normalisation, dict[Stage, tuple[int, float]]] = {
    "none": {1: (500, 1e-3), 2: (100, 5e-4), 3: (150, 5e-4)},
    "batch": {1: (250, 2e-3), 2: (60, 1e-3), 3: (80, 1e-3)},
}
MARGIN = 0.85
RADIUS = 5  # of the trimaps that are validated on


class Sets(NamedTuple):
    train: Path
    unseen: Path


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Sets:
    """The demo's shards, small, and others that were drawn with another seed."""
    root = tmp_path_factory.mktemp("demo")
    for name, seed, foregrounds, each in (("train", 0, 32, 3), ("unseen", 100, 8, 2)):
        images = root / name / "images"
        make_demo(
            images,
            seed=seed,
            size=128,
            train=foregrounds,
            test=1,
            backgrounds_per_train=each,
            backgrounds_per_test=1,
        )
        manifest = read_manifest(Lists(fg_list=images / "train_fg.txt", per_fg=each))
        folder = root / name / "shards"
        build_dataset(manifest, folder, engine=LocalProcesses(workers=1), reporter=Silent())
    return Sets(root / "train" / "shards", root / "unseen" / "shards")


def sad_of_a_constant(shards: Path, answer: float) -> float:
    """Mean SAD, in thousands, over all composites, of one alpha for every unknown pixel."""
    errors = []
    for path in sorted(shards.glob("*.h5")):
        with h5py.File(path, locking=False) as shard:
            alpha, distance = shard["alpha"][...].astype(float), shard["distance"][...]
            unknown = ((alpha > 0) & (alpha < 255)) | (distance <= RADIUS)
            error = np.abs(alpha[unknown] / 255 - answer).sum() / 1000
            errors += [error] * len(shard["composite"])
    return float(np.mean(errors))


@pytest.mark.parametrize(("normalisation", "seed"), [("none", 0), ("batch", 1), ("batch", 2)])
def test_each_stage_beats_the_trivial_answers_on_unseen_foregrounds(
    normalisation: Normalisation,
    seed: int,
    sets: Sets,
    tmp_path: Path,
    metrics: Callable[[Path], list[dict[str, Any]]],
) -> None:
    """The trivial ones: the trimap itself as alpha, and one half wherever it is unknown."""
    stages = STAGES[normalisation]
    for stage, (steps, rate) in stages.items():
        config = TrainConfig(
            shards=sets.train,
            val_shards=sets.unseen,
            out=tmp_path / f"stage {stage}",
            stages=(stage,),
            init=tmp_path / f"stage {stage - 1}" if stage > 1 else None,
            steps=steps,
            learning_rate=rate,
            lr_schedule="cosine",
            warmup=0.1,
            weight_decay=0.01,
            clip=1.0,
            ema=0.99,
            normalisation=normalisation,
            batch_size=4,
            bottleneck="slim",
            width=0.125,
            crop_size=96,
            crop_cuts=(96, 128),
            radii=(1, 6),
            stage2_radius=RADIUS,
            val_radius=RADIUS,
            workers=0,
            seed=seed,
            page=False,
        )
        train(config, reporting.Silent())
    trivial = min(sad_of_a_constant(sets.unseen, answer) for answer in (128 / 255, 0.5))
    reached = {stage: metrics(tmp_path / f"stage {stage}")[-1]["val_sad"] for stage in stages}
    print(f"{normalisation} {seed}: trivial {trivial:.3f}, stages {reached}")
    assert max(reached.values()) < MARGIN * trivial
