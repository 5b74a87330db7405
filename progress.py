"""Progress: what work tells while it runs, and one bar on standard error that shows it."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from types import TracebackType
from typing import NoReturn, Protocol, Self, TypeVar

from tqdm import tqdm

from .text import printable

Done_contra = TypeVar("Done_contra", contravariant=True)


class Reporter(Protocol[Done_contra]):
    """Who hears of the progress of work that gives something for each of its parts."""

    def planned(self, total: int, kept: int = 0) -> None:
        """`total` are to be there in the end, `kept` of them are there from before."""

    def finished(self, done: Done_contra) -> None:
        """A part is done, or cannot be."""

    def note(self, text: str) -> None:
        """Something that a user should know, and that does not stop the work."""


class Silent:
    """A reporter that keeps it all to itself."""

    def planned(self, total: int, kept: int = 0) -> None:
        """Nothing."""

    def finished(self, done: object) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""


class Bar:
    """A bar on standard error, with notes above it; it starts when the total is known."""

    unit = "composites"

    def __init__(self) -> None:
        self._bar: tqdm[NoReturn] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def planned(self, total: int, kept: int = 0) -> None:
        """Start the bar."""
        self.start(total, kept)

    def start(self, total: int, done: int = 0, *, description: str | None = None) -> None:
        """Show the bar; one from before stays as it is."""
        if self._bar is not None:
            self._bar.close()
        self._bar = tqdm(
            total=total, initial=done, unit=f" {self.unit}", desc=description, file=sys.stderr, smoothing=0.1
        )

    def advance(self, units: int, postfix: str | None = None) -> None:
        """Move the bar; `postfix` is what it says beside its figures, until told otherwise."""
        if self._bar is not None:
            if postfix is not None:
                self._bar.set_postfix_str(postfix, refresh=False)
            self._bar.update(units)

    def note(self, text: str) -> None:
        """A line above the bar."""
        self.say(f"note: {text}")

    def notes(self, texts: Iterable[str]) -> None:
        """Several lines."""
        for text in texts:
            self.note(text)

    @staticmethod
    def say(line: str) -> None:
        """A line, above the bar."""
        tqdm.write(printable(line), file=sys.stderr)


class CountingBar(Bar):
    """A bar that moves by one for each part that is done."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self.unit = unit

    def finished(self, done: object) -> None:
        """Move the bar."""
        self.advance(1)

    def of_total(self, done: int, total: int) -> None:
        """Move the bar, which the first call starts."""
        if self._bar is None:
            self.start(total)
        self.advance(1)
