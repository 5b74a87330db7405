"""Losses and weights that are no numbers any more: found before they spoil a file, told with their batch."""

from __future__ import annotations

import json
from collections import deque
from typing import NoReturn

import torch
from torch import Tensor, nn

from ...files import write_text
from ..network.dim import Stage
from ..network.progress import Progress
from ..processes.failures import SharedError
from ..processes.feeding import Feed
from ..processes.ranks import Ranks
from ..runs.folder import Run

NAN_NAME = "nan-batch.json"
_TOO_MANY = 10  # steps in a row


class NotFiniteError(SharedError):
    """The loss is no number any more; the message says where the batch's indices are."""


class FiniteGuard:
    """Stops a stage whose numbers are none, and names the batch in nan-batch.json."""

    def __init__(self, run_folder: Run, feed: Feed, stage: Stage, ranks: Ranks) -> None:
        self._run_folder, self._feed, self._stage, self._ranks = run_folder, feed, stage, ranks
        self._in_a_row = 0
        self._on_their_way: deque[tuple[torch.Event, Tensor]] = deque()

    def notices(self, loss: Tensor) -> bool:
        """Whether this step's loss, or on a GPU one of the last few steps', is not finite here.

        A GPU is not waited for: its losses are looked at when they have come.
        """
        if not loss.is_cuda:
            return not bool(torch.isfinite(loss))
        event, copy = torch.Event("cuda"), loss.to("cpu", non_blocking=True)
        event.record()
        self._on_their_way.append((event, copy))
        bad = False
        while self._on_their_way and self._on_their_way[0][0].query():
            bad |= not bool(torch.isfinite(self._on_their_way.popleft()[1]))
        return bad

    def losses(self, losses: Tensor, progress: Progress, *, skip: bool) -> int:
        """Look at the losses of the last steps before `progress`; how many of them are not finite.

        skip: whether some may be so, since their steps are left out; not ten in a row. Raises NotFiniteError
        in all processes.
        """
        finite = torch.isfinite(losses)
        bad, good = (~finite).nonzero(), finite.nonzero()
        self._in_a_row = len(losses) - 1 - int(good[-1]) if len(good) else self._in_a_row + len(losses)
        if len(bad) and (not skip or self._in_a_row >= _TOO_MANY):
            self._refuse("loss", progress, len(losses) - int(bad[0]))
        return len(bad)

    def weights(self, model: nn.Module, progress: Progress) -> None:
        """Look at the weights at `progress`. Raises NotFiniteError, in all processes.

        A gradient may not be finite though the loss is; the loss tells only one step later.
        """
        if not self.finite(model):
            self._refuse("update", progress, 1)

    @staticmethod
    def finite(model: nn.Module) -> bool:
        """Whether all weights are numbers."""
        return all(bool(torch.isfinite(parameter).all()) for parameter in model.parameters())

    def _refuse(self, what: str, progress: Progress, ago: int) -> NoReturn:
        """Stop, for the step that began so many steps before `progress`.

        Its whole batch is named, whichever processes had it.
        """
        step = progress.step - ago
        message = self._ranks.main_finds(
            lambda: self._tell(what, step, progress.crops - ago * self._feed.batch_size)
        )
        raise NotFiniteError(message)

    def _tell(self, what: str, step: int, first: int) -> str:
        crops = [
            {"epoch": epoch, "index": index, "composite": self._feed.crops.name(index)}
            for epoch, index in self._feed.positions(first)
        ]
        content = {"stage": self._stage, "step": step, "not_finite": what, "crops": crops}
        path = self._run_folder.folder / NAN_NAME
        write_text(path, json.dumps(content, indent=1) + "\n")
        latest = self._run_folder.latest()
        before = (
            f"The last checkpoint, {latest[0]}, is from before" if latest else "There is no checkpoint yet"
        )
        return (
            f"the {what} of step {step} is not finite; the batch is in {path}; {before}: give the same "
            "command with a lesser --learning-rate or --precision fp32"
        )
