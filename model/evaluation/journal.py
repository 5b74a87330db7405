"""Scores that are kept as they come: an evaluation that was stopped goes on where it was."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from ...errors import WrongUseError
from ...files import named, stranger_in
from ...version import __version__
from ..metrics import Scores
from .scoring import Entry

JOURNAL_NAME = "scores.jsonl"


def claim_folder(folder: Path) -> None:
    """Make an evaluation's folder. Raises WrongUseError where it holds something and no scores."""
    stranger = stranger_in(folder, JOURNAL_NAME, "scores.csv")
    if stranger is not None:
        raise WrongUseError(
            f"{folder} holds {stranger.name} and no scores: give another --out, an empty or a new folder"
        )
    folder.mkdir(parents=True, exist_ok=True)  # what is in the way should not show after an hour


class Journal:
    """A line for each image that was scored, in `folder`/scores.jsonl, under a digest of all that it was of.

    So nothing is ever taken for another model's or another trimap's; a line that was cut short by a kill, or
    that another version wrote, is passed over.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / JOURNAL_NAME
        self._entries = dict(self._read())

    def get(self, key: str) -> Entry | None:
        """The scores under a key, if they are there."""
        return self._entries.get(key)

    def add(self, key: str, name: str, entry: Entry) -> None:
        """Keep scores; they are with the system, though not yet on the disk, when this returns."""
        self._entries[key] = entry
        line = json.dumps({"key": key, "image": name, **asdict(entry.scores), "instead": entry.instead})
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with named(self._path), self._path.open("a", encoding="utf-8") as file:
            file.write(f"\n{line}" if self._is_torn() else line)
            file.write("\n")

    def _is_torn(self) -> bool:
        """Whether the last line has no end."""
        with self._path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(size - 1, 0))
            return file.read(1) not in (b"", b"\n")

    def _read(self) -> Iterator[tuple[str, Entry]]:
        if not self._path.is_file():
            return
        for line in self._path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                values = json.loads(line)
                key, instead = str(values.pop("key")), bool(values.pop("instead"))
                values.pop("image")
                yield key, Entry(Scores(**{name: float(value) for name, value in values.items()}), instead)
            except (ValueError, TypeError, KeyError, AttributeError):
                continue


def key_of(*parts: str) -> str:
    """The key of scores of a prediction on an image, by this release's metrics."""
    return hashlib.sha256("\n".join((__version__, *parts)).encode()).hexdigest()
