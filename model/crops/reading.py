"""One training crop: what is drawn for it, and how it is read: only the tiles that it touches are decoded."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from ...arrays import UInt8Image, UInt8Mask
from ...composer.pixels.trimap import MAX_DISTANCE
from ...composer.shards.dataset import known_background
from ...composer.shards.reader import Shard
from ...composer.shards.windows import Mask, TileGrid, Window
from ...errors import WrongUseError
from .variation import PLAIN, Variation

NOTHING = torch.empty(0, dtype=torch.uint8)
"""In the place of a tensor that a crop does not need."""


class Backgrounds(NamedTuple):
    """How the search for backgrounds of other composites went: crops that asked for one, those that found
    one (the rest keep their own), and windows looked at.
    """

    asked: int = 0
    found: int = 0
    looked: int = 0

    @property
    def kept(self) -> int:
        """Crops that asked for another background and have their own."""
        return self.asked - self.found


class Crop(TypedDict):
    """A training sample; all tensors are uint8, 0 to 255, to be divided by 255 on the device.

    image, foreground, background: (3, s, s) RGB; image is the composite. alpha, trimap: (1, s, s), the
    trimap of 0, 128 and 255. Foreground and background are there where `colours` asks for them; the
    background is right wherever the trimap is unknown. composite: what image was before noise and JPEG, in
    crops that have them, for the losses; empty where it is image. skipped: what could not be read in its
    place. backgrounds: of the search for others' backgrounds, which only varied crops go on.
    """

    image: Tensor
    trimap: Tensor
    alpha: Tensor
    foreground: Tensor
    background: Tensor
    composite: Tensor
    skipped: list[str]
    backgrounds: Backgrounds


@dataclass(frozen=True, kw_only=True)
class CropConfig:
    """How crops are drawn.

    size: the side of what comes out, pixels; a multiple of 32 spares the network its padding. cuts: sides
    of what is cut out, one drawn for each crop and scaled to `size`. flip: probability. radii: least and
    greatest radius of the trimap, in pixels of the result, drawn for the foreground's side and the
    background's independently; one value twice gives trimaps of that radius. colours: whether foreground
    and background are read, which only the compositional loss needs. variation: what is varied besides.
    """

    size: int = 320
    cuts: tuple[int, ...] = (320, 480, 640)
    flip: float = 0.5
    radii: tuple[int, ...] = (1, 20)
    colours: bool = True
    variation: Variation = PLAIN

    def __post_init__(self) -> None:
        if self.size < 1 or not self.cuts or min(self.cuts) < 1:
            raise WrongUseError(f"crops of {self.cuts} to {self.size} pixels: sides are at least 1")
        if len(self.radii) != 2 or not 0 <= self.radii[0] <= self.radii[1]:
            raise WrongUseError(f"trimap radii {self.radii}: give the least and the greatest, in pixels")
        if not 0 <= self.flip <= 1:
            raise WrongUseError(f"a crop cannot be mirrored with a probability of {self.flip:g}")
        if self.radii[1] * self.scale >= MAX_DISTANCE:
            raise WrongUseError(
                f"a trimap radius of {self.radii[1]} in crops scaled by {self.scale:g} is beyond the "
                f"{MAX_DISTANCE - 1} pixels that distances are stored for: choose a lesser radius or cut"
            )

    @property
    def scale(self) -> float:
        """How many pixels of the source a pixel of the result may have."""
        return max(self.cuts) * self.variation.zoom / self.size


class Cut(NamedTuple):
    """What is drawn for a crop: the square to cut out, the trimap's radii, whether it is mirrored."""

    window: Window
    foreground_radius: int
    background_radius: int
    flip: bool


def draw_cut(shard: Shard, config: CropConfig, draw: np.random.Generator) -> Cut:
    """A square around a transition pixel, moved inside where it would stick out: no pixel is invented."""
    sides = shard.shape
    side = min(config.cuts[draw.integers(len(config.cuts))], *sides)
    center = shard.center(int(draw.integers(shard.center_count)))
    inwards, outwards = draw.integers(config.radii[0], config.radii[1] + 1, 2).tolist()
    top, left = (min(max(at - side // 2, 0), end - side) for at, end in zip(center, sides, strict=True))
    window = slice(top, top + side), slice(left, left + side)
    return Cut(window, inwards, outwards, flip=bool(draw.random() < config.flip))


def read_crop(shard: Shard, i: int, cut: Cut, config: CropConfig) -> Crop:
    """The crop of composite `i` that `cut` says. Raises ShardError."""
    grid = TileGrid(*shard.shape, cut.window)
    radii = cut.foreground_radius, cut.background_radius
    alpha, distance = np.empty((2, *grid.pixels), np.uint8)
    shard.fill(alpha, "alpha", grid)
    shard.fill(distance, "distance", grid)
    reach = reach_of(max(radii), grid.pixels[0] / config.size)
    images = _images(shard, i, grid, alpha, (grid.least(distance) <= reach) & config.colours)
    image, *colours = scaled(images if config.colours else images[:1], config.size, cut.flip)
    foreground, background = colours or [NOTHING] * 2
    return Crop(
        image=image,
        trimap=scaled(scaled_trimap(alpha, distance, config.size, *radii), config.size, cut.flip)[0],
        alpha=scaled(alpha, config.size, cut.flip)[0],
        foreground=foreground,
        background=background,
        composite=NOTHING,
        skipped=[],
        backgrounds=Backgrounds(),
    )


def _images(shard: Shard, i: int, grid: TileGrid, alpha: UInt8Mask, near: Mask) -> UInt8Image:
    """Windows of composite `i` and, in the tiles that are `near`, of its foreground and background.

    (3, h, w, 3). Where a tile is opaque the composite is the foreground, which decodes in half the time.
    """
    image, foreground, background = images = np.zeros((3, *alpha.shape, 3), np.uint8)
    least, most = grid.least(alpha), grid.most(alpha)
    shard.fill(image, "composite", grid, layer=i, tiles=least < 255)
    shard.fill(foreground, "foreground", grid, tiles=near | (least == 255))
    shard.fill(background, "background", grid, layer=i, tiles=near & (most > 0))
    for block in grid.blocks(least == 255):
        image[block] = foreground[block]
    for block in grid.blocks(near & (least == 0)):
        background[block] = known_background(background[block], image[block], alpha[block])
    return images


def reach_of(radius: int, scale: float) -> int:
    """How far from the transition region, in pixels of the source, a trimap's unknown pixels take colours.

    As far as it reaches itself, and the pixels that scaling mixes in: the bilinear filter looks `scale`
    pixels, or one, in all four directions from the middle of a pixel.
    """
    return math.ceil(radius * scale) + math.ceil(2 * max(scale, 1)) + 1


def scaled_trimap(
    alpha: UInt8Mask, distance: UInt8Mask, size: int, foreground_radius: int, background_radius: int
) -> UInt8Mask:
    """The trimap, (size, size), of a square window of alpha and distance; radii in pixels of the result.

    Each pixel takes the class of the source pixel at its centre, at the source's distance: a trimap is
    never interpolated. A pixel is known only if everything within the radius around it is.
    """
    side = alpha.shape[0]
    if side != size:
        at = np.arange(1, 2 * size, 2) * side // (2 * size)
        alpha, distance = alpha.take(at, 0).take(at, 1), distance.take(at, 0).take(at, 1)
    # The stored distance is rounded up, and so must be what it is compared with; in integers, no less.
    inside = (alpha == 255) & (distance > -(-foreground_radius * side // size))
    outside = (alpha == 0) & (distance > -(-background_radius * side // size))
    # 128 + 127 or - 128: assigning by flags would go value by value.
    return np.asarray(128 + 127 * inside.view(np.uint8) - 128 * outside.view(np.uint8))


def scaled(pixels: NDArray[np.uint8], size: int, flip: bool) -> Tensor:
    """Squares, (h, h) or (n, h, h, 3), as (n, c, size, size), scaled and mirrored left to right if `flip`.

    Antialiased bilinear filtering on 8 bits: Pillow's values, in a third of its time.
    """
    squares = pixels if pixels.ndim > 2 else pixels[None, ..., None]
    tensor = torch.from_numpy(squares).permute(0, 3, 1, 2)
    if tensor.shape[-1] != size:
        tensor = interpolate(tensor, size=(size, size), mode="bilinear", antialias=True)
    return tensor.flip(3) if flip else tensor
