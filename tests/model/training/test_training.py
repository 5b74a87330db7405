"""What a training computes: in this process, with a tiny network, beside calculations of its own."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from scipy import ndimage
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from dimtool.composer.shards.dataset import CompositeDataset
from dimtool.model.network.checkpoint import load_model
from dimtool.model.network.dim import DeepImageMatting, ModelConfig
from dimtool.model.runs.config import TrainConfig
from dimtool.model.training import loop
from dimtool.model.training.reporting import Silent
from dimtool.model.training.stages import Result, train
from dimtool.model.training.step import TrainingStep

TINY = ModelConfig(bottleneck="slim", width=0.0625)  # the fixtures' network

_FROZEN = {1: "refinement.", 2: "encoder_decoder."}

Tensors = dict[str, Tensor]
Configure = Callable[..., TrainConfig]


class Recorder(Silent):
    """A reporter that remembers."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.stages: list[tuple[int, int, int]] = []
        self.steps = 0

    def note(self, text: str) -> None:
        self.notes.append(text)

    def stage(self, stage: int, steps: int, done: int) -> None:
        self.stages.append((stage, steps, done))

    def step(self, steps: int, values: dict[str, float]) -> None:
        self.steps += steps


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The batches that are trained on, as they come from the data."""
    seen: list[Any] = []
    original = TrainingStep.__call__

    def step(self: TrainingStep, batch: Any) -> Tensor:
        seen.append(batch)
        return original(self, batch)

    monkeypatch.setattr(TrainingStep, "__call__", step)
    return seen


def _run(config: TrainConfig) -> Result:
    return train(config, Silent())


def _weights(config: TrainConfig, stage: int, step: int) -> Tensors:
    tensors: Tensors = load_file(
        config.out / "checkpoints" / f"stage{stage}-step{step:08}" / "model.safetensors"
    )
    return tensors


def _changed(before: Tensors, after: Tensors) -> set[str]:
    return {name for name in before if not torch.equal(before[name], after[name])}


# ---- the stages --------------------------------------------------------------------------------------------


def test_each_stage_changes_what_it_trains_and_nothing_else(tiny: Configure, start: Path) -> None:
    config = tiny(init=start)
    _run(config)
    weights = [load_file(start), *(_weights(config, stage, 2) for stage in (1, 2, 3))]
    every = set(weights[0])
    first = {name for name in every if name.startswith("encoder_decoder.")}
    assert [_changed(*pair) for pair in pairwise(weights)] == [first, every - first, every]


def _expected_loss(stage: int, model: DeepImageMatting, batch: Any) -> tuple[Tensor, Tensor]:
    """The stage's loss from the paper's formulas, and the stage-1 alpha loss alone; in float64."""
    image, trimap, alpha = (batch[name].double() / 255 for name in ("image", "trimap", "alpha"))
    prediction = model(image, trimap)
    total, only_alpha = [], []
    for i, unknown in enumerate(batch["trimap"] == 128):
        p = (prediction.coarse if stage == 1 else prediction.refined)[i][unknown]
        only_alpha.append(((p - alpha[i][unknown]) ** 2 + 1e-12).sqrt().mean())
        if stage == 1:
            F, B = (batch[name][i].double()[:, unknown[0]] / 255 for name in ("foreground", "background"))
            C = image[i][:, unknown[0]]
            colours = ((p * F + (1 - p) * B - C) ** 2 + 1e-12).sqrt().mean()
            total.append(0.5 * only_alpha[-1] + 0.5 * colours)
    return torch.stack(total or only_alpha).mean(), torch.stack(only_alpha).mean()


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_a_step_is_adams_first_on_the_stages_loss(
    stage: int, tiny: Configure, start: Path, batches: list[Any], metrics: Any
) -> None:
    """Both losses in stage 1, the alpha loss of the refined alpha after it; w <- w - rate g / (|g| + eps)."""
    config = tiny(init=start, stages=(stage,), steps=1, batch_size=3)
    _run(config)
    model = load_model(start).double()
    loss, only_alpha = _expected_loss(stage, model, batches[0])
    logged = metrics(config.out)[0]["loss"]
    assert logged == pytest.approx(loss.item(), rel=1e-5)
    if stage == 1:
        assert logged != pytest.approx(only_alpha.item(), rel=0.01)

    loss.backward()
    after = _weights(config, stage, 1)
    compared = 0
    for name, parameter in model.named_parameters():
        if name.startswith(_FROZEN.get(stage, "nothing")):
            assert torch.equal(after[name], load_file(start)[name])
            continue
        assert parameter.grad is not None
        step = config.learning_rate * parameter.grad / (parameter.grad.abs() + 1e-8)
        sure = parameter.grad.abs() > 1e-6
        compared += int(sure.sum())
        torch.testing.assert_close(
            after[name].double()[sure], (parameter - step)[sure], rtol=0, atol=config.learning_rate / 50
        )
    assert compared > 1000


def _unknown_of_one_radius(batch: Any, radius: int, margin: int) -> list[bool]:
    """Whether a crop's unknown region is its transition region, widened by a radius; but for its margins,
    where the transition pixels may lie outside."""
    inside = np.s_[margin:-margin, margin:-margin]
    found = []
    for alpha, trimap in zip(batch["alpha"].numpy()[:, 0], batch["trimap"].numpy()[:, 0], strict=True):
        soft = (alpha > 0) & (alpha < 255)
        grown = {value: ndimage.binary_dilation(alpha == value) for value in (0, 255)}
        transition = soft | ((alpha == 0) & grown[255]) | ((alpha == 255) & grown[0])
        near = ndimage.distance_transform_edt(~transition) <= radius
        found.append(bool(((trimap == 128) == near)[inside].all()))
    return found


def test_stage_2_has_trimaps_of_one_radius(tiny: Configure, batches: list[Any]) -> None:
    """Nothing is scaled here, so that the crop tells its own distances."""
    steps = 3
    _run(tiny(steps=steps, batch_size=8, crop_size=48, crop_cuts=(48,), radii=(1, 8), stage2_radius=5))
    fits = [_unknown_of_one_radius(batch, 5, margin=9) for batch in batches]
    first, second, third = (np.concatenate(fits[i : i + steps]) for i in (0, steps, 2 * steps))
    assert second.all()
    assert 0 < first.mean() < 1
    assert 0 < third.mean() < 1


def test_no_two_stages_draw_alike(tiny: Configure, positions: list[tuple[int, int]]) -> None:
    _run(tiny(steps=9))  # 18 composites: an epoch each
    stages = [positions[i : i + 18] for i in (0, 18, 36)]
    assert all(sorted(stage) == [(0, index) for index in range(18)] for stage in stages)
    assert len({tuple(stage) for stage in stages}) == 3


# ---- how long ----------------------------------------------------------------------------------------------


def test_steps_are_the_stages_in_all(tiny: Configure, tmp_path: Path, metrics: Any) -> None:
    half, whole = tiny(stages=(1,), steps=3), tiny(stages=(1,), steps=6)
    _run(half)
    before = _snapshot(half.out)
    again = Recorder()
    train(half, again)
    assert (again.stages, again.steps) == ([(1, 3, 3)], 0)
    assert _snapshot(half.out) == before

    more = Recorder()
    result = train(whole, more)
    assert (more.stages, more.steps) == ([(1, 6, 3)], 3)
    assert [row["step"] for row in metrics(whole.out) if "loss" in row] == [1, 2, 3, 4, 5, 6]
    at_once = _run(tiny(stages=(1,), steps=6, out=tmp_path / "at once"))
    assert result.model.read_bytes() == at_once.model.read_bytes()


def _snapshot(run: Path) -> dict[str, bytes]:
    """What a run came to; TensorBoard begins a new file at each start."""
    files = [path for path in run.rglob("*") if path.is_file() and path.parent.name != "tensorboard"]
    return {str(path.relative_to(run)): path.read_bytes() for path in files}


@pytest.mark.parametrize(("epochs", "steps"), [(1, 5), (1.4, 7), (0.01, 1)])
def test_epochs_are_steps_over_all_composites(tiny: Configure, epochs: float, steps: int) -> None:
    """18 composites in batches of 4."""
    recorder = Recorder()
    train(tiny(steps=None, epochs=epochs, batch_size=4, stages=(1,), val_share=0, val_shards=None), recorder)
    assert recorder.stages == [(1, steps, 0)]
    assert recorder.steps == steps == math.ceil(epochs * 18 / 4)


def test_the_model_is_the_last_checkpoints_and_brings_its_configuration(
    tiny: Configure, metrics: Any, checkpoints: Any
) -> None:
    config = tiny(keep=2)
    result = _run(config)
    assert checkpoints(config.out) == ["stage2-step00000002", "stage3-step00000002"]
    last = config.out / "checkpoints" / "stage3-step00000002" / "model.safetensors"
    assert result.model == config.out / "model.safetensors"
    assert result.model.read_bytes() == last.read_bytes()
    assert result.sad == metrics(config.out)[-1]["val_sad"]
    for path in (result.model, config.out, last.parent):
        model = load_model(path)
        assert (model.config, model.stage, model.training) == (TINY, 3, False)
        assert _changed(load_file(last), model.state_dict()) == set()


# ---- what is told ------------------------------------------------------------------------------------------


def test_that_there_is_no_gpu_is_said_once(tiny: Configure) -> None:
    recorder = Recorder()
    train(tiny(), recorder)
    assert sum("no GPU" in note for note in recorder.notes) == 1


def test_the_log_and_tensorboard_say_the_same(tiny: Configure, val_shards: Path, metrics: Any) -> None:
    config = tiny(steps=4, log_every=2, val_every=3, val_count=2)
    _run(config)
    rows = metrics(config.out)
    for stage in (1, 2, 3):
        steps = {
            key: [row["step"] for row in rows if row["stage"] == stage and key in row] for key in rows[0]
        }
        assert steps["loss"] == steps["crops_per_second"] == steps["waiting"] == [2, 3, 4]
        assert [row["step"] for row in rows if row["stage"] == stage and "val_sad" in row] == [3, 4]
    assert all(0 < row["waiting"] < 1 and row["crops_per_second"] > 1 for row in rows if "loss" in row)

    events = EventAccumulator(str(config.out / "tensorboard"), size_guidance={"scalars": 0, "images": 0})
    events.Reload()
    told = {
        (tag, event.step): event.value for tag in events.Tags()["scalars"] for event in events.Scalars(tag)
    }
    logged = {
        (f"stage{row['stage']}/{key}", row["step"]): value
        for row in rows
        for key, value in row.items()
        if key not in {"stage", "step"}
    }
    assert told == {key: pytest.approx(value, rel=1e-6) for key, value in logged.items()}
    names = {"loss", "val_sad", "trivial_sad", "crops_per_second", "waiting", "learning_rate"}
    assert {tag.split("/")[1] for tag, _ in told} == names

    tags = [f"stage{stage}/validation_{i}" for stage in (1, 2, 3) for i in (0, 1)]
    assert sorted(events.Tags()["images"]) == tags
    assert all([event.step for event in events.Images(tag)] == [3, 4] for tag in tags)
    sample = CompositeDataset(val_shards)[0]
    picture = _decode(events.Images(tags[0])[0].encoded_image_string)
    image, trimap, _, truth = np.split(picture, 4, axis=1)
    assert np.array_equal(image, sample.composite)
    assert np.array_equal(truth[..., 0], sample.alpha)
    assert set(np.unique(trimap)) == {0, 128}  # it is glass: nowhere opaque


def _decode(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def test_without_validation_there_is_no_best(tiny: Configure, metrics: Any) -> None:
    config = tiny(val_shards=None, val_share=0, stages=(1,))
    assert _run(config).sad is None
    assert not any("val_sad" in row for row in metrics(config.out))
    assert not (config.out / "best.safetensors").exists()


def test_the_best_is_that_of_the_least_validation_error(
    tiny: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of all stages, whatever comes after it."""
    sads = iter([5.0, 3.0, 4.0, 3.5, 2.0, 2.5])
    original = loop.validate
    monkeypatch.setattr(loop, "validate", lambda *given: original(*given)._replace(sad=next(sads)))
    config = tiny(val_every=1, save_every=1, keep=9)
    assert _run(config).sad == 2.5
    assert _changed(load_file(config.out / "best.safetensors"), _weights(config, 3, 1)) == set()


def test_the_best_is_of_one_validation_set(tiny: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    """A greater error on another set is no worse than a lesser one on the set before."""
    sads = iter([2.0, 5.0, 6.0])
    original = loop.validate
    monkeypatch.setattr(loop, "validate", lambda *given: original(*given)._replace(sad=next(sads)))
    _run(tiny(stages=(1,), steps=1))
    recorder = Recorder()
    train(tiny(stages=(1,), steps=2, val_count=2), recorder)
    assert sum("the best model is found anew" in note for note in recorder.notes) == 1
    _run(tiny(stages=(1,), steps=3, val_count=2))
    config = tiny(stages=(1,))
    assert _changed(load_file(config.out / "best.safetensors"), _weights(config, 1, 2)) == set()


def test_val_count_composites_are_looked_at(tiny: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[list[int]] = []
    original = loop.validate
    monkeypatch.setattr(
        loop,
        "validate",
        lambda *given: (looked.append(list(given[1].numbers)), original(*given))[1],
    )
    for count in (1, 2, 50):
        _run(tiny(val_count=count, steps=len(looked) + 1, stages=(1,)))
    assert looked == [[0], [0, 5], [0, 1, 2, 3, 4, 5]]
