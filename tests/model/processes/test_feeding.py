"""Batches that come late, or cannot be handed over; how many workers a device needs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from dimtool.errors import DimtoolError
from dimtool.model.crops.batches import CropBatches
from dimtool.model.crops.dataset import TrainingCrops
from dimtool.model.crops.reading import CropConfig
from dimtool.model.processes import memory, workers
from dimtool.model.processes.feeding import Feed
from dimtool.model.processes.memory import Handed, SharedMemoryError, try_shared_memory
from dimtool.model.processes.workers import Workers, enough


@pytest.fixture
def crops(train_shards: Path) -> Iterator[TrainingCrops]:
    made = TrainingCrops(train_shards, CropConfig(size=32, cuts=(32,)), seed=3)
    yield made
    made.composites.close()


def feed_of(crops: TrainingCrops, count: int = 0, notes: list[str] | None = None) -> Feed:
    told = [] if notes is None else notes
    return Feed(crops, batch_size=2, workers=Workers(count, cores=2), note=told.append)


class Late:
    """A loader's iterator that gives nothing for some times, as PyTorch says it, and then a batch."""

    def __init__(self, times: int) -> None:
        self.times = times

    def __iter__(self) -> Late:
        return self

    def __next__(self) -> str:
        self.times -= 1
        if self.times >= 0:
            raise RuntimeError("DataLoader timed out after 2 seconds")
        return "batch"


def test_a_signal_is_heard_while_no_batch_comes(
    crops: TrainingCrops, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Feed, "_loader", lambda *_: Late(3))
    feed = feed_of(crops)
    feed.begin(0, 9)
    assert feed.next([15]) is None
    assert feed.next() == "batch"  # what was only late comes
    assert feed.next([15]) == "batch"  # what is there is used up first: the loop stops after it


def test_pytorch_can_be_asked_again_after_it_timed_out(crops: TrainingCrops) -> None:
    """And loses no batch by it: the first is late while the worker starts."""
    feed = feed_of(crops, 1)
    feed.begin(4, 3)
    feed._iterator._timeout = 0.01  # type: ignore[attr-defined]
    expected = list(CropBatches(18, batch_size=2, seed=3, first=4, steps=3))
    for positions in expected:
        batch = feed.next()
        assert batch is not None
        assert torch.equal(batch["image"], torch.stack([crops[each]["image"] for each in positions]))
    assert feed.waited > 0


def test_workers_that_are_changed_go_on_with_the_next_batch(
    crops: TrainingCrops, positions: list[tuple[int, int]]
) -> None:
    feed = feed_of(crops)
    feed._workers.learn = lambda *_, left, **__: left == 5  # type: ignore[method-assign]
    feed.begin(0, 9)
    for _ in range(9):
        feed.next()
    assert positions == [each for batch in CropBatches(18, batch_size=2, seed=3, steps=9) for each in batch]


# ---- shared memory -----------------------------------------------------------------------------------------


def test_a_batch_that_cannot_be_shared_is_told_by_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    handed = Handed(lambda items: {"image": torch.ones(3), "skipped": []})  # type: ignore[arg-type,return-value]
    here = handed([])
    assert not isinstance(here, DimtoolError)
    assert not here["image"].is_shared()  # in the main process nothing is
    monkeypatch.setattr(memory, "get_worker_info", lambda: "a worker")
    shared = handed([])
    assert not isinstance(shared, DimtoolError)
    assert shared["image"].is_shared()

    def fail(_: torch.Tensor) -> None:
        raise RuntimeError("unable to allocate shared memory(shm): No space left on device (28)\nat")

    monkeypatch.setattr(torch.Tensor, "share_memory_", fail)
    told = handed([])
    assert isinstance(told, SharedMemoryError)
    assert "\n" not in str(told)
    for words in ("No space left on device (28)", "/dev/shm", "--shm-size", "--workers 0"):
        assert words in str(told)


def test_no_shared_memory_for_the_queues(monkeypatch: pytest.MonkeyPatch) -> None:
    try_shared_memory(2)

    def fail(*_: object, **__: object) -> None:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr("multiprocessing.context.BaseContext.Lock", fail)
    with pytest.raises(SharedMemoryError, match=r"cannot share memory \(No such file or directory\)"):
        try_shared_memory(2)


def test_a_tiny_dev_shm(train_shards: Path, tmp_path: Path) -> None:
    """Docker's is of 64 MB; here less still, and crops as small. It ends by itself, in one line."""
    words = (
        f"{sys.executable} -m dimtool train --shards '{train_shards}' --out '{tmp_path}/run' --width 0.0625 "
        "--bottleneck slim --batch-size 4 --crop-size 64 --crop-cuts 64 --val-share 0 --steps 9 --stage 1 "
        "--workers 1"
    )
    script = f"mount -t tmpfs -o size=100k tmpfs /dev/shm || exit 77; exec {words}"
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
    )
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip("mounting is not permitted here")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("dimtool: worker processes cannot share memory (")


# ---- how many workers --------------------------------------------------------------------------------------


def steps(each: Workers, clock: Any, count: int, *, compute: float, waited: float, left: int = 10**6) -> Any:
    """So many steps; the count of workers after them, how often they began anew, what was told."""
    notes: list[str] = []
    changes = 0
    for _ in range(count):
        clock(compute + waited)
        changes += each.learn(waited, left=left, note=notes.append)
    return each.count, changes, notes


def test_a_device_that_waits_gets_more_workers(clock: Any) -> None:
    found = Workers(None, cores=16)
    assert found.count == workers.FIRST == 4
    assert steps(found, clock, 40, compute=0.1, waited=0.1) == (10, 1, [])
    assert steps(found, clock, 400, compute=0.1, waited=0.001) == (10, 0, [])


def test_where_cores_end_it_is_told_once(clock: Any) -> None:
    found = Workers(None, cores=6)
    count, changes, notes = steps(found, clock, 400, compute=0.05, waited=0.15)
    assert (count, changes, len(notes)) == (6, 1, 1)
    assert notes[0].startswith(
        "the device waits for data 75% of the time, with 6 workers; 6 cores cannot read"
    )


def test_workers_that_were_asked_for_stay(clock: Any) -> None:
    asked = Workers(2, cores=16)
    count, changes, (note,) = steps(asked, clock, 400, compute=0.1, waited=0.1)
    assert (count, changes) == (2, 0)
    assert note == (
        "the device waits for data 50% of the time, with 2 workers; 5 workers would feed it: --workers"
    )
    assert steps(Workers(0, cores=16), clock, 400, compute=0.1, waited=0.1) == (0, 0, [])


def test_a_short_rest_is_not_worth_a_start(clock: Any) -> None:
    count, changes, notes = steps(Workers(None, cores=16), clock, 100, compute=0.1, waited=0.1, left=100)
    assert (count, changes, len(notes)) == (4, 0, 1)


def test_enough_is_what_the_rest_of_the_time_tells() -> None:
    """4 workers make a batch in 4 / 4 of a step of 1 s, half of which the device waits: 8, and a reserve."""
    assert enough(4, 0.5) == 10
    assert enough(1, 1.0) == 60
