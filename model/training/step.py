"""One training step: a batch of crops to its losses, by the code that benchmarks/step.py times as well."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch._dynamo.exc import BackendCompilerFailed

from ...text import first_line
from ..crops.reading import Crop
from ..network.dim import DeepImageMatting, Prediction, Stage
from ..network.precision import Precision, autocast
from ..runs.config import CompileMode
from .losses import Losses, alpha_loss, encoder_decoder_loss, unknown_region

Pixels = dict[str, Tensor]
"""The tensors of a Crop batch that are not empty, uint8, on the device that computes."""

_NAMES = ("image", "trimap", "alpha", "foreground", "background", "composite")


class StageLosses(nn.Module):
    """The network and what its stage minimises, as one: what is compiled, and shared by processes."""

    def __init__(self, network: DeepImageMatting, *, precision: Precision) -> None:
        super().__init__()
        self.network = network
        self.precision: Precision = precision

    def forward(self, pixels: Pixels) -> Losses:
        """The losses of a batch, float32 scalars.

        pixels: image, foreground, background, composite (n, 3, h, w), trimap, alpha (n, 1, h, w), uint8;
        stages 2 and 3 look at image, trimap and alpha alone; without a composite the image is it.
        """
        inputs = {name: each.float() / 255 for name, each in pixels.items()}
        with autocast(self.precision, inputs["image"].device):
            prediction = self.network(inputs["image"], inputs["trimap"])
        return stage_losses(self.network.stage, prediction, inputs)


def compiled(losses: nn.Module, mode: CompileMode) -> nn.Module:
    """A StageLosses whose forward and backward pass torch.compile makes one graph each when first called."""
    module: nn.Module = torch.compile(losses, mode=mode, dynamic=False)  # type: ignore[assignment]
    return module


def why_uncompiled(device: torch.device) -> str | None:
    """Why torch.compile cannot work on this machine, where its compiler is not found; None where it can."""
    try:
        torch.compile(lambda x: x + 1)(torch.ones(1, device=device))
    except BackendCompilerFailed as error:
        return first_line(error.inner_exception)
    return None


def stage_losses(stage: Stage, prediction: Prediction, batch: dict[str, Tensor]) -> Losses:
    """What a stage minimises: both losses in stage 1, the alpha loss of the refined alpha after it."""
    unknown = unknown_region(batch["trimap"])
    if stage == 1:
        return encoder_decoder_loss(
            prediction.coarse,
            alpha=batch["alpha"],
            foreground=batch["foreground"],
            background=batch["background"],
            # Of noise and JPEG the network's input alone has any.
            composite=batch.get("composite", batch["image"]),
            unknown=unknown,
        )
    loss = alpha_loss(prediction.refined, batch["alpha"], unknown)
    return Losses(loss, loss, torch.zeros_like(loss))


class Transfer:
    """Copies batches to a device; to a GPU from pinned memory while it still computes the step before."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]

    def __call__(self, batch: Crop) -> Pixels:
        """The batch's pixels on the device. What is queued there next waits for them."""
        with torch.cuda.stream(self._stream):  # which does nothing for None
            pixels = {
                name: batch[name].to(self.device, non_blocking=True)  # type: ignore[literal-required]
                for name in _NAMES
                if batch[name].numel()  # type: ignore[literal-required]
            }
        if self._stream is not None:
            computing = torch.cuda.current_stream(self.device)
            computing.wait_stream(self._stream)
            for each in pixels.values():
                each.record_stream(computing)  # or its memory could be given to the next copy too early
        return pixels


class TrainingStep:
    """A batch of crops, as the loader gives it, to its losses on the device."""

    def __init__(self, losses: nn.Module, device: torch.device) -> None:
        """losses: a StageLosses on the device, or what compiling and distributing made of it."""
        self.losses = losses
        self._transfer = Transfer(device)

    def __call__(self, batch: Crop) -> Losses:
        """The batch's losses, scalars that stay on the device: reading one would stop that.

        They are good until the next call: CUDA graphs write each step's to the same place.
        """
        losses: Losses = self.losses(self._transfer(batch))
        return losses
