"""Progress on standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import NoReturn

from tqdm import tqdm

from .composer.index import ShardRecord
from .composer.manifest import Failure
from .text import size


class BarReporter:
    """A build's progress bar: composites a second, bytes, time left; notes and failures above it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._bytes = 0
        self._bar: tqdm[NoReturn] | None = None

    def __enter__(self) -> BarReporter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def planned(self, composites: int, kept: int) -> None:
        """Start the bar."""
        if kept:
            self.note(f"{kept:,} of {composites:,} composites are in {self._folder} from before")
        self._bar = tqdm(total=composites, initial=kept, unit=" composites", file=sys.stderr, smoothing=0.1)

    def finished(self, outcome: ShardRecord | Failure) -> None:
        """Move the bar, or say what failed."""
        if isinstance(outcome, Failure):
            for error in outcome.errors:
                self._say(f"error: {error}")
        elif self._bar is not None:
            self._bytes += outcome.bytes
            self._bar.set_postfix_str(size(self._bytes), refresh=False)
            self._bar.update(outcome.composites)

    def note(self, text: str) -> None:
        """A line above the bar."""
        self._say(f"note: {text}")

    def notes(self, texts: Iterable[str]) -> None:
        """Several lines."""
        for text in texts:
            self.note(text)

    @staticmethod
    def _say(line: str) -> None:
        tqdm.write(line, file=sys.stderr)
