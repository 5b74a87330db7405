"""One training step: a batch of crops to its losses."""

from __future__ import annotations

import torch
from torch import Tensor

from ..crops.reading import Crop
from ..network.dim import Prediction, Stage
from .losses import Losses, alpha_loss, encoder_decoder_loss, unknown_region


def to_device(batch: Crop, device: torch.device) -> dict[str, Tensor]:
    """The crops' tensors on a device, as float32 in 0..1."""
    names = ("image", "trimap", "alpha", "foreground", "background")
    tensors = {name: batch[name] for name in names}  # type: ignore[literal-required]
    return {name: each.to(device, non_blocking=True).float() / 255 for name, each in tensors.items()}


def stage_losses(stage: Stage, prediction: Prediction, batch: dict[str, Tensor]) -> Losses:
    """What a stage minimises: both losses in stage 1, the alpha loss of the refined alpha after it."""
    unknown = unknown_region(batch["trimap"])
    if stage == 1:
        return encoder_decoder_loss(
            prediction.coarse,
            alpha=batch["alpha"],
            foreground=batch["foreground"],
            background=batch["background"],
            composite=batch["image"],
            unknown=unknown,
        )
    loss = alpha_loss(prediction.refined, batch["alpha"], unknown)
    return Losses(loss, loss, torch.zeros_like(loss))
