"""A varied crop: layers from one shard or several, over a background, with a trimap drawn for them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...composer.pixels.composition import composite
from ...composer.pixels.trimap import transition_distance, transition_region
from ...composer.shards.reader import Shard
from .backgrounds import BackgroundFinder
from .layers import Layer, Place, Square, draw_place
from .reading import Backgrounds, Crop, CropConfig
from .trimaps import draw_radii, draw_trimap


def read_varied(
    shard: Shard, i: int, config: CropConfig, finder: BackgroundFinder, draw: np.random.Generator
) -> Crop:
    """The crop of composite `i`, varied as `config` says and `draw` draws. Raises ShardError."""
    variation = config.variation
    square = Square(shard, _around_a_transition(shard, config, draw))
    layer = square.layer()
    if draw.random() < variation.join:
        other, _ = finder.others(draw)
        both = joined(layer, Square(other, _around_a_transition(other, config, draw)).layer())
        layer = both if _teaches(both, layer) else layer
    background, search = None, Backgrounds()
    if draw.random() < variation.recompose:
        background, search = finder.find(layer.alpha < 255, draw)
    if background is None:
        background = square.backdrop(i)
    radii = draw_radii(config.radii, variation, draw)
    uneven = bool(draw.random() < variation.uneven)
    colours = (layer.colours, background) if config.colours else ()
    foreground, behind = [_tensor(each) for each in colours] or [torch.empty(0, dtype=torch.uint8)] * 2
    return Crop(
        image=_tensor(composite(layer.colours, layer.alpha, background)),
        trimap=_tensor(draw_trimap(layer.alpha, layer.distance, radii, draw, uneven=uneven)),
        alpha=_tensor(layer.alpha),
        foreground=foreground,
        background=behind,
        skipped=[],
        backgrounds=search,
    )


def _around_a_transition(shard: Shard, config: CropConfig, draw: np.random.Generator) -> Place:
    center = shard.center(int(draw.integers(shard.center_count)))
    return draw_place(shard.shape, center, config, config.variation.turn, draw)


def _teaches(both: Layer, front: Layer) -> bool:
    """Whether joining leaves half of the transition region: an opaque foreground may hide all of it."""
    left, there = (int(transition_region(each.alpha).sum()) for each in (both, front))
    return 2 * left >= there


def joined(front: Layer, back: Layer) -> Layer:
    """Two foregrounds as one, the first before the second.

    A composite over a composite: a = 1 - (1 - a1)(1 - a2) and a F = a1 F1 + (1 - a1) a2 F2. Joined so
    by GCA (Li and Lu, 2020). Distances are those of the joined matte within the crop.
    """
    a1, a2 = (each.alpha.astype(np.float32)[..., None] / 255 for each in (front, back))
    through = (1 - a1) * a2
    both = a1 + through
    mixed = (a1 * front.colours + through * back.colours) / np.maximum(both, 1e-6)
    colours = np.where(both > 0, np.rint(mixed), front.colours).astype(np.uint8)
    alpha = np.rint(255 * both[..., 0]).astype(np.uint8)
    # A soft pixel may round to 255 over another: what is known is what is so in the joined matte.
    distance = transition_distance(transition_region(alpha)).astype(np.float32)
    return Layer(colours, alpha, distance)


def _tensor(pixels: NDArray[np.uint8]) -> Tensor:
    """(s, s) or (s, s, 3) as (c, s, s)."""
    return torch.from_numpy(pixels if pixels.ndim > 2 else pixels[..., None]).permute(2, 0, 1)
