"""What is to be done after a training, as commands that work as they stand."""

from __future__ import annotations

import shlex
from pathlib import Path

from ...composer.shards.index import INDEX_NAME
from ...storage.remote import Place


def after_training(run: Path, shards: Place, val_shards: Place | None) -> list[str]:
    """Commands that score and use the model of a run that was trained on `shards`.

    It is scored on the test set beside them; where there is none, on the set that it was validated on.
    """
    model = f"--checkpoint {shlex.quote(str(run))}"
    scored = val_shards
    if isinstance(shards, Path) and (shards.parent / "test" / INDEX_NAME).exists():
        scored = shards.parent / "test"
    use = f"dimtool predict {model} photo.jpg trimap.png --out mattes"
    if scored is None:
        return [use]
    return [f"dimtool evaluate {model} --shards {shlex.quote(str(scored))}", use]
