"""From a loss to new weights: gradients, and the optimiser's step."""

from __future__ import annotations

import torch
from accelerate import Accelerator
from torch import Tensor

from ..network.dim import DeepImageMatting


class Optimisation:
    """The optimiser of one stage: Adam on what the stage trains, constant rate, the loss as it is."""

    def __init__(self, model: DeepImageMatting, accelerator: Accelerator, *, learning_rate: float) -> None:
        self._accelerator = accelerator
        learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
        on_gpu = accelerator.device.type == "cuda"
        self.adam = torch.optim.Adam(learning, lr=learning_rate, fused=True if on_gpu else None)

    def step(self, loss: Tensor) -> None:
        """Change the weights by a loss's gradients."""
        self._accelerator.backward(loss)
        self.adam.step()
        self.adam.zero_grad(set_to_none=True)
