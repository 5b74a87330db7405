"""A training that goes on with another number of processes, and one of whose processes dies alone."""

from __future__ import annotations

import ast
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dimtool.model.crops.batches import CropBatches, Position

_STEPS, _BATCH, _CROPS = 12, 2, 18

# Writes down which crops a process asks for, and takes its time, so that it is met in mid-stage.
_NOTING = """
import os, sys, time
from dimtool.model.crops.dataset import TrainingCrops

path = sys.argv.pop(1) + os.environ.get("RANK", "0")
get = TrainingCrops.__getitem__

def noted(crops, position):
    time.sleep(0.1)
    with open(path, "a") as stream:
        print(position, file=stream)
    return get(crops, position)

TrainingCrops.__getitem__ = noted
from dimtool.cli import main
main()
"""


@pytest.fixture
def start(launch: Any, tmp_path: Path) -> Callable[..., Any]:
    """Start a process of stage 1 that writes its crops down under a name, as one of so many."""
    script = tmp_path / "script.py"
    script.write_text(_NOTING)

    def call(name: str, *, rank: int = 0, count: int = 1, port: int = 0) -> Any:
        group = {"RANK": rank, "WORLD_SIZE": count, "MASTER_ADDR": "localhost", "MASTER_PORT": port}
        return launch(
            tmp_path / "run",
            "--stage",
            1,
            launcher=(str(script), str(tmp_path / name)),
            environment={key: str(value) for key, value in group.items()} if count > 1 else {},
        )

    return call


def _expected(first: int, rank: int, world: int) -> list[Position]:
    batches = CropBatches(
        _CROPS, batch_size=_BATCH, seed=1, start=first, steps=_STEPS - first, rank=rank, world=world
    )
    return [position for batch in batches for position in batch]


def _asked(path: Path) -> list[Position]:
    return [ast.literal_eval(line) for line in path.read_text().splitlines()]


def _last_step(run: Path) -> int:
    return max(int(path.name[-8:]) for path in (run / "checkpoints").glob("stage1-step*"))


def test_one_process_then_two_then_one(
    log: Callable[..., Any], start: Callable[..., Any], undisturbed: Path, tmp_path: Path
) -> None:
    """The place is that of all crops, whoever reads them; and without a launcher a death ends both."""
    run = tmp_path / "run"
    alone = start("first")
    alone.wait_for_step(run, 1, 1)
    alone.terminate()
    assert alone.ended().code == 128 + signal.SIGTERM
    begun = _last_step(run)

    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    main, other = (start("second", rank=rank, count=2, port=port) for rank in range(2))
    main.wait_for_step(run, 1, begun + 4)
    main.kill()
    killed = time.monotonic()
    ended = other.ended()
    assert time.monotonic() - killed < 60
    assert (ended.code, ended.out) == (1, "")
    assert [line for line in ended.lines if line.startswith("dimtool")] == [
        "dimtool: process 0 of this training has died: the same command goes on from the last checkpoint"
    ]
    went_on = _last_step(run)

    start("third").finish()
    for name, first, rank, world in (
        ("first0", 0, 0, 1),
        ("second0", begun, 0, 2),
        ("second1", begun, 1, 2),
        ("third0", went_on, 0, 1),
    ):
        asked = _asked(tmp_path / name)
        assert asked == _expected(first, rank, world)[: len(asked)], name
    assert len(_asked(tmp_path / "third0")) == (_STEPS - went_on) * _BATCH
    assert 0 < begun < went_on < _STEPS
    ours, theirs = (np.array(log(each, 1), np.float64) for each in (run, undisturbed))
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)  # NaN where a row has no such value


def test_a_batch_that_cannot_be_shared_is_refused_in_one_line(launch: Any, tmp_path: Path) -> None:
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "dimtool")
    ended = launch(tmp_path / "run", "--batch-size", 3, launcher=torchrun).ended()
    assert ended.code != 0
    (line,) = [line for line in ended.lines if line.startswith("dimtool: ")]
    assert line.startswith(
        "dimtool: a batch of 3 cannot be shared equally by 2 processes: choose a --batch-size"
    )
