"""A tiny network on tiny shards, on the CPU: what the tests of a training share."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from dimtool.cli import run as run_here
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
            "page": False,
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


# ---- trainings in processes --------------------------------------------------------------------------------

STEPS = 12  # of each stage
_OPTIONS = (
    "--width 0.0625 --bottleneck slim --crop-size 64 --crop-cuts 64,96 --batch-size 2 --learning-rate 1e-3 "
    f"--steps {STEPS} --save-every 3 --val-every 4 --val-count 1 --log-every 1 --keep 99 "
    "--lr-schedule cosine --warmup 20% --weight-decay 0.01 --clip 0.5 --no-page"
)
PATIENCE = 200  # seconds, after which a process is taken to hang: a busy machine is slow


class Ended(NamedTuple):
    """How a process ended: exit code, standard output, lines that are no notes and no progress bar."""

    code: int
    out: str
    lines: list[str]


def _ended(code: int, out: str, err: str) -> Ended:
    lines = [line.strip() for line in err.replace("\r", "\n").split("\n")]
    told = [line for line in lines if line and "%|" not in line and not line.startswith("note:")]
    return Ended(code, out, told)


class Training(subprocess.Popen[str]):
    """A training in a session of its own, as a terminal starts it."""

    def living(self) -> dict[int, str]:
        """Its processes that are not dead, but for what clears up after the others; their words."""
        living = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                state, _, _, its_session = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
                words = (folder / "cmdline").read_text(errors="replace")
            except OSError:
                continue  # gone meanwhile
            if int(its_session) == self.pid and state != "Z" and "resource_tracker" not in words:
                living[int(folder.name)] = words
        return living

    def wait_for(self, condition: Callable[[], object]) -> None:
        end = time.monotonic() + PATIENCE
        while not condition():
            assert self.poll() is None, self.communicate()
            assert time.monotonic() < end
            time.sleep(0.001)

    def wait_for_step(self, out: Path, stage: int, step: int) -> None:
        path = out / "metrics.jsonl"

        def reached() -> bool:
            lines = path.read_text().splitlines() if path.exists() else []
            return any(f'"stage": {stage}, "step": {step},' in line for line in lines)

        self.wait_for(reached)

    def ended(self) -> Ended:
        """Wait for it and for all of its helpers."""
        out, err = self.communicate(timeout=PATIENCE)
        end = time.monotonic() + PATIENCE
        while left := self.living():
            assert time.monotonic() < end, left
            time.sleep(0.02)
        return _ended(self.returncode, out, err)

    def finish(self) -> None:
        """Wait for it: it ends by itself, with one line of result and no complaint."""
        code, out, lines = self.ended()
        assert (code, lines, out.count("\nnext: ")) == (0, [], 1), out


class Launcher:
    """Starts trainings; what is left of them dies at the end."""

    def __init__(self, options: list[str]) -> None:
        self._options = options
        self._started: list[Training] = []

    def __call__(
        self,
        out: Path,
        *more: object,
        launcher: tuple[str, ...] = ("-m", "dimtool"),
        environment: Mapping[str, str] | None = None,
    ) -> Training:
        words = [sys.executable, *launcher, "train", *self._options, "--out", out, "--workers", "0", *more]
        # Where there is a GPU it must stay out of it: its sums have no fixed order.
        own = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        process = Training(
            list(map(str, words)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, **own, **(environment or {})},
        )
        self._started.append(process)
        return process

    def end(self) -> None:
        for process in self._started:
            for pid in process.living():
                os.kill(pid, signal.SIGKILL)
            process.communicate()


@pytest.fixture(scope="session")
def options(train_shards: Path, val_shards: Path) -> list[str]:
    """What the command trains with, but for its folder."""
    return [*_OPTIONS.split(), "--shards", str(train_shards), "--val-shards", str(val_shards)]


@pytest.fixture(scope="module")
def launch(options: list[str]) -> Iterator[Launcher]:
    """Start the command in a process."""
    launcher = Launcher(options)
    yield launcher
    launcher.end()


@pytest.fixture(scope="session")
def undisturbed(options: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that nothing has disturbed. Not to be changed."""
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    launcher = Launcher(options)
    try:
        launcher(out).finish()
    finally:
        launcher.end()
    return out


@pytest.fixture
def train_here(options: list[str], capfd: pytest.CaptureFixture[str]) -> Callable[[Path], Ended]:
    """Train stage 1 in this process."""

    def call(out: Path) -> Ended:
        code = run_here(["train", *options, "--workers", "0", "--stage", "1", "--out", str(out)])
        return _ended(code, *capfd.readouterr())

    return call


@pytest.fixture(scope="session")
def last_of() -> Callable[[int], str]:
    """The name of a stage's last checkpoint."""
    return _last_of


def _last_of(stage: int) -> str:
    return f"stage{stage}-step{STEPS:08}"


@pytest.fixture(scope="session")
def assert_same() -> Callable[..., None]:
    """The same bytes of everything that a run goes on from, and the same log of it, each step once."""

    def check(run: Path, undisturbed: Path, stage: int = 3) -> None:
        last = _last_of(stage)
        for path in (undisturbed / "checkpoints" / last).iterdir():
            assert (run / "checkpoints" / last / path.name).read_bytes() == path.read_bytes(), path.name
        assert list((run / "checkpoints").glob(".*")) == []
        assert _log(run, stage) == _log(undisturbed, stage)
        if stage == 3:
            for name in ("model.safetensors", "best.safetensors"):
                assert (run / name).read_bytes() == (undisturbed / name).read_bytes()

    return check


@pytest.fixture(scope="session")
def log() -> Callable[[Path, int], list[tuple[Any, ...]]]:
    """Stage, step, loss and validation SAD of a run up to a stage; not the times."""
    return _log


def _log(run: Path, stage: int) -> list[tuple[Any, ...]]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    keys = ("stage", "step", "loss", "val_sad")
    return [tuple(row.get(key) for key in keys) for row in rows if row["stage"] <= stage]
