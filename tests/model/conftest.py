"""Small shards to train on, drawn and built once: every kind of matte, with the sources they came from.

A fixture that gives a folder of shards gives it to all tests: copy it before you change it. Beside the folder
lie the sources that it was built from: fg/, alpha/, bg/ and the two lists.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import hdf5plugin  # noqa: F401  h5py needs its filters
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from dimtool.composer.building.build import build_dataset
from dimtool.composer.engines.local import LocalProcesses
from dimtool.composer.shards.index import Index, record_of, write_index
from dimtool.composer.shards.layout import ShardHeader
from dimtool.composer.shards.writer import Layer, Matte, write_shard
from dimtool.composer.sources.images import Source
from dimtool.composer.sources.lists import Lists
from dimtool.composer.sources.manifest import read_manifest
from dimtool.model.crops.dataset import TrainingCrops
from dimtool.progress import Silent

Pixels = NDArray[np.uint8]

PER_FG = 3


class Decoded(NamedTuple):
    """A shard's whole arrays, read by h5py alone, and the backgrounds that were really composited."""

    composite: Pixels  # (n, h, w, 3)
    foreground: Pixels
    alpha: Pixels
    centers: NDArray[np.uint16]
    background: Pixels  # (n, h, w, 3), made again from the files by the official rule


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Torch computes on one thread: with little to do several only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# ---- drawing ----------------------------------------------------------------------------------------------


def _disc(height: int, width: int, reach: float = 1.0) -> NDArray[np.float64]:
    """1 in the middle of an ellipse that fills the image, 0 on its rim, below 0 outside; times `reach`."""
    y, x = np.mgrid[:height, :width]
    return reach * (1 - np.hypot((2 * y + 1) / height - 1, (2 * x + 1) / width - 1))


def _alpha(kind: str, height: int, width: int, rng: np.random.Generator) -> Pixels:
    disc = _disc(height, width)
    if kind == "solid":  # an opaque core that reaches far beyond what is kept of the background
        values = 255 * (disc - 0.02) * 20
    elif kind == "hair":  # thin strokes, soft everywhere
        values = np.where(rng.random((height, width)) < 0.2, 400 * rng.random((height, width)), 0) * (
            disc > 0.1
        )
    elif kind == "glass":  # never opaque
        values = np.clip(disc * 30, 0, 1) * (120 + 60 * np.sin(np.arange(width) / 9))
    elif kind == "sharp":  # 255 meets 0, and the border of the image cuts it
        values = 255.0 * ((disc > 0.4) | (np.arange(width) < width // 5))
    else:  # "noisy": as a JPEG leaves it, specks of 1 and 254
        values = np.clip(255 * disc * 6, 0, 255)
        values += (rng.random((height, width)) < 0.001) * np.where(values > 127, -1.0, 1.0)
    return np.clip(values, 0, 255).astype(np.uint8)


def _picture(height: int, width: int, rng: np.random.Generator) -> Pixels:
    """Colours that run smoothly, with stripes and grain: nothing in it repeats."""
    y, x = np.mgrid[:height, :width][..., None] / 400
    start, down, right = rng.uniform(40, 200, 3), *rng.uniform(-90, 90, (2, 3))
    stripes = 30 * np.sin(40 * (x * rng.random() + y * rng.random()))
    values = start + down * y + right * x + stripes + rng.normal(0, 6, (height, width, 3))
    return np.clip(values, 0, 255).astype(np.uint8)


# ---- building ---------------------------------------------------------------------------------------------


def _build(root: Path, split: str, mattes: list[tuple[str, int, int]], seed: int) -> Path:
    """Draw (kind, height, width) foregrounds; build them over PER_FG backgrounds each into root/`split`."""
    rng = np.random.default_rng(seed)
    for name in ("fg", "alpha", "bg"):
        (root / name).mkdir()
    names = [f"{kind} {i}.png" for i, (kind, _, _) in enumerate(mattes)]
    for name, (kind, height, width) in zip(names, mattes, strict=True):
        Image.fromarray(_picture(height, width, rng)).save(root / "fg" / name)
        Image.fromarray(_alpha(kind, height, width, rng)).save(root / "alpha" / name)
    backgrounds = [f"b{i}.png" for i in range(PER_FG * len(mattes))]
    for name in backgrounds:
        height, width = rng.integers(150, 500, 2)  # some are enlarged, some are cut
        Image.fromarray(_picture(height, width, rng)).save(root / "bg" / name)
    (root / f"{split}_fg.txt").write_text("\n".join(names))
    (root / f"{split}_bg.txt").write_text("\n".join(backgrounds))
    manifest = read_manifest(Lists(fg_list=root / f"{split}_fg.txt", per_fg=PER_FG))
    summary = build_dataset(manifest, root / split, engine=LocalProcesses(workers=1), reporter=Silent())
    assert summary.composites == PER_FG * len(mattes)
    return root / split


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Time that passes when told."""
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def move(seconds: float) -> None:
        now[0] += seconds

    return move


@pytest.fixture(scope="session")
def train_shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six foregrounds, 18 composites, split `train`; number 4 is a tiny one. Not to be changed: copy it."""
    mattes = [
        ("solid", 400, 381),
        ("hair", 240, 320),
        ("glass", 300, 257),
        ("sharp", 256, 222),
        ("solid", 61, 90),
        ("noisy", 333, 211),
    ]
    return _build(tmp_path_factory.mktemp("training"), "train", mattes, seed=1)


@pytest.fixture(scope="session")
def val_shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two other foregrounds, 6 composites, split `val`. Not to be changed."""
    mattes = [("glass", 210, 231), ("noisy", 190, 260)]
    return _build(tmp_path_factory.mktemp("validation"), "val", mattes, seed=2)


@pytest.fixture(scope="session")
def test_shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two other foregrounds, 6 composites, split `test`. Not to be changed."""
    mattes = [("hair", 200, 205), ("sharp", 220, 210)]
    return _build(tmp_path_factory.mktemp("test"), "test", mattes, seed=3)


@pytest.fixture(scope="session")
def decoded() -> Callable[[Path, int], Decoded]:
    """What shard `number` of a folder holds, whole. Arrays are shared: not to be changed."""
    return _decoded


@lru_cache(maxsize=16)
def _decoded(folder: Path, number: int) -> Decoded:
    path = sorted(folder.glob("*.h5"))[number]
    with h5py.File(path, "r", locking=False) as file:  # as whoever has it open
        composite, foreground, alpha, centers = (
            file[name][...] for name in ("composite", "foreground", "alpha", "centers")
        )
        names = [name.decode() for name in file["background_name"][...].tolist()]
    files = [folder.parent / "bg" / name for name in names]
    background = np.stack([_official_background(file, *alpha.shape) for file in files])
    return Decoded(composite, foreground, alpha, centers, background)


def _official_background(path: Path, height: int, width: int) -> Pixels:
    with Image.open(path) as image:
        ratio = max(width / image.width, height / image.height)
        if ratio > 1:
            size = math.ceil(image.width * ratio), math.ceil(image.height * ratio)
            image = image.resize(size, Image.Resampling.BICUBIC)  # noqa: PLW2901
        return np.asarray(image)[:height, :width]


# ---- training ----------------------------------------------------------------------------------------------


@pytest.fixture
def positions(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The (epoch, index) of every crop that is asked for, in order."""
    asked: list[tuple[int, int]] = []
    original = TrainingCrops.__getitem__

    def get(crops: TrainingCrops, position: tuple[int, int]) -> Any:
        asked.append(position)
        return original(crops, position)

    monkeypatch.setattr(TrainingCrops, "__getitem__", get)
    return asked


# ---- shards that no build gives ---------------------------------------------------------------------------


@pytest.fixture(scope="session")
def write_plain() -> Callable[..., None]:
    """Write a shard of a given alpha, distance and centers, at the end of a folder and its index.

    Colours are grey, two composites: for what a build refuses, as a matte without a transition pixel.
    """

    def write(
        folder: Path, alpha: Pixels, distance: Pixels, centers: NDArray[np.uint16], radius: int = 64
    ) -> None:
        folder.mkdir(exist_ok=True)
        number = len(list(folder.glob("*.h5")))
        grey = np.full((*alpha.shape, 3), 99, np.uint8)
        matte = Matte(
            foreground=Source(Path("grey.png"), grey, bytes(32)),
            alpha=Source(Path("alpha.png"), alpha, bytes(31) + bytes([number])),
            distance=distance,
            centers=centers,
            band=np.asarray((alpha > 0) & (distance <= radius)),
        )
        header = ShardHeader(
            split="train",
            index=number,
            foreground=f"plain {number}.png",
            backgrounds=("a.jpg", "b.jpg"),
            background_radius=radius,
        )
        layers = [Layer(grey, grey, Source(Path("b.jpg"), grey, bytes(32)))] * 2
        write_shard(folder / f"{number:04}-plain {number}.h5", header, matte, layers)
        records = tuple(record_of(path) for path in sorted(folder.glob("*.h5")))
        asked = sum(record.composites for record in records)
        write_index(folder, Index(split="train", per_fg=2, asked=asked, shards=records))

    return write
