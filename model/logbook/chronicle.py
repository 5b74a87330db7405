"""The files by which a run is looked at: results.csv, curves.png, index.html and its pictures."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from torch import Tensor

from ...text import first_line
from ..inference.extras import MissingExtraError
from ..network.dim import Stage
from ..runs.config import TrainConfig
from .after import after_training
from .curves import write_curves
from .page import PAGE_NAME, State, write_page
from .rows import read_rows, write_table
from .samples import keep_samples

_SHARE = 0.005  # of the time, at most, but for the end
_FIRST_COST = 1.0  # seconds, until one was written


class Chronicle:
    """Writes those files now and then and at the end; one that cannot be written ends no training.

    digest: of the validation set, where there is one. note: told, once, where something cannot be written.
    """

    def __init__(self, config: TrainConfig, digest: str | None, *, note: Callable[[str], object]) -> None:
        self._config, self._digest, self._note = config, digest, note
        self._cost, self._written = _FIRST_COST, time.monotonic()
        self._told: set[str] = set()

    def validated(self, stage: Stage, step: int, examples: Sequence[Tensor]) -> None:
        """Keep what a validation shows; write all where that is cheap beside the time since the last time."""
        if self._digest is not None and self._config.page:
            digest, folder = self._digest, self._config.out
            self._try(lambda: keep_samples(folder, digest, examples, stage=stage, step=step))
            if self._cost < _SHARE * (time.monotonic() - self._written):
                self._write(done=False)

    def finished(self) -> Path | None:
        """Write all, since all is done; the page, where there is one."""
        if not self._config.page:
            return None
        self._write(done=True)
        page = self._config.out / PAGE_NAME
        return page if page.exists() else None

    def _write(self, *, done: bool) -> None:
        started = time.monotonic()
        config, rows = self._config, read_rows(self._config.out)
        if rows:
            commands = after_training(config.out, config.shards, config.val_shards) if done else []
            state = State(digest=self._digest, done=done, commands=commands)
            self._try(lambda: write_table(config.out, rows))
            self._try(lambda: write_curves(config.out, rows))
            self._try(lambda: write_page(config.out, config, rows, state))
        self._written = time.monotonic()
        self._cost = self._written - started

    def _try(self, work: Callable[[], None]) -> None:
        try:
            work()
        except MissingExtraError as error:
            self._tell(f"the run gets no page: {error}")
        except OSError as error:
            place = error.filename2 or error.filename
            self._tell(f"the run's page cannot be written: {first_line(error)}: {place}")

    def _tell(self, line: str) -> None:
        if line not in self._told:
            self._told.add(line)
            self._note(line)
