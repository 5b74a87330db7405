"""What is taken of another model: layer by layer, named; the rest stays."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from dimtool.errors import WrongUseError
from dimtool.model.network.dim import DeepImageMatting, ModelConfig
from dimtool.model.network.partial import Part, take

pytestmark = pytest.mark.usefixtures("one_thread")

BOTTLENECK = "encoder_decoder.encoder.bottleneck"
ENTRY = "encoder_decoder.decoder.entry"


def made(seed: int, **changes: Any) -> DeepImageMatting:
    torch.manual_seed(seed)
    model = DeepImageMatting(ModelConfig(**{"bottleneck": "slim", "width": 1 / 8, **changes}))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)  # biases too
    return model


@pytest.mark.parametrize(
    ("changes", "part", "left"),
    [
        ({}, "all", set()),
        ({}, "fitting", set()),
        ({}, "encoder", {"encoder_decoder.decoder", "refinement"}),
        ({"bottleneck": "fc6"}, "fitting", {BOTTLENECK, ENTRY}),
        ({"bottleneck": "fc6"}, "encoder", {BOTTLENECK, "encoder_decoder.decoder", "refinement"}),
        ({"refinement": False}, "fitting", {"refinement"}),
    ],
)
def test_layers_that_fit_are_taken_whole_and_the_others_stay(
    changes: dict[str, Any], part: Part, left: set[str]
) -> None:
    model, there = made(0), made(1, **changes)
    before, other = {name: each.clone() for name, each in model.state_dict().items()}, there.state_dict()
    taken = take(model, there, part)
    for name, tensor in model.state_dict().items():
        stays = any(name.startswith(f"{start}.") for start in left)
        assert torch.equal(tensor, before[name] if stays else other[name]), name
        assert (name.rpartition(".")[0] in taken.left) is stays
        assert (name.rpartition(".")[0] in taken.taken) is not stays
    assert taken.has_first_stage is (not any(start.startswith("encoder_decoder") for start in left))
    assert all(name in str(taken) for name in taken.left)


@pytest.mark.parametrize(
    ("changes", "part", "message"),
    [
        ({"bottleneck": "fc6"}, "all", "give its options, or take what fits with --init-part fitting"),
        ({"width": 1 / 4}, "fitting", "is of .*0.25.* none of its layers fits .*0.125"),
        ({"width": 1 / 4}, "encoder", "none of its layers fits"),
    ],
)
def test_what_does_not_fit_changes_nothing(changes: dict[str, Any], part: Part, message: str) -> None:
    model = made(0)
    before = {name: each.clone() for name, each in model.state_dict().items()}
    with pytest.raises(WrongUseError, match=message):
        take(model, made(1, **changes), part)
    assert all(torch.equal(each, before[name]) for name, each in model.state_dict().items())
