"""What a program imports: `dimtool.load(path).matte(image, trimap)`."""

from __future__ import annotations

import inspect
import re
import typing
from pathlib import Path

import numpy as np
import pytest
import torch

import dimtool
from dimtool.errors import DimtoolError
from dimtool.model.inference.matter import Matter
from dimtool.model.network.checkpoint import save_model
from dimtool.model.network.dim import DeepImageMatting, ModelConfig


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("run")
    model = DeepImageMatting(ModelConfig(width=1 / 8, bottleneck="slim"))
    save_model(folder / "model.safetensors", model)
    return folder


def test_importing_it_imports_nothing_heavy(run_python):
    heavy = ("torch", "numpy", "h5py", "PIL", "click")
    script = f"import sys, dimtool; dimtool.load; print([name for name in {heavy} if name in sys.modules])"
    assert run_python(script) == "[]\n"


@pytest.mark.parametrize("kind", [str, Path])
@pytest.mark.parametrize("file", ["", "model.safetensors"])
def test_three_lines_make_a_matte(run_folder, kind, file):
    image = np.full((20, 30, 3), 99, np.uint8)
    trimap = np.full((20, 30), 128, np.uint8)
    trimap[:, :10], trimap[:, 20:] = 0, 255
    alpha = dimtool.load(kind(run_folder / file)).matte(image, trimap)
    assert alpha.shape == (20, 30) and alpha.dtype == np.float32
    assert (alpha[:, :10] == 0).all() and (alpha[:, 20:] == 1).all()
    assert 0 < alpha[:, 10:20].mean() < 1


@pytest.mark.parametrize("device", ["cpu", torch.device("cpu")])
def test_the_device_is_the_one_asked_for(run_folder, device):
    assert dimtool.load(run_folder, device).device == torch.device("cpu")


def test_by_default_a_gpu_is_used_where_there_is_one(run_folder, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert dimtool.load(run_folder).device.type == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(Matter, "__init__", lambda self, *, device, **_: setattr(self, "device", device))
    assert dimtool.load(run_folder).device.type == "cuda"


def test_a_model_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DimtoolError, match=r"none/here\.safetensors does not exist"):
        dimtool.load(tmp_path / "none/here.safetensors")


def test_it_is_typed():
    assert inspect.get_annotations(dimtool.load)["return"] == "Matter"
    assert (Path(dimtool.__file__).parent / "py.typed").exists()
    assert "matte" in vars(Matter) and typing.get_type_hints(Matter.matte)["max_memory"] == int | None


def test_every_import_in_the_readme_is_there() -> None:
    """Names of the snippets must not move without the page."""
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    lines = re.findall(r"^(?:from|import) dimtool.*$", readme, re.MULTILINE)
    assert len(lines) >= 4
    for line in lines:
        exec(line, {})
