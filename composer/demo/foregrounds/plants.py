"""Plants: grass, flowers, bare twigs, ferns, thistles; boughs are in solids."""

import numpy as np

from ..drawing import Floats, Rng, floats, fractal_noise, hsv
from ..materials import material, mottled
from ..palettes import Palette
from ..strands import Strands, draw_strands
from .bodies import Light, Part, any_light, cast_shadow, paint_part
from .solids import Twig, leaf

Shape = tuple[int, int]
GREENS = ((0.2, 0.34), (0.4, 0.8), (0.25, 0.7))  # hue, saturation, value


def green(rng: Rng) -> Floats:
    """A leaf's colour, (3,)."""
    return hsv(*(rng.uniform(*limits) for limits in GREENS))


def grass(rng: Rng, shape: Shape, palette: Palette) -> Floats:
    """Blades from the lower border upwards, the far ones darker. (h, w, 4)."""
    canvas = np.zeros((*shape, 4), dtype=np.float32)
    tone = green(rng) if rng.random() < 0.7 else palette.pick(rng)
    width, tall = np.exp(rng.uniform(np.log(0.8), np.log(9))), shape[0] * rng.uniform(0.35, 0.85)
    count = int(np.clip(shape[1] / width * rng.uniform(0.5, 3), 20, 1500))
    spread, lean = rng.uniform(0.05, 0.35), rng.normal(0, 0.2)
    for depth in np.linspace(0.45, 1, 8):
        some = max(count // 8, 3)
        shade = depth * rng.lognormal(0, 0.15, (some, 1)) * rng.normal(1, 0.06, (some, 3))
        draw_strands(
            rng,
            canvas,
            Strands(
                y=floats(shape[0] * rng.uniform(0.92, 1.08, some)),
                x=floats(shape[1] * rng.uniform(-0.05, 1.05, some)),
                angle=floats(rng.normal(np.pi / 2 + lean, spread, some)),
                length=floats(tall * rng.lognormal(0, 0.3, some) * (1.2 - 0.3 * depth)),
                bend=floats(rng.normal(lean * 2, 4 * spread, some)),
                width=floats(width * rng.uniform(0.5, 1.3, some)),
                root=floats(np.clip(tone * shade * 0.55, 0, 1)),
                tip=floats(np.clip(tone * shade * 1.3, 0, 1)),
                round=rng.uniform(0, 0.5),
                taper=0.95,
                solid=width > 1.5,
            ),
        )
    return canvas


def flowers(rng: Rng, shape: Shape, palette: Palette) -> Floats:
    """One large flower or a bunch with stems and leaves. (h, w, 4)."""
    canvas = np.zeros((*shape, 4), dtype=np.float32)
    light = any_light(rng)
    count = int(rng.choice([1, 3, 7]))
    size = min(shape) * (0.42 if count == 1 else 0.5 / np.sqrt(count) * rng.uniform(0.7, 1))
    foot = shape[0] * 1.02, shape[1] * rng.uniform(0.4, 0.6)
    heads = [
        (shape[0] * rng.uniform(0.2, 0.6), shape[1] * rng.uniform(0.2, 0.8))
        if count > 1
        else (0.45 * shape[0], 0.5 * shape[1])
        for _ in range(count)
    ]
    tone = green(rng)
    for y, x in heads:
        _stem(rng, canvas, foot, (y, x), tone)
    dye = palette.dark_to_light(rng, 2)
    for y, x in heads:
        _flower(rng, canvas, Part(y=y, x=x, tall=size, wide=size * rng.uniform(0.7, 1.1)), dye, light)
    return canvas


def _stem(
    rng: Rng, canvas: Floats, foot: tuple[float, float], head: tuple[float, float], tone: Floats
) -> None:
    """A stem from `foot` to `head` with some leaves."""
    down, right = foot[0] - head[0], head[1] - foot[1]
    length, angle = float(np.hypot(down, right)), float(np.arctan2(down, right))
    bend = rng.normal(0, 0.3)
    one = np.ones(1, dtype=np.float32)
    draw_strands(
        rng,
        canvas,
        Strands(
            y=one * np.float32(foot[0]),
            x=one * np.float32(foot[1]),
            angle=one * np.float32(angle - bend / 2),
            length=one * np.float32(length),
            bend=one * np.float32(bend),
            width=one * np.float32(rng.uniform(2, 6)),
            root=(tone * np.float32(0.6))[None],
            tip=tone[None],
            round=0.5,
            taper=0.3,
            solid=True,
        ),
    )
    twig = Twig(foot[0], foot[1], angle, length, 3.0, 1.0)
    for place in rng.uniform(0.1, 0.9, int(rng.integers(2, 9))):
        leaf(
            rng,
            canvas,
            twig,
            place,
            tone * np.float32(rng.uniform(0.6, 1.2)),
            length=rng.uniform(0.1, 0.3) * min(canvas.shape[:2]),
        )


def _flower(rng: Rng, canvas: Floats, part: Part, dye: Floats, light: Light) -> None:
    """Rings of petals, the inner ones over the outer, and a middle with dots."""
    shape = canvas.shape[0], canvas.shape[1]
    streaks = material(rng, shape, Palette(tones=dye, accent=dye[0]), mottled)
    rings, petals = int(rng.integers(1, 5)), int(rng.integers(5, 26))
    slim, soft = rng.uniform(0.8, 1.6) * np.pi / petals, rng.choice([0.5, 0.5, 1.5])
    for ring in range(rings):
        reach = 1 - 0.22 * ring
        for number in range(petals):
            angle = 2 * np.pi * (number + 0.5 * ring) / petals + rng.normal(0, 0.08)
            long = reach * rng.uniform(0.85, 1.05)
            place = {
                "y": part.y - 0.55 * long * part.tall * np.sin(angle),
                "x": part.x + 0.55 * long * part.wide * np.cos(angle),
            }
            petal = Part(
                **place, tall=max(0.6 * slim * long * part.tall, 2), wide=0.45 * long * part.wide, turn=angle
            )
            cast_shadow(canvas, petal, light, 0.3)
            paint_part(rng, canvas, petal, streaks * np.float32(rng.uniform(0.75, 1.1)), light, soft=soft)
    middle = part.wide * rng.uniform(0.12, 0.3)
    dots = 1 + 0.35 * np.sign(fractal_noise(rng, shape, slope=0.2))
    paint_part(
        rng,
        canvas,
        Part(y=part.y, x=part.x, tall=middle, wide=middle),
        hsv(0.12, 0.8, 0.7) * dots[..., None],
        light,
    )


def thistle(rng: Rng, shape: Shape, palette: Palette) -> Floats:
    """A ball of spines, threads or seeds that fly, on a stem. (h, w, 4)."""
    canvas = np.zeros((*shape, 4), dtype=np.float32)
    y, x = shape[0] * rng.uniform(0.35, 0.5), shape[1] * rng.uniform(0.4, 0.6)
    _stem(rng, canvas, (shape[0] * 1.02, shape[1] / 2), (y, x), green(rng))
    size = min(shape) * rng.uniform(0.12, 0.3)
    light = any_light(rng)
    ball = Part(y=y, x=x, tall=size, wide=size * rng.uniform(0.8, 1.2))
    paint_part(rng, canvas, ball, material(rng, shape, palette), light)
    count, tones = int(rng.integers(200, 3000)), palette.dark_to_light(rng, 2)
    opening = rng.choice([np.pi, 1.0])
    around = rng.uniform(-opening, opening, count) + np.pi / 2
    out = np.sqrt(rng.random(count))
    shade = rng.lognormal(0, 0.2, (count, 1))
    draw_strands(
        rng,
        canvas,
        Strands(
            y=floats(y - out * size * np.sin(around)),
            x=floats(x + out * size * np.cos(around)),
            angle=floats(around + rng.normal(0, 0.25, count)),
            length=floats(size * rng.uniform(0.4, 1.1) * (0.4 + 0.6 * out) * rng.lognormal(0, 0.2, count)),
            bend=floats(rng.normal(0, 0.5, count)),
            width=floats(rng.uniform(0.5, 2.4) * rng.uniform(0.7, 1.2, count)),
            root=floats(np.clip(tones[0] * shade, 0, 1)),
            tip=floats(np.clip(tones[1] * shade, 0, 1)),
            curl=rng.choice([0, 0.5, 1.5]),
            taper=rng.uniform(-0.3, 0.9),
        ),
    )
    return canvas


def twigs(rng: Rng, shape: Shape, palette: Palette) -> Floats:
    """A bare shrub, a root or coral: it forks until it is as thin as thread. (h, w, 4)."""
    canvas = np.zeros((*shape, 4), dtype=np.float32)
    tone = (
        hsv(rng.uniform(0.03, 0.12), rng.uniform(0.1, 0.6), rng.uniform(0.2, 0.7))
        if rng.random() < 0.7
        else palette.pick(rng)
    )
    width = min(shape) * rng.uniform(0.008, 0.05)
    level = [(shape[0] * 1.02, shape[1] * rng.uniform(0.35, 0.65), np.pi / 2 + rng.normal(0, 0.2), width)]
    spread, leaves = rng.uniform(0.3, 0.8), rng.random() < 0.4
    for _ in range(9):
        if not level:
            break
        y, x, angle, thick = (floats(column) for column in zip(*level, strict=True))
        count = len(level)
        length = floats(
            np.clip(thick * rng.uniform(6, 12) + 14, 12, 0.3 * min(shape)) * rng.lognormal(0, 0.3, count)
        )
        bend = floats(rng.normal(0, 0.35, count))
        shade = rng.lognormal(0, 0.15, (count, 1))
        draw_strands(
            rng,
            canvas,
            Strands(
                y=y, x=x, angle=angle, length=length, bend=bend, width=thick,
                root=floats(np.clip(tone * shade, 0, 1)), tip=floats(np.clip(tone * shade * 1.1, 0, 1)),
                round=0.5, taper=0.35, solid=True,
            ),
        )  # fmt: skip
        end_y = y - length * np.sin(angle + bend / 2) * (1 - bend**2 / 24)
        end_x = x + length * np.cos(angle + bend / 2) * (1 - bend**2 / 24)
        level = []
        for k in range(count):
            for _ in range(int(rng.choice([1, 2, 2, 3])) if thick[k] > 0.5 and count < 900 else 0):
                turn = angle[k] + bend[k] + rng.normal(0, spread)
                level.append((end_y[k], end_x[k], turn, thick[k] * rng.uniform(0.5, 0.8)))
            if leaves and thick[k] < 3 and rng.random() < 0.3:
                twig = Twig(float(end_y[k]), float(end_x[k]), float(angle[k]), 1.0, 1.0, 1.0)
                leaf(rng, canvas, twig, 0.5, green(rng), length=rng.uniform(10, 30))
    return canvas


def fern(rng: Rng, shape: Shape, palette: Palette) -> Floats:
    """Fronds, palm leaves or needles: rows of slim leaflets along bent stems. (h, w, 4)."""
    canvas = np.zeros((*shape, 4), dtype=np.float32)
    tone = green(rng) if rng.random() < 0.8 else palette.pick(rng)
    width, per_pixel = np.exp(rng.uniform(np.log(0.8), np.log(7))), rng.uniform(0.5, 1.6)
    for depth in np.linspace(0.6, 1.1, int(rng.integers(2, 9))):
        length = shape[0] * rng.uniform(0.6, 1.0)
        root, angle, bend = (
            (shape[0] * 1.0, shape[1] * rng.uniform(0.35, 0.65)),
            np.pi / 2 + rng.normal(0, 0.5),
            rng.normal(0, 0.9),
        )
        count = max(int(length * 0.85 / width * per_pixel), 8)
        t = np.sort(rng.uniform(0.12, 1, count))
        along, steps = angle + bend * t, np.diff(t, prepend=0) * length
        side = rng.choice([-1.0, 1.0], count)
        shade = depth * rng.lognormal(0, 0.12, (count, 1))
        draw_strands(
            rng,
            canvas,
            Strands(
                y=floats(root[0] - np.cumsum(np.sin(along) * steps)),
                x=floats(root[1] + np.cumsum(np.cos(along) * steps)),
                angle=floats(along + side * rng.uniform(0.6, 1.1)),
                length=floats(length * 0.28 * (1.05 - t) * rng.lognormal(0, 0.1, count) + 3),
                bend=floats(-side * rng.uniform(0, 0.8)),
                width=floats(width * rng.uniform(0.7, 1.1, count)),
                root=floats(np.clip(tone * shade * 0.8, 0, 1)),
                tip=floats(np.clip(tone * shade * 1.15, 0, 1)),
                round=0.35,
                solid=width > 1.5,
            ),
        )
    return canvas
