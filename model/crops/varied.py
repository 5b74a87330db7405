"""A varied crop: layers from one shard or several, over a background, with a trimap drawn for them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...composer.pixels.composition import composite
from ...composer.pixels.trimap import transition_distance, transition_region
from ...composer.shards.reader import Shard
from .appearance import recoloured, worn
from .backgrounds import BackgroundFinder
from .layers import Layer, Square, draw_place
from .reading import NOTHING, Backgrounds, Crop, CropConfig
from .trimaps import draw_radii, draw_trimap


def read_varied(
    opened: Callable[[], Shard],
    i: int,
    config: CropConfig,
    finder: BackgroundFinder,
    draw: np.random.Generator,
) -> Crop:
    """The crop of composite `i` of a shard, varied as `config` says and `draw` draws. Raises ShardError.

    opened: gives the shard, opened; others are opened on the way, and only so many stay open.
    """
    variation = config.variation
    square = _around_a_transition(opened(), config, draw)
    layer = _perhaps_joined(square.layer(), config, finder, draw)
    background, search = None, Backgrounds()
    if draw.random() < variation.recompose:
        background, search = finder.find(layer.alpha < 255, draw)
    if background is None:
        square.shard = opened()
        background = square.backdrop(i)
    if variation.colour:
        layer, background = recoloured(layer, background, variation.colour, draw)
    radii = draw_radii(config.radii, variation, draw)
    uneven = bool(draw.random() < variation.uneven)
    trimap = draw_trimap(layer.alpha, layer.distance, radii, draw, uneven=uneven)
    image = composite(layer.colours, layer.alpha, background)
    seen = worn(image, variation, draw) if variation.wears else image
    return Crop(
        image=_tensor(seen),
        trimap=_tensor(trimap),
        alpha=_tensor(layer.alpha),
        foreground=_tensor(layer.colours) if config.colours else NOTHING,
        background=_tensor(background) if config.colours else NOTHING,
        composite=_tensor(image) if config.colours and variation.wears else NOTHING,
        skipped=[],
        backgrounds=search,
    )


def _around_a_transition(shard: Shard, config: CropConfig, draw: np.random.Generator) -> Square:
    center = shard.center(int(draw.integers(shard.center_count)))
    return Square(shard, draw_place(shard.shape, center, config, config.variation.turn, draw))


def _perhaps_joined(
    layer: Layer, config: CropConfig, finder: BackgroundFinder, draw: np.random.Generator
) -> Layer:
    """With another foreground behind it, unless it is not drawn or would leave too little to learn."""
    if draw.random() >= config.variation.join:
        return layer
    other, _ = finder.others(draw)
    both = joined(layer, _around_a_transition(other, config, draw).layer())
    return both if _teaches(both, layer) else layer


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
