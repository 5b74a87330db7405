"""`dimtool train` as its users meet it: results, single lines, exit codes. Run in this process."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import hdf5plugin  # noqa: F401  h5py needs its filters
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from dimtool.cli import run
from dimtool.model.network.checkpoint import load_model, save_model
from dimtool.model.network.dim import DeepImageMatting, ModelConfig
from dimtool.model.processes.feeding import Feed

_OPTIONS = "--width 0.0625 --bottleneck slim --crop-size 64 --crop-cuts 64 --workers 0 --log-every 1"
TINY = [*_OPTIONS.split(), "--steps", "1", "--val-count", "1", "--no-page"]


class Outcome(NamedTuple):
    """A command's exit code, standard output, and the lines of standard error that are no progress bar."""

    code: int
    out: str
    lines: list[str]

    @property
    def error(self) -> str:
        """The one line that says what is wrong; nothing is a traceback, and nothing is on standard output."""
        assert self.out == ""
        (line,) = [line for line in self.lines if not line.startswith(("note:", "Invalid J2K"))]
        return line


@pytest.fixture
def train(
    train_shards: Path, val_shards: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Outcome]:
    """Run `dimtool train`, tiny, into tmp_path/run."""

    def call(*options: object) -> Outcome:
        given = ["--shards", train_shards, "--val-shards", val_shards, "--out", tmp_path / "run", *TINY]
        capfd.readouterr()
        code = run(["train", *map(str, [*given, *options])])
        said = capfd.readouterr()
        lines = [line.strip() for line in said.err.replace("\r", "\n").split("\n")]
        return Outcome(code, said.out, [line for line in lines if line and "%|" not in line])

    return call


# ---- results -----------------------------------------------------------------------------------------------


def test_the_result_for_people_and_for_programs(
    train: Any, tmp_path: Path, val_shards: Path, metrics: Any
) -> None:
    done = train()
    run_folder = tmp_path / "run"
    last = metrics(run_folder)[-1]
    sad, trivial = last["val_sad"], last["trivial_sad"]
    commands = [
        f"dimtool evaluate --checkpoint {run_folder} --shards {val_shards}",
        f"dimtool predict --checkpoint {run_folder} photo.jpg trimap.png --out mattes",
    ]
    first = f"{run_folder}/model.safetensors, validation SAD {sad:.2f} (of the trimap itself {trivial:.2f})"
    assert (done.code, done.out) == (0, f"{first}\nnext: {commands[0]}\n      {commands[1]}\n")
    notes = ["note: no GPU is at hand: training on the CPU"]
    for stage in (1, 2, 3):
        notes += [line for line in done.lines if line.startswith(f"note: stage {stage}, step 1: validation")]
    assert done.lines == notes
    assert len(notes) == 4

    again = train("--json")
    assert json.loads(again.out) == {
        "model": f"{run_folder}/model.safetensors",
        "val_sad": sad,
        "trivial_sad": trivial,
        "page": None,
        "next": commands,
    }
    assert [line for line in again.lines if "is over" in line] == [
        f"note: stage {stage} is over: the run is in stage 3" for stage in (1, 2)
    ]


def test_options_come_from_a_file_and_the_command_line_wins(train: Any, tmp_path: Path) -> None:
    file = tmp_path / "options.toml"
    file.write_text('batch-size = 3\ncrop-cuts = [64, 96]\nlearning-rate = 1e-3\nradii = "2,5"\nsteps = 7\n')
    assert train("--config", file, "--stage", 1).code == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())["config"]
    assert (config["batch_size"], config["learning_rate"], config["radii"]) == (3, 1e-3, [2, 5])
    assert (config["steps"], config["crop_cuts"]) == (1, [64])

    for content, message in (("bach-size = 3", "bach-size, which is no option"), ("a =", "read as TOML")):
        file.write_text(content)
        refused = train("--config", file)
        assert refused.code == 2
        assert message in " ".join(refused.lines)


# ---- what is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["--shards", "--val-shards"])
def test_the_test_set_is_no_training_and_no_validation_set(
    option: str, train: Any, test_shards: Path, tmp_path: Path
) -> None:
    refused = train(option, test_shards)
    assert refused.code == 2
    assert refused.error.startswith(f"dimtool: {test_shards} is a test set: ")
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_a_folder_without_shards(train: Any, tmp_path: Path) -> None:
    for folder, what in ((tmp_path, "holds no shards"), (tmp_path / "nowhere", "does not exist")):
        refused = train("--shards", folder)
        assert refused.code == 1
        assert refused.error.startswith(f"dimtool: {folder} {what}: run `dimtool build-dataset`")
        assert not (tmp_path / "run").exists()


def test_shards_without_anything_to_crop_around(
    train: Any, write_plain: Callable[..., None], tmp_path: Path
) -> None:
    full = np.full((70, 70), 255, np.uint8)
    write_plain(tmp_path / "plain", full, full, np.empty((0, 2), np.uint16))
    refused = train("--shards", tmp_path / "plain")
    assert refused.code == 2
    assert refused.error == f"dimtool: {tmp_path}/plain has no composite to train on: build others"
    assert any(line.startswith("note: left out: 1 shard without a transition") for line in refused.lines)


def test_stages_2_and_3_need_a_start(train: Any, tmp_path: Path, checkpoints: Any) -> None:
    for stage in (2, 3):
        refused = train("--stage", stage)
        assert refused.code == 2
        assert refused.error == (
            f"dimtool: stage {stage} starts from stage 1's weights, and {tmp_path}/run has none: "
            "train stage 1 there first, or name a model with --init"
        )
    model = DeepImageMatting(ModelConfig(bottleneck="slim", width=0.0625))
    save_model(tmp_path / "start.safetensors", model)
    begun = train("--stage", 2, "--init", tmp_path / "start.safetensors", "--out", tmp_path / "other")
    assert begun.code == 0
    assert checkpoints(tmp_path / "other") == ["stage2-step00000001"]


def test_a_start_of_another_shape_is_refused(train: Any, tmp_path: Path) -> None:
    save_model(tmp_path / "wide.safetensors", DeepImageMatting(ModelConfig(bottleneck="slim", width=0.125)))
    refused = train("--init", tmp_path / "wide.safetensors")
    assert refused.code == 2
    assert refused.error.startswith(f"dimtool: {tmp_path}/wide.safetensors is of ModelConfig(")


def test_resume_insists(train: Any, tmp_path: Path) -> None:
    refused = train("--resume")
    assert refused.code == 2
    assert refused.error.startswith(f"dimtool: {tmp_path}/run has no checkpoint to resume from")
    assert train("--stage", 1).code == 0
    assert train("--resume", "--stage", 1).code == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read as weights"),
        (b"nonsense", "cannot be read as weights"),
        ({"features.0.weight": torch.zeros(64, 3, 3, 3)}, "no tensor features.0.bias"),
        ({f"features.0.{part}": torch.zeros(1) for part in ("weight", "bias")}, "features.0.weight is (1,)"),
    ],
)
def test_weights_that_are_not_vgg16s(content: Any, message: str, train: Any, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        save_file(content, path)
    refused = train("--width", 1, "--weights", path)
    assert refused.code == 1
    assert refused.error.startswith(f"dimtool: {path}: {message}")


def test_imagenets_weights_that_cannot_be_had(
    train: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", fail)
    refused = train("--width", 1)
    assert refused.code == 1
    assert refused.error.startswith("dimtool: cannot fetch https://download.pytorch.org/models/vgg16")
    assert " with --weights FILE, or lay it into " in refused.error
    refused = train("--weights", "imagenet", "--out", tmp_path / "narrow")
    assert refused.code == 2
    assert refused.error.startswith("dimtool: VGG-16's weights fit width 1 alone, not 0.0625")


# ---- what breaks -------------------------------------------------------------------------------------------


def _break(path: Path, layer: int) -> None:
    """Overwrite all tiles of a composite in a shard, so that no codec takes them for its own."""
    with h5py.File(path) as file:
        dataset = file["composite"].id
        chunks = [dataset.get_chunk_info(i) for i in range(dataset.get_num_chunks())]
    with path.open("r+b") as stream:
        for chunk in chunks:
            if chunk.chunk_offset[0] == layer:
                stream.seek(chunk.byte_offset)
                stream.write(bytes(chunk.size))


@pytest.fixture
def broken(train_shards: Path, tmp_path: Path) -> Path:
    """A copy of the training shards; composite 1 of shard 2, number 7 of all, cannot be read."""
    folder = shutil.copytree(train_shards, tmp_path / "broken")
    _break(folder / "0002-glass 2.h5", 1)
    return folder


def test_a_broken_composite_is_named_or_left_out_and_counted(
    broken: Path, train: Any, positions: list[tuple[int, int]], metrics: Any, checkpoints: Any
) -> None:
    run_folder = broken.parent / "run"
    options = ["--shards", broken, "--stage", 1, "--steps", 40, "--save-every", 1, "--keep", 1]
    stopped = train(*options)
    assert stopped.code == 1
    assert stopped.error.startswith(f"dimtool: {broken}/0002-glass 2.h5: composite cannot be read (")
    asked = [index for _, index in positions]
    assert asked.index(7) == len(asked) - 1 > 0
    assert checkpoints(run_folder) == [f"stage1-step{len(asked) - 1:08}"]

    positions.clear()
    done = train(*options, "--skip-bad")
    assert done.code == 0
    asked = [index for _, index in positions]
    assert asked.count(7) in (2, 3)
    skipped = [line for line in done.lines if line.startswith(f"note: skipped: {broken}/0002-glass 2.h5: ")]
    assert len(skipped) == asked.count(7)
    assert sum(row.get("skipped", 0) for row in metrics(run_folder)) == asked.count(7)


def test_a_broken_composite_that_a_worker_reads(broken: Path, train: Any) -> None:
    """An exception would come from there with the worker's traceback in its text."""
    stopped = train("--shards", broken, "--stage", 1, "--steps", 40, "--workers", 1)
    assert stopped.code == 1
    assert stopped.error.startswith(f"dimtool: {broken}/0002-glass 2.h5: composite")


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "),
        ConnectionResetError("Connection reset by peer"),
        EOFError(),
    ],
)
def test_a_worker_that_is_killed(error: Exception, train: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What PyTorch raises depends on what the worker was doing."""

    def killed(*_: object) -> Iterator[object]:
        raise error
        yield

    monkeypatch.setattr(Feed, "_loader", killed)
    stopped = train()
    assert stopped.code == 1
    assert stopped.error.startswith("dimtool: a worker process was killed, perhaps for want of memory: ")


def test_a_shard_that_is_missing(train_shards: Path, train: Any, tmp_path: Path) -> None:
    folder = shutil.copytree(train_shards, tmp_path / "missing")
    (folder / "0003-sharp 3.h5").unlink()
    refused = train("--shards", folder, "--stage", 1)
    assert refused.code == 1
    assert refused.error.startswith(f"dimtool: {folder}/0003-sharp 3.h5")
    done = train("--shards", folder, "--stage", 1, "--skip-bad")
    assert done.code == 0
    assert "note: left out: 1 shard that cannot be read: 0003-sharp 3.h5" in done.lines


def test_a_composite_to_validate_on_that_is_broken(
    val_shards: Path, train: Any, tmp_path: Path, metrics: Any
) -> None:
    folder = shutil.copytree(val_shards, tmp_path / "validation")
    _break(next(folder.glob("0001-*.h5")), 2)
    options = ["--stage", 1, "--val-shards", folder, "--val-count", 6]
    stopped = train(*options)
    assert stopped.code == 1
    assert "0001-noisy 1.h5: composite" in stopped.error
    done = train(*options, "--skip-bad")
    assert done.code == 0
    assert sum("note: skipped in validation: " in line for line in done.lines) == 1
    assert [row["val_skipped"] for row in metrics(tmp_path / "run") if "val_sad" in row] == [1]


def test_weights_that_run_away(train: Any, tmp_path: Path, checkpoints: Any) -> None:
    """At a rate that no network stands; what is saved is from before."""
    ended = train(
        "--stage", 1, "--steps", 5, "--learning-rate", 1e30, "--out", tmp_path / "wild", "--save-every", 1
    )
    assert ended.code == 1
    assert f"the batch is in {tmp_path}/wild/nan-batch.json" in ended.error
    for checkpoint in checkpoints(tmp_path / "wild"):
        model = load_model(tmp_path / "wild" / "checkpoints" / checkpoint)
        assert all(math.isfinite(float(each.detach().abs().max())) for each in model.parameters())


def test_a_validation_that_fails_costs_no_step(
    val_shards: Path, train: Any, tmp_path: Path, checkpoints: Any
) -> None:
    folder = shutil.copytree(val_shards, tmp_path / "validation")
    _break(next(folder.glob("0001-*.h5")), 2)
    options = ["--stage", 1, "--val-shards", folder, "--val-count", 6, "--val-every", 3, "--steps", 5]
    stopped = train(*options)
    assert stopped.code == 1
    assert checkpoints(tmp_path / "run") == ["stage1-step00000003"]
