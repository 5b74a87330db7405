"""What stands behind a subject: places, walls, studios, heaps of things, from sharp to far out of focus."""

from collections.abc import Callable

import numpy as np

from ..camera import defocus
from ..drawing import Floats, Rng, floats, fractal_noise, grid, ramp
from ..foregrounds.creatures.plush import plush
from ..foregrounds.kinds import Kind
from ..foregrounds.nets import net
from ..foregrounds.plants import fern, flowers, grass, twigs
from ..foregrounds.soft import shadow
from ..foregrounds.things import banner, things
from ..materials import material
from ..palettes import Palette
from .scenes import city, forest, hills, room, sea
from .surfaces import bricks, clutter, garden, heap, lights, pebbles, planks, stone

Shape = tuple[int, int]
Setting = Callable[[Rng, Shape, Palette], Floats]
_PLACES = (hills, bricks, garden, room, stone, sea, clutter, planks, forest, lights, city, pebbles)
_ACTORS: tuple[Kind, ...] = (things, things, things, plush, twigs, grass, fern, flowers, banner, net)


def place(rng: Rng, shape: Shape, palette: Palette) -> Floats:
    """One of the demo's scenes, in its own colours."""
    return _PLACES[rng.integers(len(_PLACES))](rng, shape)


def wall(rng: Rng, shape: Shape, palette: Palette) -> Floats:
    """A surface of one material, or of two that meet, with light across it."""
    image = material(rng, shape, palette)
    if rng.random() < 0.5:
        y, x = grid(shape)
        edge = np.clip(
            (y - shape[0] * rng.uniform(0.3, 0.8)) + (x - shape[1] / 2) * rng.normal(0, 0.2) + 0.5, 0, 1
        )[..., None]
        image = image * (1 - edge) + material(rng, shape, palette) * edge
    return image * _light(rng, shape)[..., None]


def studio(rng: Rng, shape: Shape, palette: Palette) -> Floats:
    """A backdrop: one colour that runs into another, hardly any detail."""
    y, x = grid(shape)
    way = (y / shape[0] - 0.5) * rng.normal() + (x / shape[1] - 0.5) * rng.normal()
    spot = np.exp(
        -(((y / shape[0] - rng.random()) ** 2 + (x / shape[1] - rng.random()) ** 2) / rng.uniform(0.1, 0.6))
    )
    tones = palette.dark_to_light(rng, 3)
    image = ramp(tones, 0.4 + 0.4 * way + 0.35 * spot + 0.02 * fractal_noise(rng, shape, slope=1.6))
    if rng.random() < 0.3:  # a chroma screen
        image = floats(palette.accent) * (0.75 + 0.3 * spot)[..., None]
    return image


def leaves(rng: Rng, shape: Shape, palette: Palette) -> Floats:
    """Things of every size that hide one another."""
    colours = [palette.pick(rng) for _ in range(9)]
    return heap(rng, shape, colours, least=rng.uniform(0.013, 0.05), boxes=rng.random())


def scene(rng: Rng, shape: Shape, palette: Palette) -> Floats:
    """A place, a wall or a studio with things, plants or toys that stand about in it."""
    behind = (place, wall, studio, leaves)[rng.integers(4)]
    image = behind(rng, shape, palette)
    for _ in range(int(rng.integers(1, 4))):
        layer = _ACTORS[rng.integers(len(_ACTORS))](rng, shape, palette)
        down, right = (int(rng.integers(-side // 3, side // 3 + 1)) for side in shape)
        layer = np.roll(layer, (down, right), (0, 1))
        if rng.random() < 0.5:
            layer = defocus(layer, rng.uniform(1, 9))
        image = layer[..., :3] + image * (1 - layer[..., 3:])
    return image


def _light(rng: Rng, shape: Shape) -> Floats:
    """Light that falls off, in patches and stripes at times: (h, w) about 1."""
    y, x = grid(shape)
    light = 1 + 0.25 * rng.normal() * (y / shape[0] - 0.5) + 0.25 * rng.normal() * (x / shape[1] - 0.5)
    light = light + np.float32(rng.uniform(0, 0.12)) * fractal_noise(rng, shape, slope=2.0)
    if rng.random() < 0.25:
        blinds = np.sin((y + x * rng.normal(0, 0.6)) * np.float32(rng.uniform(10, 60) / shape[0]))
        light = light * (0.8 + 0.2 * np.tanh(3 * blinds))
    return floats(np.clip(light, 0.2, 1.6))


SETTINGS: dict[str, tuple[Setting, float]] = {
    "place": (place, 24),
    "wall": (wall, 16),
    "studio": (studio, 10),
    "leaves": (leaves, 12),
    "scene": (scene, 38),
}
"""Name -> what draws it, and its share of the whole in hundredths."""


def background(rng: Rng, shape: Shape, palette: Palette, setting: Setting) -> Floats:
    """A setting as a lens sees it: (h, w, 3). Bright points grow when they are out of focus."""
    image = np.clip(setting(rng, shape, palette), 0, 1)
    for _ in range(int(rng.choice([0, 0, 1, 2]))):
        dark = np.roll(shadow(rng, shape, palette), int(rng.integers(shape[1])), 1)[..., 3:]
        image = image * (1 - 0.45 * dark)
    radius = rng.choice(
        [0.0, 0.0, 0.0, rng.uniform(0.5, 2.5), rng.uniform(2, 8), rng.uniform(8, 0.06 * max(shape) + 9)]
    )
    blurred = defocus(floats(image) ** 3, radius) if radius else floats(image) ** 3
    return floats(np.cbrt(np.maximum(blurred, 0)))
