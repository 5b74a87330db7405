"""A set with everything in it, and its export."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image


@pytest.fixture(scope="session")
def trimap_radius() -> int:
    """That the trimaps of `exported` have."""
    return 4


@pytest.fixture(scope="package")
def pictures(
    image_set: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, tuple[NDArray[np.uint8], NDArray[np.uint8]]]]:
    """Names with dots, spaces and umlauts; a hard edge, an RGBA foreground, several tiles, deep parts."""
    root = image_set(tmp_path_factory.mktemp("set"), foregrounds=3, side=110)
    names = ["f0.png", "Käfer (1).v2.png", "wide one.png"]
    mattes = {}
    for old, name in zip(["f0.png", "f1.png", "f2.png"], names, strict=True):
        for folder in ("fg", "alpha"):
            (root / folder / old).rename(root / folder / name)
        mattes[name] = (
            np.asarray(Image.open(root / "fg" / name)),
            np.asarray(Image.open(root / "alpha" / name)),
        )
    rng = np.random.default_rng(5)
    wide = rng.integers(0, 256, (100, 400, 3), dtype=np.uint8)
    alpha = np.zeros((100, 400), np.uint8)
    alpha[:, 20:380] = 255
    alpha[:, :20] = np.linspace(0, 255, 20).astype(np.uint8)
    Image.fromarray(np.dstack([wide, 255 - alpha])).save(root / "fg" / names[2])
    Image.fromarray(alpha).save(root / "alpha" / names[2])
    mattes[names[2]] = (wide, alpha)
    (root / "train_fg.txt").write_text("\r\n".join(names))
    return root, mattes


@pytest.fixture(scope="package")
def shards(pictures: tuple[Path, Any], build: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("shards") / "train"
    assert build(pictures[0], out).code == 0
    return out


@pytest.fixture(scope="package")
def exported(
    shards: Path, trimap_radius: int, command: Any, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("exported") / "below" / "train"
    outcome = command("export-images", shards, out, "--trimap-radius", trimap_radius, "--jobs", 1, "--json")
    assert outcome.code == 0
    values = json.loads(outcome.out)
    assert values == {
        "out": str(out), "readme": str(out / "README.md"), "composites": 6, "written": 24, "kept": 0,
        "holes": 0, "why": "", "missing": 0, "errors": []
    }  # fmt: skip
    return out
