"""A training's options: on the command line, in a TOML file and in recipes."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from dimtool.cli import run
from dimtool.model.network.precision import best_precision
from dimtool.model.runs.config import TrainConfig
from dimtool.model.runs.recipes import recipe_file, recipe_names
from dimtool.model.training import stages as training

Asked = Callable[..., TrainConfig]
Refused = Callable[..., str]


@pytest.fixture
def captured(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[TrainConfig]]:
    """Configurations that the command would have trained."""
    configs: list[TrainConfig] = []

    def train(config: TrainConfig, _: object) -> training.Result:
        configs.append(config)
        return training.Result(Path("model.safetensors"), None)

    monkeypatch.setattr(training, "train", train)
    return configs


@pytest.fixture
def asked(captured: list[TrainConfig], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Asked:
    """What the command asks for with these arguments and, where it is given, this TOML."""

    def call(*arguments: object, toml: str | None = None) -> TrainConfig:
        words = ["train", *_config_file(tmp_path, toml), *map(str, arguments)]
        captured.clear()
        assert run(words) == 0, capsys.readouterr().err
        (config,) = captured
        return config

    return call


@pytest.fixture
def refused(captured: list[TrainConfig], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Refused:
    """The last line of the refusal of these arguments and this TOML; nothing was trained."""

    def call(*arguments: object, toml: str | bytes | None = None) -> str:
        assert run(["train", *_config_file(tmp_path, toml), *map(str, arguments)]) == 2
        assert captured == []
        error = capsys.readouterr().err
        assert "Traceback" not in error
        return error.rstrip().splitlines()[-1]

    return call


def _config_file(folder: Path, toml: str | bytes | None) -> list[str]:
    if toml is None:
        return []
    path = folder / "train.toml"
    path.write_bytes(toml if isinstance(toml, bytes) else toml.encode())
    return ["--config", str(path)]


def test_the_command_s_defaults_are_the_configuration_s(asked: Asked) -> None:
    assert asked() == TrainConfig()
    assert asked(toml="") == TrainConfig()


# As on the command line, as in TOML, as in the configuration: one line for each option.
OPTIONS: dict[str, tuple[str, str, Any]] = {
    "shards": ("a b/train", '"a b/train"', Path("a b/train")),
    "out": ("runs/x", '"runs/x"', Path("runs/x")),
    "stage": ("2", "2", (2,)),
    "steps": ("12", "12", 12),
    "epochs": ("1.5", "1.5", 1.5),
    "batch-size": ("16", "16", 16),
    "learning-rate": ("1e-4", "1e-4", 1e-4),
    "precision": ("bf16", '"bf16"', "bf16"),
    "compile": ("", "true", True),
    "compile-mode": ("max-autotune", '"max-autotune"', "max-autotune"),
    "on-nan": ("skip", '"skip"', "skip"),
    "gradient-compression": ("bf16", '"bf16"', "bf16"),
    "workers": ("0", "0", 0),
    "seed": ("3", "3", 3),
    "skip-bad": ("", "true", True),
    "bottleneck": ("slim", '"slim"', "slim"),
    "width": ("0.25", "0.25", 0.25),
    "normalisation": ("batch", '"batch"', "batch"),
    "weights": ("vgg.pth", '"vgg.pth"', "vgg.pth"),
    "init": (__file__, f'"{__file__}"', Path(__file__)),
    "lr-schedule": ("cosine", '"cosine"', "cosine"),
    "warmup": ("5%", '"5%"', 0.05),
    "weight-decay": ("0.01", "0.01", 0.01),
    "clip": ("1", "1", 1.0),
    "ema": ("0.999", "0.999", 0.999),
    "freeze": ("encoder", '"encoder"', "encoder"),
    "patience": ("3", "3", 3),
    "time-limit": ("10h", '"10h"', "10h"),
    "init-part": ("encoder", '"encoder"', "encoder"),
    "crop-size": ("64", "64", 64),
    "crop-cuts": ("64,96", "[64, 96]", (64, 96)),
    "radii": ("2,5", "[2, 5]", (2, 5)),
    "stage2-radius": ("4", "4", 4),
    "radii-draw": ("log", '"log"', "log"),
    "uneven-trimaps": ("50%", '"50%"', 0.5),
    "recompose": ("90%", '"90%"', 0.9),
    "join": ("20%", '"20%"', 0.2),
    "zoom": ("1.5", "1.5", 1.5),
    "turn": ("10", "10", 10.0),
    "colour": ("0.5", "0.5", 0.5),
    "noise": ("4", "4.0", 4.0),
    "jpeg": ("30%", '"30%"', 0.3),
    "val-shards": ("v", '"v"', Path("v")),
    "val-share": ("10%", '"10%"', 0.1),
    "val-count": ("9", "9", 9),
    "val-radius": ("8", "8", 8),
    "val-every": ("7", "7", 7),
    "save-every": ("6", "6", 6),
    "keep": ("5", "5", 5),
    "log-every": ("4", "4", 4),
    "tracker": ("wandb", '"wandb"', "wandb"),
}


# What stages may have each for itself, and what need not be steps.
MORE = {
    "steps": ("20000,5000,5000", "[20000, 5000, 5000]", (20000, 5000, 5000)),
    "learning-rate": ("1e-5,1e-4,1e-5", "[1e-5, 1e-4, 1e-5]", (1e-5, 1e-4, 1e-5)),
    "batch-size": ("16,32,16", "[16, 32, 16]", (16, 32, 16)),
    "save-every": ("10min", '"10min"', "10min"),
    "val-every": ("0.5epoch", '"0.5epoch"', "0.5epoch"),
}


def test_the_page_can_be_left_out(asked: Asked) -> None:
    assert asked("--no-page") == asked(toml="page = false") == replace(TrainConfig(), page=False)


@pytest.mark.parametrize("option", MORE)
def test_other_forms_of_an_option(asked: Asked, option: str) -> None:
    given, toml, value = MORE[option]
    expected = replace(TrainConfig(), **{field_of(option): value})
    assert asked(f"--{option}", given) == asked(toml=f"{option} = {toml}") == expected


def field_of(option: str) -> str:
    return "stages" if option == "stage" else option.replace("-", "_")


def words_of(option: str) -> list[str]:
    return [f"--{option}", OPTIONS[option][0]] if OPTIONS[option][0] else [f"--{option}"]


def test_every_field_has_an_option() -> None:
    others = {"recipe", "accumulate", "page"}  # which set, or want, more than one field, or are on
    assert {field_of(option) for option in OPTIONS} | others == {field.name for field in fields(TrainConfig)}


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_sets_its_field_and_no_other(asked: Asked, option: str) -> None:
    _, toml, value = OPTIONS[option]
    expected = replace(TrainConfig(), **{field_of(option): value})
    assert expected != TrainConfig()
    assert asked(*words_of(option)) == expected
    assert asked(toml=f"{option} = {toml}") == expected
    assert asked(toml=f"{option.replace('-', '_')} = {toml}\n# a comment") == expected


def test_the_command_line_wins(asked: Asked) -> None:
    toml = 'batch-size = 16\ncompile = true\nstage = "3"\nradii = "1,4"\nseed = 2'
    config = asked("--batch-size", 1, "--no-compile", "--stage", "all", "--radii", "2,3", toml=toml)
    assert config == TrainConfig(seed=2, radii=(2, 3))  # though these are the defaults


def test_the_order_of_options_does_not_matter(asked: Asked, tmp_path: Path) -> None:
    path = _config_file(tmp_path, "seed = 2\nkeep = 4")[1]
    assert asked("--seed", 5, "--config", path) == TrainConfig(seed=5, keep=4)


@pytest.mark.parametrize(
    ("toml", "key", "close"),
    [
        ("steeps = 5", "steeps", "; is it steps?"),
        ("Steps = 5", "Steps", "; is it steps?"),
        ("[train]\nsteeps = 5", "steeps", "; is it steps?"),
        ("no-compile = true", "no-compile", "; is it compile?"),
        ("xyz = 1", "xyz", ""),
    ],
)
def test_a_key_that_is_no_option_is_named(
    refused: Refused, tmp_path: Path, toml: str, key: str, close: str
) -> None:
    line = refused(toml=f"seed = 1\n{toml}")
    assert line.endswith(f"{tmp_path}/train.toml sets {key}, which is no option of `dimtool train`{close}")


@pytest.mark.parametrize("toml", ["steps", "steps = 1\nsteps = 2", b"\xff\xfe", b"seed = 1\0", "= 3"])
def test_what_is_no_toml(refused: Refused, tmp_path: Path, toml: str | bytes) -> None:
    assert f"{tmp_path}/train.toml cannot be read as TOML (" in refused(toml=toml)


def test_a_file_that_is_not_there(refused: Refused, tmp_path: Path) -> None:
    assert f"{tmp_path}/none.toml cannot be read as TOML (" in refused("--config", tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ("batch-size = 0", "--batch-size"),
        ('steps = "many"', "--steps"),
        ('precision = "fp8"', "--precision"),
        ('compile-mode = "fast"', "--compile-mode"),
        ("stage = 4", "--stage"),
        ('freeze = "decoder"', "decoder is neither none, encoder, nor a number of convolutions"),
        ('lr-schedule = "linear"', "--lr-schedule"),
        ("val-share = 200", "--val-share"),
        ("val-share = 0.05", "could be a share or a percentage"),
        ('compile = "maybe"', "--compile"),
        ("radii = [5, 1]", "trimap radii (5, 1)"),
        ("crop-cuts = []", "crop"),
        ("learning-rate = nan", "a learning rate of nan"),
        ("val-radius = 255", "a trimap radius of 255"),
        ("val-share = 100", "a validation share of 1 "),
        ("steps = [1, 2]", "--steps"),
        ("learning-rate = [1e-4, 1e-5]", "--learning-rate"),
        ('val-every = "10 parsecs"', "as in 5000, 10min"),
        ("steps = 1.5", "--steps"),
        ("crop-cuts = [320.5]", "--crop-cuts"),
        ('crop-cuts = ["a"]', "--crop-cuts"),
        ("batch-size = {of = 3}", "--batch-size"),
        ('config = "other.toml"', "sets config, which is no option"),
    ],
)
def test_a_value_that_is_wrong_is_named(refused: Refused, toml: str, words: str) -> None:
    assert words in refused(toml=toml)


# ---- recipes -----------------------------------------------------------------------------------------------


def test_the_default_recipe_says_what_the_defaults_are(asked: Asked) -> None:
    """So that who reads it knows them all, and nobody can change one without the other."""
    values = tomllib.loads(recipe_file("paper").read_text())
    named = {field.replace("-", "_"): value for field, value in values.items()}
    assert asked("--recipe", "paper") == TrainConfig() == replace(TrainConfig(), **_typed(named))


def _typed(values: dict[str, Any]) -> dict[str, Any]:
    """TOML's values as the configuration has them: lists as tuples, percentages as shares."""
    shares = {name: float(value[:-1]) / 100 for name, value in values.items() if str(value).endswith("%")}
    values = values | shares | ({"precision": best_precision()} if "precision" in values else {})
    return {name: tuple(each) if isinstance(each, list) else each for name, each in values.items()}


def test_a_recipe_is_less_than_a_file_and_that_less_than_the_command_line(
    asked: Asked, tmp_path: Path
) -> None:
    own = tmp_path / "own.toml"
    own.write_text("batch-size = 8\nwarmup = '10%'\nclip = 2\naccumulate = 2")
    toml = "clip = 3\nwarmup = '20%'"
    expected = TrainConfig(recipe=str(own), batch_size=8, warmup=0.3, clip=3.0, accumulate=2)
    assert asked("--recipe", own, "--warmup", "30%", toml=toml) == expected
    # The order in which they are named does not matter, nor that a file names the recipe.
    config = _config_file(tmp_path, toml)
    assert asked("--warmup", "30%", *config, "--recipe", own) == expected
    assert asked("--warmup", "30%", toml=f"recipe = '{own}'\n{toml}") == expected


@pytest.mark.parametrize("name", recipe_names())
def test_recipes_that_ship_can_be_trained(asked: Asked, name: str) -> None:
    config = asked("--recipe", name)
    assert config.recipe == name
    values = tomllib.loads(recipe_file(name).read_text())
    ours = {key.replace("-", "_"): value for key, value in values.items()}
    assert config == replace(TrainConfig(recipe=name), **_typed(ours))


def test_the_fast_recipe_has_every_part_of_it() -> None:
    fast = tomllib.loads(recipe_file("fast").read_text())
    assert fast["batch-size"] >= 16
    assert fast["lr-schedule"] == "cosine"
    assert all(fast[name] for name in ("warmup", "weight-decay", "clip", "ema"))


@pytest.mark.parametrize(
    ("recipe", "toml", "message"),
    [
        ("quick", None, "quick is no recipe: name one of demo, fast, paper, or a TOML file of options"),
        ("none.toml", None, "none.toml is no recipe: name one of"),
        ("own.toml", "steeps = 1", "own.toml sets steeps, which is no option of `dimtool train`"),
        ("own.toml", "recipe = 'fast'", "own.toml sets recipe: a recipe is no start for another"),
        ("own.toml", "a =", "own.toml cannot be read as TOML ("),
    ],
)
def test_what_is_no_recipe(
    refused: Refused, tmp_path: Path, recipe: str, toml: str | None, message: str
) -> None:
    if toml is not None:
        (tmp_path / recipe).write_text(toml)
        recipe = str(tmp_path / recipe)
    assert message in refused("--recipe", recipe)


def test_resume_wants_something_to_resume(refused: Refused, tmp_path: Path) -> None:
    line = refused("--resume", "--out", tmp_path / "run")
    assert line == f"dimtool: {tmp_path}/run has no checkpoint to resume from: run without --resume"
