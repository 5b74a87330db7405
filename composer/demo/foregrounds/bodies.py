"""Round bodies: shaded, patterned, with fur of any length or smooth, one part in front of the other."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ..drawing import Floats, Rng, floats, fractal_noise, grid, paint
from ..strands import Strands, draw_strands

Window = tuple[slice, slice]


@dataclass(frozen=True, kw_only=True)
class Part:
    """An ellipse of a body, in pixels; `turn` in radians, against the clock."""

    y: float
    x: float
    tall: float  # half its height
    wide: float  # half its width
    turn: float = 0.0
    square: float = 2.0  # 2 is an ellipse, more is nearer to a box


@dataclass(frozen=True, kw_only=True)
class Coat:
    """The fur of a part."""

    length: float  # pixels
    width: float = 1.0
    wild: float = 0.3  # how much directions differ, radians
    curl: float = 0.0
    weight: float = 0.3  # how much it hangs down
    thick: float = 2.2  # how many strands lie over one another
    tips: float = 1.15  # how much brighter than the roots


@dataclass(frozen=True, kw_only=True)
class Light:
    """Where light comes from: to the right, down, towards the camera; and how much comes from all around."""

    right: float
    down: float
    near: float
    ambient: float
    gloss: float = 0.0
    rim: float = 0.0  # light from behind, that edges catch

    def on(self, right: Floats, down: Floats, near: Floats) -> tuple[Floats, Floats]:
        """Brightness of a surface with that normal, and its highlight."""
        facing = np.clip(right * self.right + down * self.down + near * self.near, 0, 1)
        half = np.sqrt(self.right**2 + self.down**2 + (self.near + 1) ** 2)
        mirror = np.clip((right * self.right + down * self.down + near * (self.near + 1)) / half, 0, 1)
        bright = self.ambient + (1.15 - self.ambient) * facing + self.rim * (1 - near) ** 3
        return floats(bright), floats(self.gloss * mirror**30)


def any_light(rng: Rng, gloss: float = 0.0) -> Light:
    """From the left or right, mostly from above, soft or hard."""
    right, down = rng.uniform(-0.8, 0.8), rng.uniform(-0.8, 0.3)
    near = np.sqrt(max(1 - right**2 - down**2, 0.1))
    length = np.sqrt(right**2 + down**2 + near**2)
    return Light(
        right=right / length,
        down=down / length,
        near=near / length,
        ambient=rng.uniform(0.3, 0.8),
        rim=rng.uniform(0.2, 1.2) * (rng.random() < 0.35),
        gloss=gloss,
    )


@dataclass(frozen=True, kw_only=True)
class Fields:
    """A part by pixel of its window: the distance inside its edge in pixels, and its normal."""

    window: Window
    inside: Floats
    right: Floats
    down: Floats
    near: Floats

    def cover(self, soft: float = 0.5) -> Floats:
        """Coverage (h, w): over `soft` pixels to both sides of the edge."""
        return floats(np.clip(self.inside / (2 * soft) + 0.5, 0, 1))


def fields(part: Part, shape: tuple[int, int], margin: float, lumps: Floats | None = None) -> Fields:
    """Where a part is; `lumps` (h, w), of the whole image, moves its edge by so many parts of its size."""
    reach = max(part.tall, part.wide) * 1.25 + margin
    top, left = max(int(part.y - reach), 0), max(int(part.x - reach), 0)
    window = slice(top, max(int(part.y + reach), 0) + 1), slice(left, max(int(part.x + reach), 0) + 1)
    rows, columns = grid(shape)
    down, right = rows[window[0]] - np.float32(part.y), columns[:, window[1]] - np.float32(part.x)
    sine, cosine = np.float32(np.sin(part.turn)), np.float32(np.cos(part.turn))
    u = (right * cosine - down * sine) / np.float32(part.wide)
    v = (right * sine + down * cosine) / np.float32(part.tall)
    power = np.float32(part.square)
    off = np.hypot(u, v) if power == 2 else (np.abs(u) ** power + np.abs(v) ** power) ** (1 / power)
    if lumps is not None:
        off = off + lumps[window]
    near = np.sqrt(np.clip(1 - off * off, 0.0, 1))
    scale = np.sqrt(np.maximum(1 - near * near, 0)) / np.maximum(np.hypot(u, v), np.float32(1e-3))
    normal_right, normal_down = (u * cosine + v * sine) * scale, (v * cosine - u * sine) * scale
    inside = (1 - off) * np.float32(min(part.tall, part.wide))
    return Fields(window=window, inside=floats(inside), right=normal_right, down=normal_down, near=near)


def lit_by(light: Light, place: Fields, colour: Floats) -> Floats:
    """`colour` (h, w, 3), of the window, in that light."""
    bright, mirror = light.on(place.right, place.down, place.near)
    return floats(np.clip(colour * bright[..., None] + mirror[..., None], 0, 1))


def cast_shadow(canvas: Floats, part: Part, light: Light, strength: float) -> None:
    """Darken what is already painted beside and under a part that will be painted in front of it."""
    blur = 0.12 * min(part.tall, part.wide) + 1
    moved = Part(
        y=part.y - light.down * 2 * blur,
        x=part.x - light.right * 2 * blur,
        tall=part.tall,
        wide=part.wide,
        turn=part.turn,
        square=part.square,
    )
    place = fields(moved, (canvas.shape[0], canvas.shape[1]), 3 * blur)
    if place.inside.size:
        shade = ndimage.gaussian_filter(place.cover(), blur) * np.float32(strength)
        canvas[place.window][..., :3] *= (1 - shade)[..., None]


def paint_part(
    rng: Rng,
    canvas: Floats,
    part: Part,
    colour: Floats,
    light: Light,
    *,
    coat: Coat | None = None,
    soft: float = 0.5,
    lumps: Floats | None = None,
) -> None:
    """Paint one part over `canvas`: `colour` (h, w, 3) or (3,), its shading, and its fur if it has a coat."""
    shape = canvas.shape[0], canvas.shape[1]
    place = fields(part, shape, 4 + soft, lumps)
    if not place.inside.size:
        return
    lit = lit_by(light, place, floats(np.broadcast_to(colour, (*shape, 3))[place.window]))
    if coat is None:
        paint(canvas[place.window], lit, place.cover(soft))
        return
    paint(canvas[place.window], lit * np.float32(0.72), place.cover(min(0.25 * coat.length, 3) + 0.5))
    _grow(rng, canvas, part, lit=lit, place=place, coat=coat)


def _grow(rng: Rng, canvas: Floats, part: Part, *, lit: Floats, place: Fields, coat: Coat) -> None:
    """Fur in three rings, the inner ones, nearer to the camera, over the outer."""
    area = np.pi * part.tall * part.wide
    total = min(coat.thick * area / (coat.length * coat.width) + 60, 60_000)
    patches = fractal_noise(rng, (64, 64), slope=1.6), fractal_noise(rng, (64, 64), slope=0.9)
    for low, high, share in ((0.82, 1.0, 0.45), (0.5, 0.86, 0.33), (0.0, 0.55, 0.22)):
        radius = np.sqrt(rng.uniform(low**2, high**2, int(total * share)))
        y, x = _on(part, radius, rng.uniform(0, 2 * np.pi, len(radius)))
        row = np.rint(y).astype(np.intp) - place.window[0].start
        column = np.rint(x).astype(np.intp) - place.window[1].start
        seen = (row >= 0) & (row < lit.shape[0]) & (column >= 0) & (column < lit.shape[1])
        seen[seen] = place.inside[row[seen], column[seen]] > 0
        if seen.any():
            at = row[seen], column[seen]
            hairs = _hairs(rng, at, lit=lit, place=place, coat=coat, patches=patches)
            draw_strands(rng, canvas, replace(hairs, y=floats(y[seen]), x=floats(x[seen])))


def _on(part: Part, radius: Floats, around: Floats) -> tuple[Floats, Floats]:
    """Rows and columns of places on a part: how far out, 0 to 1 at its edge, and at which angle."""
    u, v = radius * np.cos(around), radius * np.sin(around)
    if part.square > 2:  # out to the edge of a rounder box
        u, v = u * (1 + 0.18 * (part.square - 2)), v * (1 + 0.18 * (part.square - 2))
    sine, cosine = np.sin(part.turn), np.cos(part.turn)
    y = part.y + v * part.tall * cosine - u * part.wide * sine
    return y, part.x + u * part.wide * cosine + v * part.tall * sine


def _hairs(
    rng: Rng,
    at: tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]],
    *,
    lit: Floats,
    place: Fields,
    coat: Coat,
    patches: tuple[Floats, Floats],
) -> Strands:
    """Hairs with roots at these pixels of the window; `patches` make neighbours alike."""
    count = len(at[0])
    near = at[0] * 63 // lit.shape[0], at[1] * 63 // lit.shape[1]
    lean, tone = (patch[near] for patch in patches)
    down, right = place.down[at], place.right[at]
    angle = np.arctan2(-down - coat.weight, right + 0.15 * lean)
    length = coat.length * (0.4 + 0.6 * np.hypot(down, right)) * rng.lognormal(0, 0.28, count)
    length = length * np.where(rng.random(count) < 0.01, rng.uniform(1.3, 2.6, count), 1)  # stray ones
    shade = np.exp(0.14 * tone + 0.16 * rng.standard_normal(count))[:, None]
    return Strands(
        y=floats(at[0]),
        x=floats(at[1]),
        angle=floats(angle + coat.wild * (0.8 * lean + 0.6 * rng.standard_normal(count))),
        length=floats(np.maximum(length, 1.5)),
        bend=floats(rng.normal(0, 0.5, count) + 0.4 * tone * coat.wild),
        width=floats(coat.width * rng.uniform(0.6, 1.3, count)),
        root=floats(np.clip(lit[at] * shade * 0.8, 0, 1)),
        tip=floats(np.clip(lit[at] * shade * coat.tips, 0, 1)),
        curl=coat.curl,
    )
