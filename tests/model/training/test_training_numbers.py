"""Losses that are no numbers, and other arithmetic than plain float32."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate.state import PartialState
from torch import Tensor
from torch._dynamo.exc import BackendCompilerFailed

from dimtool.composer.shards.dataset import CompositeDataset
from dimtool.model.network.checkpoint import load_model
from dimtool.model.runs.config import TrainConfig
from dimtool.model.training import stages
from dimtool.model.training import step as step_module
from dimtool.model.training.finiteness import NotFiniteError
from dimtool.model.training.losses import Losses
from dimtool.model.training.reporting import Silent
from dimtool.model.training.stages import train

# ---- numbers that are none ---------------------------------------------------------------------------------


def _spoil(monkeypatch: pytest.MonkeyPatch, step: int, spoilt: Callable[[Losses, Tensor], Tensor]) -> None:
    """Replace the total loss of one step, counted from 0."""
    original, calls = step_module.stage_losses, []

    def losses(stage: Any, prediction: Any, batch: Any) -> Losses:
        found = original(stage, prediction, batch)
        calls.append(1)
        if len(calls) - 1 == step:
            return found._replace(total=spoilt(found, prediction.coarse))
        return found

    monkeypatch.setattr(step_module, "stage_losses", losses)


def test_a_loss_that_is_no_number_ends_the_run_and_its_batch_is_named(
    tiny: Callable[..., TrainConfig],
    positions: list[tuple[int, int]],
    monkeypatch: pytest.MonkeyPatch,
    metrics: Any,
    checkpoints: Any,
) -> None:
    """Step 4 of batches of 4 has the last two of 18 composites, and the first two of the next epoch."""
    _spoil(monkeypatch, 4, lambda losses, _: losses.total * math.nan)
    config = tiny(batch_size=4, steps=12, save_every=4, log_every=3)
    with pytest.raises(NotFiniteError, match=r"the loss of step 4 is not finite") as raised:
        train(config, Silent())
    path = config.out / "nan-batch.json"
    said = json.loads(path.read_text())
    assert (said["stage"], said["step"], said["not_finite"]) == (1, 4, "loss")
    assert [(crop["epoch"], crop["index"]) for crop in said["crops"]] == positions[16:20]
    assert {epoch for epoch, _ in positions[16:20]} == {0, 1}
    composites = CompositeDataset(config.shards)
    assert [crop["composite"] for crop in said["crops"]] == [composites[i].name for _, i in positions[16:20]]

    kept = config.out / "checkpoints" / "stage1-step00000004"
    assert str(path) in str(raised.value)
    assert str(kept) in str(raised.value)
    assert checkpoints(config.out) == [kept.name]
    assert all(bool(tensor.isfinite().all()) for tensor in load_model(kept).state_dict().values())
    assert [row["step"] for row in metrics(config.out)] == [3, 4]
    assert not (config.out / "model.safetensors").exists()


def test_a_gradient_that_is_no_number_spoils_no_file(
    tiny: Callable[..., TrainConfig], monkeypatch: pytest.MonkeyPatch, metrics: Any
) -> None:
    """sqrt has no derivative at 0, where its value is fine. The step is one to validate and to save after."""
    _spoil(monkeypatch, 1, lambda losses, alpha: losses.total + (0 * alpha.sum()).sqrt())
    config = tiny(steps=2)
    with pytest.raises(NotFiniteError, match=r"the update of step 1 is not finite.*no checkpoint yet"):
        train(config, Silent())
    assert list(config.out.rglob("*.safetensors")) == []
    assert [row for row in metrics(config.out) if "val_sad" in row] == []


def test_a_step_that_is_not_finite_can_be_left_out(
    tiny: Callable[..., TrainConfig], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, metrics: Any
) -> None:
    """The weights are those from before it, and the next step goes on from them."""
    _spoil(monkeypatch, 2, lambda losses, _: losses.total * math.nan)
    config = tiny(stages=(1,), steps=4, save_every=1, keep=9, on_nan="skip", log_every=2)
    train(config, Silent())
    weights = [
        load_model(config.out / "checkpoints" / f"stage1-step{step:08}").state_dict() for step in (2, 3, 4)
    ]
    same = [
        all(torch.equal(before[name], after[name]) for name in before)
        for before, after in itertools.pairwise(weights)
    ]
    assert same == [True, False]
    (last,) = (row["loss"] for row in metrics(config.out) if row["step"] == 4 and "loss" in row)
    assert math.isfinite(last)


def test_steps_that_are_all_not_finite_end_the_run_anyway(
    tiny: Callable[..., TrainConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = step_module.stage_losses

    def losses(*given: Any) -> Losses:
        found = original(*given)
        return found._replace(total=found.total * math.nan)

    monkeypatch.setattr(step_module, "stage_losses", losses)
    with pytest.raises(NotFiniteError, match=r"the loss of step \d+ is not finite"):
        train(tiny(stages=(1,), steps=12, on_nan="skip", log_every=3), Silent())


def test_a_compiler_that_is_not_found_costs_only_the_speed(
    tiny: Callable[..., TrainConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said once, for all stages."""
    monkeypatch.setattr(stages, "why_uncompiled", lambda _: "InvalidCxxCompiler: No working C++ compiler")
    notes: list[str] = []
    reporter = Silent()
    reporter.note = notes.append  # type: ignore[method-assign]
    train(tiny(steps=1, compile=True), reporter)
    told = [note for note in notes if note.startswith("training goes on uncompiled: InvalidCxxCompiler")]
    assert len(told) == 1


def test_inductor_s_own_error_is_known() -> None:
    def fail(*_: object, **__: object) -> Any:
        def call(_: Tensor) -> Tensor:
            raise BackendCompilerFailed(fail, RuntimeError("No working C++ compiler found"), None)

        return call

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "compile", fail)
        assert "No working C++ compiler found" in str(step_module.why_uncompiled(torch.device("cpu")))


# ---- other arithmetic --------------------------------------------------------------------------------------


def test_bfloat16_losses_are_close_to_those_of_float32(
    tiny: Callable[..., TrainConfig], start: Path, tmp_path: Path, metrics: Any
) -> None:
    """Measured over these steps: 0.5 % at most, 0.08 % in the mean."""
    types: set[torch.dtype] = set()

    def look(layer: torch.nn.Module, _: object, output: Tensor) -> None:
        if isinstance(layer, torch.nn.Conv2d):
            types.add(output.dtype)

    losses, dtypes = {}, {}
    for precision in ("fp32", "bf16"):
        config = tiny(out=tmp_path / precision, precision=precision, steps=8, init=start)
        types.clear()
        hook = torch.nn.modules.module.register_module_forward_hook(look)
        try:
            train(config, Silent())
        finally:
            hook.remove()
        losses[precision] = np.array([row["loss"] for row in metrics(config.out) if "loss" in row])
        dtypes[precision] = set(types)
        assert all(tensor.dtype == torch.float32 for tensor in load_model(config.out).parameters())
    assert dtypes == {"fp32": {torch.float32}, "bf16": {torch.bfloat16}}
    difference = np.abs(losses["bf16"] / losses["fp32"] - 1)
    assert 0 < difference.max() < 0.05
    assert difference.mean() < 0.01


def test_a_training_leaves_no_state_behind(tiny: Callable[..., TrainConfig]) -> None:
    """Else a process could train at one precision alone."""
    train(tiny(stages=(1,)), Silent())
    assert not PartialState._shared_state


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # of the tracer
def test_compiled_it_computes_the_same(
    tiny: Callable[..., TrainConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network is traced whole, once for each stage; what is then done with the graph is PyTorch's."""
    graphs: list[torch.fx.GraphModule] = []
    compiler = torch.compile

    def backend(graph: torch.fx.GraphModule, _: object) -> Callable[..., Any]:
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr(stages, "why_uncompiled", lambda _: None)
    monkeypatch.setattr(torch, "compile", lambda model, **_: compiler(model, backend=backend, fullgraph=True))
    plain = train(tiny(out=tmp_path / "plain", val_every=1), Silent())
    assert not graphs
    compiled = train(tiny(out=tmp_path / "compiled", val_every=1, compile=True), Silent())
    torch._dynamo.reset()
    assert len(graphs) == 3
    assert compiled.model.read_bytes() == plain.model.read_bytes()


# ---- varied crops ------------------------------------------------------------------------------------------


def test_varied_crops_train_and_tell_how_many_kept_their_background(
    tiny: Callable[..., TrainConfig], metrics: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In two stages, of which the second reads no colours; no window is looked at, so that none is found."""
    monkeypatch.setattr("dimtool.model.crops.backgrounds.LOOKS", 0)
    every = {"radii_draw": "log", "uneven_trimaps": 0.5, "zoom": 1.2, "turn": 5.0, "colour": 0.5}
    config = tiny(stages=(1, 2), recompose=1.0, join=0.5, noise=5.0, jpeg=0.5, **every)
    train(config, Silent())
    rows = [row for row in metrics(config.out) if "loss" in row]
    assert [row["own_backgrounds"] for row in rows] == [2, 2, 2, 2]
    assert all(math.isfinite(row["loss"]) for row in rows)
