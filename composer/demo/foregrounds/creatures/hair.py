"""Hair: a head of it, grown strand by strand in three dimensions, in any style and from any side.

Space: x to the right, y up, z towards the camera, in units of half a head's height, the head at 0.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from ...drawing import Floats, Rng, floats, fractal_noise, grid, hsv, paint, paint_strokes, smoothstep

KNOTS = 56  # points that a strand is grown from
SPACING = 0.9  # pixels from one point of a drawn strand to the next
LAYERS = np.linspace(-0.9, 1.15, 9)  # z that parts the strands: one layer hides those behind it
BODY_LAYER = 5  # the first layer in front of the body

# Hue, saturation and value: black, brown, red, auburn, fair.
DYES = ((0.06, 0.4, 0.2), (0.06, 0.6, 0.42), (0.035, 0.7, 0.66), (0.07, 0.65, 0.6), (0.105, 0.5, 0.88))

Direction = tuple[float, float, float]
CROWN: Direction = (0.09, 0.8, 0.59)  # which hair is combed away from
LIGHT: Direction = (-0.5, 0.74, 0.45)
HALFWAY: Direction = (-0.29, 0.44, 0.85)  # between the light and the camera


class Ellipsoid(NamedTuple):
    """A part of the body that hair slides over."""

    center: Direction
    radii: Direction
    clearance: float  # how much of a strand's lift holds above it


HEAD = Ellipsoid((0, 0, 0), (0.74, 1, 0.88), 1.0)
NECK = Ellipsoid((0, -1.1, -0.05), (0.36, 0.9, 0.36), 0.4)
TRAPEZIUS = Ellipsoid((0, -1.95, -0.1), (0.85, 0.5, 0.4), 0.4)
SHOULDERS = Ellipsoid((0, -2.5, -0.15), (1.5, 0.78, 0.5), 0.4)
TORSO = Ellipsoid((0, -4.5, -0.15), (1.4, 2.6, 0.55), 0.4)


class Strands(NamedTuple):
    """Strands as drawn: n strands of KNOTS points."""

    points: Floats  # (n, KNOTS, 3)
    lift: Floats  # (n,) how far above the skin
    stray: Floats  # (n,) 1 for the loose ones, else 0
    lock: npt.NDArray[np.intp]  # (n,) which lock of hair it belongs to


@dataclass(frozen=True, kw_only=True)
class Style:
    """A haircut; lengths in units of half a head's height."""

    strands: int = 5500
    length: tuple[float, float] = (2.3, 3.2)
    weight: float = 2.2  # how soon it falls
    wind: tuple[float, float] = (-0.5, 0.5)
    lift: float = 0.16  # how far above the skin it lies at most
    stray: float = 0.1  # the part of it that is loose
    lock: int = 45  # strands that keep together
    tight: tuple[float, float] = (0.35, 0.85)  # how much they do
    wave: tuple[float, float] = (0.02, 0.09)
    turns: tuple[float, float] = (7, 16)  # radians of a wave along a strand
    gloss: float = 0.38
    tips: float = 0.35  # how much brighter than the roots


def hair(rng: Rng, shape: tuple[int, int]) -> Floats:
    """Long hair: thousands of strands with their own width and shade, loose ones far out. (h, w, 4)."""
    canvas = np.zeros((*shape, 4), dtype=np.float32)
    scale = min(0.25 * shape[0], 0.31 * shape[1])
    middle = (shape[0] * 0.40, shape[1] * rng.uniform(0.46, 0.54))
    strands = grow(rng, Style())
    dye = hsv(*rng.choice(DYES)) * np.float32(rng.uniform(0.85, 1.1))

    def body() -> None:
        _body(rng, canvas, middle, scale, dye)

    colour = shade(rng, strands, dye, Style())
    draw_head(rng, canvas, strands, colour, middle=middle, scale=scale, body=body)
    return canvas


def draw_head(
    rng: Rng,
    canvas: Floats,
    strands: Strands,
    colour: Floats,
    *,
    middle: tuple[float, float],
    scale: float,
    body: Callable[[], None],
) -> None:
    """Paint the hair behind the body, the body, and the hair in front of it."""
    width = rng.uniform(0.5, 1.15, len(colour)) * np.where(strands.stray, 0.65, 1) * min(scale / 175, 1.3)
    y, x, z, colour, mass = _trace(strands.points, colour, width.astype(np.float32), scale)
    layer = np.digitize(z, LAYERS)
    for level in range(len(LAYERS) + 1):
        if level == BODY_LAYER:
            body()
        here = layer == level
        paint_strokes(canvas, middle[0] + y[here], middle[1] + x[here], colour[here], mass[here])


def grow(rng: Rng, style: Style) -> Strands:
    """Strands from all of the scalp: combed away from the crown, then left to wind and weight."""
    roots = rng.standard_normal((4 * style.strands, 3), dtype=np.float32)
    roots /= np.linalg.norm(roots, axis=1, keepdims=True)
    scalp = (roots[:, 1] > -0.45) & (roots[:, 2] > -0.5 - 0.8 * roots[:, 1])  # not the face
    roots = roots[scalp][: style.strands]
    count = len(roots)
    stray = (rng.random(count) < style.stray).astype(np.float32)
    lift = (rng.uniform(0.02, style.lift, count) + stray * rng.exponential(0.1, count)).astype(np.float32)
    away = roots - floats(CROWN) * _dot(roots, CROWN)[:, None]
    heading = away / np.linalg.norm(away, axis=1, keepdims=True)  # combed away from the crown
    heading += roots * (0.35 + stray * rng.random(count, dtype=np.float32))[:, None]
    push = rng.standard_normal((count, 3), dtype=np.float32) * np.where(stray, 0.5, 0.06)[:, None]
    push += floats([rng.uniform(*style.wind), -style.weight, 0])
    length = rng.uniform(*style.length) * rng.uniform(0.75, 1.05, count)
    length *= 1 - stray * rng.uniform(0, 0.7, count)
    knots = _fall(roots * floats(HEAD.radii), heading, push.astype(np.float32), lift, length)
    return _comb(rng, Strands(knots, lift, stray, np.zeros(count, dtype=np.intp)), style)


def _fall(point: Floats, heading: Floats, push: Floats, lift: Floats, length: Floats) -> Floats:
    """Follow each strand from its root: it bends to `push` (n, 3) and slides along the body."""
    step = (length / KNOTS).astype(np.float32)[:, None]
    knots = [point]
    for _ in range(KNOTS - 1):
        heading = heading + 2 * step * push
        heading /= np.linalg.norm(heading, axis=1, keepdims=True)
        point = point + step * heading
        for part in (HEAD, NECK, TRAPEZIUS, SHOULDERS):
            radii = floats(part.radii) * (1 + part.clearance * lift[:, None])
            place = (point - floats(part.center)) / radii
            depth = np.linalg.norm(place, axis=1, keepdims=True)
            normal = place / radii
            normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-6
            into = np.minimum((heading * normal).sum(axis=1, keepdims=True), 0)
            inside = depth < 1
            point = np.where(inside, floats(part.center) + place / np.maximum(depth, 1e-3) * radii, point)
            heading = np.where(inside, heading - 0.9 * into * normal, heading)
        knots.append(point)
    return np.stack(knots, axis=1)


def _comb(rng: Rng, strands: Strands, style: Style) -> Strands:
    """Draw neighbours together into locks towards their ends, and give each lock a wave."""
    points, lift, stray, _ = strands
    count = len(points)
    guides = rng.choice(count, max(count // style.lock, 1), replace=False)
    lock = np.asarray(cKDTree(points[guides, 0]).query(points[:, 0])[1])
    along = np.linspace(0, 1, KNOTS, dtype=np.float32)
    tight = rng.uniform(*style.tight, len(guides))[lock] * np.where(stray, 0.05, 1)
    gather = tight.astype(np.float32)[:, None] * smoothstep(0.05, 0.9, along)
    points = points + (points[guides][lock] - points) * gather[..., None]
    phase = rng.uniform(0, 6.28, (2, len(guides), 1))[:, lock] + rng.normal(0, 0.5, (2, count, 1))
    waves = np.sin(rng.uniform(*style.turns, (2, len(guides), 1))[:, lock] * along + phase)
    height = rng.uniform(*style.wave) * (1 + 1.2 * stray * rng.random(count))[:, None]
    points[..., 0::2] += (waves * height * smoothstep(0.1, 1, along)).transpose(1, 2, 0).astype(np.float32)
    return Strands(points, lift, stray, lock)


def shade(rng: Rng, strands: Strands, dye: Floats, style: Style) -> Floats:
    """Light on fibres (Kajiya and Kay, "Rendering fur", 1989), darker deep inside. (n, KNOTS, 3)."""
    points, lift, _, lock = strands
    along = np.linspace(0, 1, KNOTS, dtype=np.float32)
    tangent = np.gradient(points, axis=1)
    tangent /= np.linalg.norm(tangent, axis=2, keepdims=True) + 1e-6
    diffuse = np.sqrt(np.clip(1 - _dot(tangent, LIGHT) ** 2, 0, 1))
    gloss = np.clip(1 - _dot(tangent, HALFWAY) ** 2, 0, 1) ** 20
    normal = (points + floats([0, 0.3, 0])) * floats([1, 0.4, 1])
    normal /= np.linalg.norm(normal, axis=2, keepdims=True)
    facing = np.clip(_dot(normal, LIGHT) * 0.6 + 0.5, 0.12, 1.1)
    tone = rng.lognormal(0, 0.16, len(points)) * rng.lognormal(0, 0.12, lock.max() + 1)[lock]
    tone *= 0.45 + 0.75 * np.minimum(lift / style.lift, 1)
    body = (0.25 + 0.75 * diffuse * facing) * (0.8 + style.tips * along) * tone[:, None]
    shine = style.gloss * gloss * facing * tone[:, None]
    colour = body[..., None] * dye + shine[..., None] * floats([1, 0.93, 0.8])
    return floats(np.minimum(colour, 1))


def _dot(vectors: Floats, direction: Direction) -> Floats:
    """(..., 3) with (3,). Written out, for `@` may round as the number of threads has it."""
    x, y, z = direction
    return np.asarray(vectors[..., 0] * x + vectors[..., 1] * y + vectors[..., 2] * z)


def _trace(points: Floats, colour: Floats, width: Floats, scale: float) -> tuple[Floats, ...]:
    """Strands as dense points: y, x in pixels from the head's middle, z, colour (n, 3), mass (n,)."""
    taper = width[:, None] * (1 - 0.9 * np.linspace(0, 1, KNOTS, dtype=np.float32)[:-1] ** 4)
    spans = np.linalg.norm(np.diff(points[..., :2], axis=1), axis=2) * scale
    pieces = np.maximum(np.ceil(spans / SPACING), 1).astype(np.intp).ravel()
    which = np.repeat(np.arange(len(pieces)), pieces)
    part = (np.arange(len(which)) - (np.cumsum(pieces) - pieces)[which]) / pieces[which]
    both = np.concatenate([points * floats([scale, -scale, 1]), colour], axis=2)
    start, move = both[:, :-1].reshape(-1, 6), np.diff(both, axis=1).reshape(-1, 6)
    dense = start[which] + move[which] * part.astype(np.float32)[:, None]
    mass = ((spans * taper).ravel() / pieces)[which]
    return dense[:, 1], dense[:, 0], dense[:, 2], dense[:, 3:], mass.astype(np.float32)


def _body(rng: Rng, canvas: Floats, middle: tuple[float, float], scale: float, dye: Floats) -> None:
    """Head, neck and knitted shoulders, which are what makes the middle opaque."""
    y, x = grid((canvas.shape[0], canvas.shape[1]))
    right, up = (x - middle[1]) / scale, (middle[0] - y) / scale
    wool = hsv(rng.random(), rng.uniform(0.25, 0.55), rng.uniform(0.35, 0.65))
    stitch = np.sin(right * 52) * np.sin(up * 64 + 12 * np.abs((right * 8.3) % 1 - 0.5))
    light = (0.95 - 0.3 * np.abs(right + 0.3)) * (0.85 + 0.1 * stitch)
    light = light * (1 + 0.08 * fractal_noise(rng, (canvas.shape[0], canvas.shape[1]), slope=1.4))
    cloth = wool * floats(light)[..., None]
    for part, colour in (
        (NECK, floats([0.5, 0.36, 0.29])),
        (TRAPEZIUS, cloth),
        (SHOULDERS, cloth),
        (TORSO, cloth),
        (HEAD, dye * 0.35),
    ):
        reach = np.hypot((right - part.center[0]) / part.radii[0], (up - part.center[1]) / part.radii[1])
        paint(canvas, colour, np.clip((1 - reach) * scale * min(part.radii[:2]) + 0.5, 0, 1))
