"""The bars of the composing commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...progress import Bar
from ...text import count, size
from ..sources.manifest import Failure

if TYPE_CHECKING:  # a bar that only shows numbers must not import what makes them
    from ...storage.remote import Place
    from ..export.pictures import Exported
    from ..shards.index import ShardRecord
    from ..verification.check_shard import ShardReport


class BuildBar(Bar):
    """A build's progress: composites a second, bytes, time left; failures above."""

    def __init__(self, folder: Place) -> None:
        super().__init__()
        self._folder = folder
        self._bytes = 0
        self._errors: set[str] = set()

    def planned(self, total: int, kept: int = 0) -> None:
        """Start the bar."""
        if kept:
            self.note(f"{kept:,} of {total:,} composites are in {self._folder} from before")
        self.start(total, kept)

    def finished(self, done: ShardRecord | Failure) -> None:
        """Move the bar, or say what failed."""
        if isinstance(done, Failure):
            for error in done.errors:
                if error not in self._errors:  # pieces of a foreground share its faults
                    self._errors.add(error)
                    self.say(f"error: {error}")
        else:
            self._bytes += done.bytes
            self.advance(done.composites, size(self._bytes))


class ExportBar(Bar):
    """An export's progress."""

    def finished(self, done: Exported) -> None:
        """Move the bar."""
        self.advance(done.composites)


class VerifyBar(Bar):
    """A verification's progress."""

    _findings = 0

    def finished(self, done: ShardReport) -> None:
        """Move the bar."""
        self._findings += len(done.tally.findings)
        found = count(self._findings, "finding") if self._findings else ""
        self.advance(done.tally.tried["pixels"], found)
