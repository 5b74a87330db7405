"""What a result was made of, kept in its file: so that an old one never passes for a new one."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from ...composer.sources.images import pixel_digest
from ...files import part_of
from ...version import __version__

_KEY = "dimtool"  # of the PNG's text; it stands before the pixels
_DAMAGE = (OSError, SyntaxError, ValueError, KeyError, TypeError, AttributeError)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All that a result depends on: SHA-256 of files and of the model's weights, and options.

    onto: of the picture behind it, empty where there is none.
    """

    image: str
    trimap: str
    threshold: bool
    model: str
    bits: int
    onto: str = ""

    def of(self, kind: str) -> Recipe:
        """What of it the results of one kind depend on: each on its own picture behind it, and depth."""
        return replace(
            self, bits=self.bits if kind == "alpha" else 8, onto=self.onto if kind == "composite" else ""
        )


class State(Enum):
    """What is at a result's place."""

    MISSING = "missing"
    CURRENT = "made of the same"
    OUTDATED = "made of something else"
    FOREIGN = "not as it was written, or by another program"


@dataclass(frozen=True)
class Found:
    """What is at a result's place; of an outdated one, which of the recipe's parts are others now."""

    state: State
    changed: tuple[str, ...] = ()


def write_result(path: Path, pixels: NDArray[Any], recipe: Recipe) -> None:
    """Write a PNG with what it was made of in its text; under its name only when complete."""
    record = {"made_of": asdict(recipe), "pixels": pixel_digest(pixels).hex(), "version": __version__}
    text = PngImagePlugin.PngInfo()
    text.add_text(_KEY, json.dumps(record))
    with part_of(path) as part:
        Image.fromarray(pixels).save(part, "PNG", pnginfo=text)


def holds_results(folder: Path) -> bool:
    """Whether a picture in a folder says that it was written here."""
    return any(map(_says_so, folder.glob("*.png")))


def _says_so(path: Path) -> bool:
    try:
        with Image.open(path) as image:
            return _KEY in image.info
    except _DAMAGE:
        return False


def look(path: Path, recipe: Recipe) -> Found:
    """Whether the file at `path` is what `recipe` gives, made of something else, or somebody's own.

    Its pixels are compared with the digest that was written with them: what was painted over or damaged
    since is never taken for a result, nor replaced as one.
    """
    if not path.exists():
        return Found(State.MISSING)
    try:
        with Image.open(path) as image:
            record = json.loads(image.info[_KEY])
            whole = record["pixels"] == pixel_digest(np.asarray(image)).hex()
        made_of, now = record["made_of"], asdict(recipe)
        changed = tuple(name for name in now if made_of[name] != now[name])
    except _DAMAGE:
        return Found(State.FOREIGN)
    if not whole:
        return Found(State.FOREIGN)
    return Found(State.OUTDATED, changed) if changed else Found(State.CURRENT)
