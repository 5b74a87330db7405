"""A model as it is handed on, and the one that comes with the package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

import dimtool
from dimtool.cli import run
from dimtool.composer.shards.dataset import CompositeDataset
from dimtool.errors import WrongUseError
from dimtool.metrics import sad
from dimtool.model.network.checkpoint import CheckpointError, card_of, load_model, save_model
from dimtool.model.network.dim import DeepImageMatting, ModelConfig
from dimtool.model.network.release import SHIPPED, release_model, shipped


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    model = DeepImageMatting(ModelConfig(bottleneck="slim", width=1 / 16, normalisation="batch"))
    save_model(tmp_path / "trained.safetensors", model)
    return tmp_path / "trained.safetensors"


def test_it_is_small_plain_and_gives_nearly_the_same(trained: Path, tmp_path: Path) -> None:
    release = release_model(trained, tmp_path / "m.safetensors", card="of noise alone\n")
    assert release.bytes < 0.55 * trained.stat().st_size
    model = load_model(release.path)
    assert model.config.normalisation == "none"
    assert all(each.dtype == torch.float32 for each in model.parameters())
    image, trimap = torch.rand(1, 3, 64, 64), torch.randint(3, (1, 1, 64, 64)) / 2
    with torch.no_grad():
        there, here = load_model(trained)(image, trimap).alpha, model(image, trimap).alpha
    assert 0 < (there - here).abs().max() < 2e-3
    assert 0 < release.rounding < 2e-3


def test_the_card_is_in_the_file(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "card.md").write_text("# Drawn für tests\n", encoding="utf-8")
    out = tmp_path / "m.safetensors"
    words = ["--checkpoint", str(trained), "--card", str(tmp_path / "card.md"), "--out", str(out)]
    assert run(["export-weights", *words]) == 0
    assert card_of(out) == dimtool.load(out).card == "# Drawn für tests\n"
    assert card_of(trained) == ""


def test_a_card_of_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(CheckpointError, match="cannot be read as a model"):
        card_of(tmp_path / "m.safetensors")


def test_a_weight_beyond_float16_is_refused(tmp_path: Path) -> None:
    model = DeepImageMatting(ModelConfig(bottleneck="slim", width=1 / 16))
    with torch.no_grad():
        next(model.parameters())[0] = 1e6
    save_model(tmp_path / "wild.safetensors", model)
    with pytest.raises(WrongUseError, match=r"a weight of 1e\+06, which float16 cannot hold"):
        release_model(tmp_path / "wild.safetensors", tmp_path / "m.safetensors")
    assert not (tmp_path / "m.safetensors").exists()


def test_without_a_model_of_its_own_an_installation_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dimtool.model.network.release.SHIPPED", tmp_path / "none.safetensors")
    with pytest.raises(CheckpointError, match="name one with --checkpoint"):
        shipped()


def test_the_model_that_comes_along_is_small_and_says_what_it_is() -> None:
    assert SHIPPED.stat().st_size <= 4_000_000
    with safe_open(SHIPPED, framework="pt") as file:
        assert {file.get_tensor(name).dtype for name in file.keys()} == {torch.float16}  # noqa: SIM118
    card = card_of(SHIPPED)
    assert "drawn" in card and "SAD" in card


def test_the_model_that_comes_along_mattes_what_it_has_never_seen(test_shards: Path) -> None:
    """Better than the trivial answer by far, on pictures that were drawn by another generator."""
    matter = dimtool.load()
    composites = CompositeDataset(test_shards)
    ours, trivial = 0.0, 0.0
    for i in range(min(4, len(composites))):
        sample = composites[i]
        trimap = np.where(sample.distance <= 10, 128, np.where(sample.alpha >= 128, 255, 0)).astype(np.uint8)
        alpha = np.rint(matter.matte(sample.composite, trimap) * 255).astype(np.uint8)
        ours += sad(alpha, sample.alpha, trimap)
        trivial += sad(trimap, sample.alpha, trimap)
    assert ours < 0.7 * trivial
