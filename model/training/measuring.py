"""What is measured between two reports: losses, speed, the time that the device waits for data."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import torch
from accelerate import Accelerator
from torch import Tensor


@dataclass
class Window:
    """What happened since the last report. Losses stay on the device: reading one would stop it.

    waited: the feed's count of seconds when the window began.
    """

    waited: float
    losses: list[Tensor] = field(default_factory=list)
    started: float = field(default_factory=time.perf_counter)
    skipped: int = 0
    own_backgrounds: int = 0  # where recomposition found no other

    def mean_losses(self, accelerator: Accelerator) -> Tensor:
        """Each step's loss over all processes' crops, (steps,). All processes must ask."""
        return accelerator.reduce(torch.stack(self.losses), reduction="mean")  # type: ignore[no-any-return]

    def values(
        self, losses: Tensor, accelerator: Accelerator, *, batch_size: int, waited: float
    ) -> dict[str, float]:
        """What a report says: loss, crops/s, share of the time spent waiting; what was skipped, if anything.

        waited: the feed's count now. All processes must ask.
        """
        seconds = time.perf_counter() - self.started
        values: dict[str, float] = {
            "loss": float(losses[torch.isfinite(losses)].mean()),  # all, but for steps that were left out
            "crops_per_second": len(losses) * batch_size / seconds,
            "waiting": (waited - self.waited) / seconds,
        }
        counts = {"skipped": self.skipped, "own_backgrounds": self.own_backgrounds}
        totals = accelerator.reduce(torch.tensor([*counts.values()], device=losses.device), reduction="sum")
        values |= {name: total for name, total in zip(counts, totals.tolist(), strict=True) if total}
        return values
