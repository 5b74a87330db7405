"""From a loss to new weights: gradients, and the optimiser's step."""

from __future__ import annotations

import torch
from torch import Tensor

from ..network.dim import DeepImageMatting
from ..network.precision import Precision, gradient_scaler


class Optimisation:
    """The optimiser of one stage: Adam on what the stage trains, constant rate, the loss as it is."""

    def __init__(
        self, model: DeepImageMatting, device: torch.device, *, learning_rate: float, precision: Precision
    ) -> None:
        learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
        on_gpu = device.type == "cuda"
        self.adam = torch.optim.Adam(learning, lr=learning_rate, fused=True if on_gpu else None)
        self.scaler = gradient_scaler(precision, device)

    def step(self, loss: Tensor) -> None:
        """Change the weights by a loss's gradients; in fp16 not where one overflowed."""
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self.scaler.step(self.adam)
        self.scaler.update()
        self.adam.zero_grad(set_to_none=True)
