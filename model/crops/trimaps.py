"""Trimaps as a hand paints them: bands of changing width, strokes along the transition, filled patches.

Whatever is drawn only widens the unknown region. A pixel is known only where alpha is 0 or 255 and the
transition region is further away than the radius there, so that no trimap here says what is not so.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ...arrays import UInt8Mask
from ...composer.pixels.trimap import UNKNOWN
from .variation import Variation

Distances = NDArray[np.float32]  # in pixels of the crop
Points = NDArray[np.intp]  # (n, 2): y, x

_SWING = 0.5  # standard deviation of the logarithm of a band's width
_CELLS = (3, 9)  # of the noise that makes it swing, on a side: from, below
_STROKES = (1, 5)
_THICKNESS = (4.0, 60.0)  # of a brush, in pixels of a crop of 320
_REACH = 60.0  # a patch joins transition pixels as far as this from one of them, likewise


def draw_radii(
    radii: tuple[int, ...], variation: Variation, draw: np.random.Generator
) -> tuple[float, float]:
    """A radius for the foreground's side and one for the background's, between the least and greatest."""
    least, greatest = radii
    if variation.radii == "even":
        inwards, outwards = draw.integers(least, greatest + 1, 2).tolist()
    else:
        # From half a pixel on: a logarithm has no place for 0.
        inwards, outwards = (_log_uniform(max(least, 0.5), max(greatest, 0.5), draw) for _ in range(2))
    return inwards, outwards


def _log_uniform(least: float, greatest: float, draw: np.random.Generator) -> float:
    return math.exp(draw.uniform(math.log(least), math.log(greatest)))


def draw_trimap(
    alpha: UInt8Mask,
    distance: Distances,
    radii: tuple[float, float],
    draw: np.random.Generator,
    *,
    uneven: bool,
) -> UInt8Mask:
    """The trimap, (s, s) of 0, 128, 255, of a crop's alpha and distances to the transition region, (s, s).

    radii: foreground's and background's side, in pixels of the crop. Where it is `uneven` they change from
    place to place, and strokes and patches are painted over.
    """
    inwards, outwards = (_swinging(alpha.shape[0], draw) * r if uneven else r for r in radii)
    trimap = np.full(alpha.shape, UNKNOWN, np.uint8)
    trimap[(alpha == 255) & (distance > inwards)] = 255
    trimap[(alpha == 0) & (distance > outwards)] = 0
    if uneven:
        trimap[painted(alpha, draw)] = UNKNOWN
    return trimap


def _swinging(size: int, draw: np.random.Generator) -> Distances:
    """A smooth field around 1, (size, size): what a radius is multiplied with."""
    cells = int(draw.integers(*_CELLS))
    grid = np.exp(draw.normal(0, _SWING, (cells, cells))).astype(np.float32)
    return np.asarray(Image.fromarray(grid).resize((size, size), Image.Resampling.BICUBIC))


def painted(alpha: UInt8Mask, draw: np.random.Generator) -> NDArray[np.bool_]:
    """Strokes of a brush that begin at transition pixels, and patches that join some of them, (s, s)."""
    size = alpha.shape[0]
    canvas = Image.new("1", (size, size))
    points = np.argwhere((alpha > 0) & (alpha < 255))
    if len(points):
        brush = ImageDraw.Draw(canvas)
        for _ in range(draw.integers(*_STROKES)):
            start = points[draw.integers(len(points))]
            thickness = _log_uniform(*_THICKNESS, draw) * size / 320
            if draw.random() < 0.5:
                _stroke(brush, start, thickness, draw)
            else:
                _patch(brush, _near(points, start, _REACH * size / 320, draw), thickness / 2)
    return np.asarray(canvas)


def _stroke(brush: ImageDraw.ImageDraw, start: Points, thickness: float, draw: np.random.Generator) -> None:
    """A line of some turns, round at its turns and ends."""
    steps = draw.normal(0, max(thickness, 10), (draw.integers(1, 6), 2))
    path = [(float(x), float(y)) for y, x in start + np.cumsum(np.vstack([[0, 0], steps]), axis=0)]
    brush.line(path, fill=1, width=round(thickness))
    for point in path:
        brush.circle(point, thickness / 2, fill=1)


def _near(points: Points, start: Points, reach: float, draw: np.random.Generator) -> Points:
    """Up to eight of the points at most `reach` from one of them."""
    close: Points = points[np.abs(points - start).max(axis=1) <= reach]
    return close[draw.integers(len(close), size=8)]


def _patch(brush: ImageDraw.ImageDraw, corners: Points, margin: float) -> None:
    """The polygon around its middle through the corners, widened by a margin."""
    y, x = (corners - corners.mean(axis=0)).T
    around = [(float(x), float(y)) for y, x in corners[np.argsort(np.arctan2(y, x))]]
    brush.polygon(around, fill=1)
    brush.line([*around, around[0]], fill=1, width=max(1, round(2 * margin)))
    for point in around:
        brush.circle(point, margin, fill=1)
