"""Losses and weights that are no numbers any more: found before they spoil a file, told with their batch."""

from __future__ import annotations

import json
from typing import NoReturn

import torch
from torch import Tensor, nn

from ...errors import DimtoolError
from ...files import write_text
from ..network.dim import Stage
from ..processes.feeding import Feed
from ..runs.folder import Run

NAN_NAME = "nan-batch.json"


class NotFiniteError(DimtoolError):
    """The loss is no number any more; the message says where the batch's indices are."""


class FiniteGuard:
    """Stops a stage whose numbers are none, and names the batch in nan-batch.json."""

    def __init__(self, run_folder: Run, feed: Feed, stage: Stage, *, main: bool) -> None:
        self._run_folder, self._feed, self._stage, self._main = run_folder, feed, stage, main

    def losses(self, losses: Tensor, first: int) -> None:
        """Look at the losses of the steps from `first` on, counted from 0. Raises NotFiniteError."""
        bad = (~torch.isfinite(losses)).nonzero()
        if len(bad):
            self._refuse("loss", first + int(bad[0]))

    def weights(self, model: nn.Module, step: int) -> None:
        """Look at the weights after step `step`, counted from 0. Raises NotFiniteError.

        A gradient may not be finite though the loss is; the loss tells only one step later.
        """
        if not all(bool(torch.isfinite(parameter).all()) for parameter in model.parameters()):
            self._refuse("update", step)

    def _refuse(self, what: str, step: int) -> NoReturn:
        """Stop. The step's whole batch is named, whichever processes had it."""
        crops = [
            {"epoch": epoch, "index": index, "composite": self._feed.crops.name(index)}
            for epoch, index in self._feed.positions(step)
        ]
        content = {"stage": self._stage, "step": step, "not_finite": what, "crops": crops}
        path = self._run_folder.folder / NAN_NAME
        if self._main:
            write_text(path, json.dumps(content, indent=1) + "\n")
        latest = self._run_folder.latest()
        before = (
            f"The last checkpoint, {latest[0]}, is from before" if latest else "There is no checkpoint yet"
        )
        raise NotFiniteError(
            f"the {what} of step {step} is not finite; the batch is in {path}; {before}: use a lesser "
            "--learning-rate or fp32 in another --out, from a model that --init names"
        )
