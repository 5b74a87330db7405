"""Normalised convolutions: what they learn with, and the plain network that is used."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from dimtool.model.inference.matter import Matter
from dimtool.model.network.checkpoint import load_model, save_model
from dimtool.model.network.dim import DeepImageMatting, ModelConfig, folded
from dimtool.model.network.layers import NormalisedConvolution, statistics_of
from dimtool.model.network.partial import take
from dimtool.model.updates.average import Average
from dimtool.model.updates.layers import freeze_layers, partly_frozen

SMALL = ModelConfig(bottleneck="slim", width=1 / 16, normalisation="batch")


def inputs(side: int = 64) -> tuple[Tensor, Tensor]:
    torch.manual_seed(3)
    return torch.rand(2, 3, side, side), torch.randint(3, (2, 1, side, side)) / 2


@pytest.fixture
def learnt() -> DeepImageMatting:
    """A network whose statistics and weights have moved."""
    torch.manual_seed(0)
    model = DeepImageMatting(SMALL)
    adam = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(3):
        adam.zero_grad()
        (model(*inputs()).refined - 0.3).square().mean().backward()
        adam.step()
    return model.eval()


def normalised(model: nn.Module) -> list[NormalisedConvolution]:
    return [layer for layer in model.modules() if isinstance(layer, NormalisedConvolution)]


def test_every_convolution_of_the_encoder_decoder_but_the_last_is_normalised() -> None:
    assert len(normalised(DeepImageMatting(SMALL))) == 13 + 1 + 1 + 5
    assert not normalised(DeepImageMatting(ModelConfig(bottleneck="slim", width=1 / 16)))


def test_the_folded_network_gives_the_same_alpha(learnt: DeepImageMatting) -> None:
    plain = folded(learnt)
    assert not normalised(plain)
    assert plain.config.normalisation == "none"
    image, trimap = inputs(96)
    with torch.no_grad():
        expected, given = learnt(image, trimap).alpha, plain(image, trimap).alpha
    assert expected.std() > 0.001  # else every network would do
    torch.testing.assert_close(given, expected, rtol=0, atol=2e-6)


def test_a_network_without_normalisation_is_folded_already() -> None:
    model = DeepImageMatting(ModelConfig(bottleneck="slim", width=1 / 16))
    assert folded(model) is model


def test_a_file_keeps_the_statistics(learnt: DeepImageMatting, tmp_path: Path) -> None:
    save_model(tmp_path / "model.safetensors", learnt)
    again = load_model(tmp_path / "model.safetensors")
    assert again.config == SMALL
    assert all(torch.equal(a, b) for a, b in zip(again.buffers(), learnt.buffers(), strict=True))


def test_mattes_are_made_by_the_folded_network(learnt: DeepImageMatting) -> None:
    learnt.train()
    matter = Matter(model=learnt, device=torch.device("cpu"))
    assert not normalised(matter.model)
    assert learnt.training  # the model that learns is left as it was


def test_what_does_not_learn_keeps_its_statistics(learnt: DeepImageMatting) -> None:
    learnt.train().set_stage(2)
    before = [each.clone() for each in learnt.buffers()]
    learnt(*inputs())
    assert all(torch.equal(a, b) for a, b in zip(before, learnt.buffers(), strict=True))
    learnt.set_stage(3)
    learnt(*inputs())
    assert not all(torch.equal(a, b) for a, b in zip(before, learnt.buffers(), strict=True))


def test_frozen_convolutions_keep_theirs_and_the_trimap_is_still_learnt(learnt: DeepImageMatting) -> None:
    learnt.train().set_stage(1)
    freeze_layers(learnt, 2)
    assert [layer.norm.training for layer in normalised(learnt)[:3]] == [False, False, True]
    assert partly_frozen(learnt) is normalised(learnt)[0].weight


def test_the_average_takes_the_statistics_in(learnt: DeepImageMatting) -> None:
    average = Average(learnt, 0.5)
    first = normalised(average.model)[0].norm.running_mean
    assert first is not None
    before = first.clone()
    learnt.train()
    learnt(*inputs())
    average.update(10_000)
    now = normalised(learnt)[0].norm.running_mean
    assert now is not None
    torch.testing.assert_close(first, (before + now) / 2)


@pytest.mark.parametrize("kinds", [("batch", "none"), ("none", "batch")])
def test_a_model_begins_with_another_of_the_other_kind(kinds: tuple[str, str]) -> None:
    torch.manual_seed(0)
    there, here = (
        DeepImageMatting(ModelConfig(bottleneck="slim", width=1 / 16, normalisation=kind)).eval()  # type: ignore[arg-type]
        for kind in kinds
    )
    assert take(here, there, "fitting").left == ()
    torch.testing.assert_close(here(*inputs()).alpha, there(*inputs()).alpha, rtol=0, atol=1e-4)


def test_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="choose 'none' or 'batch'"):
        ModelConfig(normalisation="group")  # type: ignore[arg-type]


def test_statistics_are_those_of_the_model_itself(learnt: DeepImageMatting) -> None:
    """So that processes can average them in place; a plain network has none."""
    found = statistics_of(learnt)
    assert len(found) == 2 * len(normalised(learnt)) > 0
    found[0].fill_(7)
    assert normalised(learnt)[0].norm.running_mean.eq(7).all()  # type: ignore[union-attr]
    assert statistics_of(folded(learnt)) == []
