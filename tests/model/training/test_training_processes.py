"""`python -m dimtool train` killed, stopped, out of room, in several processes: the same model in the end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from dimtool.cli import run as run_here

STEPS = 12  # of each stage
_OPTIONS = (
    "--width 0.0625 --bottleneck slim --crop-size 64 --crop-cuts 64,96 --batch-size 2 --learning-rate 1e-3 "
    f"--steps {STEPS} --save-every 3 --val-every 4 --val-count 1 --log-every 1 --keep 99 "
    "--lr-schedule cosine --warmup 20% --weight-decay 0.01 --clip 0.5"
)
PATIENCE = 200  # seconds, after which a process is taken to hang: a busy machine is slow

Process = subprocess.Popen[str]


# ---- processes ---------------------------------------------------------------------------------------------


class Started:
    """Processes in sessions of their own, as terminals start them; what is left of them dies at the end."""

    def __init__(self, options: list[str]) -> None:
        self._options = options
        self._processes: list[Process] = []

    def __call__(self, out: Path, *more: object, launcher: tuple[str, ...] = ("-m", "dimtool")) -> Process:
        words = [sys.executable, *launcher, "train", *self._options, "--out", out, "--workers", "0", *more]
        # Where there is a GPU it must stay out of it: its sums have no fixed order.
        environment = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        process = subprocess.Popen(
            list(map(str, words)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, **environment},
        )
        self._processes.append(process)
        return process

    def end(self) -> None:
        for process in self._processes:
            for pid in _session(process.pid):
                os.kill(pid, signal.SIGKILL)
            process.communicate()


def _session(leader: int) -> dict[int, str]:
    """The processes of a session that are not dead, but for what clears up after the others; their words."""
    living = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, its_session = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            words = (folder / "cmdline").read_text(errors="replace")
        except OSError:
            continue  # gone meanwhile
        if int(its_session) == leader and state != "Z" and "resource_tracker" not in words:
            living[int(folder.name)] = words
    return living


def _wait_for(condition: Callable[[], object], process: Process) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.001)


def _wait_for_step(out: Path, process: Process, stage: int, step: int) -> None:
    path = out / "metrics.jsonl"

    def reached() -> bool:
        lines = path.read_text().splitlines() if path.exists() else []
        return any(f'"stage": {stage}, "step": {step},' in line for line in lines)

    _wait_for(reached, process)


class Ended(NamedTuple):
    """How a process ended: exit code, standard output, lines that are no notes and no progress bar."""

    code: int
    out: str
    lines: list[str]


def _ended(process: Process) -> Ended:
    """Wait for it and for all of its helpers."""
    out, err = process.communicate(timeout=PATIENCE)
    end = time.monotonic() + PATIENCE
    while left := _session(process.pid):
        assert time.monotonic() < end, left
        time.sleep(0.02)
    return Ended(process.returncode, out, _lines(err))


def _lines(err: str) -> list[str]:
    lines = [line.strip() for line in err.replace("\r", "\n").split("\n")]
    return [line for line in lines if line and "%|" not in line and not line.startswith("note:")]


@pytest.fixture(scope="module")
def options(train_shards: Path, val_shards: Path) -> list[str]:
    return [*_OPTIONS.split(), "--shards", str(train_shards), "--val-shards", str(val_shards)]


@pytest.fixture(scope="module")
def start(options: list[str]) -> Iterator[Started]:
    started = Started(options)
    yield started
    started.end()


@pytest.fixture(scope="module")
def undisturbed(start: Started, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that nothing has disturbed."""
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    _assert_finished(start(out))
    return out


def _assert_finished(process: Process) -> None:
    """By itself, with one line of result and no complaint."""
    code, out, lines = _ended(process)
    assert (code, lines, out.count("\n")) == (0, [], 1), out


def _assert_killed(process: Process) -> None:
    process.kill()
    assert _ended(process).code == -signal.SIGKILL


def _assert_same(run: Path, undisturbed: Path, last: str = f"stage3-step{STEPS:08}") -> None:
    """The same bytes of everything that a run goes on from, and the same log of it, each step once."""
    for path in (undisturbed / "checkpoints" / last).iterdir():
        assert (run / "checkpoints" / last / path.name).read_bytes() == path.read_bytes(), path.name
    assert list((run / "checkpoints").glob(".*")) == []
    assert _log(run, last) == _log(undisturbed, last)
    if last.startswith("stage3"):
        for name in ("model.safetensors", "best.safetensors"):
            assert (run / name).read_bytes() == (undisturbed / name).read_bytes()


def _log(run: Path, last: str) -> list[tuple[Any, ...]]:
    """Stage, step, loss and validation SAD; not the times."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    keys = ("stage", "step", "loss", "val_sad")
    return [tuple(row.get(key) for key in keys) for row in rows if row["stage"] <= int(last[5])]


# ---- killed and stopped ------------------------------------------------------------------------------------


def test_a_run_that_is_killed_and_stopped_again_and_again(
    start: Started, undisturbed: Path, tmp_path: Path
) -> None:
    """In the middle of an epoch, while a checkpoint is written, between two stages; by all three signals."""
    out = tmp_path / "run"
    checkpoints = out / "checkpoints"

    process = start(out)
    _wait_for(lambda: list(checkpoints.glob(".stage1*.part")) or list(checkpoints.glob("stage*")), process)
    _assert_killed(process)

    process = start(out)
    _wait_for_step(out, process, 1, 5)
    _assert_killed(process)
    half_written = checkpoints / ".stage1-step00000006.part"
    half_written.mkdir(exist_ok=True)
    (half_written / "model.safetensors").write_bytes(b"half")

    process = start(out)
    _wait_for((checkpoints / f"stage1-step{STEPS:08}").exists, process)
    _assert_killed(process)
    assert not half_written.exists()

    process = start(out)
    _wait_for_step(out, process, 2, 4)
    process.terminate()
    _assert_stopped(process, 143, stage=2)

    process = start(out)
    _wait_for_step(out, process, 3, 1)
    os.killpg(process.pid, signal.SIGINT)
    _assert_stopped(process, 130, stage=3)

    _assert_finished(start(out))
    _assert_same(out, undisturbed)


def _assert_stopped(process: Process, code: int, *, stage: int) -> None:
    ended = _ended(process)
    assert (ended.code, ended.out, len(ended.lines)) == (code, "", 1), ended
    assert ended.lines[0].startswith("dimtool: stopped at step ")
    assert ended.lines[0].endswith(f" of stage {stage}; the same command goes on there")


def _workers(process: Process) -> list[int]:
    return [pid for pid, words in _session(process.pid).items() if "spawn_main" in words]


def test_with_worker_processes(start: Started, undisturbed: Path, tmp_path: Path) -> None:
    """The whole group is told to stop, the main process is killed, a worker is killed: none is left over."""
    out = tmp_path / "run"
    workers = ("--workers", "2")

    process = start(out, *workers)
    _wait_for_step(out, process, 1, 2)
    os.killpg(process.pid, signal.SIGTERM)
    _assert_stopped(process, 143, stage=1)

    process = start(out, *workers)
    _wait_for(lambda: _workers(process), process)  # which have only just begun to start
    _assert_killed(process)

    process = start(out, *workers)
    _wait_for_step(out, process, 2, 1)
    _assert_killed(process)

    process = start(out, *workers, "--stage", "2")
    _wait_for_step(out, process, 2, 5)
    os.kill(_workers(process)[0], signal.SIGKILL)
    code, _, lines = _ended(process)
    assert (code, lines[1:]) == (1, [])
    assert lines[0].startswith("dimtool: a worker process was killed, perhaps for want of memory: try fewer")

    _assert_finished(start(out, *workers, "--stage", "2"))
    _assert_same(out, undisturbed, last=f"stage2-step{STEPS:08}")


_FAULTY = """
from dimtool import cli
from dimtool.model.training.step import TrainingStep

def fail(*_):
    raise ZeroDivisionError("ours")

TrainingStep.__call__ = fail
if __name__ == "__main__":
    cli.main()
"""


def test_a_fault_of_ours_does_not_wait_for_its_workers(start: Started, tmp_path: Path) -> None:
    """A process waits for its workers before it ends; they are to end when it says so, not a minute later."""
    process = start(tmp_path / "run", "--workers", "1", launcher=("-c", _FAULTY))
    _, err = process.communicate(timeout=50)
    assert process.returncode == 1
    assert err.strip().endswith("ZeroDivisionError: ours")


# ---- several processes -------------------------------------------------------------------------------------


def test_two_processes_train_as_one(start: Started, undisturbed: Path, tmp_path: Path) -> None:
    """At the same batch of both together; also when they are stopped, and go on."""
    out = tmp_path / "run"
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "dimtool")
    process = start(out, launcher=torchrun)
    _wait_for_step(out, process, 1, 4)
    os.killpg(process.pid, signal.SIGTERM)
    ended = _ended(process)
    assert ended.code != 0
    stopped = {line for line in ended.lines if line.startswith("dimtool: ")}
    assert len(stopped) == 1, "they stopped after different steps"
    assert stopped.pop().startswith("dimtool: stopped at step ")

    ended = _ended(start(out, launcher=torchrun))
    assert ended.code == 0
    assert ended.out.startswith(f"{out}/model.safetensors, validation SAD ")
    assert ended.out.count("\n") == 1
    ours, theirs = (np.array(_log(each, "stage3"), np.float64) for each in (out, undisturbed))
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)  # NaN where a row has no such value


# Where a process has a folder of its own, as on machines without a common disk: all but the main one's stays
# as it is. Both compile the step.
_APART = """
import os, sys
folders = sys.argv[1:3]
del sys.argv[1:3]
os.chdir(folders[int(os.environ["RANK"])])
from dimtool.cli import main
main()
"""


def test_a_process_without_the_folder_goes_on_from_the_main_one_s(
    start: Started, undisturbed: Path, tmp_path: Path
) -> None:
    """It has an old checkpoint of its own there, which nobody asks for."""
    for name, last in (("main", 9), ("other", 3)):
        shutil.copytree(undisturbed, tmp_path / name / "run")
        for path in (tmp_path / name / "run" / "checkpoints").iterdir():
            if path.name > f"stage1-step{last:08}":
                shutil.rmtree(path)
    (tmp_path / "script.py").write_text(_APART)
    before = sorted(path.name for path in (tmp_path / "other").rglob("*"))
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    words = [*launcher, tmp_path / "script.py", tmp_path / "main", tmp_path / "other"]
    ended = _ended(start(Path("run"), "--stage", 1, "--compile", launcher=tuple(map(str, words))))
    assert ended.code == 0, ended
    ours, theirs = (
        np.array(_log(each, "stage1"), np.float64) for each in (tmp_path / "main" / "run", undisturbed)
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)
    assert sorted(path.name for path in (tmp_path / "other").rglob("*")) == before


def test_processes_of_different_options_end_in_one_line(start: Started, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import os, sys\nsys.argv += ['--seed', os.environ['RANK']]\nfrom dimtool.cli import main\nmain()\n"
    )
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script))
    ended = _ended(start(tmp_path / "run", launcher=launcher))
    assert ended.code != 0
    (line,) = [line for line in ended.lines if line.startswith("dimtool: ")]
    assert "do not agree: seed is 0 for process 0 and 1 for process 1" in line
    assert not (tmp_path / "run").exists()


# ---- no room -----------------------------------------------------------------------------------------------

Resize = Callable[[int], None]


@pytest.fixture
def train_here(options: list[str], capfd: pytest.CaptureFixture[str]) -> Callable[[Path], Ended]:
    """Train stage 1 in this process."""

    def call(out: Path) -> Ended:
        code = run_here(["train", *options, "--workers", "0", "--stage", "1", "--out", str(out)])
        said = capfd.readouterr()
        return Ended(code, said.out, _lines(said.err))

    return call


# kB: for nothing but the configuration; the log; a checkpoint; and the best model; and a second checkpoint.
@pytest.mark.parametrize(("room", "kept"), [(8, []), (200, []), (1500, [3]), (2300, [3]), (3400, [3, 6])])
def test_no_room(
    room: int, kept: list[int], disk: tuple[Path, Resize], undisturbed: Path, train_here: Callable[..., Ended]
) -> None:
    folder, resize = disk
    out = folder / "run"
    resize(room << 10)
    refused = train_here(out)
    (line,) = refused.lines
    assert (refused.code, refused.out) == (1, "")
    assert line.startswith("dimtool: ")
    assert "No space left" in line
    assert "make room" in line
    finished = sorted((out / "checkpoints").glob("*"))
    assert [path.name for path in finished] == [f"stage1-step{step:08}" for step in kept]
    for path in out.glob("checkpoints/stage*/*"):
        assert path.read_bytes() == (undisturbed / path.relative_to(out)).read_bytes()
    assert list(out.rglob(".*.part")) == []

    resize(1 << 30)
    assert train_here(out).code == 0
    last = f"stage1-step{STEPS:08}"
    _assert_same(out, undisturbed, last)
    whole = undisturbed / "checkpoints" / last / "model.safetensors"
    assert (out / "model.safetensors").read_bytes() == whole.read_bytes()
