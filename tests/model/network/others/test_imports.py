"""Checkpoints of mmagic and huochaitiantang give the alphas that their own networks give."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from dimtool.cli import run
from dimtool.model.network.checkpoint import load_model

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
DEVIATION = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)

# ---- their networks, written down anew: layers by the names in their checkpoints ---------------------------

ENCODER = ((4, 64), (64, 64)), ((64, 128), (128, 128)), ((128, 256), (256, 256), (256, 256))
ENCODER = (*ENCODER, ((256, 512), (512, 512), (512, 512)), ((512, 512), (512, 512), (512, 512)))
DECODER = {
    "deconv6_1": (512, 512, 1),
    "deconv5_1": (512, 512, 5),
    "deconv4_1": (512, 256, 5),
    "deconv3_1": (256, 128, 5),
    "deconv2_1": (128, 64, 5),
    "deconv1_1": (64, 64, 5),
    "deconv1": (64, 1, 5),
}
REFINEMENT = {
    "refine_conv1": (4, 64, 3),
    "refine_conv2": (64, 64, 3),
    "refine_conv3": (64, 64, 3),
    "refine_pred": (64, 1, 3),
}


def mmagic_encoder(block: int, number: int) -> str:
    """The convolutions of a Sequential with a ReLU after each."""
    return f"backbone.encoder.layer{block + 1}.{2 * number}"


def huochaitiantang_encoder(block: int, number: int) -> str:
    return f"conv{block + 1}_{number + 1}"


NAMES: dict[str, tuple[Callable[[int, int], str], str, str, str]] = {
    "mmagic": (mmagic_encoder, "backbone.encoder.conv6", "backbone.decoder.", "refiner."),
    "huochaitiantang": (huochaitiantang_encoder, "conv6_1", "", ""),
}


def shapes_of(project: str, *, refinement: bool) -> dict[str, tuple[int, int, int]]:
    """Inputs, outputs and window of its layers."""
    encoder, bottleneck, decoder, refiner = NAMES[project]
    shapes = {
        encoder(b, i): (*channels, 3) for b, block in enumerate(ENCODER) for i, channels in enumerate(block)
    }
    shapes |= {bottleneck: (512, 512, 1)} | {f"{decoder}{name}": shape for name, shape in DECODER.items()}
    if refinement:
        shapes |= {f"{refiner}{name}": shape for name, shape in REFINEMENT.items()}
    return shapes


def blank(project: str) -> dict[str, Tensor]:
    """Zeros, which take no room in a file."""
    tensors = {}
    for name, (inputs, outputs, size) in shapes_of(project, refinement=False).items():
        tensors[f"{name}.weight"] = torch.zeros(1).expand(outputs, inputs, size, size)
        tensors[f"{name}.bias"] = torch.zeros(1).expand(outputs)
    return tensors


def weights(project: str) -> dict[str, Tensor]:
    """Random ones of all its layers, such that values neither fade nor grow."""
    draw = torch.Generator().manual_seed(7)
    tensors = {}
    for name, (inputs, outputs, size) in shapes_of(project, refinement=True).items():
        scale = (2 / (inputs * size * size)) ** 0.5 * (2 if size == 5 else 1)  # unpooled: 3 of 4 are 0
        tensors[f"{name}.weight"] = scale * torch.randn(outputs, inputs, size, size, generator=draw)
        tensors[f"{name}.bias"] = 0.1 * torch.randn(outputs, generator=draw)
    return tensors


def their_alpha(project: str, tensors: Mapping[str, Tensor], image: Tensor, trimap: Tensor) -> Tensor:
    """Stage 1: image (1, 3, h, w) and trimap (1, 1, h, w) in 0 to 1, sides multiples of 32, to alpha."""
    encoder, bottleneck, decoder, _ = NAMES[project]

    def layer(name: str, x: Tensor) -> Tensor:
        weight = tensors[f"{name}.weight"]
        return F.conv2d(x, weight, tensors[f"{name}.bias"], padding=weight.shape[-1] // 2)

    x, places = torch.cat([(image - MEAN) / DEVIATION, trimap], 1), []
    for b, block in enumerate(ENCODER):
        for i in range(len(block)):
            x = layer(encoder(b, i), x).relu()
        x, place = F.max_pool2d(x, 2, 2, return_indices=True)
        places.append(place)
    x = layer(f"{decoder}deconv6_1", layer(bottleneck, x).relu()).relu()
    for name in ("deconv5_1", "deconv4_1", "deconv3_1", "deconv2_1", "deconv1_1"):
        x = layer(f"{decoder}{name}", F.max_unpool2d(x, places.pop(), 2, 2)).relu()
    return layer(f"{decoder}deconv1", x).sigmoid()


class Outcome(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    def call(*arguments: object) -> Outcome:
        code = run([str(each) for each in arguments])
        return Outcome(code, *capsys.readouterr())

    return call


# ---- imported ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("project", list(NAMES))
def test_an_imported_model_gives_their_alphas(project: str, tmp_path: Path, command: Any) -> None:
    tensors = weights(project)
    torch.save({"meta": {"epoch": 12}, "state_dict": tensors}, tmp_path / "their.pth")
    outcome = command("import-weights", tmp_path / "their.pth", "--out", tmp_path / "runs" / "their")
    assert outcome.code == 0
    assert f"42 tensors of {project}'s encoder-decoder (stage 1)" in outcome.out
    assert "its refinement (8 tensors) is left" in outcome.out
    draw = torch.Generator().manual_seed(3)
    image = torch.rand(1, 3, 64, 96, generator=draw)
    trimap = torch.randint(0, 3, (1, 1, 64, 96), generator=draw) * 128 / 255
    model = load_model(tmp_path / "runs" / "their")
    with torch.no_grad():
        ours = model(image, trimap.clamp(max=1)).alpha
        theirs = their_alpha(project, tensors, image, trimap.clamp(max=1))
    assert theirs.std() > 0.05
    assert torch.allclose(ours, theirs, rtol=0, atol=1e-6)


def test_the_prefix_of_data_parallelism_and_a_second_import(tmp_path: Path, command: Any) -> None:
    torch.save({f"module.{name}": value for name, value in blank("mmagic").items()}, tmp_path / "m.pth")
    outcome = command("import-weights", tmp_path / "m.pth", "--out", tmp_path / "m", "--json")
    assert outcome.code == 0
    assert json.loads(outcome.out)["left"] == []
    again = command("import-weights", tmp_path / "m.pth", "--out", tmp_path / "m")
    assert again.code == 2
    assert "choose another --out" in again.err


# ---- refused -----------------------------------------------------------------------------------------------


class _Harm:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_no_code_in_a_file_runs(tmp_path: Path, command: Any) -> None:
    (tmp_path / "bad.pth").write_bytes(
        pickle.dumps({"state_dict": {}, "x": _Harm(tmp_path / "harm")}, protocol=2)
    )
    outcome = command("import-weights", tmp_path / "bad.pth", "--out", tmp_path / "out")
    assert outcome.code == 2
    assert "cannot be read as weights" in outcome.err
    assert len(outcome.err.splitlines()) == 1
    assert not (tmp_path / "harm").exists()
    assert not (tmp_path / "out").exists()


def small(names: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    return {name: torch.zeros(shape) for name, shape in names.items()}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({}, "holds no tensors"),
        ({"features.0.weight": (64, 3, 3, 3)}, "neither mmagic's"),
        ({"deconv6_1.weight": (512, 512, 1, 1), "bn11.weight": (64,)}, "batch normalisation"),
        ({"deconv6_1.weight": (512, 512, 1, 1)}, "lacks conv1_1.weight"),
        ({"deconv6_1.weight": (512, 512, 1, 1), "conv1_1.weight": (64, 3, 3, 3)}, "(64, 4, 3, 3)"),
    ],
)
def test_what_is_not_that_network(
    content: dict[str, tuple[int, ...]], told: str, tmp_path: Path, command: Any
) -> None:
    torch.save({"state_dict": small(content)}, tmp_path / "other.pth")
    outcome = command("import-weights", tmp_path / "other.pth", "--out", tmp_path / "out")
    assert outcome.code == 2
    assert told in outcome.err
    assert len(outcome.err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_the_variant_with_skips_is_told(tmp_path: Path, command: Any) -> None:
    tensors = blank("huochaitiantang")
    tensors["conv6_1.weight"] = torch.zeros(512, 512, 3, 3)
    torch.save({"state_dict": tensors}, tmp_path / "skips.pth")
    outcome = command("import-weights", tmp_path / "skips.pth", "--out", tmp_path / "out")
    assert outcome.code == 2
    assert "skip connections" in outcome.err
