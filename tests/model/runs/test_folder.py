"""A run's folder: one training at a time, the log's end, which files are kept."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from dimtool.model.network import checkpoint
from dimtool.model.network.checkpoint import CheckpointError, check_checkpoint, load_model
from dimtool.model.network.dim import DeepImageMatting
from dimtool.model.network.progress import Progress
from dimtool.model.runs.beginning import RunError
from dimtool.model.runs.config import TrainConfig
from dimtool.model.runs.folder import open_run

pytestmark = pytest.mark.usefixtures("one_thread")

Pair = tuple[DeepImageMatting, torch.optim.Adam]


# ---- one at a time -----------------------------------------------------------------------------------------

_HOLD = """
import sys
from filelock import FileLock
with FileLock(sys.argv[1], timeout=0):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder() -> Iterator[Callable[[Path], subprocess.Popen[str]]]:
    """Another process that tries to hold a lock; it says so if it does."""
    started = []

    def start(path: Path) -> subprocess.Popen[str]:
        words = [sys.executable, "-c", _HOLD, str(path)]
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        started.append(subprocess.Popen(words, text=True, **streams))  # type: ignore[call-overload]
        return started[-1]

    yield start
    for process in started:
        process.communicate()


def test_two_trainings_at_once(runs: Any, config: TrainConfig) -> None:
    with open_run(config):
        assert runs.refusal(config).startswith(f"another training is at work in {config.out}: wait for it")
    runs.begin(config)


def test_another_process_at_work(runs: Any, config: TrainConfig, holder: Callable[[Path], Any]) -> None:
    runs.begin(config)
    process = holder(config.out / ".lock")
    assert process.stdout.readline() == "held\n"
    assert "another training is at work" in runs.refusal(config)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    runs.begin(config)


def test_the_lock_is_held_until_the_end_of_the_run(
    runs: Any, config: TrainConfig, holder: Callable[[Path], Any]
) -> None:
    with pytest.raises(KeyboardInterrupt), open_run(config):
        assert "Timeout" in holder(config.out / ".lock").communicate()[1]
        raise KeyboardInterrupt
    runs.begin(config)


# ---- the log -----------------------------------------------------------------------------------------------


def log_rows(config: TrainConfig, places: list[tuple[int, int]]) -> list[str]:
    with open_run(config) as run:
        for stage, step in places:
            run.log({"stage": stage, "step": step, "loss": 0.1 + 0.2})
    return (config.out / "metrics.jsonl").read_text().splitlines(keepends=True)


def test_the_log_is_a_row_of_json_a_line(config: TrainConfig) -> None:
    rows = log_rows(config, [(1, 10)])
    assert [json.loads(row) for row in rows] == [{"stage": 1, "step": 10, "loss": 0.1 + 0.2}]


@pytest.mark.parametrize(
    ("stage", "step", "kept"), [(1, 20, 2), (1, 29, 2), (1, 30, 3), (2, 0, 3), (2, 10, 4)]
)
def test_what_comes_again_is_taken_off_the_log(
    runs: Any, config: TrainConfig, pair: Pair, *, stage: int, step: int, kept: int
) -> None:
    with open_run(config) as run:
        run.save(*pair, Progress(stage=1, step=5))
        run.save(*pair, Progress(stage=stage, step=step))
    path = config.out / "metrics.jsonl"
    places = [(1, 10), (1, 20), (1, 30), (2, 10), (2, 20)]
    rows = [f'{{"stage": {number}, "step": {count}}}\n' for number, count in places]
    half = '{"stage": 1, "ste'
    path.write_text("".join([*rows[:2], half + "\n", *rows[2:], half]))
    runs.begin(config)
    assert path.read_text() == "".join(rows[:kept])
    runs.begin(config)
    assert path.read_text() == "".join(rows[:kept])


def test_without_a_checkpoint_the_log_begins_again(config: TrainConfig) -> None:
    assert len(log_rows(config, [(1, 10), (1, 20)])) == 2
    assert log_rows(config, []) == []


# ---- what is kept ------------------------------------------------------------------------------------------


def names(config: TrainConfig) -> list[str]:
    return sorted(path.name for path in (config.out / "checkpoints").iterdir())


def test_the_last_checkpoints_are_kept(config: TrainConfig, pair: Pair) -> None:
    with open_run(replace(config, keep=2)) as run:
        assert run.latest() is None
        for stage, step in ((1, 5), (1, 1000), (2, 3), (2, 20)):
            run.save(*pair, Progress(stage=stage, step=step))
            latest = run.latest()
            assert latest is not None
            assert (latest[1].stage, latest[1].step) == (stage, step)
            assert latest[0].name == f"stage{stage}-step{step:08}"
    assert names(config) == ["stage2-step00000003", "stage2-step00000020"]


def test_a_checkpoint_that_fails_costs_no_other(
    runs: Any, config: TrainConfig, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with open_run(replace(config, keep=1)) as run:
        run.save(*pair, Progress(stage=1, step=1))
        before = runs.contents(config.out)
        run.settle()
        before = runs.contents(config.out)
        monkeypatch.setattr(checkpoint, "write_tensors", fail)
        run.save(*pair, Progress(stage=1, step=2))  # a thread meets it
        with pytest.raises(CheckpointError, match="No space left"):
            run.settle()
        run.settle()  # told once
        assert runs.contents(config.out) == before


def test_the_best_stays_whatever_comes_after(config: TrainConfig, pair: Pair) -> None:
    model, adam = pair
    with open_run(replace(config, keep=1)) as run:
        run.save(model, adam, Progress(stage=1, step=1))
        run.save_best(model)
        best = {name: value.clone() for name, value in model.state_dict().items()}
        for parameter in model.parameters():
            parameter.data.add_(1)
        run.save(model, adam, Progress(stage=1, step=2, best=1.5, last=2.5))
        path, sad = run.finish()
    assert (path, sad) == (config.out / "model.safetensors", 2.5)
    found = load_model(config.out / "best.safetensors").state_dict()
    assert all(torch.equal(found[name], best[name]) for name in best)
    last = config.out / "checkpoints/stage1-step00000002/model.safetensors"
    assert path.read_bytes() == last.read_bytes() != (config.out / "best.safetensors").read_bytes()


def test_nothing_was_trained(config: TrainConfig) -> None:
    with open_run(config) as run, pytest.raises(RunError, match=f"^{config.out} has no checkpoint"):
        run.finish()


def test_what_a_killed_process_left_is_removed_and_nothing_else(
    runs: Any, config: TrainConfig, pair: Pair
) -> None:
    with open_run(config) as run:
        run.save(*pair, Progress(stage=1, step=1))
    before = runs.contents(config.out)
    (config.out / ".model.safetensors.abc.part").write_bytes(b"half")
    (config.out / "checkpoints/.stage1-step00000002.part").mkdir()
    (config.out / "checkpoints/.stage1-step00000002.part/model.safetensors").write_bytes(b"half")
    (config.out / "notes.part").write_bytes(b"mine")
    runs.begin(config)
    assert runs.contents(config.out) == {**before, "notes.part": b"mine"}
    assert names(config) == ["stage1-step00000001"]


def test_only_the_main_process_writes(runs: Any, config: TrainConfig, pair: Pair) -> None:
    with open_run(config) as main:
        main.save(*pair, Progress(stage=1, step=1, last=3.5))
        main.settle()  # a thread writes it
        before = runs.contents(config.out)
        with open_run(replace(config, keep=1), main=False) as run:  # the lock is the main one's
            run.save(*pair, Progress(stage=1, step=2))
            run.save_best(pair[0])
            run.log({"stage": 1, "step": 2})
        assert runs.contents(config.out) == before


def test_to_other_processes_the_folder_need_not_be_there(config: TrainConfig) -> None:
    with open_run(config, main=False):
        assert not config.out.exists()


# ---- going on ----------------------------------------------------------------------------------------------


def test_a_broken_newest_checkpoint_falls_back_to_the_one_before(runs: Any, config: TrainConfig) -> None:
    runs.start(config, (1, 5), (1, 7), (2, 3))
    folder = config.out / "checkpoints"
    flip(folder / "stage2-step00000003" / "optimizer.safetensors")
    (folder / "stage1-step00000007" / "state.json").write_text("{")
    notes = runs.begin(config)
    assert "stage2-step00000003 is damaged (optimizer.safetensors)" in notes[0]
    assert "stage1-step00000007 is no whole checkpoint" in notes[1]
    assert notes[3].startswith("stage2-step00000003 is now stage2-step00000003.broken, and the run goes on")
    with open_run(config) as run:
        latest = run.latest()
        assert latest is not None
        assert (latest[0].name, run.notes) == ("stage1-step00000005", [])
        model = DeepImageMatting(config.model)
        # One that is written at the step of a broken one takes its place.
        run.save(model, torch.optim.Adam(model.parameters()), Progress(stage=1, step=7))
        run.settle()
        check_checkpoint(folder / "stage1-step00000007")


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_a_broken_old_checkpoint_does_not_matter(runs: Any, config: TrainConfig) -> None:
    runs.start(config, (1, 5), (1, 7))
    (config.out / "checkpoints/stage1-step00000005/state.json").unlink()
    assert runs.begin(config) == []
    assert len(names(config)) == 2


def test_with_none_whole_the_run_does_not_begin_anew_unasked(runs: Any, config: TrainConfig) -> None:
    runs.start(config)
    (config.out / "checkpoints/stage1-step00000005/model.safetensors").unlink()
    assert "has no whole checkpoint" in runs.refusal(config)
    shutil.rmtree(config.out / "checkpoints")  # as it says
    assert runs.begin(config) == []


# ---- TensorBoard -------------------------------------------------------------------------------------------


def test_tensorboard_forgets_what_comes_again(runs: Any, config: TrainConfig) -> None:
    """Steps begin again with each stage; of a file that a killed process left, half a record."""
    runs.start(config, (1, 6), (2, 4))
    folder = config.out / "tensorboard"
    with SummaryWriter(str(folder)) as writer:
        for stage, step in ((1, 3), (1, 6), (2, 4), (2, 5), (3, 1)):
            writer.add_scalar(f"stage{stage}/loss", step / 8, step)
            writer.add_image(f"stage{stage}/validation_0", torch.zeros(3, 4, 5), step)
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    runs.begin(config)
    events = EventAccumulator(str(folder)).Reload()
    told = {(tag, event.step) for tag in events.Tags()["scalars"] for event in events.Scalars(tag)}
    assert told == {("stage1/loss", 3), ("stage1/loss", 6), ("stage2/loss", 4)}
    seen = {(tag, event.step) for tag in events.Tags()["images"] for event in events.Images(tag)}
    assert {(tag.split("/")[0], step) for tag, step in seen} == {("stage1", 3), ("stage1", 6), ("stage2", 4)}
    path.write_bytes(whole[:-7])
    runs.begin(config)
    assert EventAccumulator(str(folder)).Reload().Tags()["scalars"] == ["stage1/loss", "stage2/loss"]
