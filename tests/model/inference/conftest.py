"""Photographs and trimaps to predict from, and the command itself."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

import dimtool
from dimtool import cli
from dimtool.model.inference.pairs import Pair
from dimtool.model.network.checkpoint import save_model
from dimtool.model.network.dim import DeepImageMatting, ModelConfig

UInt8 = NDArray[np.uint8]
HEIGHT, WIDTH = 37, 50


class Pictures:
    """Draws photographs and trimaps; writes and reads files of them."""

    SIZE = HEIGHT, WIDTH

    @staticmethod
    def image(seed: int = 0, height: int = HEIGHT, width: int = WIDTH) -> UInt8:
        return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)

    @staticmethod
    def trimap(height: int = HEIGHT, width: int = WIDTH) -> UInt8:
        """No two sides of it alike, so that a turn shows."""
        trimap = np.full((height, width), 128, np.uint8)
        trimap[: height // 3], trimap[:, : width // 4] = 0, 255
        return trimap

    @staticmethod
    def save(pixels: NDArray[np.generic], path: Path, **options: object) -> Path:
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(path, **options)
        return path

    @staticmethod
    def open(path: Path) -> NDArray[np.generic]:
        with Image.open(path) as image:
            return np.asarray(image)


@pytest.fixture(scope="session")
def pictures() -> type[Pictures]:
    """How tests draw, write and read theirs."""
    return Pictures


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of random weights, in which the refinement matters. Not to be changed."""
    torch.manual_seed(0)
    model = DeepImageMatting(ModelConfig(width=1 / 8, bottleneck="slim"))
    nn.init.normal_(model.refinement.prediction.weight, std=0.1)
    path = tmp_path_factory.mktemp("run") / "model.safetensors"
    save_model(path, model)
    return path


@pytest.fixture
def run(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """`dimtool predict` with the model: its exit code, its output, its messages."""

    def command(*arguments: object) -> tuple[int, str, str]:
        code = cli.run(["predict", "--checkpoint", str(checkpoint), *map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return command


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    """A photograph, cat.png, and its trimap."""
    return Pair(
        Pictures.save(Pictures.image(), tmp_path / "cat.png"),
        Pictures.save(Pictures.trimap(), tmp_path / "cat_trimap.png"),
    )


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Photographs a, b, c and their trimaps."""
    for number, name in enumerate("abc"):
        Pictures.save(Pictures.image(number), tmp_path / "photos" / f"{name}.png")
        Pictures.save(Pictures.trimap(), tmp_path / "trimaps" / f"{name}.png")
    return tmp_path / "photos", tmp_path / "trimaps"


@pytest.fixture
def half_red(monkeypatch: pytest.MonkeyPatch) -> None:
    """In pymatting's place, whose first use compiles for a minute: the image, and a red of 0.5."""

    def estimate(image: NDArray[np.float32], alpha: NDArray[np.float32]) -> NDArray[np.float32]:
        assert image.shape == (*alpha.shape, 3) and image.max() <= 1
        return np.dstack([np.full_like(alpha, 0.5), image[..., 1:]])

    module = types.ModuleType("pymatting.foreground.estimate_foreground_ml")
    module.estimate_foreground_ml = estimate
    for name in ("pymatting", "pymatting.foreground"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, module.__name__, module)


@pytest.fixture
def matte(checkpoint: Path) -> Callable[[Pair], NDArray[np.float32]]:
    """What the library itself makes of a pair."""
    return lambda pair: dimtool.load(checkpoint, "cpu").matte(
        Pictures.open(pair.image), Pictures.open(pair.trimap)
    )
