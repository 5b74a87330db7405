"""A run begins or goes on: what it was asked for is written down, and what of that may change."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import accelerate
import PIL
import pytest
import torch

from dimtool.composer.shards.layout import ShardError
from dimtool.model.runs.config import TrainConfig
from dimtool.version import __version__

pytestmark = pytest.mark.usefixtures("one_thread")


def test_what_was_asked_for_is_written_down(runs: Any, config: TrainConfig, train_shards: Path) -> None:
    runs.begin(replace(config, val_shards=Path("else/where")))
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
    "normalisation": "batch",
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
    "tracker": "none",
    "page": False,
}


def test_every_option_is_decided_about() -> None:
    assert DECISIVE.keys() | FREE.keys() | {"shards", "out"} == {field.name for field in fields(TrainConfig)}


def test_a_start_is_the_same_from_wherever_it_is_named(
    runs: Any, config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs.start(replace(config, init=tmp_path / "start.safetensors"))
    monkeypatch.chdir(tmp_path)
    runs.begin(replace(config, init=Path("start.safetensors")))


def test_a_folder_of_something_else_is_no_run(runs: Any, config: TrainConfig) -> None:
    """Shards, or a run whose configuration is lost: what its checkpoints are of, nobody knows."""
    for name in ("index.json", "checkpoints"):
        config.out.mkdir(parents=True, exist_ok=True)
        (config.out / name).touch()
        assert runs.refusal(config).startswith(f"{config.out} holds {name} and no config.json")
        assert sorted(path.name for path in config.out.iterdir()) == [name]
        (config.out / name).unlink()


@pytest.mark.parametrize("key", DECISIVE)
def test_what_decides_the_weights_cannot_change(runs: Any, config: TrainConfig, key: str) -> None:
    runs.start(config)
    other = replace(config, **{key: DECISIVE[key]})
    old, new = (each.values()[key] for each in (config, other))
    assert runs.refusal(other).startswith(f"{config.out} is a run with {key} = {old}, not {new}: give that")
    runs.begin(config)


def test_a_run_from_before_an_option_was_there_goes_on(runs: Any, config: TrainConfig) -> None:
    runs.start(config)
    path = config.out / "config.json"
    there = json.loads(path.read_text())
    del there["config"]["recompose"], there["config"]["radii_draw"]
    path.write_text(json.dumps(there))
    assert "with recompose = 0.0, not 0.5" in runs.refusal(replace(config, recompose=0.5))
    runs.begin(config)


@pytest.mark.parametrize("key", FREE)
def test_the_rest_may_change(runs: Any, config: TrainConfig, key: str) -> None:
    runs.start(config)
    runs.begin(replace(config, **{key: FREE[key]}))
    there = json.loads((config.out / "config.json").read_text())["config"]
    assert there[key] == json.loads(json.dumps(FREE[key]))


def test_a_validation_set_of_its_own_may_move_but_not_go(runs: Any, config: TrainConfig) -> None:
    # Without it some foregrounds are held out: the run would go on with other ones.
    runs.start(replace(config, val_shards=Path("a")))
    runs.begin(replace(config, val_shards=Path("b")))
    assert "with val_shards = b, not None" in runs.refusal(config)


def test_shards_may_move_but_not_change(
    runs: Any, config: TrainConfig, train_shards: Path, tmp_path: Path
) -> None:
    runs.start(config)
    moved = shutil.copytree(train_shards, tmp_path / "moved")
    runs.begin(replace(config, shards=moved))
    index = json.loads((moved / "index.json").read_text())
    index["shards"][0]["sha256"] = "0" * 64
    (moved / "index.json").write_text(json.dumps(index))
    message = runs.refusal(replace(config, shards=moved))
    assert message.startswith(f"{config.out} was trained on other shards than {moved}: ")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"config": 1}', '{"config": {}}', '{"shards_sha256": ""}'])
def test_a_broken_configuration(runs: Any, config: TrainConfig, text: str) -> None:
    runs.start(config)
    (config.out / "config.json").write_text(text)
    assert str(config.out / "config.json") in runs.refusal(config)


def test_no_shards(runs: Any, config: TrainConfig, tmp_path: Path) -> None:
    with pytest.raises(ShardError, match=f"^{tmp_path}/none does not exist: run `dimtool build-dataset`"):
        runs.begin(replace(config, shards=tmp_path / "none"))


def history(config: TrainConfig) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (config.out / "history.jsonl").read_text().splitlines()]


def test_a_start_that_failed_does_not_hold_its_folder(runs: Any, config: TrainConfig) -> None:
    """It left a configuration and no checkpoint: whatever it was asked for, the next may ask for another."""
    runs.begin(config)
    (config.out / "config.json").write_text("half of")
    runs.begin(replace(config, seed=7, width=1 / 32))
    there = json.loads((config.out / "config.json").read_text())
    assert (there["config"]["seed"], there["config"]["width"]) == (7, 1 / 32)


def test_what_a_run_starts_from_need_not_be_given_again(
    runs: Any, config: TrainConfig, tmp_path: Path
) -> None:
    given = replace(config, init=tmp_path / "gone.safetensors", weights="vgg.pth")
    runs.start(given)
    runs.begin(config)
    runs.begin(given)  # it is still the same run
    assert "is a run with init = " in runs.refusal(replace(config, init=tmp_path / "other.safetensors"))


@pytest.mark.parametrize("key", CHANGEABLE)
def test_what_changes_is_in_the_history(runs: Any, config: TrainConfig, key: str) -> None:
    runs.start(config)
    assert runs.begin(config) == []
    (first,) = history(config)
    value = getattr(config, key)
    assert (first["step"], first[key], first["torch"]) == (0, value, torch.__version__)
    notes = runs.begin(replace(config, **{key: CHANGEABLE[key]}))
    assert notes == [f"{key} is {CHANGEABLE[key]} from here on; it was {value}"]
    assert history(config)[1:] == [{"stage": 1, "step": 5, key: CHANGEABLE[key]}]


def test_another_version_is_in_the_history(
    runs: Any, config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs.start(config)
    monkeypatch.setattr(torch, "__version__", "9.9")
    runs.begin(config)
    assert history(config)[1:] == [{"stage": 1, "step": 5, "torch": "9.9"}]
