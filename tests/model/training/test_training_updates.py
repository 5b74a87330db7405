"""What the options of a recipe do to a run: beside a plain loop, and after a kill, to the bit."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from dimtool.model.crops.batches import CropBatches, collate
from dimtool.model.crops.dataset import TrainingCrops
from dimtool.model.inference.matter import Matter
from dimtool.model.network.checkpoint import load_model, read_progress
from dimtool.model.network.dim import DeepImageMatting, Stage
from dimtool.model.processes.ranks import Ranks
from dimtool.model.runs.beginning import RunError
from dimtool.model.runs.config import TrainConfig
from dimtool.model.training import loop, optimisation
from dimtool.model.training.losses import alpha_loss, encoder_decoder_loss, unknown_region
from dimtool.model.training.reporting import Silent, StoppedError
from dimtool.model.training.stages import split_data, train
from dimtool.model.training.validation import validate

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


EVERYTHING: dict[str, Any] = {
    "lr_schedule": "cosine",
    "warmup": 0.3,
    "weight_decay": 0.1,
    "clip": 0.05,
    "ema": 0.3,
    "accumulate": 2,
    "freeze": 2,
}


def weights(config: TrainConfig, stage: int, step: int, name: str = "model") -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = load_file(
        config.out / "checkpoints" / f"stage{stage}-step{step:08}" / f"{name}.safetensors"
    )
    return tensors


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


# ---- the default -------------------------------------------------------------------------------------------


def plain_run(config: TrainConfig, stages: tuple[Stage, ...]) -> tuple[dict[str, Tensor], list[float]]:
    """The run of the default recipe as one would write it down: Adam at one rate, and nothing else."""
    torch.manual_seed(config.seed)
    model = DeepImageMatting(config.model).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    told = []
    for stage in stages:
        model.set_stage(stage)
        adam = torch.optim.Adam(
            [each for each in model.parameters() if each.requires_grad], lr=config.learning_rate
        )
        crops = TrainingCrops(config.shards, config.crops(stage), seed=4 * config.seed + stage)
        for positions in CropBatches(
            len(crops), batch_size=config.batch_size, seed=crops.seed, steps=config.steps or 0
        ):
            crop = collate([crops[position] for position in positions])
            inputs = {
                key: crop[key].float() / 255
                for key in ("image", "trimap", "alpha", "foreground", "background")
            }  # type: ignore[literal-required]
            prediction, unknown = model(inputs["image"], inputs["trimap"]), unknown_region(inputs["trimap"])
            if stage == 1:
                colours = {
                    "composite": inputs["image"],
                    **{key: inputs[key] for key in ("foreground", "background")},
                }
                loss = encoder_decoder_loss(
                    prediction.coarse, alpha=inputs["alpha"], unknown=unknown, **colours
                ).total
            else:
                loss = alpha_loss(prediction.refined, inputs["alpha"], unknown)
            loss.backward()
            adam.step()
            adam.zero_grad()
            told.append(loss.item())
    return model.state_dict(), told


def test_the_default_recipe_is_adam_at_one_rate_to_the_bit(tiny: Configure, metrics: Any) -> None:
    config = tiny(steps=3, val_shards=None, val_share=0)
    result = train(config, Silent())
    expected, losses = plain_run(config, (1, 2, 3))
    assert_same(load_file(result.model), expected)
    assert [row["loss"] for row in metrics(config.out) if "loss" in row] == losses
    assert {row["learning_rate"] for row in metrics(config.out) if "loss" in row} == {1e-3}
    assert not any("gradient" in row for row in metrics(config.out))


# ---- all of it, and killed ---------------------------------------------------------------------------------


def contents(config: TrainConfig) -> dict[str, bytes]:
    found = (config.out / "checkpoints").rglob("*.safetensors")
    return {str(path.relative_to(config.out)): path.read_bytes() for path in found}


@pytest.mark.parametrize("left", [1, 5])
def test_a_run_with_everything_goes_on_to_the_bit(left: int, tiny: Configure, tmp_path: Path) -> None:
    """As after a kill: of its checkpoints, one for each step, only the first few are there."""
    config = tiny(steps=3, save_every=1, keep=99, val_shards=None, val_share=0, **EVERYTHING)
    train(config, Silent())
    whole = contents(config)
    assert len(whole) == 9 * 4
    assert len({path.split("/")[-1] for path in whole}) == 4
    (config.out / "model.safetensors").unlink()
    for path in sorted((config.out / "checkpoints").iterdir())[left:]:
        shutil.rmtree(path)
    result = train(config, Silent())
    assert contents(config) == whole
    assert result.model.read_bytes() == whole["checkpoints/stage3-step00000003/model.safetensors"]


def test_fp16_goes_on_with_the_scale_it_had(
    tiny: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scaler that grows every second step has come far after six: a new one would not have."""
    monkeypatch.setattr(
        optimisation, "gradient_scaler", lambda *_: torch.amp.GradScaler("cpu", growth_interval=2)
    )
    whole, parted = (
        tiny(out=tmp_path / name, stages=(1,), steps=6, precision="fp16") for name in ("whole", "parted")
    )
    train(whole, Silent())
    train(replace(parted, steps=3), Silent())
    train(parted, Silent())
    states = [read_progress(each.out / "checkpoints" / "stage1-step00000006") for each in (whole, parted)]
    assert states[0].scaler == states[1].scaler
    assert states[0].scaler["scale"] == 8 * 65_536
    assert_same(weights(whole, 1, 6), weights(parted, 1, 6))


def test_the_rate_and_the_gradients_length_are_told(tiny: Configure, metrics: Any) -> None:
    config = tiny(stages=(1,), steps=5, lr_schedule="cosine", warmup=0.4, clip=1e9)
    train(config, Silent())
    rows = [row for row in metrics(config.out) if "loss" in row]
    waves = [(1 + math.cos(math.pi * step / 3)) / 2 for step in range(3)]
    assert [row["learning_rate"] / 1e-3 for row in rows] == pytest.approx([0.5, 1.0, *waves])
    assert all(row["gradient"] > 0 for row in rows)


# ---- parts -------------------------------------------------------------------------------------------------


def test_a_batch_in_parts_gives_the_losses_of_the_whole(
    tiny: Configure, tmp_path: Path, metrics: Any
) -> None:
    losses = {}
    for count in (1, 2):
        config = tiny(out=tmp_path / str(count), stages=(1,), batch_size=4, steps=3, accumulate=count)
        train(config, Silent())
        losses[count] = [row["loss"] for row in metrics(config.out) if "loss" in row]
    assert losses[2] == pytest.approx(losses[1], rel=1e-4)


def test_frozen_layers_keep_the_weights_that_they_began_with(tiny: Configure, start: Path) -> None:
    config = tiny(init=start, freeze="encoder", weight_decay=0.1)
    train(config, Silent())
    before, after = load_file(start), weights(config, 3, 2)
    changed = {name.split(".")[1] for name in before if not torch.equal(before[name], after[name])}
    first = "encoder_decoder.encoder.blocks.0.0.weight"
    assert torch.equal(before[first][:, :3], after[first][:, :3])
    assert not torch.equal(before[first][:, 3], after[first][:, 3])
    encoder = [name for name in before if ".encoder." in name and name != first]
    assert all(torch.equal(before[name], after[name]) for name in encoder)
    assert changed == {"encoder", "decoder", "layers", "prediction"}


# ---- the average -------------------------------------------------------------------------------------------


def test_the_average_is_validated_kept_and_gone_on_from(tiny: Configure, start: Path, metrics: Any) -> None:
    """Made by hand from what each step's checkpoint says was learning."""
    config = tiny(init=start, steps=3, save_every=1, val_every=1, keep=99, ema=0.15, stages=(1, 2))
    result = train(config, Silent())
    expected = load_file(start)
    for stage in (1, 2):
        for step in (1, 2, 3):
            decay = min(0.15, step / (9 + step))
            learning = weights(config, stage, step, "learning")
            expected = {name: decay * each + (1 - decay) * learning[name] for name, each in expected.items()}
            made = weights(config, stage, step)
            for name, each in expected.items():
                torch.testing.assert_close(made[name], each, rtol=1e-5, atol=1e-7)
        assert any(not torch.equal(made[name], learning[name]) for name in made)
        expected = made
    assert_same(load_file(result.model), weights(config, 2, 3))
    frozen = {
        name: each for name, each in weights(config, 2, 3, "learning").items() if name.startswith("encoder")
    }
    assert_same(
        frozen, {name: weights(config, 1, 3)[name] for name in frozen}
    )  # stage 2 began at stage 1's result

    _, validation = split_data(config)
    assert validation is not None
    for row in [row for row in metrics(config.out) if "val_sad" in row]:
        model = load_model(config.out / "checkpoints" / f"stage{row['stage']}-step{row['step']:08}")
        assert (
            validate(Matter(model=model, device=torch.device("cpu")), validation, Ranks()).sad
            == row["val_sad"]
        )
    best = min((row["val_sad"], row["stage"], row["step"]) for row in metrics(config.out) if "val_sad" in row)
    assert_same(load_file(config.out / "best.safetensors"), weights(config, *best[1:]))


def test_without_an_average_a_checkpoint_has_the_files_it_had(tiny: Configure) -> None:
    config = tiny(stages=(1,), steps=1)
    train(config, Silent())
    (checkpoint,) = (config.out / "checkpoints").iterdir()
    names = {"model.safetensors", "optimizer.safetensors", "random.safetensors", "state.json"}
    assert {path.name for path in checkpoint.iterdir()} == names


# ---- how long ----------------------------------------------------------------------------------------------


@pytest.fixture
def sads(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have the validations of a run, in their order, give these."""

    original = loop.validate

    def give(*values: float) -> None:
        left = iter(values)
        monkeypatch.setattr(loop, "validate", lambda *given: original(*given)._replace(sad=next(left)))

    return give


def test_a_stage_ends_when_patience_does(
    tiny: Configure, sads: Callable[..., None], metrics: Any, checkpoints: Any
) -> None:
    """Each stage has its own: what stage 2 begins with may be worse than stage 1's best."""
    config = tiny(stages=(1, 2), steps=6, val_every=1, patience=2)
    sads(5.0, 4.0, 4.0, 4.5, 9.0, 9.5, 9.2)
    recorder = Recorder()
    train(config, recorder)
    assert checkpoints(config.out) == ["stage1-step00000004", "stage2-step00000003"]
    ends = [note for note in recorder.notes if " ends after " in note]
    assert ends == [
        f"stage {stage} ends after {steps} of 6 steps: 2 validations in a row without a better one"
        for stage, steps in ((1, 4), (2, 3))
    ]
    assert [row["val_sad"] for row in metrics(config.out) if "val_sad" in row][-1] == 9.2

    again = Recorder()  # what ended does not begin again
    train(config, again)
    assert (again.stages, again.steps) == ([(2, 3, 3)], 0)


def test_after_a_kill_patience_is_what_it_was(
    tiny: Configure, sads: Callable[..., None], checkpoints: Any
) -> None:
    config = tiny(stages=(1,), steps=6, val_every=1, save_every=1, keep=9, patience=2)
    sads(5.0, 6.0, 7.0)
    train(config, Silent())
    shutil.rmtree(config.out / "checkpoints" / "stage1-step00000003")
    sads(7.0)
    train(config, Silent())
    assert checkpoints(config.out)[-1] == "stage1-step00000003"
    sads(4.0, 5.0, 3.0)  # with more patience it goes on
    train(tiny(stages=(1,), steps=6, val_every=1, save_every=1, keep=9, patience=3), Silent())
    assert checkpoints(config.out)[-1] == "stage1-step00000006"


def test_a_time_limit_stops_with_a_checkpoint_and_the_run_goes_on_to_the_bit(
    tiny: Configure, tmp_path: Path, checkpoints: Any
) -> None:
    whole = train(tiny(stages=(1,), steps=3, out=tmp_path / "whole"), Silent())
    config = tiny(stages=(1,), steps=3, time_limit="0.001s")
    for steps in (1, 2, 3):
        with pytest.raises(
            StoppedError, match=f"stopped at step {steps} of stage 1; the same command"
        ) as stopped:
            train(config, Silent())
        assert stopped.value.exit_code == 124
        assert checkpoints(config.out)[-1] == f"stage1-step0000000{steps}"
    assert train(config, Silent()).model.read_bytes() == whole.model.read_bytes()


# ---- what is said, and taken -------------------------------------------------------------------------------


def test_a_greater_batch_at_the_papers_rate_is_told_of(tiny: Configure, tmp_path: Path) -> None:
    told = []
    for name, changes in (("paper", {"learning_rate": 1e-5}), ("other", {})):
        recorder = Recorder()
        train(tiny(out=tmp_path / name, stages=(1,), batch_size=2, **changes), recorder)
        told += [note for note in recorder.notes if "updates" in note]
    (note,) = told
    assert note.startswith("stage 1: 2 updates of 2 crops each, where the paper makes 4 of as many crops")


def test_what_fits_of_another_model_is_taken_and_the_rest_is_told(tiny: Configure, start: Path) -> None:
    config = tiny(init=start, init_part="encoder", steps=1, learning_rate=1e-30, bottleneck="fc6")
    recorder = Recorder()
    train(config, recorder)
    (note,) = [note for note in recorder.notes if "layers taken" in note]
    assert note.startswith(
        f"{start}: 13 layers taken; left as they were: encoder_decoder.encoder.bottleneck, "
    )
    before, after = load_file(start), weights(config, 1, 1)
    taken = [name for name in after if ".encoder.blocks." in name]
    assert len(taken) == 26
    for name in taken:
        torch.testing.assert_close(after[name], before[name], rtol=0, atol=1e-20)


def test_part_of_a_stage_1_is_nothing_to_refine(tiny: Configure, start: Path) -> None:
    with pytest.raises(RunError, match=r"stage 2 starts from stage 1's weights, .* and take all of it"):
        train(tiny(init=start, init_part="encoder", stages=(2,)), Silent())
