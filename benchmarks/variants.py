"""One network in several implementations, each with the trainer's own step around it."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dimtool.model.crops.reading import Backgrounds, Crop
from dimtool.model.network.dim import DeepImageMatting, Prediction, Stage
from dimtool.model.network.precision import Precision, autocast
from dimtool.model.runs.config import CompileMode, TrainConfig
from dimtool.model.training.optimisation import Optimisation
from dimtool.model.training.step import StageLosses, TrainingStep, compiled

_UNREACHED = 10**9  # steps: no schedule ends here


@dataclass(frozen=True)
class Case:
    """indices: int64 indices kept for the gradients, as usual, in place of the operators with codes."""

    name: str
    indices: bool
    precision: Precision
    compile: bool
    channels_last: bool


def cases(fast: Precision, *, compiling: bool) -> tuple[Case, ...]:
    """The usual implementation first, the trainer's own last."""
    return (
        Case("plain, indices (usual)", indices=True, precision="tf32", compile=False, channels_last=False),
        Case("plain, codes", indices=False, precision="tf32", compile=False, channels_last=False),
        Case("fast, indices", indices=True, precision=fast, compile=compiling, channels_last=True),
        Case("fast, codes (dimtool)", indices=False, precision=fast, compile=compiling, channels_last=True),
    )


class ByIndices(nn.Module):
    """The layers of `network` with the pooling that other implementations have. Sides: multiples of 32."""

    def __init__(self, network: DeepImageMatting) -> None:
        super().__init__()
        self.network = network

    @property
    def stage(self) -> Stage:
        return self.network.stage

    def forward(self, image: Tensor, trimap: Tensor) -> Prediction:
        part, refinement = self.network.encoder_decoder, self.network.refinement
        x = torch.cat([(image - part.mean) / part.deviation, trimap], 1)
        indices = []
        for block in part.encoder.blocks:
            x, index = F.max_pool2d(F.relu(block(x)), 2, return_indices=True)
            indices.append(index)
        x = F.relu(part.decoder.entry(F.relu(part.encoder.bottleneck(x))))
        for block in part.decoder.blocks:
            x = block(F.max_unpool2d(x, indices.pop(), [2, 2]))
        coarse = part.decoder.prediction(x).float().sigmoid()
        skip = self.stage == 1 or refinement is None
        return Prediction(coarse, coarse if skip else refinement(image, coarse))  # type: ignore[misc]


class Runner:
    """One case, ready to run: its own copy of the network, in the trainer's step."""

    def __init__(
        self,
        case: Case,
        network: DeepImageMatting,
        device: torch.device,
        *,
        learning_rate: float,
        mode: CompileMode = "default",
    ) -> None:
        network = deepcopy(network).to(device)
        if case.channels_last:
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.case, self.device = case, device
        self.network = cast(DeepImageMatting, ByIndices(network)) if case.indices else network
        losses: nn.Module = StageLosses(self.network, precision=case.precision)
        self.losses = TrainingStep(compiled(losses, mode) if case.compile else losses, device)
        config = TrainConfig(learning_rate=learning_rate, precision=case.precision)
        self.optimisation = Optimisation(network, device, config)
        self._network = torch.compile(self.network, mode=mode) if case.compile else self.network

    def forward(self, image: Tensor, trimap: Tensor) -> Tensor:
        """Alpha, without gradients; image and trimap in 0..1, on the device."""
        with torch.no_grad(), autocast(self.case.precision, self.device):
            prediction: Prediction = self._network(image, trimap)
            return prediction.alpha

    def step(self, batch: Crop) -> Tensor:
        """The batch's loss; the weights have moved."""
        return self.optimisation.step(batch, self.losses, step=0, steps=_UNREACHED)


def make_batch(count: int, size: int, *, seed: int, pinned: bool) -> Crop:
    """Soft discs of smooth colours over smooth colours, as the loader gives them: something to learn."""
    generator = torch.Generator().manual_seed(seed)
    axis = torch.linspace(-1, 1, size)
    centre = torch.rand(2, count, 1, 1, generator=generator) - 0.5
    distance = torch.hypot(axis.view(1, -1, 1) - centre[0], axis.view(1, 1, -1) - centre[1])
    radius, softness = 0.3 + 0.4 * torch.rand(2, count, 1, 1, generator=generator)
    alpha = (0.5 + (radius - distance) / softness).clamp(0, 1)[:, None]
    colours = torch.rand(2, count, 3, 8, 8, generator=generator)
    foreground, background = (F.interpolate(x, size=(size, size), mode="bilinear") for x in colours)
    layers = {
        "alpha": alpha,
        "foreground": foreground,
        "background": background,
        "image": alpha * foreground + (1 - alpha) * background,
        "trimap": torch.where((alpha > 0) & (alpha < 1), 128 / 255, alpha),
    }
    pixels = {name: _as_loaded(tensor, pinned=pinned) for name, tensor in layers.items()}
    pixels["composite"] = torch.empty(0, dtype=torch.uint8)  # the image is it
    return Crop(skipped=[], backgrounds=Backgrounds(), **pixels)  # type: ignore[typeddict-item]


def _as_loaded(x: Tensor, *, pinned: bool) -> Tensor:
    pixels = (255 * x).round().byte().contiguous(memory_format=torch.channels_last)
    return pixels.pin_memory() if pinned else pixels
