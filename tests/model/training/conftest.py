"""A tiny network on tiny shards, on the CPU: what the tests of a training share."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from dimtool.model.network.checkpoint import save_model
from dimtool.model.network.dim import DeepImageMatting, ModelConfig
from dimtool.model.runs.config import TrainConfig

TINY = ModelConfig(bottleneck="slim", width=0.0625)


@pytest.fixture(autouse=True)
def on_one_thread_of_the_cpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """There sums have one order, here and in the processes that a test starts."""
    if torch.accelerator.is_available():
        monkeypatch.setenv("ACCELERATE_USE_CPU", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def tiny(train_shards: Path, val_shards: Path, tmp_path: Path) -> Callable[..., TrainConfig]:
    """A configuration that trains at once; keyword arguments change it."""

    def configure(**changes: Any) -> TrainConfig:
        values = {
            "shards": train_shards,
            "val_shards": val_shards,
            "out": tmp_path / "run",
            "steps": 2,
            "batch_size": 2,
            "learning_rate": 1e-3,
            "bottleneck": TINY.bottleneck,
            "width": TINY.width,
            "crop_size": 64,
            "crop_cuts": (64, 96),
            "workers": 0,
            "val_count": 1,
            "log_every": 1,
        }
        return TrainConfig(**{**values, **changes})

    return configure


@pytest.fixture
def start(tmp_path: Path) -> Path:
    """A model to start from, whose refinement already corrects something."""
    torch.manual_seed(5)
    model = DeepImageMatting(TINY)
    assert model.refinement is not None
    torch.nn.init.normal_(model.refinement.prediction.weight, std=0.2)
    save_model(tmp_path / "start.safetensors", model)
    return tmp_path / "start.safetensors"


@pytest.fixture(scope="session")
def metrics() -> Callable[[Path], list[dict[str, Any]]]:
    """The rows of a run's metrics.jsonl."""
    return lambda run: [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="session")
def checkpoints() -> Callable[[Path], list[str]]:
    """The names of all that is beside a run's checkpoints."""
    return lambda run: sorted(path.name for path in (run / "checkpoints").glob("*"))
