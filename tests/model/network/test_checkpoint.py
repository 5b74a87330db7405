"""Checkpoints: all that a run needs, bit for bit; whole or not at all; no pickle; refused in one line."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dimtool.model.network.checkpoint import (
    CheckpointError,
    checkpoint_name,
    checkpoints,
    load_checkpoint,
    load_model,
    read_progress,
    save_checkpoint,
    take_snapshot,
)
from dimtool.model.network.dim import DeepImageMatting, ModelConfig, Stage
from dimtool.model.network.progress import Progress

CONFIG = ModelConfig(bottleneck="slim", width=1 / 64)
PROGRESS = Progress(stage=3, step=2, best=1 / 3, last=0.1 + 0.2)
pytestmark = pytest.mark.usefixtures("one_thread")

FILES = ["model.safetensors", "optimizer.safetensors", "random.safetensors", "state.json"]


class Training(NamedTuple):
    """A model and its optimizer."""

    model: DeepImageMatting
    adam: torch.optim.Adam

    def steps(self, count: int) -> None:
        """So many, on random images from the global state: what comes depends on all that is saved."""
        for _ in range(count):
            prediction = self.model(torch.rand(1, 3, 32, 64), torch.rand(1, 1, 32, 64))
            prediction.refined.square().mean().backward()
            self.adam.step()
            self.adam.zero_grad(set_to_none=True)

    def weights(self) -> dict[str, Tensor]:
        return {name: value.clone() for name, value in self.model.state_dict().items()}

    def moments(self) -> dict[str, Tensor]:
        names = {value: name for name, value in self.model.named_parameters()}
        states = self.adam.state.items()
        return {
            f"{names[each]}/{key}": value.clone() for each, state in states for key, value in state.items()
        }


def begin(seed: int = 0, config: ModelConfig = CONFIG, stage: Stage = 3) -> Training:
    torch.manual_seed(seed)
    model = DeepImageMatting(config).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    model.set_stage(stage)
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return Training(model, torch.optim.Adam(learning, lr=1e-3))


def identical(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> bool:
    """Names, types, bits, and how they lie in memory."""
    return ours.keys() == theirs.keys() and all(
        ours[name].dtype == theirs[name].dtype
        and ours[name].stride() == theirs[name].stride()
        and torch.equal(ours[name], theirs[name])
        for name in ours
    )


@pytest.fixture(scope="module")
def trained(one_thread: None) -> Training:
    training = begin()
    training.steps(2)
    return training


@pytest.fixture(scope="module")
def saved(trained: Training, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint; not to be changed."""
    torch.manual_seed(77)
    return save_checkpoint(tmp_path_factory.mktemp("run") / "checkpoints", take_snapshot(*trained, PROGRESS))


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    """A checkpoint to be broken."""
    return shutil.copytree(saved, tmp_path / saved.name)


@contextmanager
def damaged(saved: Path) -> Iterator[Path]:
    """The same for hypothesis, which wants a new one for each example."""
    with tempfile.TemporaryDirectory() as folder:
        yield shutil.copytree(saved, Path(folder) / saved.name)


def refusal(path: Path, training: Training | None = None) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path, *(training or begin()))
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


# ---- there and back ----------------------------------------------------------------------------------------


def test_everything_comes_back_bit_for_bit(trained: Training, saved: Path) -> None:
    fresh = begin(seed=9)
    assert load_checkpoint(saved, *fresh) == PROGRESS == read_progress(saved)
    assert identical(fresh.weights(), trained.weights())
    assert identical(fresh.moments(), trained.moments())
    assert len(fresh.moments()) == 3 * len(list(fresh.model.parameters()))
    state = torch.get_rng_state()
    torch.manual_seed(77)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_a_run_goes_on_as_if_it_had_never_stopped(tmp_path: Path, stage: Stage) -> None:
    undisturbed = begin(stage=stage)
    undisturbed.steps(2)
    path = save_checkpoint(tmp_path, take_snapshot(*undisturbed, Progress(stage=stage, step=2)))
    undisturbed.steps(2)
    resumed = begin(seed=5, stage=stage)
    load_checkpoint(path, *resumed)
    resumed.steps(2)
    assert identical(resumed.weights(), undisturbed.weights())
    assert identical(resumed.moments(), undisturbed.moments())


def test_moments_go_to_their_parameters_in_any_order(trained: Training, saved: Path) -> None:
    fresh = begin(seed=9)
    other = Training(fresh.model, torch.optim.Adam(reversed(list(fresh.model.parameters()))))
    load_checkpoint(saved, *other)
    assert identical(other.moments(), trained.moments())


def test_the_next_stage_takes_the_weights_alone(trained: Training, saved: Path) -> None:
    fresh = begin(seed=9)
    assert load_checkpoint(saved, fresh.model) == PROGRESS
    assert identical(fresh.weights(), trained.weights())
    assert fresh.moments() == {}


@pytest.mark.parametrize(("best", "last"), [(None, None), (1e-300, 5e300), (0.1 + 0.2, None)])
def test_progress_comes_back(
    trained: Training, tmp_path: Path, best: float | None, last: float | None
) -> None:
    progress = Progress(stage=2, step=10**9, best=best, last=last)
    path = save_checkpoint(tmp_path, take_snapshot(*trained, progress))
    assert path.name == checkpoint_name(progress) == "stage2-step1000000000"
    assert read_progress(path) == progress


# ---- the files ---------------------------------------------------------------------------------------------


def parse(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """A safetensors file as its specification reads: every byte is of the header or of one tensor."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    metadata = header.pop("__metadata__", {})
    arrays, end = {}, 0
    types = {"F32": np.float32, "U8": np.uint8}
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        first, last = entry["data_offsets"]
        assert first == end
        end = last
        values = np.frombuffer(data[8 + length + first : 8 + length + last], types[entry["dtype"]])
        arrays[name] = values.reshape(entry["shape"])
    assert end == len(data) - 8 - length
    return arrays, metadata


def test_safetensors_and_json_and_nothing_else(trained: Training, saved: Path) -> None:
    assert sorted(path.name for path in saved.iterdir()) == FILES
    assert json.loads((saved / "state.json").read_text()) == {
        "progress": {
            "stage": 3,
            "step": 2,
            "best": 1 / 3,
            "last": 0.1 + 0.2,
            "crops": 0,
            "validated_on": None,
            "stage_best": None,
            "stale": 0,
            "scaler": {},
        },
        "sha256": {name: hashlib.sha256((saved / name).read_bytes()).hexdigest() for name in FILES[:3]},
    }
    weights, metadata = parse(saved / "model.safetensors")
    assert weights.keys() == trained.weights().keys()
    assert all(np.array_equal(weights[name], value) for name, value in trained.weights().items())
    assert json.loads(metadata["dimtool-model"])["config"] == {
        "bottleneck": "slim",
        "width": 1 / 64,
        "refinement": True,
    }
    moments, _ = parse(saved / "optimizer.safetensors")
    for name, value in trained.moments().items():
        parameter, _, key = name.partition("/")
        assert np.array_equal(moments[f"{key}.{parameter}"], value)
    states, _ = parse(saved / "random.safetensors")
    torch.manual_seed(77)
    assert np.array_equal(states["cpu"], torch.get_rng_state())


def test_the_same_state_gives_the_same_bytes(trained: Training, saved: Path, tmp_path: Path) -> None:
    torch.manual_seed(77)
    again = save_checkpoint(tmp_path, take_snapshot(*trained, PROGRESS))
    for name in FILES:
        assert (again / name).read_bytes() == (saved / name).read_bytes()


def test_names_sort_by_stage_and_step(trained: Training, tmp_path: Path) -> None:
    places = [(3, 1), (1, 2_000_000_000), (1, 30), (2, 4), (1, 999_999_999)]
    for stage, step in places:
        save_checkpoint(tmp_path, take_snapshot(*trained, Progress(stage=stage, step=step)))
    (tmp_path / "stage9-step1").write_text("a file")
    (tmp_path / ".stage9-step1.part").mkdir()
    assert [(p.stage, p.step) for p in map(read_progress, checkpoints(tmp_path))] == sorted(places)
    assert checkpoints(tmp_path / "nowhere") == []


def test_one_that_is_there_stays_as_it_is(saved: Path, copy: Path) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in copy.iterdir()}
    assert save_checkpoint(copy.parent, take_snapshot(*begin(seed=4), PROGRESS)) == copy
    assert {path.name: path.stat().st_mtime_ns for path in copy.iterdir()} == before


# ---- a model's file ----------------------------------------------------------------------------------------


def test_files_that_are_no_model(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "text.safetensors").write_text("nothing of the kind")
    for path, reason in (
        (tmp_path, "does not exist: name a model.safetensors, or the folder of a run"),
        (tmp_path / "none.safetensors", "does not exist"),
        (tmp_path / "text.safetensors", "is not a dimtool model: it is no safetensors file; name a model"),
        (saved / "optimizer.safetensors", "is not a dimtool model: its metadata lack 'dimtool-model'; name"),
    ):
        with pytest.raises(CheckpointError, match=reason) as caught:
            load_model(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_run_s_folder_gives_its_newest_weights(tmp_path: Path) -> None:
    """Of a run that is not finished, of one that is, and of one that goes on after that."""
    runs = {step: begin(seed=step) for step in (9, 10, 11)}
    for step in (9, 10):
        save_checkpoint(tmp_path / "checkpoints", take_snapshot(*runs[step], Progress(stage=1, step=step)))
    assert_equal(load_model(tmp_path).state_dict(), runs[10][0].state_dict())
    last = tmp_path / "checkpoints/stage1-step00000010/model.safetensors"
    shutil.copyfile(last, tmp_path / "model.safetensors")
    shutil.rmtree(last.parent)
    assert_equal(load_model(tmp_path).state_dict(), runs[10][0].state_dict())
    save_checkpoint(tmp_path / "checkpoints", take_snapshot(*runs[11], Progress(stage=1, step=11)))
    assert_equal(load_model(tmp_path).state_dict(), runs[11][0].state_dict())


def assert_equal(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


# ---- what does not fit, or is damaged ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "other",
    [{"width": 1 / 32}, {"bottleneck": "fc6"}, {"refinement": False}],
    ids=lambda each: next(iter(each)),
)
def test_another_configuration_is_refused(saved: Path, other: dict[str, Any]) -> None:
    config = ModelConfig(**{"bottleneck": "slim", "width": 1 / 64, **other})
    training = begin(config=config, stage=1)
    before = training.weights()
    message = refusal(saved, training)
    assert "'width': 0.015625" in message
    assert str(next(iter(other.values()))) in message
    assert "--out" in message
    assert identical(training.weights(), before)


def test_an_optimizer_of_another_model_is_refused(copy: Path, tmp_path: Path) -> None:
    wider = begin(config=ModelConfig(bottleneck="slim", width=1 / 16))
    wider.steps(1)
    other = save_checkpoint(tmp_path / "other", take_snapshot(*wider, PROGRESS))
    shutil.copy(other / "optimizer.safetensors", copy)
    assert "remove it" in refusal(copy)


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_missing(copy: Path, name: str) -> None:
    (copy / name).unlink()
    assert "remove it" in refusal(copy)


@given(name=st.sampled_from(FILES), share=st.floats(0, 0.999))
@settings(max_examples=40)
def test_a_file_that_is_cut_short(saved: Path, name: str, share: float) -> None:
    with damaged(saved) as path:
        data = (path / name).read_bytes()
        (path / name).write_bytes(data[: math.floor(share * (len(data) - 2))])
        assert "remove it" in refusal(path)


@given(name=st.sampled_from(FILES[:3]), data=st.data())
@settings(max_examples=60)
def test_a_flipped_bit(saved: Path, name: str, data: st.DataObject) -> None:
    """Also in a weight, which nothing else would notice."""
    with damaged(saved) as path:
        content = bytearray((path / name).read_bytes())
        content[data.draw(st.integers(0, len(content) - 1), "byte")] ^= 1 << data.draw(
            st.integers(0, 7), "bit"
        )
        (path / name).write_bytes(content)
        assert f"is damaged ({name}): remove it" in refusal(path)
