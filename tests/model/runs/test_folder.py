"""A run's folder: what it was asked for, one training at a time, the log's end, which files are kept."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import accelerate
import PIL
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from dimtool.composer.shards.layout import ShardError
from dimtool.model.network import checkpoint
from dimtool.model.network.checkpoint import CheckpointError, check_checkpoint, load_model
from dimtool.model.network.dim import DeepImageMatting
from dimtool.model.network.progress import Progress
from dimtool.model.runs.beginning import RunError
from dimtool.model.runs.config import TrainConfig
from dimtool.model.runs.folder import open_run
from dimtool.version import __version__

pytestmark = pytest.mark.usefixtures("one_thread")

Pair = tuple[DeepImageMatting, torch.optim.Adam]


@pytest.fixture
def config(train_shards: Path, tmp_path: Path) -> TrainConfig:
    return TrainConfig(shards=train_shards, out=tmp_path / "run", bottleneck="slim", width=1 / 64)


@pytest.fixture
def pair(config: TrainConfig) -> Pair:
    torch.manual_seed(0)
    model = DeepImageMatting(config.model)
    return model, torch.optim.Adam(model.parameters())


def begin(config: TrainConfig) -> list[str]:
    """Begin a run, or go on; what is told."""
    with open_run(config) as run:
        return run.notes


def start(config: TrainConfig, *places: tuple[int, int]) -> None:
    """Begin a run and save a checkpoint, or several, which hold it to its options."""
    model = DeepImageMatting(config.model)
    with open_run(config) as run:
        for stage, step in places or [(1, 5)]:
            run.save(
                model, torch.optim.Adam(model.parameters()), Progress(stage=stage, step=step, crops=step)
            )


def contents(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def refusal(config: TrainConfig) -> str:
    """The one line of a run that cannot go on; nothing in its folder has changed."""
    before = contents(config.out)
    with pytest.raises(RunError) as caught:
        begin(config)
    assert contents(config.out) == before
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2
    return str(caught.value)


# ---- config.json -------------------------------------------------------------------------------------------


def test_what_was_asked_for_is_written_down(config: TrainConfig, train_shards: Path) -> None:
    begin(replace(config, val_shards=Path("else/where")))
    there = json.loads((config.out / "config.json").read_text())
    assert there["config"].keys() == {field.name for field in fields(TrainConfig)}
    assert there["config"]["shards"] == str(train_shards)
    assert there["config"]["crop_cuts"] == [320, 480, 640]
    assert there["config"]["width"] == 1 / 64
    assert there["config"]["val_shards"] == "else/where"
    assert there["config"]["steps"] is None
    index = (train_shards / "index.json").read_bytes()
    assert there["shards_sha256"] == hashlib.sha256(index).hexdigest()
    packages = {"torch": torch, "accelerate": accelerate, "pillow": PIL}
    versions = {name: package.__version__ for name, package in packages.items()}
    assert there["versions"].items() >= versions.items()
    assert there["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert there["versions"]["dimtool"] == __version__


# Another value of each option, but for where the run is: every option is in one of the two.
DECISIVE: dict[str, Any] = {
    "seed": 1,
    "bottleneck": "fc6",
    "width": 1 / 32,
    "weights": "none",
    "init": Path("model.safetensors"),
    "init_part": "encoder",
    "crop_size": 160,
    "crop_cuts": (320, 480),
    "radii": (1, 19),
    "stage2_radius": 9,
    "radii_draw": "log",
    "uneven_trimaps": 0.5,
    "recompose": 0.5,
    "join": 0.5,
    "zoom": 1.5,
    "turn": 5.0,
    "colour": 0.5,
    "noise": 4.0,
    "jpeg": 0.3,
    "val_shards": Path("shards/val"),  # then nothing is held out of the training
    "val_share": 0.1,
    "val_radius": 9,
    "ema": 0.9,
    "freeze": 3,
}
CHANGEABLE: dict[str, Any] = {
    "batch_size": 2,
    "learning_rate": 1e-4,
    "precision": "bf16",
    "gradient_compression": "bf16",
    "on_nan": "skip",
    "lr_schedule": "cosine",
    "warmup": 0.1,
    "weight_decay": 0.1,
    "clip": 1.0,
    "steps": 7,
    "epochs": 1.0,
}
FREE: dict[str, Any] = {
    **CHANGEABLE,
    "stages": (2,),
    "compile": True,
    "compile_mode": "max-autotune",
    "workers": 0,
    "skip_bad": True,
    "val_count": 3,
    "val_every": 3,
    "save_every": 3,
    "keep": 1,
    "log_every": 3,
    "recipe": "fast",
    "accumulate": 1,
    "patience": 2,
    "time_limit": "10h",
}


def test_every_option_is_decided_about() -> None:
    assert DECISIVE.keys() | FREE.keys() | {"shards", "out"} == {field.name for field in fields(TrainConfig)}


def test_a_start_is_the_same_from_wherever_it_is_named(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(replace(config, init=tmp_path / "start.safetensors"))
    monkeypatch.chdir(tmp_path)
    begin(replace(config, init=Path("start.safetensors")))


def test_a_folder_of_something_else_is_no_run(config: TrainConfig) -> None:
    """Shards, or a run whose configuration is lost: what its checkpoints are of, nobody knows."""
    for name in ("index.json", "checkpoints"):
        config.out.mkdir(parents=True, exist_ok=True)
        (config.out / name).touch()
        assert refusal(config).startswith(f"{config.out} holds {name} and no config.json")
        assert sorted(path.name for path in config.out.iterdir()) == [name]
        (config.out / name).unlink()


@pytest.mark.parametrize("key", DECISIVE)
def test_what_decides_the_weights_cannot_change(config: TrainConfig, key: str) -> None:
    start(config)
    other = replace(config, **{key: DECISIVE[key]})
    old, new = (each.values()[key] for each in (config, other))
    assert refusal(other).startswith(f"{config.out} is a run with {key} = {old}, not {new}: give that")
    begin(config)


def test_a_run_from_before_an_option_was_there_goes_on(config: TrainConfig) -> None:
    start(config)
    path = config.out / "config.json"
    there = json.loads(path.read_text())
    del there["config"]["recompose"], there["config"]["radii_draw"]
    path.write_text(json.dumps(there))
    assert "with recompose = 0.0, not 0.5" in refusal(replace(config, recompose=0.5))
    begin(config)


@pytest.mark.parametrize("key", FREE)
def test_the_rest_may_change(config: TrainConfig, key: str) -> None:
    start(config)
    begin(replace(config, **{key: FREE[key]}))
    there = json.loads((config.out / "config.json").read_text())["config"]
    assert there[key] == json.loads(json.dumps(FREE[key]))


def test_a_validation_set_of_its_own_may_move_but_not_go(config: TrainConfig) -> None:
    # Without it some foregrounds are held out: the run would go on with other ones.
    start(replace(config, val_shards=Path("a")))
    begin(replace(config, val_shards=Path("b")))
    assert "with val_shards = b, not None" in refusal(config)


def test_shards_may_move_but_not_change(config: TrainConfig, train_shards: Path, tmp_path: Path) -> None:
    start(config)
    moved = shutil.copytree(train_shards, tmp_path / "moved")
    begin(replace(config, shards=moved))
    index = json.loads((moved / "index.json").read_text())
    index["shards"][0]["sha256"] = "0" * 64
    (moved / "index.json").write_text(json.dumps(index))
    message = refusal(replace(config, shards=moved))
    assert message.startswith(f"{config.out} was trained on other shards than {moved}: ")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"config": 1}', '{"config": {}}', '{"shards_sha256": ""}'])
def test_a_broken_configuration(config: TrainConfig, text: str) -> None:
    start(config)
    (config.out / "config.json").write_text(text)
    assert str(config.out / "config.json") in refusal(config)


def test_no_shards(config: TrainConfig, tmp_path: Path) -> None:
    with pytest.raises(ShardError, match=f"^{tmp_path}/none holds no shards: run `dimtool build-dataset`"):
        begin(replace(config, shards=tmp_path / "none"))


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


def test_two_trainings_at_once(config: TrainConfig) -> None:
    with open_run(config):
        assert refusal(config).startswith(f"another training is at work in {config.out}: wait for it")
    begin(config)


def test_another_process_at_work(config: TrainConfig, holder: Callable[[Path], Any]) -> None:
    begin(config)
    process = holder(config.out / ".lock")
    assert process.stdout.readline() == "held\n"
    assert "another training is at work" in refusal(config)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    begin(config)


def test_the_lock_is_held_until_the_end_of_the_run(
    config: TrainConfig, holder: Callable[[Path], Any]
) -> None:
    with pytest.raises(KeyboardInterrupt), open_run(config):
        assert "Timeout" in holder(config.out / ".lock").communicate()[1]
        raise KeyboardInterrupt
    begin(config)


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
    config: TrainConfig, pair: Pair, stage: int, step: int, kept: int
) -> None:
    with open_run(config) as run:
        run.save(*pair, Progress(stage=1, step=5))
        run.save(*pair, Progress(stage=stage, step=step))
    path = config.out / "metrics.jsonl"
    places = [(1, 10), (1, 20), (1, 30), (2, 10), (2, 20)]
    rows = [f'{{"stage": {number}, "step": {count}}}\n' for number, count in places]
    half = '{"stage": 1, "ste'
    path.write_text("".join([*rows[:2], half + "\n", *rows[2:], half]))
    begin(config)
    assert path.read_text() == "".join(rows[:kept])
    begin(config)
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
    config: TrainConfig, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with open_run(replace(config, keep=1)) as run:
        run.save(*pair, Progress(stage=1, step=1))
        before = contents(config.out)
        run.settle()
        before = contents(config.out)
        monkeypatch.setattr(checkpoint, "write_tensors", fail)
        run.save(*pair, Progress(stage=1, step=2))  # a thread meets it
        with pytest.raises(CheckpointError, match="No space left"):
            run.settle()
        run.settle()  # told once
        assert contents(config.out) == before


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


def test_what_a_killed_process_left_is_removed_and_nothing_else(config: TrainConfig, pair: Pair) -> None:
    with open_run(config) as run:
        run.save(*pair, Progress(stage=1, step=1))
    before = contents(config.out)
    (config.out / ".model.safetensors.abc.part").write_bytes(b"half")
    (config.out / "checkpoints/.stage1-step00000002.part").mkdir()
    (config.out / "checkpoints/.stage1-step00000002.part/model.safetensors").write_bytes(b"half")
    (config.out / "notes.part").write_bytes(b"mine")
    begin(config)
    assert contents(config.out) == {**before, "notes.part": b"mine"}
    assert names(config) == ["stage1-step00000001"]


def test_only_the_main_process_writes(config: TrainConfig, pair: Pair) -> None:
    with open_run(config) as main:
        main.save(*pair, Progress(stage=1, step=1, last=3.5))
        before = contents(config.out)
        with open_run(replace(config, keep=1), main=False) as run:  # the lock is the main one's
            run.save(*pair, Progress(stage=1, step=2))
            run.save_best(pair[0])
            run.log({"stage": 1, "step": 2})
        assert contents(config.out) == before


def test_to_other_processes_the_folder_need_not_be_there(config: TrainConfig) -> None:
    with open_run(config, main=False):
        assert not config.out.exists()


# ---- going on ----------------------------------------------------------------------------------------------


def history(config: TrainConfig) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (config.out / "history.jsonl").read_text().splitlines()]


def test_a_start_that_failed_does_not_hold_its_folder(config: TrainConfig) -> None:
    """It left a configuration and no checkpoint: whatever it was asked for, the next may ask for another."""
    begin(config)
    (config.out / "config.json").write_text("half of")
    begin(replace(config, seed=7, width=1 / 32))
    there = json.loads((config.out / "config.json").read_text())
    assert (there["config"]["seed"], there["config"]["width"]) == (7, 1 / 32)


def test_what_a_run_starts_from_need_not_be_given_again(config: TrainConfig, tmp_path: Path) -> None:
    given = replace(config, init=tmp_path / "gone.safetensors", weights="vgg.pth")
    start(given)
    begin(config)
    begin(given)  # it is still the same run
    assert "is a run with init = " in refusal(replace(config, init=tmp_path / "other.safetensors"))


@pytest.mark.parametrize("key", CHANGEABLE)
def test_what_changes_is_in_the_history(config: TrainConfig, key: str) -> None:
    start(config)
    assert begin(config) == []
    (first,) = history(config)
    value = getattr(config, key)
    assert (first["step"], first[key], first["torch"]) == (0, value, torch.__version__)
    notes = begin(replace(config, **{key: CHANGEABLE[key]}))
    assert notes == [f"{key} is {CHANGEABLE[key]} from here on; it was {value}"]
    assert history(config)[1:] == [{"stage": 1, "step": 5, key: CHANGEABLE[key]}]


def test_another_version_is_in_the_history(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    start(config)
    monkeypatch.setattr(torch, "__version__", "9.9")
    begin(config)
    assert history(config)[1:] == [{"stage": 1, "step": 5, "torch": "9.9"}]


def test_a_broken_newest_checkpoint_falls_back_to_the_one_before(config: TrainConfig) -> None:
    start(config, (1, 5), (1, 7), (2, 3))
    folder = config.out / "checkpoints"
    flip(folder / "stage2-step00000003" / "optimizer.safetensors")
    (folder / "stage1-step00000007" / "state.json").write_text("{")
    notes = begin(config)
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


def test_a_broken_old_checkpoint_does_not_matter(config: TrainConfig) -> None:
    start(config, (1, 5), (1, 7))
    (config.out / "checkpoints/stage1-step00000005/state.json").unlink()
    assert begin(config) == []
    assert len(names(config)) == 2


def test_with_none_whole_the_run_does_not_begin_anew_unasked(config: TrainConfig) -> None:
    start(config)
    (config.out / "checkpoints/stage1-step00000005/model.safetensors").unlink()
    assert "has no whole checkpoint" in refusal(config)
    shutil.rmtree(config.out / "checkpoints")  # as it says
    assert begin(config) == []


# ---- TensorBoard -------------------------------------------------------------------------------------------


def test_tensorboard_forgets_what_comes_again(config: TrainConfig) -> None:
    """Steps begin again with each stage; of a file that a killed process left, half a record."""
    start(config, (1, 6), (2, 4))
    folder = config.out / "tensorboard"
    with SummaryWriter(str(folder)) as writer:
        for stage, step in ((1, 3), (1, 6), (2, 4), (2, 5), (3, 1)):
            writer.add_scalar(f"stage{stage}/loss", step / 8, step)
            writer.add_image(f"stage{stage}/validation_0", torch.zeros(3, 4, 5), step)
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    begin(config)
    events = EventAccumulator(str(folder)).Reload()
    told = {(tag, event.step) for tag in events.Tags()["scalars"] for event in events.Scalars(tag)}
    assert told == {("stage1/loss", 3), ("stage1/loss", 6), ("stage2/loss", 4)}
    seen = {(tag, event.step) for tag in events.Tags()["images"] for event in events.Images(tag)}
    assert {(tag.split("/")[0], step) for tag, step in seen} == {("stage1", 3), ("stage1", 6), ("stage2", 4)}
    path.write_bytes(whole[:-7])
    begin(config)
    assert EventAccumulator(str(folder)).Reload().Tags()["scalars"] == ["stage1/loss", "stage2/loss"]
