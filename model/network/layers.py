"""The network's convolutions: how they begin, and with what they are normalised while they learn."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor, nn

Normalisation = Literal["none", "batch"]
"""Whether what a convolution gives is normalised over the batch before its ReLU."""


class NormalisedConvolution(nn.Conv2d):
    """A convolution whose result is normalised over the batch (Ioffe and Szegedy, ICML 2015).

    A network of 19 convolutions from scratch spends its first thousands of steps at the answer one half
    without it. In use it is a plain convolution: see `plain`. A layer that does not learn keeps its
    statistics as well.
    """

    def __init__(self, inputs: int, outputs: int, size: int, *, padding: int = 0) -> None:
        super().__init__(inputs, outputs, size, padding=padding)
        self.bias: nn.Parameter  # there is one: what is without normalisation has one
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, h, w) to (n, outputs, h, w)."""
        y: Tensor = self.norm(super().forward(x))
        return y

    def train(self, mode: bool = True) -> NormalisedConvolution:
        """Frozen, it stays as in use: its statistics are those of the stage that it learnt in."""
        return super().train(mode and self.norm.weight.requires_grad)

    def statistics(self) -> tuple[Tensor, Tensor]:
        """The mean and the variance, (outputs,), by which it normalises in use."""
        mean, variance = self.norm.running_mean, self.norm.running_var
        if mean is None or variance is None:
            raise TypeError("this normalisation keeps no statistics")
        return mean, variance

    def plain(self) -> nn.Conv2d:
        """The convolution without normalisation that does the same in use, in the weights' own precision."""
        same = nn.Conv2d(
            self.in_channels,
            self.out_channels,
            self.kernel_size,  # type: ignore[arg-type]
            padding=self.padding,  # type: ignore[arg-type]
        )
        mean, variance = self.statistics()
        with torch.no_grad():
            # In float64: a factor of small variances would round every weight a second time.
            factor = self.norm.weight.double() / (variance.double() + self.norm.eps).sqrt()
            weight = self.weight.double() * factor.view(-1, 1, 1, 1)
            bias = (self.bias.double() - mean.double()) * factor + self.norm.bias.double()
        same.load_state_dict({"weight": weight.to(self.weight.dtype), "bias": bias.to(self.bias.dtype)})
        return same.to(self.weight)


def statistics_of(model: nn.Module) -> list[Tensor]:
    """What a model's normalisations go by in use; none where there are none."""
    layers = (each for each in model.modules() if isinstance(each, NormalisedConvolution))
    return [each for layer in layers for each in layer.statistics()]


def convolution(inputs: int, outputs: int, *, size: int, normalisation: Normalisation = "none") -> nn.Conv2d:
    """One that keeps height and width."""
    kind = NormalisedConvolution if normalisation == "batch" else nn.Conv2d
    return kind(inputs, outputs, size, padding=size // 2)


def initialise_xavier(modules: Iterable[nn.Module]) -> None:
    """Glorot's uniform initialisation of the convolutions among `modules`, in place; biases zero."""
    for module in modules:
        if isinstance(module, nn.Conv2d):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]


def initialise_relu(modules: Iterable[nn.Module]) -> None:
    """He's initialisation: without it or ImageNet's weights 13 layers without normalisation fade out."""
    for module in modules:
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]
