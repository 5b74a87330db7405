"""Hair without a head: loose strands, locks, tassels, brushes, lashes, whiskers."""

import numpy as np

from ...drawing import Floats, Rng, floats, hsv
from ...palettes import Palette
from ...strands import Strands, draw_strands
from .heads import DYES


def wisps(rng: Rng, shape: tuple[int, int], palette: Palette) -> Floats:
    """One to thirty locks, each of a few or of hundreds of strands, from a border or a point. (h, w, 4)."""
    canvas = np.zeros((*shape, 4), dtype=np.float32)
    locks = int(np.exp(rng.uniform(0, np.log(30))))
    dye = floats(palette.pick(rng)) if rng.random() < 0.4 else hsv(*DYES[rng.integers(len(DYES))])
    each = float(np.exp(rng.uniform(np.log(4), np.log(min(400, 6000 / locks)))))
    way = rng.uniform(0, 2 * np.pi)
    from_point = rng.random() < 0.35
    for _ in range(locks):
        heading = rng.uniform(0, 2 * np.pi) if from_point else way + rng.normal(0, 0.35)
        draw_strands(rng, canvas, _lock(rng, shape, heading, max(int(each * rng.lognormal(0, 0.5)), 2), dye))
    return canvas


def _lock(rng: Rng, shape: tuple[int, int], heading: float, count: int, dye: Floats) -> Strands:
    """Strands that run side by side and part; the first of them start where the picture ends, or in it."""
    side = max(shape)
    length = side * rng.uniform(0.35, 1.0)
    spread = rng.uniform(0.003, 0.08) * side
    start = rng.uniform(0.15, 0.75) * length
    y = shape[0] * rng.uniform(0.3, 0.7) + start * np.sin(heading)
    x = shape[1] * rng.uniform(0.3, 0.7) - start * np.cos(heading)
    tone = rng.lognormal(0, 0.25, (count, 1)) * rng.lognormal(0, 0.2)
    bend = rng.normal(0, 0.8)
    return Strands(
        y=floats(y + rng.normal(0, spread, count)),
        x=floats(x + rng.normal(0, spread, count)),
        angle=floats(heading - bend / 2 + rng.normal(0, rng.uniform(0.01, 0.2), count)),
        length=floats(np.maximum(length * rng.lognormal(-0.1, 0.25, count), 3)),
        bend=floats(rng.normal(bend, rng.uniform(0.05, 0.6), count)),
        width=floats(rng.uniform(0.25, 1.3) * rng.uniform(0.6, 1.2, count)),
        root=floats(np.clip(dye * tone * 0.75, 0, 1)),
        tip=floats(np.clip(dye * tone * rng.uniform(0.9, 1.6), 0, 1)),
        curl=float(rng.choice([0, 0.1, 0.4])),
        turns=rng.uniform(1, 6),
        shine=rng.uniform(0, 0.5),
        taper=rng.uniform(0.2, 0.95),
    )
