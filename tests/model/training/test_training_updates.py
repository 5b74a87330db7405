"""What the options of a recipe do to a run: beside a plain loop, and after a kill, to the bit."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from dimtool.model.crops.batches import CropBatches, collate
from dimtool.model.crops.dataset import TrainingCrops
from dimtool.model.inference.matter import Matter
from dimtool.model.network.checkpoint import load_model
from dimtool.model.network.dim import DeepImageMatting, Stage
from dimtool.model.runs.config import TrainConfig
from dimtool.model.training.losses import alpha_loss, encoder_decoder_loss, unknown_region
from dimtool.model.training.reporting import Silent
from dimtool.model.training.stages import split_data, train
from dimtool.model.training.validation import validate

Configure = Callable[..., TrainConfig]

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
        assert validate(Matter(model=model, device=torch.device("cpu")), validation).sad == row["val_sad"]
    best = min((row["val_sad"], row["stage"], row["step"]) for row in metrics(config.out) if "val_sad" in row)
    assert_same(load_file(config.out / "best.safetensors"), weights(config, *best[1:]))


def test_without_an_average_a_checkpoint_has_the_files_it_had(tiny: Configure) -> None:
    config = tiny(stages=(1,), steps=1)
    train(config, Silent())
    (checkpoint,) = (config.out / "checkpoints").iterdir()
    names = {"model.safetensors", "optimizer.safetensors", "random.safetensors", "state.json"}
    assert {path.name for path in checkpoint.iterdir()} == names
