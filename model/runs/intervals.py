"""How often something is done: every so many steps, epochs, or minutes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from ...errors import WrongUseError

_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}
_FORM = re.compile(r"(\d+(?:\.\d+)?) ?(s|min|h|epochs?)?")


@dataclass(frozen=True)
class Interval:
    """An amount of steps, epochs, or seconds."""

    amount: float
    unit: Literal["steps", "epochs", "seconds"]

    def steps(self, per_epoch: float) -> int | None:
        """Between two times, at least 1, where an epoch has `per_epoch` steps; None where time decides."""
        if self.unit == "seconds":
            return None
        return max(1, round(self.amount * (per_epoch if self.unit == "epochs" else 1)))


def read_interval(text: int | str) -> Interval:
    """`5000` (steps), `0.5epoch`, `90s`, `10min` or `2h`. Raises WrongUseError."""
    found = _FORM.fullmatch(str(text).strip())
    amount, unit = (float(found[1]), found[2]) if found else (0.0, None)
    if amount <= 0 or (unit is None and amount != int(amount)):
        raise WrongUseError(
            f"an interval of {text}: give whole steps, at least 1, or a time or a part of the data, "
            "as in 5000, 10min, 2h, 0.5epoch"
        )
    if unit in _SECONDS:
        return Interval(amount * _SECONDS[unit], "seconds")
    return Interval(amount, "epochs" if unit else "steps")
