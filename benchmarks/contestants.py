"""Ways to make the same composites: ours, what people use, and the least work that the format allows."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dimtool.arrays import UInt8Image
from dimtool.composer.building.work import Built, ShardJob, build_shard, read_matte
from dimtool.composer.pixels.composition import composite, fit_background
from dimtool.composer.shards.index import ShardRecord
from dimtool.composer.shards.reader import Shard
from dimtool.composer.shards.tiles import encode, tile_corners, tile_shape, used_tiles
from dimtool.composer.shards.writer import Matte
from dimtool.composer.sources.images import read_background
from dimtool.composer.sources.manifest import ForegroundEntry

OURS, LOOP, SCRIPT, FLOOR = "dimtool", "official loop", "fast script", "floor"
NAMES = (OURS, FLOOR, SCRIPT, LOOP)

# What people use costs up to seconds a composite and next to nothing a foreground, so a few tell its rate.
TIMED = {LOOP: 1, SCRIPT: 5}

Contestant = Callable[[int], object]  # makes the first so many composites of a foreground


class MismatchError(Exception):
    """Two contestants made different pixels: their times must not be compared."""


def contestants(entry: ForegroundEntry, folder: Path) -> dict[str, Contestant]:
    """Every way to make this foreground's composites into `folder`; what is not to be timed is done here.

    The loop and the script are given the foreground decoded, since they do that once for many composites.
    """
    matte = read_matte(entry)
    tiles = shard_tiles(entry, matte)
    foreground, alpha = Image.fromarray(matte.foreground.pixels), Image.fromarray(matte.alpha.pixels)
    paths = entry.backgrounds
    return {
        OURS: lambda count: dimtool_build(entry, folder, count),
        FLOOR: lambda count: floor(foreground.size, paths[:count], tiles),
        SCRIPT: lambda count: fast_script(foreground, alpha, paths[:count], folder),
        LOOP: lambda count: official_loop(foreground, alpha, paths[:count], folder),
    }


def dimtool_build(entry: ForegroundEntry, folder: Path, count: int) -> ShardRecord:
    """Our build, all of it: decoding, composition, distance, encoding, digests, writing, fsync, the hash."""
    names, paths = entry.background_names[:count], entry.backgrounds[:count]
    entry = replace(entry, background_names=names, backgrounds=paths)
    outcome = build_shard(ShardJob(entry=entry, split="train", folder=folder, scratch=folder))
    if not isinstance(outcome, Built):
        raise MismatchError("; ".join(outcome.errors))
    return outcome.record


def fitted(path: Path, width: int, height: int) -> Image.Image:
    """The background as every script fits it: enlarged with Pillow if it is too small, then cut."""
    with Image.open(path) as image:
        background = image.convert("RGB")
    ratio = max(width / background.width, height / background.height)
    if ratio > 1:
        size = math.ceil(background.width * ratio), math.ceil(background.height * ratio)
        background = background.resize(size, Image.Resampling.BICUBIC)
    return background.crop((0, 0, width, height))


def fast_script(foreground: Image.Image, alpha: Image.Image, paths: Sequence[Path], folder: Path) -> None:
    """What people write: NumPy over whole images, PNGs of composite and background as Pillow saves them."""
    width, height = foreground.size
    colours, opacity = np.asarray(foreground), np.asarray(alpha)[..., None] / 255.0
    for i, path in enumerate(paths):
        background = np.asarray(fitted(path, width, height))
        image = opacity * colours + (1 - opacity) * background
        Image.fromarray(image.astype(np.uint8)).save(folder / f"composite_{i}.png")
        Image.fromarray(background).save(folder / f"background_{i}.png")


def official_loop(foreground: Image.Image, alpha: Image.Image, paths: Sequence[Path], folder: Path) -> None:
    """The official rules as the official code goes about them: pixel by pixel, to a PNG of the composite."""
    width, height = foreground.size
    f: Any = foreground.load()
    a: Any = alpha.load()
    for i, path in enumerate(paths):
        image = fitted(path, width, height)
        b: Any = image.load()
        for y in range(height):
            for x in range(width):
                opacity = a[x, y] / 255
                # It looks both pixels up everywhere, and once more for each band that it works on.
                _ = f[x, y][0], b[x, y][0]
                if opacity >= 1:
                    b[x, y] = int(f[x, y][0]), int(f[x, y][1]), int(f[x, y][2])
                elif opacity > 0:
                    b[x, y] = (
                        int(opacity * f[x, y][0] + (1 - opacity) * b[x, y][0]),
                        int(opacity * f[x, y][1] + (1 - opacity) * b[x, y][1]),
                        int(opacity * f[x, y][2] + (1 - opacity) * b[x, y][2]),
                    )
        image.save(folder / f"loop_{i}.png", icc_profile=None)


def shard_tiles(entry: ForegroundEntry, matte: Matte) -> list[list[UInt8Image]]:
    """For each background the tiles that a shard holds: the composite's, and the background's in the band."""
    foreground, alpha = matte.foreground.pixels, matte.alpha.pixels
    everywhere, kept = tile_corners(*alpha.shape), used_tiles(matte.band)
    result = []
    for path in entry.backgrounds:
        background = fit_background(read_background(path).pixels, *alpha.shape)
        image = composite(foreground, alpha, background)
        band = background * matte.band[..., None]
        result.append([*_cut(image, everywhere), *_cut(band, kept)])
    return result


def _cut(image: UInt8Image, corners: list[tuple[int, int]]) -> list[UInt8Image]:
    rows, columns = tile_shape(*image.shape[:2])
    padding = ((0, -image.shape[0] % rows), (0, -image.shape[1] % columns), (0, 0))
    padded = np.pad(image, padding, mode="edge")
    return [padded[y : y + rows, x : x + columns].copy() for y, x in corners]


def floor(size: tuple[int, int], paths: Sequence[Path], tiles: list[list[UInt8Image]]) -> int:
    """Decode and fit each background and encode every tile, nothing else; gives the bytes of the tiles."""
    encoded = 0
    for path, pieces in zip(paths, tiles, strict=False):
        fitted(path, *size)
        encoded += sum(len(encode(tile)) for tile in pieces)
    return encoded


def verify(entry: ForegroundEntry, folder: Path) -> dict[str, int]:
    """Run every contestant, compare their pixels with our shard's, and give the bytes of what they left.

    Raises MismatchError. Bytes: of each of the shard's datasets, of the shard, and of the script's PNGs.
    """
    count = len(entry.backgrounds)
    runs = contestants(entry, folder)
    for name in (OURS, SCRIPT):
        runs[name](count)
    runs[LOOP](1)
    with Shard(folder / entry.shard_name) as shard:
        band = read_matte(entry).band[..., None]
        for i in range(count):
            background = _pixels(folder / f"background_{i}.png") * band
            _equal(
                shard.composite(i), _pixels(folder / f"composite_{i}.png"), f"composite {i} of {entry.name}"
            )
            _equal(shard.background(i), background, f"background {i} of {entry.name}")
        _equal(shard.composite(0), _pixels(folder / "loop_0.png"), f"composite 0 of {entry.name}, {LOOP}")
        sizes = {name: dataset.id.get_storage_size() for name, dataset in shard.datasets.items()}
    encoded = runs[FLOOR](count)
    if encoded != sizes["composite"] + sizes["background"]:
        raise MismatchError(f"{entry.name}: the {FLOOR} encodes {encoded} bytes, not those of the shard")
    sizes["shard"] = (folder / entry.shard_name).stat().st_size
    for each in ("composite", "background"):
        sizes[f"{each} PNG"] = sum(path.stat().st_size for path in folder.glob(f"{each}_*.png"))
    return sizes


def _pixels(path: Path) -> UInt8Image:
    return np.asarray(Image.open(path))


def _equal(ours: UInt8Image, theirs: UInt8Image, what: str) -> None:
    if not np.array_equal(ours, theirs):
        raise MismatchError(f"{what} differs from ours")
