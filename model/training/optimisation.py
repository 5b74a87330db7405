"""From a batch to new weights: its gradients, in parts where it must be, and what becomes of them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..crops.reading import Crop
from ..network.dim import DeepImageMatting
from ..network.layers import statistics_of
from ..network.precision import gradient_scaler
from ..runs.config import TrainConfig
from ..updates.adam import make_adam
from ..updates.average import Average
from ..updates.parts import parts
from ..updates.rate import LearningRate
from ..updates.update import Update
from .losses import Losses


class Optimisation:
    """The optimiser of one stage, as the configuration has it; for a model that is where it will train."""

    def __init__(self, model: DeepImageMatting, device: torch.device, config: TrainConfig) -> None:
        self._model = model
        self._parts = config.accumulate
        self._lengths: list[Tensor] = []  # on the device: reading one would stop it
        # In one pass, which rounds otherwise: on a CPU not where a run's float32 is the same to the bit.
        exact = device.type == "cpu" and config.precision in {"fp32", "tf32"}
        fused = True if device.type in {"cuda", "cpu"} and not exact else None
        self.adam = make_adam(model, weight_decay=config.weight_decay, fused=fused)
        self.rate = LearningRate(
            peak=config.plan(model.stage).learning_rate, schedule=config.lr_schedule, warmup=config.warmup
        )
        self._update = Update(
            model=model,
            adam=self.adam,
            rate=self.rate,
            clip=config.clip,
            skip_bad=config.on_nan == "skip",
            scaler=gradient_scaler(config.precision, device),
            average=Average(model, config.ema) if config.ema else None,
        )

    def step(self, batch: Crop, losses_of: Callable[[Crop], Losses], *, step: int, steps: int) -> Tensor:
        """Change the weights by a batch's gradients, in step `step` of `steps`; returns its loss.

        losses_of: the mean losses of the samples that it is given.
        """
        losses = []
        for part in parts(batch, self._parts):
            loss = losses_of(part).total
            self._update.backward(loss / self._parts)
            # A copy: CUDA graphs write each one's to the same place.
            losses.append(loss.detach().clone())
        length = self._update.step(step, steps)
        if length is not None:
            self._lengths.append(length)
        return torch.stack(losses).mean()

    def values(self) -> dict[str, float]:
        """What is to be told since it was last asked for: the last rate; where it is clipped, the gradients'
        mean length before that.
        """
        lengths, self._lengths = self._lengths, []
        values = {"learning_rate": float(self.adam.param_groups[0]["lr"])}
        return values | ({"gradient": float(torch.stack(lengths).mean())} if lengths else {})

    @property
    def scaler(self) -> torch.amp.GradScaler:
        """What scales fp16's losses; its state belongs to a checkpoint."""
        return self._update.scaler

    @property
    def average(self) -> DeepImageMatting | None:
        """The weights' average, where there is one."""
        return self._update.average.model if self._update.average else None

    @property
    def statistics(self) -> list[Tensor]:
        """What the model's normalisations go by in use, and its average's."""
        averaged = statistics_of(self.average) if self.average else []
        return [*statistics_of(self._model), *averaged]

    @property
    def result(self) -> DeepImageMatting:
        """The model to validate and to use."""
        return self._update.result
