"""The demo's solid foregrounds: leaves on branches, and things that move while the shutter is open."""

from typing import NamedTuple

import numpy as np
from scipy import fft

from ..drawing import Floats, Rng, floats, grid, hsv, paint, smoothstep

LEAVES = 750
SHOTS = 32  # moments that the turning vanes are averaged over


class Twig(NamedTuple):
    """One straight piece of a branch, in pixels; angles in radians, 0 to the right, a right angle upwards."""

    y: float
    x: float
    angle: float
    length: float
    thickness: float
    depth: float  # 0 at the back, 1 in front

    def place(self, part: float) -> tuple[float, float]:
        """Row and column after `part` of its length."""
        step = part * self.length
        return self.y - step * np.sin(self.angle), self.x + step * np.cos(self.angle)


def foliage(rng: Rng, shape: tuple[int, int]) -> Floats:
    """A bough full of leaves, large ones in front, small ones behind, gaps of every size. (h, w, 4)."""
    canvas = np.zeros((*shape, 4), dtype=np.float32)
    twigs = _grow(rng, shape)
    green = hsv(rng.uniform(0.2, 0.33), rng.uniform(0.45, 0.7), rng.uniform(0.45, 0.65))
    autumn = hsv(rng.uniform(0.03, 0.15), 0.8, 0.75)
    turned = rng.uniform(0, 0.3)
    per_twig = max(2, round(LEAVES / len(twigs)))
    for twig in sorted(twigs, key=lambda twig: twig.depth):
        _branch(canvas, twig)
        if twig.thickness > 0.012 * max(shape):
            continue
        for place in rng.random(per_twig):
            colour = autumn if rng.random() < turned else green
            length = min(shape) * (0.03 + 0.075 * twig.depth) * rng.uniform(0.5, 1.2)
            leaf(rng, canvas, twig, place, colour * np.float32(rng.uniform(0.8, 1.15)), length=length)
    return canvas


def _grow(rng: Rng, shape: tuple[int, int]) -> list[Twig]:
    """Branches that fork and bend, upwards from the lower border, until they are thin."""
    side = min(shape)
    root = 1.02 * shape[0], shape[1] * rng.uniform(0.35, 0.65)
    start = Twig(*root, rng.uniform(1.3, 1.8), 0.1 * side, 0.032 * side, 0.5)
    growing, twigs = [start], []
    while growing:
        twig = growing.pop()
        twigs.append(twig)
        if twig.thickness < 0.0035 * side:
            continue
        forks = [(rng.normal(0, 0.16), 0.86)]  # it goes on, a little thinner; mostly it also branches off
        if rng.random() < 0.75:
            forks.append((rng.choice([-1, 1]) * rng.uniform(0.45, 1.0), 0.7))
        rise = 0.08 * (np.pi / 2 - twig.angle)  # towards the light
        for turn, part in forks:
            depth = np.clip(twig.depth + rng.normal(0, 0.18), 0, 1)
            length = 0.1 * side * rng.uniform(0.5, 1.1) * (0.6 + twig.thickness / start.thickness)
            growing.append(
                Twig(*twig.place(1), twig.angle + turn + rise, length, twig.thickness * part, depth)
            )
    return twigs


def _frame(canvas: Floats, y: float, x: float, angle: float, reach: float) -> tuple[Floats, Floats, Floats]:
    """The part of `canvas` within `reach` of a point, and its pixels' places along and across `angle`."""
    top, left = max(int(y - reach), 0), max(int(x - reach), 0)
    patch = canvas[top : max(int(y + reach) + 2, 0), left : max(int(x + reach) + 2, 0)]
    rows, columns = grid((patch.shape[0], patch.shape[1]))
    down, right = rows + np.float32(top - y), columns + np.float32(left - x)
    sine, cosine = np.float32(np.sin(angle)), np.float32(np.cos(angle))
    return patch, right * cosine - down * sine, right * sine + down * cosine


def _branch(canvas: Floats, twig: Twig) -> None:
    """A tapering stick with light on its upper side."""
    patch, along, across = _frame(canvas, twig.y, twig.x, twig.angle, twig.length + twig.thickness)
    if not patch.size:
        return
    t = np.clip(along / twig.length, 0, 1)
    half = twig.thickness / 2 * (1 - 0.15 * t)
    off = np.hypot(across, along - t * twig.length)
    bark = floats([0.34, 0.26, 0.19]) * np.float32(0.6 + 0.5 * twig.depth)
    light = np.clip(1 - 0.55 * across / np.maximum(half, 0.5), 0.3, 1.6)
    paint(patch, light[..., None] * bark, np.clip(half - off + 0.5, 0, 1) * np.minimum(2 * half, 1))


def leaf(rng: Rng, canvas: Floats, twig: Twig, place: float, colour: Floats, *, length: float) -> None:
    """A pointed leaf after `place` of a twig: halves that catch the light differently, midrib, veins."""
    angle = twig.angle + rng.choice([-1, 1]) * rng.uniform(0.3, 1.3)
    patch, along, across = _frame(canvas, *twig.place(place), angle, length)
    if not patch.size:
        return
    t = along / length
    bend = rng.normal(0, 0.25)
    across = across - bend * length * t * (1 - t)
    inside = np.clip(t, 0, 1)
    half = 0.62 * rng.uniform(0.35, 1) * length * inside**0.75 * (1 - inside)
    edge = np.minimum(half - np.abs(across), np.minimum(along, length - along))
    fold = rng.uniform(-0.25, 0.25)
    light = 1 + fold * np.tanh(across) + 0.25 * (inside - 0.5) * rng.uniform(-1, 1)
    light = light * (0.45 + 0.65 * twig.depth) * rng.uniform(0.8, 1.15)
    veins = 0.05 * np.sin((along - 1.1 * np.abs(across)) * np.float32(45 / length))
    midrib = 0.22 * np.clip(1 - np.abs(across) / (0.014 * length + 0.3), 0, 1)
    blade = (light + veins)[..., None] * colour + midrib[..., None] * floats([0.8, 0.9, 0.55])
    paint(patch, np.clip(blade, 0, 1), np.clip(edge + 0.5, 0, 1))


def balls(rng: Rng, shape: tuple[int, int]) -> Floats:
    """Beach balls that fly past while the shutter is open, each blurred along its own way. (h, w, 4)."""
    canvas: Floats = np.zeros((*shape, 4), dtype=np.float32)
    for size, away in ((0.09, 0.34), (0.12, 0.3), (0.25, 0.03)):
        turn = rng.uniform(0, 6.28)
        middle = np.array(shape) / 2 + away * min(shape) * np.array([np.sin(turn), np.cos(turn)])
        ball = _ball(rng, shape, middle, size * min(shape))
        moved = min(shape) * rng.uniform(0.12, 0.22)
        direction = rng.uniform(-0.7, 0.7)
        layer = blur_along(ball, moved * np.sin(direction), moved * np.cos(direction))
        layer = np.minimum(layer, layer[..., 3:])  # what rings must not be brighter than white
        canvas = layer + canvas * (1 - layer[..., 3:])
    return canvas


def _ball(rng: Rng, shape: tuple[int, int], middle: Floats, radius: float) -> Floats:
    """A beach ball: coloured gores round a tilted axis, lit from above."""
    canvas = np.zeros((*shape, 4), dtype=np.float32)
    y, x = grid(shape)
    y, x = (y - np.float32(middle[0])) / np.float32(radius), (x - np.float32(middle[1])) / np.float32(radius)
    off = np.hypot(y, x)
    z = np.sqrt(np.clip(1 - off**2, 0, 1))
    turn, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    a, b, c = (np.float32(r[0]) * x + np.float32(r[1]) * y + np.float32(r[2]) * z for r in turn)
    gore = np.arctan2(a, b) * (3 / np.pi) + 3
    dyes = np.stack([hsv(hue, 0.8, 0.85) for hue in rng.random(3)])
    paints = np.concatenate([dyes, np.ones((3, 3)) * 0.93])[[0, 3, 1, 4, 2, 5]].astype(np.float32)
    colour = paints[gore.astype(np.intp) % 6]
    colour = np.where((np.abs(c) > 0.94)[..., None], np.float32(0.95), colour)
    light = 0.45 + 0.55 * np.clip(-0.6 * y - 0.35 * x + 0.7 * z, 0, 1)
    gloss = np.clip(-0.5 * y - 0.3 * x + 0.8 * z, 0, 1) ** 40
    colour = np.minimum(colour * light[..., None] + 0.6 * gloss[..., None], 1)
    paint(canvas, colour, np.clip((1 - off) * np.float32(radius) + 0.5, 0, 1))
    return canvas


def blur_along(image: Floats, down: float, right: float) -> Floats:
    """`image` (h, w, c) averaged along a straight way of (down, right) pixels, centred; outside is 0.

    The average is a product with a sinc in the frequency domain; a short Gaussian keeps it from ringing.
    """
    height, width = image.shape[:2]
    tall = fft.next_fast_len(height + int(abs(down)) + 8, real=True)
    wide = fft.next_fast_len(width + int(abs(right)) + 8, real=True)
    y, x = fft.fftfreq(tall)[:, None], fft.rfftfreq(wide)[None, :]
    kernel = np.sinc(y * down + x * right) * np.exp(-2 * (np.pi * 0.6) ** 2 * (y * y + x * x))
    spectrum = fft.rfft2(image, s=(tall, wide), axes=(0, 1)) * kernel[..., None].astype(np.float32)
    return np.clip(fft.irfft2(spectrum, s=(tall, wide), axes=(0, 1))[:height, :width], 0, 1).astype(
        np.float32
    )


def pinwheel(rng: Rng, shape: tuple[int, int]) -> Floats:
    """Paper vanes turning on a stick: it is sharp, they blur the more the farther from the hub. (h, w, 4)."""
    canvas = np.zeros((*shape, 4), dtype=np.float32)
    reach = 0.36 * min(shape)
    middle_y, middle_x = 0.42 * shape[0], shape[1] * rng.uniform(0.45, 0.55)
    stick, right, down = _frame(canvas, middle_y, middle_x, 0, 2 * shape[0])
    half = np.float32(0.04 * reach)
    wood = floats([0.8, 0.66, 0.45]) * (0.9 - 0.3 * np.tanh(right / half))[..., None]
    paint(stick, wood, np.clip(half - np.abs(right) + 0.5, 0, 1) * (down > 0))
    patch, right, down = _frame(canvas, middle_y, middle_x, 0, reach + 1)
    radius, angle = np.hypot(down, right), np.arctan2(down, right)
    count, hue = int(rng.integers(3, 5)), rng.random()
    dyes = np.stack([hsv(hue, 0.75, 0.85), hsv(hue + rng.uniform(0.3, 0.7), 0.35, 0.95)] * count)
    turned = rng.uniform(0.25, 0.6)
    layer = np.zeros_like(patch)
    for shot in range(SHOTS):
        turn = np.float32(turned * shot / SHOTS)
        layer += _vanes(radius / np.float32(reach), angle + turn, dyes, np.float32(reach)) / SHOTS
    patch *= 1 - layer[..., 3:]
    patch += layer
    for size, tone in ((0.07, 0.75), (0.03, 0.4)):
        paint(patch, floats([1, 0.95, 0.8]) * tone, np.clip(size * np.float32(reach) - radius + 0.5, 0, 1))
    return canvas


def _vanes(radius: Floats, angle: Floats, dyes: Floats, reach: np.float32) -> Floats:
    """Vanes at one moment; `radius` in their lengths. Curved paper, lighter where it bends to the light."""
    place = (angle * np.float32(len(dyes) / (2 * np.pi)) + 0.5 * radius) % len(dyes)
    vane = place.astype(np.intp) % len(dyes)
    across = place % 1
    width = 0.12 + 0.82 * np.clip(1 - radius**3, 0, 1) ** 0.7 * (0.4 + 0.6 * np.minimum(radius * 2, 1))
    arc = radius * reach * np.float32(2 * np.pi / len(dyes))
    cover = np.clip((width - across) * arc + 0.5, 0, 1) * np.clip((1 - radius) * reach + 0.5, 0, 1)
    cover = cover * np.clip(across * arc + 0.5, 0, 1)
    light = (0.6 + 0.4 * smoothstep(0, 1, across / width)) * cover
    return np.concatenate([dyes[vane] * light[..., None], cover[..., None]], axis=2).astype(np.float32)
