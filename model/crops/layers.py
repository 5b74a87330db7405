"""The layers of a crop, foreground, alpha and background, each scaled and turned alike, then composited.

Scaling does not commute with compositing: the mean of two products is not the product of two means. So the
composite is made of the layers as they come out, and C = a F + (1 - a) B holds to the bit.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...arrays import UInt8Image, UInt8Mask
from ...composer.shards.dataset import known_background
from ...composer.shards.reader import Shard
from ...composer.shards.windows import TileGrid, Window
from .reading import CropConfig, scaled
from .trimaps import Distances


class Place(NamedTuple):
    """A square of an image and how it becomes a crop.

    window: what is read. between: the side that it is scaled to. size: the side of the crop, cut out of
    its middle after it was turned by `turn` degrees. flip: mirrored, at the end.
    """

    window: Window
    between: int
    size: int
    turn: float
    flip: bool

    @property
    def scale(self) -> float:
        """Pixels of the source in a pixel of the crop."""
        return (self.window[0].stop - self.window[0].start) / self.between  # type: ignore[no-any-return]


class Layer(NamedTuple):
    """A foreground in a crop: colours (s, s, 3), alpha (s, s), and distances in pixels of the crop."""

    colours: UInt8Image
    alpha: UInt8Mask
    distance: Distances


def draw_place(
    shape: tuple[int, int],
    center: tuple[int, int],
    config: CropConfig,
    turn: float,
    draw: np.random.Generator,
) -> Place:
    """A square around a pixel, moved inside where it would stick out: no pixel is invented.

    It is turned by up to `turn` degrees.
    """
    zoom = math.exp(draw.uniform(-1, 1) * math.log(config.variation.zoom))
    side = config.cuts[draw.integers(len(config.cuts))] * zoom
    turn = float(draw.uniform(-turn, turn))
    between = config.size
    if turn:
        # The upright square around a turned one, and a pixel to each side that filtering mixes in.
        angle = math.radians(abs(turn))
        between = math.ceil(config.size * (math.cos(angle) + math.sin(angle))) + 2
    reach = max(1, min(round(side * between / config.size), *shape))
    top, left = (min(max(at - reach // 2, 0), end - reach) for at, end in zip(center, shape, strict=True))
    window = slice(top, top + reach), slice(left, left + reach)
    return Place(window, between, config.size, turn, flip=bool(draw.random() < config.flip))


class Square:
    """The square of a shard that a place says, with its matte, read. Raises ShardError."""

    def __init__(self, shard: Shard, place: Place) -> None:
        self.shard, self.place = shard, place
        self.grid = TileGrid(*shard.shape, place.window)
        self.alpha, self.distance = np.empty((2, *self.grid.pixels), np.uint8)
        shard.fill(self.alpha, "alpha", self.grid)
        shard.fill(self.distance, "distance", self.grid)

    def layer(self) -> Layer:
        """The foreground as a crop's. Raises ShardError."""
        colours = np.empty((*self.grid.pixels, 3), np.uint8)
        self.shard.fill(colours, "foreground", self.grid)
        return Layer(
            colours=resampled(colours, self.place),
            alpha=resampled(self.alpha, self.place),
            distance=nearest(self.distance, self.place).astype(np.float32) / np.float32(self.place.scale),
        )

    def backdrop(self, i: int) -> UInt8Image:
        """The background of composite `i` as a crop's, (s, s, 3); the mean of its colours where it is
        hidden. Raises ShardError.
        """
        image, background = np.zeros((2, *self.alpha.shape, 3), np.uint8)
        least, most = self.grid.least(self.alpha), self.grid.most(self.alpha)
        near = (most > 0) & (self.grid.least(self.distance) <= self.shard.background_radius)
        self.shard.fill(image, "composite", self.grid, layer=i, tiles=least == 0)
        self.shard.fill(background, "background", self.grid, layer=i, tiles=near)
        for block in self.grid.blocks(least == 0):
            background[block] = known_background(background[block], image[block], self.alpha[block])
        gone = self._gone(self.shard.background_radius)
        if gone.any():
            np.copyto(background, _mean_colour(background, ~gone), where=gone[..., None])
        return resampled(background, self.place)

    def hidden(self) -> NDArray[np.bool_]:
        """Where the crop's background has any of what the shard does not keep, (s, s)."""
        kept = self.shard.background_radius - filter_reach(self.place.scale)
        return nearest(self._gone(max(kept, 0)).view(np.uint8), self.place) > 0

    def _gone(self, kept: int) -> NDArray[np.bool_]:
        return np.asarray((self.alpha > 0) & (self.distance > kept))


def _mean_colour(pixels: UInt8Image, where: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Of every fourth pixel each way, (3,); grey where none of these is wanted."""
    some = pixels[::4, ::4][where[::4, ::4]]
    return some.mean(axis=0).astype(np.uint8) if some.size else np.full(3, 128, np.uint8)


def filter_reach(scale: float) -> int:
    """How far from a crop's pixel, in pixels of the source, the pixels lie that are mixed into it, at most.

    A turn takes up to the diagonal of a pixel to each side of its middle, scaling as much of each of these,
    and the source's pixel in the middle is half a one away.
    """
    return math.ceil(4 * max(scale, 1)) + 1


def resampled(pixels: NDArray[np.uint8], place: Place) -> NDArray[np.uint8]:
    """A window, (h, h) or (h, h, 3), as a crop: antialiased bilinear filtering, then a bilinear turn."""
    squares = pixels[None] if pixels.ndim > 2 else pixels
    upright = scaled(squares, place.between, flip=False)[0].permute(1, 2, 0).numpy()
    return _turned(upright if pixels.ndim > 2 else upright[..., 0], place, Image.Resampling.BILINEAR)


def nearest(values: NDArray[np.uint8], place: Place) -> NDArray[np.uint8]:
    """The same of values that must not be mixed: each pixel has the one in its middle."""
    side = values.shape[0]
    if side != place.between:
        at = np.arange(1, 2 * place.between, 2) * side // (2 * place.between)
        values = values.take(at, 0).take(at, 1)
    return _turned(values, place, Image.Resampling.NEAREST)


def _turned(upright: NDArray[np.uint8], place: Place, resampling: Image.Resampling) -> NDArray[np.uint8]:
    if place.turn:
        angle = math.radians(place.turn)
        along, across = math.cos(angle), math.sin(angle)
        middle, out = place.between / 2, place.size / 2
        # Where a pixel of the result comes from: its place from the middle, turned.
        rows = (
            along,
            across,
            middle - (along + across) * out,
            -across,
            along,
            middle - (along - across) * out,
        )
        image = Image.fromarray(np.ascontiguousarray(upright))
        turned = image.transform((place.size, place.size), Image.Transform.AFFINE, rows, resampling)
        upright = np.array(turned)
    return np.ascontiguousarray(upright[:, ::-1] if place.flip else upright)
