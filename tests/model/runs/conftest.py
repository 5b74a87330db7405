"""A small run, and what can be done with one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dimtool.model.network.dim import DeepImageMatting
from dimtool.model.network.progress import Progress
from dimtool.model.runs.beginning import RunError
from dimtool.model.runs.config import TrainConfig
from dimtool.model.runs.folder import open_run


@pytest.fixture
def config(train_shards: Path, tmp_path: Path) -> TrainConfig:
    """A tiny network on the CPU."""
    return TrainConfig(shards=train_shards, out=tmp_path / "run", bottleneck="slim", width=1 / 64)


@pytest.fixture
def pair(config: TrainConfig) -> tuple[DeepImageMatting, torch.optim.Adam]:
    """Its model and an optimizer."""
    torch.manual_seed(0)
    model = DeepImageMatting(config.model)
    return model, torch.optim.Adam(model.parameters())


class Runs:
    """Begins runs, and looks into their folders."""

    @staticmethod
    def begin(config: TrainConfig) -> list[str]:
        """Begin a run, or go on; what is told."""
        with open_run(config) as run:
            return run.notes

    @staticmethod
    def start(config: TrainConfig, *places: tuple[int, int]) -> None:
        """Begin a run and save a checkpoint, or several, which hold it to its options."""
        model = DeepImageMatting(config.model)
        with open_run(config) as run:
            for stage, step in places or [(1, 5)]:
                progress = Progress(stage=stage, step=step, crops=step)
                run.save(model, torch.optim.Adam(model.parameters()), progress)

    @staticmethod
    def contents(folder: Path) -> dict[str, bytes]:
        """Its files, by their path there; without the lock."""
        found = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
        return {str(path.relative_to(folder)): path.read_bytes() for path in found}

    @classmethod
    def refusal(cls, config: TrainConfig) -> str:
        """The one line of a run that cannot go on; nothing in its folder has changed."""
        before = cls.contents(config.out)
        with pytest.raises(RunError) as caught:
            cls.begin(config)
        assert cls.contents(config.out) == before
        assert "\n" not in str(caught.value)
        assert caught.value.exit_code == 2
        return str(caught.value)


@pytest.fixture(scope="session")
def runs() -> type[Runs]:
    """How tests begin theirs."""
    return Runs
