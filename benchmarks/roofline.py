"""What a training step of the whole network can reach on an H100 and an H200, layer by layer; computed.

    python benchmarks/roofline.py [--stage 3] [--batch-size 16] [--size 320]

A layer is three products (forward, the inputs' gradients, the weights') and the passes over its values that
are no product. A product takes the longer of its FLOPs at the matrix rate and its bytes at the memory's; a
pass its bytes. "bound" is that with nothing lost. "middle" is an estimate: memory at 80 % of the data sheet,
products at the part of the matrix rate that their width allows (`_PART`, assumed: 64 channels fill half of a
matrix unit's tile), and channels padded as the units want them. Then comes the optimiser, whose time no batch
size changes. Nothing is measured here. The tables are Markdown.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dimtool.model.network.dim import DeepImageMatting, ModelConfig, Stage
from rates import H100, H200, Card, flops_of_a_step, share

_HALF, _FULL = 2, 4  # bytes of bf16 and float32
_MEMORY = 0.8  # of the data sheet's, in the middle estimate
_PART = {64: 0.5, 128: 0.65, 256: 0.75}  # of the matrix rate, for products at least as wide
_UNIT = 8  # channels are computed in groups of so many
_ADAM = 12 * _FULL  # bytes a weight: four values read and three written, gradients cleared, a bf16 copy made


@dataclass(frozen=True)
class Layer:
    """A convolution in a step. pixels: of its result. pooled, unpooled: what follows, what precedes it."""

    name: str
    inputs: int
    outputs: int
    taps: int
    pixels: int
    learns: bool
    first: bool
    pooled: bool
    unpooled: bool

    @property
    def products(self) -> int:
        """Forward, and what of the backward pass there is: the images need no gradient."""
        return 1 + self.learns * (1 if self.first else 2)

    @property
    def flops(self) -> int:
        """Of one crop."""
        return 2 * self.inputs * self.outputs * self.taps * self.pixels * self.products


def layers_of(stage: Stage, size: int) -> list[Layer]:
    """The convolutions of the whole network, in order, with their sizes as it runs."""
    with torch.device("meta"):
        network = DeepImageMatting(ModelConfig())
        network.set_stage(stage)
        found: list[tuple[str, nn.Conv2d, int]] = []

        def note(name: str) -> Any:
            return lambda layer, _, result: found.append((name, layer, result[0, 0].numel()))

        for name, layer in network.named_modules():
            if isinstance(layer, nn.Conv2d):
                layer.register_forward_hook(note(name))
        network(torch.empty(1, 3, size, size), torch.empty(1, 1, size, size))
    return [_layer(found, number) for number in range(len(found))]


def _layer(found: list[tuple[str, nn.Conv2d, int]], number: int) -> Layer:
    name, layer, pixels = found[number]
    before = found[number - 1][2] if number else pixels
    after = found[number + 1][2] if number + 1 < len(found) else pixels
    weight: Tensor = layer.weight
    return Layer(
        name=name.removeprefix("encoder_decoder."),
        inputs=layer.in_channels,
        outputs=layer.out_channels,
        taps=weight[0, 0].numel(),
        pixels=pixels,
        learns=weight.requires_grad,
        first=number == 0,
        pooled=after < pixels,
        unpooled=before < pixels,
    )


def seconds(layer: Layer, card: Card, batch: int, *, middle: bool) -> float:
    """Of one step of a batch."""
    bandwidth = card.bandwidth * (_MEMORY if middle else 1)
    weights = layer.inputs * layer.outputs * layer.taps * _HALF
    values = batch * layer.pixels * _HALF
    product = max(
        _flops(layer, middle=middle) * batch / (card.rate * _part(layer, middle=middle)),
        (values * (layer.inputs + layer.outputs) + weights) / bandwidth,
    )
    return product * layer.products + values * _passes(layer) / bandwidth


def _flops(layer: Layer, *, middle: bool) -> float:
    """Of one product of one crop; in the middle estimate with the channels that padding adds."""
    channels = [layer.inputs, layer.outputs]
    if middle:
        channels = [-(-count // _UNIT) * _UNIT for count in channels]
    return 2.0 * channels[0] * channels[1] * layer.taps * layer.pixels


def _part(layer: Layer, *, middle: bool) -> float:
    width = min(layer.inputs, layer.outputs)
    return (
        next((part for least, part in reversed(_PART.items()) if width >= least), _PART[64]) if middle else 1
    )


def _passes(layer: Layer) -> float:
    """Values a result's pixel that are read and written outside of the products."""
    # Pooling reads all and writes a quarter and a code, unpooling the reverse; bias and ReLU read and write.
    quarter = 1 + 0.25 + 0.125
    forward = layer.outputs * (quarter if layer.pooled else 2)
    forward += layer.inputs * quarter if layer.unpooled else 0
    # A ReLU's gradient reads two and writes one, a bias's reads one.
    backward = layer.outputs * (quarter if layer.pooled else 3) + layer.outputs
    backward += layer.inputs * quarter if layer.unpooled else 0
    return forward + (backward if layer.learns else 0)


def whole_step(layers: list[Layer], card: Card, batch: int, *, middle: bool) -> float:
    """Seconds of a step, with its optimiser."""
    weights = sum(layer.inputs * layer.outputs * layer.taps for layer in layers if layer.learns)
    adam = weights * _ADAM / (card.bandwidth * (_MEMORY if middle else 1))
    return adam + sum(seconds(layer, card, batch, middle=middle) for layer in layers)


def layer_rows(layers: list[Layer], batch: int) -> Iterator[str]:
    """A line a layer: microseconds a crop."""
    yield "| layer | in, out, taps | side | GFLOP | H100 bound | H100 middle | H200 bound | H200 middle |"
    yield "|---|---|---|---|---|---|---|---|"
    for layer in layers:
        times = [
            f"{seconds(layer, card, batch, middle=middle) / batch * 1e6:.0f}"
            for card in (H100, H200)
            for middle in (False, True)
        ]
        shape = f"{layer.inputs}, {layer.outputs}, {layer.taps}"
        side, work = f"{layer.pixels**0.5:.0f}", f"{layer.flops / 1e9:.2f}"
        yield "| " + " | ".join([layer.name, shape, side, work, *times]) + " |"


def step_rows(size: int) -> Iterator[str]:
    """A line for each stage and batch size: crops a second, and their share."""
    yield "| stage | batch | H100 bound | H100 middle | H200 bound | H200 middle |"
    yield "|---|---|---|---|---|---|"
    stages: tuple[Stage, ...] = (1, 2, 3)
    for stage in stages:
        layers, work = layers_of(stage, size), flops_of_a_step(stage, size=size)
        for batch in (16, 32, 64):
            cells = []
            for card in (H100, H200):
                for middle in (False, True):
                    speed = batch / whole_step(layers, card, batch, middle=middle)
                    cells.append(f"{speed:,.0f} ({share(speed, work, card.rate):.0%})")
            yield "| " + " | ".join([str(stage), str(batch), *cells]) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--stage", type=int, choices=(1, 2, 3), default=3, help="of the table of layers")
    parser.add_argument("--batch-size", type=int, default=16, help="of the table of layers")
    parser.add_argument("--size", type=int, default=320)
    options = parser.parse_args()
    layers = layers_of(options.stage, options.size)
    print(f"stage {options.stage}, batches of {options.batch_size}: microseconds a crop\n")
    print("\n".join(layer_rows(layers, options.batch_size)))
    counted, ours = flops_of_a_step(options.stage, size=options.size), sum(layer.flops for layer in layers)
    print(f"\ntogether {ours / 1e9:.1f} GFLOP a crop; PyTorch counts {counted / 1e9:.1f}\n")
    print("crops a second (share)\n")
    print("\n".join(step_rows(options.size)))


if __name__ == "__main__":
    main()
