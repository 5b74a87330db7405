"""Things with a hard surface: turned, cut or moulded, with handles and holes; and cloth on a pole."""

from collections.abc import Callable

import numpy as np
from scipy.interpolate import PchipInterpolator

from ..drawing import Floats, Rng, floats, fractal_noise, grid, paint
from ..materials import material
from ..palettes import Palette
from .bodies import Fields, Light, Part, any_light, cast_shadow, fields, lit_by

Shape = tuple[int, int]


def things(rng: Rng, shape: Shape, palette: Palette) -> Floats:
    """One to eight of them, before and behind one another. (h, w, 4)."""
    canvas = np.zeros((*shape, 4), dtype=np.float32)
    light = any_light(rng, gloss=rng.choice([0, 0.3, 0.9]))
    count = int(rng.integers(1, 9))
    size = 0.42 * min(shape) / count**0.4
    for _ in range(count):
        own = size * rng.uniform(0.5, 1.3)
        y, x = (0.5 * side + rng.normal(0, 0.22) * side * (count > 1) for side in shape)
        thing(
            rng,
            canvas,
            Part(y=y, x=x, tall=own * rng.uniform(0.7, 1.3), wide=own, turn=rng.normal(0, 0.4)),
            light,
            palette,
        )
    return canvas


def thing(rng: Rng, canvas: Floats, part: Part, light: Light, palette: Palette) -> None:
    """Paint any one thing about as large as `part`."""
    shape = canvas.shape[0], canvas.shape[1]
    cast_shadow(canvas, part, light, rng.uniform(0.2, 0.6))
    place = _FORMS[rng.integers(len(_FORMS))](rng, part, shape)
    if not place.inside.size or min(place.inside.shape) < 3:
        return
    own = material(rng, (place.inside.shape[0], place.inside.shape[1]), palette)
    paint(canvas[place.window], lit_by(light, place, own), place.cover(rng.choice([0.5, 0.5, 1.0, 2.0])))


def banner(rng: Rng, shape: Shape, palette: Palette) -> Floats:
    """Cloth that waves from a pole or hangs from a line, thin, printed, with folds. (h, w, 4)."""
    canvas = np.zeros((*shape, 4), dtype=np.float32)
    light = any_light(rng)
    y, x = grid(shape)
    turn = rng.normal(0, 0.5)
    across, down = _turned(y, x, shape, turn)
    wide, tall = shape[1] * rng.uniform(0.3, 0.7), shape[0] * rng.uniform(0.25, 0.6)
    phase, waves = rng.uniform(0, 6.28), rng.uniform(4, 14)
    u = across / np.float32(wide) + np.float32(0.5)
    sway = np.float32(rng.uniform(0.02, 0.08) * tall) * np.sin(waves * u + phase + down / np.float32(tall))
    v = (down + sway * np.clip(u * 2, 0, 1)) / np.float32(tall) + np.float32(0.5)
    ragged = np.float32(rng.choice([0, 0, 3.0])) * fractal_noise(rng, shape, slope=0.8)
    inside = (
        np.minimum(np.minimum(u, 1 - u) * np.float32(wide), np.minimum(v, 1 - v) * np.float32(tall)) + ragged
    )
    print_ = material(rng, shape, palette)
    folds = 0.75 + 0.3 * np.cos(waves * u + phase + v) + 0.08 * fractal_noise(rng, shape, slope=1.6)
    paint(canvas, np.clip(print_ * folds[..., None], 0, 1), floats(np.clip(inside + 0.5, 0, 1)))
    if rng.random() < 0.6:
        half = rng.uniform(2, 7)
        pole = np.clip(half - np.abs(across + np.float32(wide / 2)) + 0.5, 0, 1) * (down > -tall * 0.6)
        tone = np.clip(1 - 0.6 * (across + wide / 2 - light.right * half) / half, 0.2, 1.4)
        paint(canvas, np.clip(palette.pick(rng) * tone[..., None], 0, 1), floats(pole))
    return canvas


def _turned(y: Floats, x: Floats, shape: Shape, turn: float) -> tuple[Floats, Floats]:
    """Pixels to the right and down from the middle, on axes turned by `turn`."""
    down, right = y - np.float32(shape[0] / 2), x - np.float32(shape[1] / 2)
    sine, cosine = np.float32(np.sin(turn)), np.float32(np.cos(turn))
    return right * cosine - down * sine, right * sine + down * cosine


def _round(rng: Rng, part: Part, shape: Shape) -> Fields:
    """A ball, a stone, a fruit, a cushion."""
    square = rng.choice([2.0, 2.0, 2.6, 4.0, 9.0])
    lumps = fractal_noise(rng, shape, slope=rng.uniform(1.6, 2.6)) * np.float32(rng.choice([0, 0.03, 0.1]))
    return fields(Part(**{**part.__dict__, "square": square}), shape, 6, lumps)


def _star(rng: Rng, part: Part, shape: Shape) -> Fields:
    """A flat thing with lobes, points or teeth, with a hole at times."""
    place = fields(part, shape, 0.5 * part.wide)
    v, u = _own_axes(part, place, shape)
    around, off = np.arctan2(v, u), np.hypot(u, v)
    reach: Floats = np.ones_like(off)
    for _ in range(3):
        teeth = int(rng.integers(2, 13))
        reach = reach + np.float32(rng.uniform(0, 0.16)) * np.cos(
            teeth * around + np.float32(rng.uniform(0, 6.28))
        )
    inside = (reach - off) * np.float32(0.75 * min(part.tall, part.wide))
    if rng.random() < 0.5:
        inside = np.minimum(
            inside, (off - np.float32(rng.uniform(0.2, 0.7)) * reach) * np.float32(min(part.tall, part.wide))
        )
    bevel = np.exp(-np.maximum(inside, 0) / np.float32(rng.uniform(2, 12)))
    return Fields(
        window=place.window,
        inside=floats(inside),
        right=bevel * np.cos(around),
        down=bevel * np.sin(around),
        near=np.sqrt(1 - bevel**2),
    )


def _lathe(rng: Rng, part: Part, shape: Shape) -> Fields:
    """A vase, a bottle, a pencil, a chessman: turned about an upright axis."""
    place = fields(part, shape, 2)
    v, u = _own_axes(part, place, shape)
    knots = int(rng.integers(3, 8))
    levels = np.sort(np.concatenate([[-1, 1], rng.uniform(-0.95, 0.95, knots)]))
    thin = rng.choice([1.0, 1.0, 0.12])
    outline = PchipInterpolator(levels, rng.uniform(0.25, 1, knots + 2) * thin)
    radius = floats(outline(np.clip(v, -1, 1)))
    side = u / radius
    inside = np.minimum(
        (1 - np.abs(side)) * radius * np.float32(part.wide), (1 - np.abs(v)) * np.float32(part.tall)
    )
    side = np.clip(side, -1, 1)
    return Fields(
        window=place.window,
        inside=floats(inside),
        right=side,
        down=np.zeros_like(side),
        near=np.sqrt(1 - side**2),
    )


def _ring(rng: Rng, part: Part, shape: Shape) -> Fields:
    """A ring, a handle, a tyre."""
    place = fields(part, shape, 2)
    v, u = _own_axes(part, place, shape)
    off = np.hypot(u, v)
    half = np.float32(rng.uniform(0.05, 0.3))
    side = (off - (1 - half)) / half
    inside = (1 - np.abs(side)) * half * np.float32(min(part.tall, part.wide))
    side = np.clip(side, -1, 1)
    return Fields(
        window=place.window,
        inside=floats(inside),
        right=side * u / np.maximum(off, 1e-3),
        down=side * v / np.maximum(off, 1e-3),
        near=np.sqrt(1 - side**2),
    )


def _box(rng: Rng, part: Part, shape: Shape) -> Fields:
    """A box or a book: flat sides that catch the light differently, straight edges."""
    place = fields(part, shape, 2)
    v, u = _own_axes(part, place, shape)
    lean, edge = rng.uniform(-0.3, 0.3), np.float32(rng.uniform(-0.6, 0.6))
    u = u - np.float32(lean) * v
    inside = np.minimum(
        (0.85 - np.abs(u)) * np.float32(part.wide), (0.85 - np.abs(v)) * np.float32(part.tall)
    )
    left = (u < edge).astype(np.float32)
    return Fields(
        window=place.window,
        inside=floats(inside),
        right=0.8 * (1 - left) - 0.5 * left,
        down=-0.3 * left,
        near=0.5 + 0.3 * left,
    )


def _own_axes(part: Part, place: Fields, shape: Shape) -> tuple[Floats, Floats]:
    """Down and right from the part's middle along its own axes, in halves of its size: (h, w) each."""
    rows, columns = grid(shape)
    down, right = rows[place.window[0]] - np.float32(part.y), columns[:, place.window[1]] - np.float32(part.x)
    sine, cosine = np.float32(np.sin(part.turn)), np.float32(np.cos(part.turn))
    return (right * sine + down * cosine) / np.float32(part.tall), (
        right * cosine - down * sine
    ) / np.float32(part.wide)


_FORMS: tuple[Callable[[Rng, Part, Shape], Fields], ...] = (
    _round,
    _round,
    _star,
    _lathe,
    _lathe,
    _ring,
    _box,
)
