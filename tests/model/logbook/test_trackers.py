"""Trackers: what TensorBoard is told, and what wandb and mlflow would be; missing ones are told in a line."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import accelerate.tracking
import pytest
from accelerate.state import AcceleratorState
from accelerate.utils import LoggerType
from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from dimtool.model.logbook.trackers import Log, TrackerError, begin_tracking, refuse_missing
from dimtool.model.processes.launching import launch
from dimtool.model.runs.config import TrainConfig
from dimtool.model.runs.folder import Run

Calls = list[tuple[Any, ...]]


@pytest.fixture
def calls() -> Calls:
    """What was asked of a tracker."""
    return []


@pytest.fixture
def wandb(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module of that name that writes down what it is asked."""

    class Error(Exception):
        pass

    def init(**options: Any) -> Any:
        calls.append(("init", options))
        return SimpleNamespace(
            log=lambda values, step=None: calls.append(("log", values, step)),
            finish=lambda: calls.append(("finish",)),
        )

    config = SimpleNamespace(update=lambda values, **_: calls.append(("config", values)))
    made = SimpleNamespace(init=init, config=config, Image=lambda image: image.shape, Error=Error)
    return _installed("wandb", made, monkeypatch)


@pytest.fixture
def mlflow(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The same of mlflow."""

    def start_run(**options: Any) -> Any:
        calls.append(("start_run", options))
        return SimpleNamespace(info=SimpleNamespace(run_id="abc"))

    limits = SimpleNamespace(MAX_PARAM_VAL_LENGTH=500, MAX_PARAMS_TAGS_PER_BATCH=1000)
    made = SimpleNamespace(
        search_experiments=lambda **_: [],
        create_experiment=lambda **options: calls.append(("create", options)) or "7",
        start_run=start_run,
        log_params=lambda values: calls.append(("config", values)),
        log_metrics=lambda values, step=None: calls.append(("log", values, step)),
        end_run=lambda: calls.append(("finish",)),
        utils=SimpleNamespace(validation=limits),
    )
    errors = SimpleNamespace(MlflowException=type("MlflowException", (Exception,), {}))
    _installed("mlflow.exceptions", errors, monkeypatch)
    return _installed("mlflow", made, monkeypatch)


def _installed(name: str, content: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = ModuleType(name)
    vars(module).update(vars(content))
    monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(accelerate.tracking, "get_available_trackers", lambda: list(LoggerType))
    return module


@pytest.fixture
def track(tmp_path: Path, example: Any) -> Callable[..., None]:
    """A run's start, with a value after step 50 of stage 1, pictures, and its end."""
    (tmp_path / "run").mkdir()

    def call(tracker: str, *, goes_on: bool = False) -> None:
        config = TrainConfig(out=tmp_path / "run", tracker=tracker, width=0.25)  # type: ignore[arg-type]
        accelerator = launch(config.out, compression="none", tracker=tracker)
        try:
            begin_tracking(accelerator, config, goes_on=goes_on)
            log = Log(Run(config), accelerator, 1)
            log.values(50, {"loss": 0.5})
            log.pictures(50, [example(1)])
        finally:
            accelerator.end_training()
            AcceleratorState._reset_state(reset_partial_state=True)

    return call


def test_tensorboard_has_the_options(track: Callable[..., None], tmp_path: Path) -> None:
    """In the run's own events: no folder of another name at each start."""
    track("tensorboard")
    (path,) = [each for each in (tmp_path / "run" / "tensorboard").rglob("*") if each.is_file()]
    values = [value for event in LegacyEventFileLoader(str(path)).Load() for value in event.summary.value]
    by_tag = {value.tag: value for value in values}
    content = by_tag["_hparams_/session_start_info"].metadata.plugin_data.content
    told = HParamsPluginData.FromString(content).session_start_info.hparams
    assert told["width"].number_value == 0.25
    assert told["learning_rate"].number_value == 1e-5
    assert told["crop_cuts"].string_value == "[320, 480, 640]"
    assert {"stage1/loss", "stage1/validation_0"} <= by_tag.keys()


@pytest.mark.usefixtures("wandb")
def test_wandb(track: Callable[..., None], calls: Calls, tmp_path: Path) -> None:
    track("wandb")
    (began, options), (_, config), *logs, end = calls
    assert (began, end) == ("init", ("finish",))
    assert (options["project"], options["name"], options["dir"]) == ("dimtool", "run", f"{tmp_path}/run")
    assert config["width"] == 0.25
    assert logs == [
        ("log", {"stage1/loss": 0.5, "stage1/step": 50}, None),
        ("log", {"stage1/validation_0": [(32, 192, 3)]}, None),
    ]
    calls.clear()
    track("wandb", goes_on=True)
    assert calls[0] == ("init", options)  # the same run there
    calls.clear()
    track("wandb")
    assert calls[0][1]["id"] != options["id"]


@pytest.mark.usefixtures("mlflow")
def test_mlflow(track: Callable[..., None], calls: Calls) -> None:
    track("mlflow")
    names = [name for name, *_ in calls]
    assert names == ["create", "start_run", "config", "log", "finish"]
    assert (calls[1][1]["run_name"], calls[1][1]["run_id"]) == ("run", None)
    assert calls[3] == ("log", {"stage1/loss": 0.5}, 50)
    calls.clear()
    track("mlflow", goes_on=True)
    assert [call[1]["run_id"] for call in calls if call[0] == "start_run"] == ["abc"]
    assert "config" not in [name for name, *_ in calls]  # which may not be told again


def test_none_leaves_the_run_s_own_file_alone(track: Callable[..., None], tmp_path: Path) -> None:
    track("none")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["metrics.jsonl"]
    assert json.loads((tmp_path / "run" / "metrics.jsonl").read_text())["loss"] == 0.5


def test_one_that_cannot_begin_is_told(
    wandb: ModuleType, track: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: Any) -> None:
        raise wandb.Error("api_key not configured\nuse wandb login")

    monkeypatch.setattr(wandb, "init", refuse)
    with pytest.raises(TrackerError) as caught:
        track("wandb")
    assert str(caught.value) == (
        "--tracker wandb cannot begin (api_key not configured): `wandb login`, or WANDB_MODE=offline, which "
        "needs neither account nor network, or choose tensorboard"
    )


@pytest.mark.parametrize("tracker", ["wandb", "mlflow"])
def test_a_missing_package_is_told(tracker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, tracker, None)
    with pytest.raises(TrackerError, match=f"^--tracker {tracker} needs the package {tracker}: pip install"):
        refuse_missing(tracker)
    refuse_missing("tensorboard")
    refuse_missing("none")
