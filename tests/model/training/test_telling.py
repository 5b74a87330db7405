"""What a training tells while it runs changes nothing of it."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from dimtool.model.logbook import forecast
from dimtool.model.network.dim import DeepImageMatting, ModelConfig
from dimtool.model.runs.config import TrainConfig
from dimtool.model.training.reporting import Silent
from dimtool.model.training.stages import train

Configure = Callable[..., TrainConfig]


class Recorder(Silent):
    """A reporter that remembers."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.ticks = 0

    def note(self, text: str) -> None:
        self.notes.append(text)

    def tick(self) -> None:
        self.ticks += 1


def test_page_and_forecast_leave_the_weights_as_they_are(
    tiny: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit for bit; each step moves the bar, and how long it takes is told once, though there are stages."""
    config = tiny(steps=5, val_every=2, stages=(1, 2), tracker="none")
    plain = train(config, Silent())
    assert (plain.page, plain.trivial) == (None, pytest.approx(plain.trivial))

    monkeypatch.setattr(forecast, "_ENOUGH", 0)
    monkeypatch.setattr(forecast, "_WORTH_A_LINE", 0)
    recorder = Recorder()
    told = train(replace(config, out=tmp_path / "told", page=True, tracker="tensorboard"), recorder)
    assert told.model.read_bytes() == plain.model.read_bytes()
    assert recorder.ticks == 10
    (line,) = [note for note in recorder.notes if note.startswith("at this rate")]
    assert " on this CPU, with the stages after it " in line
    assert told.page == tmp_path / "told" / "index.html"
    page = told.page.read_text()
    assert "told: all is done" in page
    assert "Stage 2: 5 of 5 steps" in page
    assert "stage 2, step 5" in page
    assert f"has {plain.trivial:.4g}" in page


class FilledError(Exception):
    """The network has its first weights."""


class Stopping(Recorder):
    """A reporter that ends all once the encoder is filled."""

    def note(self, text: str) -> None:
        super().note(text)
        if text.startswith("encoder: "):
            raise FilledError


def test_weights_from_a_file_need_no_network(
    tiny: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", refuse)
    filled: dict[str, Any] = {}
    original = DeepImageMatting.__init__

    def init(model: DeepImageMatting, config: ModelConfig) -> None:
        original(model, config)
        filled["model"] = model

    monkeypatch.setattr(DeepImageMatting, "__init__", init)
    names = [f"features.{i}" for i in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)]
    with torch.device("meta"):
        shapes = DeepImageMatting(ModelConfig(bottleneck="slim")).encoder_decoder.encoder.convolutions()
    tensors = {}
    for name, layer in zip(names, shapes, strict=True):
        channels = 3 if layer.in_channels == 4 else layer.in_channels
        tensors[f"{name}.weight"] = torch.full((layer.out_channels, channels, 3, 3), 0.25)
        tensors[f"{name}.bias"] = torch.zeros(layer.out_channels)
    save_file(tensors, tmp_path / "vgg.safetensors")

    recorder = Stopping()
    with pytest.raises(FilledError):
        train(tiny(width=1.0, weights=str(tmp_path / "vgg.safetensors")), recorder)
    assert recorder.notes[-1].startswith(f"encoder: 26 tensors from {tmp_path}/vgg.safetensors; bottleneck")
    convolutions: list[nn.Conv2d] = filled["model"].encoder_decoder.encoder.convolutions()
    assert all(bool(each.weight[:, :3].eq(0.25).all()) for each in convolutions)
