"""Nets, meshes, fences, webs and wickerwork: hundreds of holes between threads of any width."""

from collections.abc import Callable

import numpy as np
from scipy.spatial import cKDTree

from ..drawing import Floats, Rng, floats, fractal_noise, grid, paint, smoothstep
from ..materials import material
from ..palettes import Palette
from ..strands import Strands, draw_strands
from .bodies import Part, any_light
from .things import thing

Distance = Callable[[Rng, Floats, Floats], Floats]


def net(rng: Rng, shape: tuple[int, int], palette: Palette) -> Floats:
    """A net over the picture, a sheet or a basket of it, things behind it at times. (h, w, 4)."""
    canvas = np.zeros((*shape, 4), dtype=np.float32)
    _put_behind(rng, canvas, palette)
    extent, edge, bulge = _extent(rng, shape)
    mesh = np.float32(np.exp(rng.uniform(np.log(5), np.log(48))))
    down, right = _sheet(rng, shape, bulge)
    off = _MESHES[rng.integers(len(_MESHES))](rng, down / mesh, right / mesh) * mesh
    uneven = 1 + 0.15 * fractal_noise(rng, shape, slope=1.2)
    half = floats(np.clip(rng.uniform(0.04, 0.2) * mesh, 0.35, 6) * uneven)
    thread = np.clip(half - off + 0.5, 0, 1) * np.minimum(2 * half, 1)
    rim = np.clip(edge - np.abs(extent - edge) + 0.5, 0, 1)
    tone = np.clip(1.1 - 0.6 * (off / half) ** 2, 0.3, 1.2) * (0.8 + 0.35 * bulge)
    tone = tone + 0.1 * fractal_noise(rng, shape, slope=1.0)
    yarn = material(rng, shape, palette) if rng.random() < 0.3 else palette.pick(rng) * np.ones((*shape, 1))
    shine = np.float32(rng.uniform(0, 0.5)) * smoothstep(0.6, 0, floats(off / half + 0.2)) * bulge
    colour = np.clip(yarn * tone[..., None] + shine[..., None], 0, 1)
    paint(canvas, floats(colour), floats(np.maximum(thread * np.clip(extent + 0.5, 0, 1), rim)))
    return canvas


def _put_behind(rng: Rng, canvas: Floats, palette: Palette) -> None:
    """Up to three things that are seen through the net."""
    light = any_light(rng, gloss=0.5)
    shape = canvas.shape[:2]
    for _ in range(int(rng.integers(0, 4))):
        size = min(shape) * rng.uniform(0.06, 0.2)
        y, x = (rng.uniform(0.3, 0.6) * side for side in shape)
        part = Part(y=y, x=x, tall=size * rng.uniform(1, 2.5), wide=size, turn=rng.normal(0, 0.3))
        thing(rng, canvas, part, light, palette)


def tangle(rng: Rng, shape: tuple[int, int], palette: Palette) -> Floats:
    """Wicker, ropes or wires: long bent tubes over and under one another, round or in the open. (h, w, 4)."""
    canvas = np.zeros((*shape, 4), dtype=np.float32)
    width = float(np.exp(rng.uniform(np.log(1.2), np.log(13))))
    count = int(np.clip(240 / width, 12, 90))
    ball = rng.random() < 0.6
    reach = min(shape) * rng.uniform(0.35, 0.47)
    tones = palette.dark_to_light(rng, 4)
    for number in range(count):
        start = rng.uniform(0, 2 * np.pi)
        length = reach * rng.uniform(1.0, 3.0)
        out = reach * (np.sqrt(rng.random()) if ball else rng.uniform(0, 1.4))
        way = rng.choice([-1, 1])
        bend = way * length / reach * rng.uniform(0.7, 1.4) if ball else rng.normal(0, 1.2)
        colour = floats(tones[rng.integers(4)] * (0.45 + 0.6 * number / count))[None]
        one = np.ones(1, dtype=np.float32)
        draw_strands(
            rng,
            canvas,
            Strands(
                y=one * np.float32(shape[0] / 2 + out * np.sin(start)),
                x=one * np.float32(shape[1] / 2 + out * np.cos(start)),
                angle=one * np.float32(way * np.pi / 2 - start + rng.normal(0, 0.3)),
                length=one * np.float32(length),
                bend=one * np.float32(bend),
                width=one * np.float32(width * rng.uniform(0.6, 1.3)),
                root=colour,
                tip=np.clip(colour * np.float32(rng.uniform(0.7, 1.3)), 0, 1),
                curl=rng.choice([0, 0.15, 0.4]),
                turns=rng.uniform(1, 4),
                taper=0.3,
                round=0.45,
                solid=True,
            ),
        )
    return canvas


def _extent(rng: Rng, shape: tuple[int, int]) -> tuple[Floats, float, Floats]:
    """How far inside the net's outline each pixel is, half the width of its rim, and how it bulges (h, w)."""
    y, x = (axis + 0 * other for axis, other in zip(grid(shape), grid(shape)[::-1], strict=True))
    across = (x - shape[1] * rng.uniform(0.4, 0.6)) / np.float32(shape[1] * rng.uniform(0.2, 0.5))
    down = (y - shape[0] * rng.uniform(0.45, 0.6)) / np.float32(shape[0] * rng.uniform(0.3, 0.48))
    kind = rng.choice(["all", "basket", "sheet", "round"])
    flat = np.ones(shape, dtype=np.float32)
    if kind == "all":
        return flat * 1e6, 0.0, flat
    edge = float(rng.choice([0.0, rng.uniform(1, 6)]))
    if kind == "basket":
        across = across / (1 - np.float32(rng.uniform(-0.1, 0.25)) * down)
        bulge = np.sqrt(np.clip(1 - across**2, 0.02, 1))
    else:
        bulge = np.clip(1 + 0.2 * fractal_noise(rng, shape, slope=2.2), 0.3, 1.2)
    off = np.hypot(across, down) if kind == "round" else np.maximum(np.abs(across), np.abs(down))
    return floats((1 - off) * 0.3 * min(shape)), edge, floats(bulge)


def _sheet(rng: Rng, shape: tuple[int, int], bulge: Floats) -> tuple[Floats, Floats]:
    """Rows and columns on the net, pulled out of shape; closer together where it turns away."""
    y, x = grid(shape)
    turn = rng.choice([0, np.pi / 4, rng.uniform(0, np.pi)])
    sine, cosine = np.float32(np.sin(turn)), np.float32(np.cos(turn))
    pull = np.float32(rng.choice([0, 4, 12]))
    down, right = (pull * fractal_noise(rng, shape, slope=2.5) for _ in range(2))
    squeezed = (x - shape[1] / 2) / np.clip(bulge, 0.35, 1)
    return y * cosine + squeezed * sine + down, squeezed * cosine - y * sine + right


def _squares(rng: Rng, y: Floats, x: Floats) -> Floats:
    flat = np.float32(rng.uniform(0.5, 1.5))
    return np.asarray(np.minimum(0.5 - np.abs(y % 1 - 0.5), (0.5 - np.abs(x * flat % 1 - 0.5)) / flat))


def _hexagons(rng: Rng, y: Floats, x: Floats) -> Floats:
    tall = np.float32(np.sqrt(3))
    first = np.hypot(x % 1 - 0.5, y % tall - tall / 2), np.abs(x % 1 - 0.5), np.abs(y % tall - tall / 2)
    moved_x, moved_y = (x - 0.5) % 1 - 0.5, (y - tall / 2) % tall - tall / 2
    nearer = first[0] < np.hypot(moved_x, moved_y)
    across, down = np.where(nearer, first[1], np.abs(moved_x)), np.where(nearer, first[2], np.abs(moved_y))
    return np.asarray(0.5 - np.maximum(across, 0.5 * across + tall / 2 * down))


def _bars(rng: Rng, y: Floats, x: Floats) -> Floats:
    """Upright bars, a cross bar now and then."""
    bar = (0.5 - np.abs(y / np.float32(rng.uniform(4, 12)) % 1 - 0.5)) * 4
    return np.asarray(np.minimum(0.5 - np.abs(x % 1 - 0.5), bar))


def _rings(rng: Rng, y: Floats, x: Floats) -> Floats:
    """Chain mail: rings that touch."""
    size = np.float32(rng.uniform(0.42, 0.5))
    return np.asarray(np.abs(np.hypot(y % 1 - 0.5, x % 1 - 0.5) - size + 0.06))


def _web(rng: Rng, y: Floats, x: Floats) -> Floats:
    """Threads between scattered points: where two of them are equally near."""
    low, high = (float(y.min()), float(x.min())), (float(y.max()), float(x.max()))
    count = int(np.clip((high[0] - low[0]) * (high[1] - low[1]) * 0.6, 6, 8000))
    points = rng.uniform(low, high, (count, 2))
    found = cKDTree(points).query(np.stack([y, x], axis=-1), k=2)
    distance, nearest = np.asarray(found[0]), np.asarray(found[1])
    apart = np.linalg.norm(points[nearest[..., 0]] - points[nearest[..., 1]], axis=-1)
    return floats((distance[..., 1] ** 2 - distance[..., 0] ** 2) / np.maximum(2 * apart, 1e-6))


_MESHES: tuple[Distance, ...] = (_squares, _squares, _hexagons, _bars, _rings, _web)
