"""Which weights learn."""

from __future__ import annotations

from typing import Literal

from torch import nn

from ..network.dim import DeepImageMatting

ENCODER: Literal["encoder"] = "encoder"
"""In place of a number of convolutions: the encoder with its bottleneck."""

CONVOLUTIONS = 13
"""How many the encoder has before its bottleneck: VGG-16's."""


def freeze_layers(model: DeepImageMatting, freeze: str | int) -> None:
    """Have the encoder, or its first convolutions, learn no more: their parameters want no gradient.

    freeze: "encoder", or a number of convolutions, 0 for none. One weight goes on learning: the first
    convolution's for the trimap, which ImageNet's weights lack; it is zero with them, and frozen the network
    would never see a trimap (see `mask_frozen`).
    """
    encoder = model.encoder_decoder.encoder
    layers: list[nn.Module] = [encoder] if freeze == ENCODER else [*encoder.convolutions()[: int(freeze)]]
    for layer in layers:
        layer.requires_grad_(False)
    if layers:
        # In stage 2 all of it stands still.
        encoder.convolutions()[0].weight.requires_grad_(model.stage != 2)
        model.train(model.training)  # a normalisation that does not learn stays as in use


def learning(model: nn.Module) -> list[nn.Parameter]:
    """The parameters that a stage trains, in the model's order."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def partly_frozen(model: DeepImageMatting) -> nn.Parameter | None:
    """The first convolution's weight, where only the trimap's part of it learns."""
    parameters = dict(model.encoder_decoder.encoder.convolutions()[0].named_parameters())
    weight, bias = parameters["weight"], parameters["bias"]
    return weight if weight.requires_grad and not bias.requires_grad else None


def mask_frozen(model: DeepImageMatting) -> None:
    """Take the colours' part out of the gradient of a first convolution that is frozen but for the trimap."""
    weight = partly_frozen(model)
    if weight is not None and weight.grad is not None:
        weight.grad[:, :3] = 0
