"""`python -m dimtool train` killed and stopped, itself and its workers: the same model in the end."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any


def _assert_killed(process: Any) -> None:
    process.kill()
    assert process.ended().code == -signal.SIGKILL


def test_a_run_that_is_killed_and_stopped_again_and_again(
    assert_same: Callable[..., None],
    last_of: Callable[[int], str],
    launch: Any,
    undisturbed: Path,
    tmp_path: Path,
) -> None:
    """In the middle of an epoch, while a checkpoint is written, between two stages; by all three signals."""
    out = tmp_path / "run"
    checkpoints = out / "checkpoints"

    process = launch(out)
    process.wait_for(lambda: list(checkpoints.glob(".stage1*.part")) or list(checkpoints.glob("stage*")))
    _assert_killed(process)

    process = launch(out)
    process.wait_for_step(out, 1, 5)
    _assert_killed(process)
    half_written = checkpoints / ".stage1-step00000006.part"
    half_written.mkdir(exist_ok=True)
    (half_written / "model.safetensors").write_bytes(b"half")

    process = launch(out)
    process.wait_for((checkpoints / last_of(1)).exists)
    _assert_killed(process)
    assert not half_written.exists()

    process = launch(out)
    process.wait_for_step(out, 2, 4)
    process.terminate()
    _assert_stopped(process, 143, stage=2)

    process = launch(out)
    process.wait_for_step(out, 3, 1)
    os.killpg(process.pid, signal.SIGINT)
    _assert_stopped(process, 130, stage=3)

    launch(out).finish()
    assert_same(out, undisturbed)


def _assert_stopped(process: Any, code: int, *, stage: int) -> None:
    ended = process.ended()
    assert (ended.code, ended.out, len(ended.lines)) == (code, "", 1), ended
    assert ended.lines[0].startswith("dimtool: stopped at step ")
    assert ended.lines[0].endswith(f" of stage {stage}; the same command goes on there")


def _workers(process: Any) -> list[int]:
    return [pid for pid, words in process.living().items() if "spawn_main" in words]


def test_with_worker_processes(
    assert_same: Callable[..., None], launch: Any, undisturbed: Path, tmp_path: Path
) -> None:
    """The whole group is told to stop, the main process is killed, a worker is killed: none is left over."""
    out = tmp_path / "run"
    workers = ("--workers", "2")

    process = launch(out, *workers)
    process.wait_for_step(out, 1, 2)
    os.killpg(process.pid, signal.SIGTERM)
    _assert_stopped(process, 143, stage=1)

    process = launch(out, *workers)
    process.wait_for(lambda: _workers(process))  # which have only just begun to start
    _assert_killed(process)

    process = launch(out, *workers)
    process.wait_for_step(out, 2, 1)
    _assert_killed(process)

    process = launch(out, *workers, "--stage", "2")
    process.wait_for_step(out, 2, 5)
    os.kill(_workers(process)[0], signal.SIGKILL)
    code, _, lines = process.ended()
    assert (code, lines[1:]) == (1, [])
    assert lines[0].startswith("dimtool: a worker process was killed, perhaps for want of memory: try fewer")

    launch(out, *workers, "--stage", "2").finish()
    assert_same(out, undisturbed, stage=2)


_FAULTY = """
from dimtool import cli
from dimtool.model.training.step import TrainingStep

def fail(*_):
    raise ZeroDivisionError("ours")

TrainingStep.__call__ = fail
if __name__ == "__main__":
    cli.main()
"""


def test_a_fault_of_ours_does_not_wait_for_its_workers(launch: Any, tmp_path: Path) -> None:
    """A process waits for its workers before it ends; they are to end when it says so, not a minute later."""
    process = launch(tmp_path / "run", "--workers", "1", launcher=("-c", _FAULTY))
    _, err = process.communicate(timeout=50)
    assert process.returncode == 1
    assert err.strip().endswith("ZeroDivisionError: ours")
