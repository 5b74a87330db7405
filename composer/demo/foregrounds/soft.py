"""What has hardly an edge: sheer cloth, flames, bubbles, spray, clouds, soft shadows."""

import numpy as np

from ..drawing import Floats, Rng, floats, fractal_noise, grid, hsv, paint, ramp, smoothstep
from ..materials import material
from ..palettes import Palette
from ..strands import Strands, draw_strands

Shape = tuple[int, int]


def veil(rng: Rng, shape: Shape, palette: Palette) -> Floats:
    """Thin cloth in folds, denser where it is seen edge on; hem and threads. (h, w, 4)."""
    canvas = np.zeros((*shape, 4), dtype=np.float32)
    y, x = grid(shape)
    bend = fractal_noise(rng, shape, slope=2.6)
    phase = x * np.float32(rng.uniform(6, 40) / shape[1]) + np.float32(rng.uniform(0.3, 2)) * bend
    slant = np.abs(np.cos(phase))
    thin = np.float32(rng.uniform(0.08, 0.5))
    alpha = 1 - (1 - thin) ** (1 / np.maximum(slant, 0.12))
    size = np.float32(rng.uniform(2.5, 6))
    threads = 0.5 + 0.5 * np.sin(2 * np.pi * y / size) * np.sin(2 * np.pi * (x + 2 * bend) / size)
    alpha = alpha * (1 - np.float32(rng.choice([0, 0.3])) * threads)
    edge = (
        np.float32(0.3)
        * min(shape)
        * (1.2 + 0.5 * bend - np.hypot((y / shape[0] - 0.5) * 2.4, (x / shape[1] - 0.5) * 2.4))
    )
    alpha = np.maximum(alpha, 0.85 * smoothstep(3, 0, np.abs(edge - 3))) * np.clip(edge + 0.5, 0, 1)
    dye = material(rng, shape, palette) if rng.random() < 0.4 else palette.pick(rng)
    light = np.clip(0.85 + 0.3 * np.sin(phase + 0.8), 0, 1.15)
    paint(canvas, floats(np.clip(dye * light[..., None], 0, 1)), floats(np.clip(alpha, 0, 1)))
    return canvas


def flame(rng: Rng, shape: Shape, palette: Palette) -> Floats:
    """Fire, or coloured light: bright where it is dense, in tongues that thin out. (h, w, 4)."""
    canvas = np.zeros((*shape, 4), dtype=np.float32)
    y, x = grid(shape)
    risen = 1 - y / shape[0]
    twist = fractal_noise(rng, shape, slope=1.7, stretch=(2.5, 1))
    fine = fractal_noise(rng, shape, slope=1.3, stretch=(3, 1))
    off = (x / shape[1] - 0.5) * np.float32(rng.uniform(2.5, 6)) + 0.55 * twist * risen
    body = 1.25 - off**2 - 1.2 * np.maximum(risen - 0.15, 0) + 0.3 * fine * (0.4 + risen)
    density = np.maximum(body, 0) ** 1.5 * smoothstep(0, 0.06, risen)
    alpha = -np.expm1(-density * np.float32(rng.uniform(1.0, 3.5)))
    hue = 0.03 if rng.random() < 0.7 else rng.random()
    tones = [hsv(hue, 1, 0.55), hsv(hue + 0.03, 0.95, 0.95), hsv(hue + 0.09, 0.7, 1), hsv(hue + 0.12, 0.2, 1)]
    paint(canvas, ramp(np.stack(tones), alpha + 0.1 * fine), floats(alpha))
    return canvas


def bubbles(rng: Rng, shape: Shape, palette: Palette) -> Floats:
    """Clear balls with a coloured rim and highlights, small drops between them. (h, w, 4)."""
    canvas = np.zeros((*shape, 4), dtype=np.float32)
    y, x = grid(shape)
    for size in min(shape) * 0.3 * rng.power(0.8, int(rng.integers(4, 30))):
        radius = max(float(size), 3.0)
        top, left = rng.uniform(0.1, 0.9) * shape[0], rng.uniform(0.1, 0.9) * shape[1]
        rows = slice(max(int(top - radius - 2), 0), int(top + radius) + 3)
        columns = slice(max(int(left - radius - 2), 0), int(left + radius) + 3)
        v, u = (
            (y[rows] - np.float32(top)) / np.float32(radius),
            (x[:, columns] - np.float32(left)) / np.float32(radius),
        )
        off = np.hypot(v, u)
        cover = np.clip((1 - off) * radius + 0.5, 0, 1)
        rim = np.clip(off, 0, 1) ** rng.uniform(3, 9)
        spark = np.exp(-(((v + 0.45) ** 2 + (u + 0.35) ** 2) / 0.015)) + 0.5 * np.exp(
            -(((v - 0.5) ** 2 + (u - 0.3) ** 2) / 0.03)
        )
        alpha = np.clip(0.05 + 0.75 * rim + spark, 0, 1) * cover
        film = ramp(
            np.stack([hsv(rng.random(), 0.4, 1) for _ in range(4)]), 0.5 + 0.5 * np.sin(5 * v + 3 * u * off)
        )
        colour = film * (0.5 + 0.5 * rim)[..., None] * (palette.pick(rng) * 0.5 + 0.5) + spark[..., None]
        paint(canvas[rows, columns], floats(np.clip(colour, 0, 1)), floats(alpha))
    return canvas


def spray(rng: Rng, shape: Shape, palette: Palette) -> Floats:
    """Drops and dust that fly from a point, long ones that moved, mist around them. (h, w, 4)."""
    canvas = np.zeros((*shape, 4), dtype=np.float32)
    y, x = shape[0] * rng.uniform(0.5, 1.0), shape[1] * rng.uniform(0.2, 0.8)
    rows, columns = grid(shape)
    mist = np.exp(
        1.2 * fractal_noise(rng, shape, slope=1.5)
        - 5 * np.hypot((rows - y) / shape[0], (columns - x) / shape[1])
    )
    colour = palette.pick(rng) * 0.4 + 0.6 if rng.random() < 0.6 else palette.pick(rng)
    paint(
        canvas,
        np.clip(colour * (0.9 + 0.08 * fractal_noise(rng, shape, slope=1.0))[..., None], 0, 1),
        floats(-np.expm1(-0.6 * mist)),
    )
    count = int(rng.integers(300, 4000))
    away = rng.gamma(2.0, 0.16, count) * max(shape)
    angle = rng.normal(np.pi / 2, rng.uniform(0.4, 1.6), count)
    width = rng.pareto(2.0, count) * 0.7 + 0.4
    moved = rng.choice([0.0, 4.0, 20.0])
    drop = floats(np.clip(colour * rng.lognormal(0, 0.2, (count, 1)), 0, 1))
    draw_strands(
        rng,
        canvas,
        Strands(
            y=floats(y - away * np.sin(angle)),
            x=floats(x + away * np.cos(angle)),
            angle=floats(angle),
            length=floats(np.minimum(width, 9) + moved * rng.random(count)),
            bend=floats(np.zeros(count)),
            width=floats(np.minimum(width, 9)),
            root=drop,
            tip=drop,
            taper=0.5,
        ),
    )
    return canvas


def cloud(rng: Rng, shape: Shape, palette: Palette) -> Floats:
    """A heap of cloud, steam or wool, lit from one side. (h, w, 4)."""
    canvas = np.zeros((*shape, 4), dtype=np.float32)
    y, x = grid(shape)
    heap = fractal_noise(rng, shape, slope=rng.uniform(1.4, 2.0))
    off = np.hypot((y / shape[0] - 0.5) * 2.6, (x / shape[1] - 0.5) * 2.4)
    alpha = smoothstep(rng.uniform(-0.9, 0.0), rng.uniform(0.3, 1.4), 1 + 0.7 * heap - 1.6 * off)
    slope_y, slope_x = np.gradient(heap)
    light = (
        0.75 + 0.5 * np.tanh((slope_y * rng.uniform(0.3, 1) + slope_x * rng.normal()) * 12) * 0.4 + 0.1 * heap
    )
    tone = palette.pick(rng) * 0.3 + 0.7 if rng.random() < 0.6 else palette.pick(rng)
    paint(canvas, floats(np.clip(tone * light[..., None], 0, 1)), floats(alpha))
    return canvas


def shadow(rng: Rng, shape: Shape, palette: Palette) -> Floats:
    """A dark, soft shape, as a shadow on the ground or a thing far out of focus. (h, w, 4)."""
    canvas = np.zeros((*shape, 4), dtype=np.float32)
    y, x = grid(shape)
    edge = fractal_noise(rng, shape, slope=2.4)
    off = np.hypot((y / shape[0] - 0.5) * rng.uniform(2.2, 5), (x / shape[1] - 0.5) * 2.4) + 0.12 * edge
    alpha = np.float32(rng.uniform(0.4, 1.0)) * smoothstep(1.0, 1 - rng.uniform(0.1, 0.9), off)
    paint(canvas, palette.tones[0] * np.float32(rng.uniform(0.05, 1)), floats(alpha))
    return canvas
