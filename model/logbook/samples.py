"""Pictures of a few validation composites, and what the model made of them at each validation."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ...files import part_of
from ..runs.beginning import SAMPLES

_ALPHA = re.compile(r"(\d+)-stage(\d)-step(\d{8})\.webp")
_SHOWN = 5  # alphas of a composite


@dataclass(frozen=True, kw_only=True)
class Shot:
    """A picture of a sample: `src` from the run's folder, `caption`, `width` and `height` in pixels."""

    src: str
    caption: str
    width: int
    height: int


def keep_samples(folder: Path, digest: str, examples: Sequence[Tensor], *, stage: int, step: int) -> None:
    """Write what a validation on the set of that digest found, under names that tell stage and step.

    examples: (3, h, 4 w) uint8 each: image, trimap, alpha and truth beside each other. Raises OSError.
    """
    place = folder / SAMPLES / digest[:8]
    place.mkdir(parents=True, exist_ok=True)
    for number, example in enumerate(examples):
        image, trimap, alpha, truth = np.split(example.permute(1, 2, 0).numpy(), 4, axis=1)
        _write(place / f"{number}-stage{stage}-step{step:08}.webp", alpha)
        for name, picture in (("image", image), ("trimap", trimap), ("truth", truth)):
            if not (place / f"{number}-{name}.webp").exists():
                _write(place / f"{number}-{name}.webp", picture)


def samples_of(folder: Path, digest: str, until: tuple[int, int]) -> list[list[Shot]]:
    """Of each composite of the set of that digest: image, trimap, alphas from then to now, truth.

    until: the last stage and step; what was written after it, before a restart, will come again.
    """
    place = folder / SAMPLES / digest[:8]
    found: dict[int, list[tuple[int, int]]] = {}
    for path in place.glob("*-stage*.webp"):
        if name := _ALPHA.fullmatch(path.name):
            number, stage, step = map(int, name.groups())
            if (stage, step) <= until:
                found.setdefault(number, []).append((stage, step))
    return [_shots(folder, place, number, sorted(found[number])) for number in sorted(found)]


def _shots(folder: Path, place: Path, number: int, times: list[tuple[int, int]]) -> list[Shot]:
    chosen = np.linspace(0, len(times) - 1, min(_SHOWN, len(times))).round().astype(int)
    files = {name: place / f"{number}-{name}.webp" for name in ("image", "trimap")}
    for stage, step in (times[i] for i in chosen):
        files[f"stage {stage}, step {step:,}"] = place / f"{number}-stage{stage}-step{step:08}.webp"
    files["truth"] = place / f"{number}-truth.webp"
    return [_shot(folder, path, caption) for caption, path in files.items()]


def _shot(folder: Path, path: Path, caption: str) -> Shot:
    with Image.open(path) as picture:
        width, height = picture.size
    return Shot(src=path.relative_to(folder).as_posix(), caption=caption, width=width, height=height)


def _write(path: Path, pixels: NDArray[np.uint8]) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "WEBP", quality=86, method=2)
    with part_of(path) as part:
        part.write_bytes(buffer.getvalue())
