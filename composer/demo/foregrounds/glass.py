"""The demo's glass: vessels turned on a lathe, seen a little from above.

Lengths are in heights of the vessel; `down` starts at the rim, `right` at the axis.
"""

from typing import NamedTuple

import numpy as np
from scipy.interpolate import PchipInterpolator

from ..drawing import Floats, Rng, fractal_noise, grid, hsv, paint, ramp, smoothstep

TILT = 0.11  # height by width of a level circle
WALL = 0.028  # thickness of the glass


class Vessel(NamedTuple):
    """One design."""

    outline: tuple[tuple[float, float], ...]  # (down, radius)
    bottom: float  # where its inside ends
    level: float  # how far down a drink begins


VESSELS = (
    Vessel(
        (
            *((0, 0.25), (0.06, 0.272), (0.2, 0.3), (0.32, 0.275), (0.42, 0.17), (0.475, 0.05)),
            *((0.52, 0.026), (0.72, 0.02), (0.88, 0.026), (0.945, 0.05), (0.985, 0.16), (1, 0.235)),
        ),
        bottom=0.46,
        level=0.17,
    ),
    Vessel(
        (
            *((0, 0.19), (0.05, 0.165), (0.14, 0.14), (0.25, 0.15), (0.45, 0.25), (0.62, 0.29)),
            *((0.8, 0.25), (0.93, 0.18), (1, 0.19)),
        ),
        bottom=0.9,
        level=0.4,
    ),
    Vessel(((0, 0.33), (0.5, 0.3), (0.92, 0.265), (0.98, 0.255), (1, 0.235)), bottom=0.91, level=0.3),
    Vessel(
        (
            *((0, 0.12), (0.03, 0.1), (0.08, 0.085), (0.25, 0.085), (0.34, 0.12), (0.46, 0.25)),
            *((0.62, 0.29), (0.9, 0.285), (0.97, 0.27), (1, 0.24)),
        ),
        bottom=0.94,
        level=0.55,
    ),
)


class Turned(NamedTuple):
    """A vessel standing in the image, by pixel."""

    vessel: Vessel
    tall: float  # pixels
    right: Floats  # (1, w)
    down: Floats  # (h, 1)
    radius: Floats  # (h, 1)
    across: Floats  # (h, w) 0 on the axis, -1 and 1 at the silhouette
    facing: Floats  # (h, w) cosine between the view and the surface's normal
    around: Floats  # (h, w) how much lower a level circle is seen where it is near us; 0 at the silhouette

    def disc(self, level: float, radius: float) -> Floats:
        """Distance to the edge of a level circle, in pixels, positive inside: (h, w)."""
        x, y = self.right / radius, (self.down - level) / (radius * TILT)
        reach = np.hypot(x, y)
        steep = np.hypot(x, y / TILT) / np.maximum(reach, 1e-3)
        return np.asarray((1 - reach) * (radius * self.tall) / np.maximum(steep, 1))

    def rim(self) -> tuple[tuple[float, float], ...]:
        """Depth and radius of the two level circles that end the vessel."""
        return self.vessel.outline[0], self.vessel.outline[-1]


def glass(rng: Rng, shape: tuple[int, int]) -> Floats:
    """A drinking glass, vase or carafe: clear in the middle, opaque at its edges, shiny. (h, w, 4)."""
    turned = _stand(rng, shape)
    room = np.tanh(fractal_noise(rng, (1, 1024), slope=1.6)[0])  # brightness that is seen once round
    canvas = np.zeros((*shape, 4), dtype=np.float32)
    _wall(rng, canvas, turned, room)
    if rng.random() < 0.7:
        _drink(rng, canvas, turned)
    _rings(canvas, turned, room)
    _window(canvas, turned)
    return canvas


def _stand(rng: Rng, shape: tuple[int, int]) -> Turned:
    """Put one of the designs upright into the middle of the image."""
    vessel = VESSELS[rng.integers(len(VESSELS))]
    tall = 0.9 * min(shape[0], shape[1] / 0.72)
    y, x = grid(shape)
    right = (x - np.float32(shape[1] * rng.uniform(0.46, 0.54))) / np.float32(tall)
    down = (y - np.float32((shape[0] - tall) / 2)) / np.float32(tall)
    outline = PchipInterpolator(*np.array(vessel.outline).T)
    level = np.clip(down, 0, 1)
    radius = outline(level).astype(np.float32)
    across = right / radius
    round_about = np.sqrt(np.clip(1 - across**2, 0, 1))
    slope = outline.derivative()(level).astype(np.float32)
    facing = round_about / np.sqrt(1 + slope**2)
    return Turned(vessel, tall, right, down, radius, across, facing, TILT * radius * round_about)


def _seen(room: Floats, across: Floats) -> Floats:
    """What the surface reflects at `across`, by the direction in which it faces."""
    turn = np.arcsin(np.clip(across, -1, 1)) / np.pi + 0.5
    return np.interp(turn * (len(room) - 1), np.arange(len(room)), room).astype(np.float32)


def _wall(rng: Rng, canvas: Floats, turned: Turned, room: Floats) -> None:
    """Glass dims by the length of the way through it, and reflects more the flatter it is seen (Schlick)."""
    across = np.minimum(np.abs(turned.across), 1)
    inner = np.clip(1 - WALL / turned.radius, 0, 1) * (turned.down < turned.vessel.bottom)
    way = np.sqrt(1 - across**2) - np.sqrt(np.clip(inner**2 - across**2, 0, 1))
    dim = 0.75 * -np.expm1(-way * turned.radius * np.float32(rng.uniform(7, 12)))
    mirror = 0.04 + 0.96 * (1 - turned.facing) ** 4
    light = _seen(room, turned.across)
    body = np.clip((1 - np.abs(turned.across)) * turned.radius * turned.tall + 0.5, 0, 1)
    body = body * np.clip(turned.down * turned.tall + 0.5, 0, 1)
    body = body * np.clip((1 - turned.down) * turned.tall + 0.5, 0, 1)
    for level, radius in turned.rim():
        body = np.maximum(body, np.clip(turned.disc(level, radius) + 0.5, 0, 1))
    tint = hsv(rng.choice([0.45, 0.52, 0.36, 0.58]), rng.uniform(0.04, 0.25), 1)
    tone = 0.5 + 0.3 * light + 0.25 * mirror
    tone = tone - 0.6 * smoothstep(0.84, 0.97, across) + 0.4 * smoothstep(0.96, 1, across)
    alpha = np.clip(0.05 + dim + mirror + 0.08 * np.maximum(light, 0), 0, 1)
    paint(canvas, ramp([tint * 0.2, tint * 0.55, tint * 0.9 + 0.1], tone), (alpha * body).astype(np.float32))


def _drink(rng: Rng, canvas: Floats, turned: Turned) -> None:
    """A coloured liquid: the longer the way through it, the darker and the more opaque."""
    hue = rng.choice([0.97, 0.08, 0.12, 0.56])
    level, bottom = turned.vessel.level, turned.vessel.bottom - WALL / 2
    inner = turned.radius - WALL
    pixels = np.float32(turned.tall)
    ends = np.interp([level, bottom], *np.array(turned.vessel.outline).T) - WALL
    top = turned.disc(level, ends[0])
    base = turned.disc(bottom, ends[1]) if ends[1] > WALL else -np.inf
    within = np.minimum(turned.down - np.float32(level), np.float32(bottom) - turned.down) * pixels
    within = np.minimum(within, (inner - np.abs(turned.right)) * pixels)
    within = np.clip(np.maximum(np.maximum(within, base), top) + 0.5, 0, 1)
    way = np.sqrt(np.clip(inner**2 - turned.right**2, 0, 1)) * smoothstep(-0.02, 0.06, turned.down - level)
    opaque = -np.expm1(-way * np.float32(rng.uniform(1.5, 6))) + 0.12
    colour = ramp([hsv(hue, 0.6, 0.97), hsv(hue - 0.01, 0.8, 0.75), hsv(hue - 0.03, 0.9, 0.4)], opaque)
    paint(canvas, colour, (within * np.minimum(opaque, 0.97)).astype(np.float32))
    paint(canvas, hsv(hue, 0.35, 0.95), 0.3 * np.clip(top + 0.5, 0, 1).astype(np.float32))


def _rings(canvas: Floats, turned: Turned, room: Floats) -> None:
    """The rounded edges of rim and base, bright and dark by turns; the far half is fainter."""
    for level, radius in turned.rim():
        line = np.exp(-((turned.disc(level, radius) / (0.004 * turned.tall)) ** 2))
        near = 0.5 + 0.45 * smoothstep(-0.01, 0.01, turned.down - np.float32(level))
        tone = 0.6 + 0.4 * _seen(room[::-1], turned.right / np.float32(radius))
        paint(canvas, np.repeat(tone[..., None], 3, axis=2), (line * near).astype(np.float32))


def _window(canvas: Floats, turned: Turned) -> None:
    """A window's reflection, bent round the glass, and two fainter strips."""
    u, v = turned.across, turned.down - turned.around
    end = 0.8 * turned.vessel.bottom
    shine = np.zeros(u.shape, dtype=np.float32)
    for left, right, first, last, soft, strength in (
        (-0.72, -0.42, 0.04, 0.04 + 0.55 * end, 0.03, 1.0),
        (0.62, 0.74, 0.06, end, 0.04, 0.6),
        (-0.3, -0.22, 0.04, end, 0.05, 0.25),
    ):
        pane = smoothstep(left - soft, left + soft, u) * smoothstep(right + soft, right - soft, u)
        pane *= smoothstep(first, first + soft / 2, v) * smoothstep(last, last - soft / 2, v)
        pane *= 1 - 0.8 * np.exp(-(((u - (left + right) / 2) / 0.018) ** 2))
        pane *= 1 - 0.8 * np.exp(-(((v - (first + last) / 2) / 0.006) ** 2))
        shine += strength * pane
    inside = (np.abs(u) < 1) & (turned.down > 0) & (turned.down < turned.vessel.bottom)
    paint(canvas, [1, 1, 0.98], np.minimum(shine * inside, 1).astype(np.float32))
