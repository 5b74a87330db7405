"""What is due after a step: a report, a validation, a checkpoint, or the end."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import NamedTuple

from ..processes.ranks import Ranks
from ..runs.config import TrainConfig
from ..runs.intervals import Interval, read_interval

TIME_IS_UP = 124
"""The exit code of a training that its time limit stopped: that of the command `timeout`."""

_ASK_EVERY = 10  # steps: asking every process holds them all up


class Due(NamedTuple):
    """What is due; `stop` is the exit code of an end that was asked for, or 0."""

    log: bool
    look: bool
    save: bool
    stop: int


class Agenda:
    """When a stage of `steps` steps, `per_epoch` of them over the data, does what beside training.

    All processes do the same after the same step. What the clock or a signal asks for, in any of them, is
    done where they next ask each other: after each step where there is one, else after every tenth.
    """

    def __init__(
        self, config: TrainConfig, ranks: Ranks, *, steps: int, per_epoch: float, deadline: float = math.inf
    ) -> None:
        """deadline: of the monotonic clock."""
        self._deadline = deadline
        self._ranks, self._steps, self._per_epoch = ranks, steps, per_epoch
        self._log_every = config.log_every
        self._look, self._save = (read_interval(each) for each in (config.val_every, config.save_every))
        self._looked = self._saved = time.monotonic()

    def after(self, step: int, asked: Sequence[int] = (), *, bad: bool = False) -> Due:
        """What is due after `step` steps. asked: signals that came. bad: whether a report is to tell harm."""
        look, save = self._at(self._look, step), self._at(self._save, step)
        stop, found_bad = 0, 0
        if self._ranks.count == 1 or step % _ASK_EVERY == 0 or step >= self._steps:
            timely = (self._over(self._look, self._looked), self._over(self._save, self._saved))
            stop, found_bad, *now = self._ranks.most([self._exit_code(asked), int(bad), *map(int, timely)])
            look, save = look or bool(now[0]), save or bool(now[1])
        last = step >= self._steps
        if look:
            self._looked = time.monotonic()
        if save:
            self._saved = time.monotonic()
        log = step % self._log_every == 0 or bool(found_bad)
        return Due(log or last, look or last, save or last, stop)

    def _exit_code(self, asked: Sequence[int]) -> int:
        if asked:
            return 128 + max(asked)
        return TIME_IS_UP if time.monotonic() >= self._deadline else 0

    def _at(self, interval: Interval, step: int) -> bool:
        every = interval.steps(self._per_epoch)
        return every is not None and step % every == 0

    def _over(self, interval: Interval, since: float) -> bool:
        return interval.unit == "seconds" and time.monotonic() - since >= interval.amount
