"""Feathers: a shaft with barbs that part and fray; single ones, fans and down."""

from dataclasses import dataclass

import numpy as np

from ...drawing import Floats, Rng, floats, fractal_noise
from ...palettes import Palette
from ...strands import Strands, draw_strands


@dataclass(frozen=True, kw_only=True)
class Quill:
    """A feather's shaft from its root on, in pixels; `angle` as of strands, `bend` by the tip."""

    y: float
    x: float
    angle: float
    length: float
    bend: float


def feathers(rng: Rng, shape: tuple[int, int], palette: Palette) -> Floats:
    """One feather, some lying about, a fan or a boa of down. (h, w, 4)."""
    canvas = np.zeros((*shape, 4), dtype=np.float32)
    side = min(shape)
    kind = rng.choice(["one", "some", "fan", "down"])
    tones = palette.dark_to_light(rng, 3)
    if kind == "down":
        _boa(rng, canvas, tones)
    elif kind == "fan":
        y, x = shape[0] * rng.uniform(0.85, 1.05), shape[1] * rng.uniform(0.35, 0.65)
        count = int(rng.integers(6, 14))
        for angle in rng.permutation(np.linspace(0.35, np.pi - 0.35, count)):
            length, bend = shape[0] * rng.uniform(0.6, 0.85), rng.normal(0, 0.5)
            feather(rng, canvas, Quill(y=y, x=x, angle=angle, length=length, bend=bend), tones)
    else:
        for _ in range(1 if kind == "one" else int(rng.integers(2, 8))):
            length = side * (rng.uniform(0.7, 1.0) if kind == "one" else rng.uniform(0.3, 0.6))
            angle = rng.uniform(0, 2 * np.pi)
            place = rng.uniform(0.35, 0.65, 2) if kind == "one" else rng.uniform(0.2, 0.8, 2)
            y = shape[0] * place[0] + np.sin(angle) * length / 2
            x = shape[1] * place[1] - np.cos(angle) * length / 2
            quill = Quill(y=y, x=x, angle=angle, length=length, bend=rng.normal(0, 0.5))
            feather(rng, canvas, quill, tones)
    return canvas


def feather(rng: Rng, canvas: Floats, quill: Quill, tones: Floats) -> None:
    """One feather; its barbs lean towards the tip and part here and there."""
    angle, length, bend = quill.angle, quill.length, quill.bend
    wide = length * rng.uniform(0.08, 0.22)
    count = int(length * 2.2)
    t = np.sort(rng.uniform(0.12, 1, count))
    along = angle + bend * t
    steps = np.diff(t, prepend=0) * length
    y, x = quill.y - np.cumsum(np.sin(along) * steps), quill.x + np.cumsum(np.cos(along) * steps)
    bands = 0.5 + 0.5 * np.sin(t * rng.uniform(0, 60) + rng.uniform(0, 6)) * (rng.random() < 0.6)
    colour = tones[1] + (tones[2] - tones[0]) * (bands - 0.5)[:, None] * 0.8
    downy = np.clip((0.3 - t) / 0.15, 0, 1)
    parting = fractal_noise(rng, (2, 256), slope=1.2) * np.float32(rng.uniform(0.05, 0.35))
    for side in (0, 1):
        lean = rng.uniform(0.45, 0.9) * (1 - 0.4 * t) + 0.15 * parting[side][(t * 255).astype(np.intp)]
        lean = lean + downy * rng.normal(0, 0.5, count)
        profile = np.sin(np.pi * np.clip(t, 0, 1) ** 0.7) ** 0.6 * (1.0 if side else rng.uniform(0.5, 1))
        tone = rng.lognormal(0, 0.1, (count, 1)) * (0.9 + 0.2 * side)
        draw_strands(
            rng,
            canvas,
            Strands(
                y=floats(y),
                x=floats(x),
                angle=floats(along + (lean if side else -lean)),
                length=floats(np.maximum(wide * profile / np.sin(0.6) * rng.lognormal(0, 0.05, count), 2)),
                bend=floats(
                    (-0.5 if side else 0.5) * rng.uniform(0.4, 1.2) + downy * rng.normal(0, 1, count)
                ),
                width=floats(rng.uniform(0.5, 1.0, count) * (1 - 0.4 * downy)),
                root=floats(np.clip(colour * 0.85 * tone, 0, 1)),
                tip=floats(np.clip(colour * 1.1 * tone, 0, 1)),
                taper=0.6,
            ),
        )
    _shaft(rng, canvas, quill, tones[2])


def _shaft(rng: Rng, canvas: Floats, quill: Quill, colour: Floats) -> None:
    one = np.ones(1, dtype=np.float32)
    draw_strands(
        rng,
        canvas,
        Strands(
            y=one * np.float32(quill.y),
            x=one * np.float32(quill.x),
            angle=one * np.float32(quill.angle),
            length=one * np.float32(quill.length * 0.98),
            bend=one * np.float32(quill.bend),
            width=one * np.float32(max(quill.length / 110, 0.8)),
            root=floats(colour * 0.9)[None],
            tip=floats(colour * 0.7)[None],
            round=0.4,
            solid=True,
        ),
    )


def _boa(rng: Rng, canvas: Floats, tones: Floats) -> None:
    """Down along a winding line."""
    shape = canvas.shape
    knots = fractal_noise(rng, (2, 512), slope=1.9)
    t = np.linspace(0, 1, 512)
    y = shape[0] * (0.5 + 0.17 * knots[0] + 0.1 * (t - 0.5))
    x = shape[1] * (0.1 + 0.8 * t + 0.08 * knots[1])
    size = min(shape[:2]) * rng.uniform(0.06, 0.16)
    for layer in range(4):
        count = 3500
        at = rng.integers(0, 512, count)
        tone = rng.lognormal(0, 0.2, (count, 1)) * (0.6 + 0.15 * layer)
        draw_strands(
            rng,
            canvas,
            Strands(
                y=floats(y[at] + rng.normal(0, 0.2 * size, count)),
                x=floats(x[at] + rng.normal(0, 0.2 * size, count)),
                angle=floats(rng.uniform(0, 2 * np.pi, count)),
                length=floats(size * (1.2 - 0.2 * layer) * rng.lognormal(0, 0.3, count)),
                bend=floats(rng.normal(0, 1.0, count)),
                width=floats(rng.uniform(0.3, 0.9, count)),
                root=floats(np.clip(tones[1] * tone, 0, 1)),
                tip=floats(np.clip(tones[2] * tone, 0, 1)),
                curl=rng.choice([0, 0.8]),
            ),
        )
