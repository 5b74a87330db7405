"""Progress on standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn, Self

from tqdm import tqdm

from .composer.check_shard import ShardReport
from .composer.export import Exported
from .composer.index import ShardRecord
from .composer.manifest import Failure
from .text import count, size

if TYPE_CHECKING:
    from .model.evaluation import ImageScores  # which imports torch


class Bar:
    """A bar of composites on standard error, with notes above it; it starts when the total is known."""

    def __init__(self) -> None:
        self._bar: tqdm[NoReturn] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def start(
        self, total: int, done: int = 0, *, unit: str = " composites", description: str | None = None
    ) -> None:
        """Show the bar; one from before stays as it is."""
        if self._bar is not None:
            self._bar.close()
        self._bar = tqdm(
            total=total, initial=done, unit=unit, desc=description, file=sys.stderr, smoothing=0.1
        )

    def advance(self, composites: int, postfix: str = "") -> None:
        """Move the bar."""
        if self._bar is not None:
            self._bar.set_postfix_str(postfix, refresh=False)
            self._bar.update(composites)

    def of_pictures(self, done: int, total: int) -> None:
        """Move a bar of pictures, started by the first call."""
        if self._bar is None:
            self.start(total, unit=" pictures")
        self.advance(1)

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


class BuildBar(Bar):
    """A build's progress: composites a second, bytes, time left; failures above."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self._bytes = 0

    def planned(self, composites: int, kept: int) -> None:
        """Start the bar."""
        if kept:
            self.note(f"{kept:,} of {composites:,} composites are in {self._folder} from before")
        self.start(composites, kept)

    def finished(self, outcome: ShardRecord | Failure) -> None:
        """Move the bar, or say what failed."""
        if isinstance(outcome, Failure):
            for error in outcome.errors:
                self._say(f"error: {error}")
        else:
            self._bytes += outcome.bytes
            self.advance(outcome.composites, size(self._bytes))


class ExportBar(Bar):
    """An export's progress."""

    def planned(self, composites: int) -> None:
        """Start the bar."""
        self.start(composites)

    def exported(self, done: Exported) -> None:
        """Move the bar."""
        self.advance(done.composites)


class VerifyBar(Bar):
    """A verification's progress."""

    def planned(self, composites: int) -> None:
        """Start the bar."""
        self._findings = 0
        self.start(composites)

    def checked(self, report: ShardReport) -> None:
        """Move the bar."""
        self._findings += len(report.tally.findings)
        found = count(self._findings, "finding") if self._findings else ""
        self.advance(report.tally.tried["pixels"], found)


class TrainBar(Bar):
    """A training's progress: loss, crops/s, share of the time spent waiting for data, time left."""

    def stage(self, stage: int, steps: int, done: int) -> None:
        """Start a stage's bar."""
        self.start(steps, done, unit=" steps", description=f"stage {stage}")

    def step(self, steps: int, values: dict[str, float]) -> None:
        """Move it."""
        text = f"loss {values['loss']:.4f}, {values['crops_per_second']:.1f} crops/s"
        self.advance(steps, f"{text}, waiting {values['waiting']:.0%}")


class EvaluateBar(Bar):
    """An evaluation's progress."""

    def planned(self, images: int) -> None:
        """Start the bar."""
        self.start(images, unit=" images")

    def scored(self, image: ImageScores) -> None:
        """Move the bar."""
        self.advance(1)


class PredictBar(Bar):
    """Progress over photographs to matte."""

    def planned(self, images: int) -> None:
        """Start the bar."""
        self.start(images, unit=" images")

    def matted(self) -> None:
        """Move the bar."""
        self.advance(1)
