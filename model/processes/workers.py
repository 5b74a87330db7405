"""How many processes read crops for a device: as many as keep it from waiting, where nobody says."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from ...text import count

FIRST = 4
"""How many begin, where there are cores for them."""

_WARM_UP = 10  # batches that say nothing: the first ones are waited for, and the next were read meanwhile
_LOOKED_AT = 30  # batches
_NEGLIGIBLE = 0.05  # of the time
_RESERVE = 1.2  # a batch may be slower to read than the mean
_WORTH_IT = 500  # batches that are left: other workers take seconds to start


class Workers:
    """The worker processes that feed one process: `count` of them, found from the first steps.

    asked: how many were asked for; None to find out. cores: how many it may use.
    """

    def __init__(self, asked: int | None, *, cores: int) -> None:
        self._asked, self._cores = asked, max(1, cores)
        self.count = min(FIRST, self._cores) if asked is None else asked
        self._seen, self._waited, self._since = 0, 0.0, 0.0
        self._told = False

    def learn(self, waited: float, *, left: int, note: Callable[[str], object]) -> bool:
        """Take in that a batch was waited for so long; whether to start anew, with another `count`.

        left: batches that are still to come. note: told, once, where the device waits for its data.
        """
        self._seen += 1
        if self._seen == _WARM_UP:
            self._waited, self._since = 0.0, time.perf_counter()
            return False
        self._waited += waited
        if self._seen < _WARM_UP + _LOOKED_AT or self._told or self.count == 0:
            return False
        share = self._waited / max(1e-9, time.perf_counter() - self._since)
        return self._judge(share, left, note)

    def _judge(self, share: float, left: int, note: Callable[[str], object]) -> bool:
        self._seen = 0
        if share <= _NEGLIGIBLE:
            self._told = True
            return False
        wanted = enough(self.count, share)
        if self._asked is None and self.count < self._cores and left >= _WORTH_IT:
            self.count = min(wanted, self._cores)
            return True
        self._told = True
        advice = (
            f"{count(wanted, 'worker')} would feed it: --workers"
            if self._asked is not None and wanted <= self._cores
            else f"{count(self._cores, 'core')} cannot read faster: give it more, or a faster disk"
        )
        note(
            f"the device waits for data {share:.0%} of the time, with {count(self.count, 'worker')}; {advice}"
        )
        return False


def enough(workers: int, share: float) -> int:
    """Workers that feed a device which now waits a share of the time, with a reserve."""
    return math.ceil(workers * _RESERVE / max(0.02, 1 - share))
