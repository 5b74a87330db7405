"""The demo's lace: net, flowers and scallops of thin thread, as a curtain or a doily."""

from typing import NamedTuple

import numpy as np

from ..drawing import Floats, Rng, floats, fractal_noise, grid, hsv, paint, smoothstep


class Cloth(NamedTuple):
    """Where each pixel lies on the cloth, in meshes of the net: (h, w) each."""

    along: Floats
    down: Floats  # from the lower edge upwards
    pixels: Floats  # how many pixels a mesh is wide there
    light: Floats  # how bright its folds are there
    hub: tuple[Floats, Floats] | None = None  # y, x from the middle of a round cloth, in radii of its hub


def curtain(rng: Rng, shape: tuple[int, int]) -> Floats:
    """A lace curtain: hundreds of holes, threads one to three pixels thin. (h, w, 4)."""
    return _work(rng, _hang(rng, shape))


def doily(rng: Rng, shape: tuple[int, int]) -> Floats:
    """A round lace mat, its meshes ever smaller towards the middle. (h, w, 4)."""
    return _work(rng, _spread(rng, shape))


def _work(rng: Rng, cloth: Cloth) -> Floats:
    petals, pointed = int(rng.integers(5, 9)), rng.uniform(0.3, 0.45)
    thread = np.maximum(_net(cloth), _flowers(cloth, petals, pointed))
    thread = _border(cloth, thread)
    if cloth.hub is not None:
        thread = _hub(cloth.hub, thread, 2 * petals)
    shape = thread.shape[0], thread.shape[1]
    yarn = hsv(rng.choice([0.1, 0.12, 0.6, 0.95]), rng.uniform(0.02, 0.14), rng.uniform(0.9, 1.0))
    fibre = 1 + 0.04 * fractal_noise(rng, shape, slope=0.4)
    tone = cloth.light * fibre * (0.84 + 0.16 * thread)
    canvas = np.zeros((*shape, 4), dtype=np.float32)
    paint(canvas, np.clip(tone, 0, 1)[..., None] * yarn, floats(np.clip(thread, 0, 1)))
    return canvas


def _hang(rng: Rng, shape: tuple[int, int]) -> Cloth:
    """In folds, from the upper border; where a fold turns away its meshes are seen narrower."""
    side = max(shape)
    y, x = (axis / side for axis in grid(shape))
    mesh = 1 / rng.uniform(38, 52)
    bend = 0.25 * fractal_noise(rng, shape, slope=3.0)
    phase = x * rng.uniform(22, 32) + bend * 2 + rng.uniform(0, 6.28)
    depth = 0.4 * (0.6 + 0.4 * y)
    along = (x + depth * np.sin(phase) / 27) / mesh  # 27: about as fast as `phase` goes
    hem = 0.93 * shape[0] / side + 0.006 * np.cos(phase) + 0 * x
    light = 0.86 + 0.13 * np.cos(phase - 0.9)
    pixels = side * mesh / (1 + depth * np.abs(np.cos(phase)))
    return Cloth(along, (hem - y) / mesh, pixels, light)


def _spread(rng: Rng, shape: tuple[int, int]) -> Cloth:
    """Round and flat: the net in log-polar coordinates, a conformal map, so that meshes stay regular."""
    y, x = grid(shape)
    y, x = y - shape[0] * 0.5, x - shape[1] * 0.5
    y = y / rng.uniform(0.8, 1)
    reach = 0.47 * min(shape)
    radius = np.maximum(np.hypot(y, x), 0.5)
    meshes = 14 * int(rng.integers(7, 10))
    along = np.arctan2(y, x) * (meshes / (2 * np.pi))
    down = np.log(reach / radius) * (meshes / (2 * np.pi))
    light = 0.9 + 0.04 * fractal_noise(rng, shape, slope=2.0) - 0.08 * (x + y) / reach
    hub = 0.23 * reach
    return Cloth(along, down, 2 * np.pi * radius / meshes, light, (y / hub, x / hub))


def _line(distance: Floats, half: float, pixels: Floats) -> Floats:
    """Thread of half-width `half` where `distance` (meshes) is 0, anti-aliased: coverage 0 to 1."""
    return np.asarray(np.clip((half - distance) * pixels + 0.5, 0, 1) * np.minimum(2 * half * pixels, 1))


def _net(cloth: Cloth) -> Floats:
    """Hexagonal net: threads half-way between the nearest two points of a triangular lattice."""
    tall = np.sqrt(3, dtype=np.float32)
    first = cloth.along % 1 - 0.5, cloth.down % tall - tall / 2
    second = (cloth.along - 0.5) % 1 - 0.5, (cloth.down - tall / 2) % tall - tall / 2
    nearer = np.hypot(*first) < np.hypot(*second)
    x, y = np.abs(np.where(nearer, first[0], second[0])), np.abs(np.where(nearer, first[1], second[1]))
    return _line(0.5 - np.maximum(x, 0.5 * x + tall / 2 * y), 0.07, cloth.pixels)


def _flowers(cloth: Cloth, petals: int, pointed: float) -> Floats:
    """Flowers in staggered rows above the border."""
    row = np.floor((cloth.down - 4) / 7)
    x = (cloth.along + 3.5 * (row % 2)) % 7 - 3.5
    y = (cloth.down - 4) % 7 - 3.5
    return _flower(y, x, cloth.pixels, petals, pointed) * (row >= 0)


def _flower(y: Floats, x: Floats, pixels: Floats, petals: int, pointed: float) -> Floats:
    """One flower of radius 3: dense petals with a thick outline and a vein, a ring in the middle."""
    radius, angle = np.hypot(x, y), np.arctan2(x, y)
    wave = np.abs(np.cos(angle * petals / 2))
    edge = 2.9 * (pointed + (1 - pointed) * wave**0.7) - radius
    stitches = 0.62 + 0.2 * np.cos(radius * 9) * smoothstep(0.3, 1.0, radius)
    petal = stitches * np.clip(edge * pixels * 0.6, 0, 1)
    from_vein = np.abs(np.sin(angle * petals / 2)) * radius / petals * 2
    vein = _line(from_vein, 0.08, pixels) * (edge > 0.5) * (radius > 0.8)
    outline = np.maximum(_line(np.abs(edge) * 0.75, 0.17, pixels), vein)
    ring = _line(np.abs(radius - 0.75), 0.15, pixels)
    return np.asarray(np.maximum(np.maximum(petal, outline) * (radius >= 0.62), ring))


def _hub(place: tuple[Floats, Floats], thread: Floats, petals: int) -> Floats:
    """The middle of a round cloth: one large flower within two rings, where meshes would get too small."""
    radius = np.hypot(*place)
    pixels = np.full_like(radius, 1 / (3.3 * np.diff(place[1], axis=1).max()))
    flower = _flower(place[0] * 3.3, place[1] * 3.3, pixels, petals, 0.75)
    outer, inner = (_line(np.abs(radius - at) * 3.3, half, pixels) for at, half in ((1, 0.22), (0.9, 0.1)))
    return np.asarray(np.maximum.reduce([np.where(radius < 1, flower, thread), outer, inner]))


def _border(cloth: Cloth, thread: Floats) -> Floats:
    """A scalloped lower edge: two bands, a row of eyelets between them, picots outside."""
    scallop = cloth.down - 1.0 + 0.9 * np.abs(np.sin(cloth.along * np.pi / 7))
    inside = np.clip((scallop - 0.6) * cloth.pixels + 0.5, 0, 1)
    eyelet = np.hypot(cloth.along % 1 - 0.5, scallop - 1.5)
    filled = np.clip((eyelet - 0.3) * cloth.pixels + 0.5, 0, 1) * (np.abs(scallop - 1.5) < 0.75) * 0.9
    low, high = (_line(np.abs(scallop - level), 0.16, cloth.pixels) for level in (0.75, 2.25))
    picot = np.hypot(cloth.along * 2 % 1 - 0.5, (scallop - 0.3) * 2) * 0.5
    loops = _line(np.abs(picot - 0.16), 0.06, cloth.pixels)
    return np.asarray(np.maximum(np.maximum.reduce([thread, filled, low, high]) * inside, loops))
