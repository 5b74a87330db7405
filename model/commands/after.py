"""What is to be done after a training, as commands that work as they stand."""

from __future__ import annotations

import shlex
from pathlib import Path

from ...composer.shards.index import INDEX_NAME


def after_training(run: Path, shards: Path, val_shards: Path | None) -> list[str]:
    """Commands that score and use the model of a run that was trained on `shards`.

    It is scored on the test set beside them; where there is none, on the set that it was validated on.
    """
    model = f"--checkpoint {shlex.quote(str(run))}"
    test = shards.parent / "test"
    scored = test if (test / INDEX_NAME).exists() else val_shards
    use = f"dimtool predict {model} photo.jpg trimap.png --out mattes"
    if scored is None:
        return [use]
    return [f"dimtool evaluate {model} --shards {shlex.quote(str(scored))}", use]


def as_lines(commands: list[str]) -> str:
    """The commands one below the other, after a word that says what they are."""
    return "next: " + "\n      ".join(commands)
