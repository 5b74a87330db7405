"""A model's file: it comes with its configuration; what is no such file is called what it is."""

from __future__ import annotations

from pathlib import Path

import h5py
import pytest
import torch
from PIL import Image

from dimtool.model.network.checkpoint import (
    MODEL_NAME,
    CheckpointError,
    load_model,
    save_model,
)
from dimtool.model.network.dim import DeepImageMatting, ModelConfig, Stage

CONFIG = ModelConfig(bottleneck="slim", width=1 / 64)
pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_model_comes_with_its_configuration(tmp_path: Path) -> None:
    image, trimap = torch.rand(1, 3, 40, 50), torch.rand(1, 1, 40, 50)
    for config in (CONFIG, ModelConfig(bottleneck="fc6", width=1 / 128, refinement=False)):
        model = DeepImageMatting(config)
        save_model(tmp_path / MODEL_NAME, model)
        for path in (tmp_path / MODEL_NAME, tmp_path):
            loaded = load_model(path)
            assert loaded.config == config
            assert not loaded.training
            assert torch.equal(loaded(image, trimap).alpha, model(image, trimap).alpha)


@pytest.mark.parametrize(("stage", "refined"), [(1, False), (2, True), (3, True)])
def test_a_model_of_stage_1_does_not_refine(tmp_path: Path, stage: Stage, refined: bool) -> None:
    model = DeepImageMatting(CONFIG)
    assert model.refinement is not None
    torch.nn.init.ones_(model.refinement.prediction.weight)
    model.set_stage(stage)
    save_model(tmp_path / MODEL_NAME, model)
    prediction = load_model(tmp_path)(torch.rand(1, 3, 32, 32), torch.rand(1, 1, 32, 32))
    assert torch.equal(prediction.refined, prediction.coarse) != refined


def _bring(kind: str, path: Path) -> None:
    if kind == "pth":
        torch.save({"state_dict": {"conv.weight": torch.zeros(3)}}, path)
    elif kind == "old pth":
        torch.save({"conv.weight": torch.zeros(3)}, path, _use_new_zipfile_serialization=False)
    elif kind == "photo":
        Image.new("RGB", (40, 30)).save(path, "JPEG")
    elif kind == "shard":
        with h5py.File(path, "w") as file:
            file["x"] = 1
    else:
        path.write_bytes({"onnx": b"\x08\x0a\x12\x07pytorch", "empty": b"", "json": b'{"a": 1}'}[kind])


@pytest.mark.parametrize(
    ("kind", "name", "told"),
    [
        ("pth", "best.pth", "a zip, as PyTorch's .pth"),
        ("old pth", "best.pth", "a pickle"),
        ("photo", "cat.jpg", r"a picture \(JPEG\)"),
        ("photo", "model.safetensors", r"a picture \(JPEG\)"),
        ("shard", "0001-cat.h5", "an HDF5 file"),
        ("onnx", "model.onnx", "an ONNX file, which onnxruntime runs"),
        ("json", "index.json", "a JSON file"),
        ("empty", "model.safetensors", "empty"),
    ],
)
def test_what_others_call_a_model_is_called_what_it_is(
    tmp_path: Path, kind: str, name: str, told: str
) -> None:
    _bring(kind, tmp_path / name)
    advice = "name a model.safetensors, or the folder of a run"
    with pytest.raises(CheckpointError, match=f"{name} is not a dimtool model: it is {told}.*; {advice}$"):
        load_model(tmp_path / name)


def test_a_model_cut_short_is_damaged_not_foreign(tmp_path: Path) -> None:
    save_model(tmp_path / MODEL_NAME, DeepImageMatting(CONFIG))
    whole = (tmp_path / MODEL_NAME).read_bytes()
    for length in (40, len(whole) - 1):
        (tmp_path / "m").write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r"cannot be read as a model .*: bring the file again"):
            load_model(tmp_path / "m")
