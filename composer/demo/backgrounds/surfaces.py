"""The demo's backgrounds without depth: walls, wood, stone, and what lies out of focus. (h, w, 3), 0 to 1."""

import numpy as np
from scipy import ndimage

from ..drawing import Floats, Rng, floats, fractal_noise, grid, hsv, ramp, resize, sample, smoothstep


def bricks(rng: Rng, shape: tuple[int, int]) -> Floats:
    """A wall in running bond: every brick its own shade, rough mortar, slanting light."""
    y, x = _turned(rng, shape, 0.06)
    course = max(shape) / rng.uniform(9, 22)
    rough = fractal_noise(rng, shape, slope=0.8)
    wear = fractal_noise(rng, shape, slope=1.6)
    y, x = y / course + 0.02 * wear, x / (course * 3) + 0.006 * wear
    row = np.floor(y)
    x = x + 0.5 * (row % 2)
    shade = rng.standard_normal((64, 64)).astype(np.float32)
    shade = shade[row.astype(np.intp) % 64, np.floor(x).astype(np.intp) % 64]
    in_y, in_x = np.minimum(y % 1, 1 - y % 1), np.minimum(x % 1, 1 - x % 1) * 3
    soft = 1.2 / course
    face = smoothstep(0.05 - soft, 0.07 + soft, np.minimum(in_y, in_x) + 0.012 * rough)
    clay = hsv(rng.choice([0.02, 0.04, 0.08, 0.1]), rng.uniform(0.15, 0.6), rng.uniform(0.4, 0.8))
    tone = 1 + 0.13 * shade + 0.09 * rough + 0.07 * wear
    mortar = np.float32(rng.uniform(0.35, 0.8)) * (1 + 0.08 * rough)
    image = mortar[..., None] + face[..., None] * (clay * tone[..., None] - mortar[..., None])
    relief = np.gradient(ndimage.gaussian_filter(face, 0.8), axis=0)
    return floats(image * (1 + 0.8 * relief + 0.12 * wear)[..., None])


def planks(rng: Rng, shape: tuple[int, int]) -> Floats:
    """Boards side by side, upright or lying, with grain, rings and dark gaps."""
    lying = rng.random() < 0.6
    y, x = _turned(rng, shape, 0.04)
    along, across = (x, y) if lying else (y, x)
    board = max(shape) / rng.uniform(4, 12)
    number = np.floor(across / board)
    start = (rng.random(64).astype(np.float32) * 4000)[number.astype(np.intp) % 64]
    grain = fractal_noise(rng, (512, 512), slope=0.9, stretch=(1, 16))
    broad = fractal_noise(rng, (512, 512), slope=1.9, stretch=(1, 5))
    place = across * (220 / board) % 220 + start, (along + start) * (110 / board)
    fine = sample(grain, *place)
    rings = np.sin(9 * sample(broad, place[0] * 0.5, place[1]) + fine)
    shade = rng.standard_normal(64).astype(np.float32)[number.astype(np.intp) % 64]
    tone = 1 + 0.1 * shade + 0.11 * fine + 0.08 * rings
    wood = hsv(rng.uniform(0.04, 0.11), rng.uniform(0.1, 0.6), rng.uniform(0.3, 0.8))
    gap = smoothstep(0, 2.5 / board, np.abs((across / board + 0.5) % 1 - 0.5) - 0.004)
    light = 0.9 + 0.12 * fractal_noise(rng, shape, slope=2.4)
    return floats(wood * (tone * (0.2 + 0.8 * gap) * light)[..., None])


def stone(rng: Rng, shape: tuple[int, int]) -> Floats:
    """Rock, plaster, sand or marble: a rough relief under slanting light, with stains or veins."""
    relief = fractal_noise(rng, shape, slope=rng.uniform(1.3, 1.8), stretch=(1, rng.uniform(1, 2.5)))
    slope_y, slope_x = np.gradient(relief)
    lit = slope_y * rng.uniform(0.5, 1) + slope_x * rng.uniform(-1, 1)
    stain = fractal_noise(rng, shape, slope=1.5)
    base = hsv(rng.uniform(0.02, 0.16), rng.uniform(0.03, 0.35), rng.uniform(0.4, 0.8))
    other = hsv(rng.uniform(0.02, 0.6), rng.uniform(0.03, 0.3), rng.uniform(0.3, 0.9))
    image = ramp([base * 0.7, base, other], 0.45 + 0.17 * stain + 0.1 * relief)
    image *= np.clip(1 + rng.uniform(0.06, 0.16) * lit / lit.std(), 0.2, 1.6)[..., None]
    if rng.random() < 0.4:
        vein = smoothstep(0.035, 0, np.abs(relief - 0.7 * stain)) * smoothstep(-0.5, 1.5, stain)
        image += 0.5 * vein[..., None] * (0.95 - image)
    return image.astype(np.float32)


def lights(rng: Rng, shape: tuple[int, int]) -> Floats:
    """A street at night out of focus: every lamp a disc."""
    y, x = grid(shape)
    night = hsv(rng.uniform(0.55, 1.05), rng.uniform(0.3, 0.7), rng.uniform(0.1, 0.25))
    image = ramp([night * 0.5, night, night * 1.6], 0.5 + 0.25 * fractal_noise(rng, shape, slope=2.0))
    hue, band = rng.random(), rng.uniform(0.35, 0.6)
    size = max(shape) * rng.uniform(0.012, 0.045)
    for _ in range(int(rng.integers(40, 120))):
        radius = size * rng.uniform(0.5, 1.5)
        colour = hsv(rng.choice([0.07, 0.1, 0.13, hue]), rng.uniform(0.2, 0.8), 1) * rng.uniform(0.15, 0.7)
        _disc(image, shape[0] * rng.normal(band, 0.2), shape[1] * rng.random(), radius, colour)
    street = smoothstep(0.75, 1, y / shape[0])
    return (image * (1 - 0.4 * street)[..., None] + 0 * x[..., None]).astype(np.float32)


def garden(rng: Rng, shape: tuple[int, int]) -> Floats:
    """Leaves and flowers far behind the plane of focus, sun through the gaps."""
    small = max(2, shape[0] // 2), max(2, shape[1] // 2)
    hue = rng.uniform(0.15, 0.3)
    greens = [
        hsv(hue + turn, rng.uniform(0.4, 0.65), value)
        for turn, value in ((0.04, 0.22), (0.02, 0.4), (0, 0.6))
    ]
    sun, flower = hsv(hue - 0.04, 0.35, 0.95), hsv(rng.random(), rng.uniform(0.3, 0.7), 0.9)
    image = heap(rng, small, [*greens, greens[0]], least=0.02, boxes=0.0)
    image *= (1 + 0.3 * np.tanh(fractal_noise(rng, small, slope=2.0)))[..., None]
    image = _blurred(image, rng.uniform(0.004, 0.012))
    radius = max(small) * rng.uniform(0.01, 0.035)
    for _ in range(int(rng.integers(50, 130))):
        colour = (flower if rng.random() < 0.3 else sun) * rng.uniform(0.08, 0.5)
        _disc(image, small[0] * rng.random(), small[1] * rng.random(), radius * rng.uniform(0.4, 1.4), colour)
    return resize(image, shape)


def clutter(rng: Rng, shape: tuple[int, int]) -> Floats:
    """Boxes and round things of every size and colour, out of focus, as a shelf behind a portrait."""
    small = max(2, shape[0] // 2), max(2, shape[1] // 2)
    hues = rng.random(3)
    palette = [hsv(rng.choice(hues), rng.uniform(0.05, 0.4), value) for value in np.linspace(0.15, 0.85, 9)]
    image = heap(rng, small, palette, least=0.02, boxes=0.8)
    image *= (0.9 + 0.2 * fractal_noise(rng, small, slope=2.2))[..., None]
    return resize(_blurred(image, rng.uniform(0.008, 0.02)), shape)


def pebbles(rng: Rng, shape: tuple[int, int]) -> Floats:
    """A beach of stones, small between large."""
    hue = rng.uniform(0.03, 0.13)
    palette = [
        hsv(hue + rng.normal(0, 0.02), rng.uniform(0, 0.3), value) for value in np.linspace(0.25, 0.85, 12)
    ]
    image = heap(rng, shape, palette, least=0.018, boxes=0.0)
    return image * (0.92 + 0.12 * fractal_noise(rng, shape, slope=2.0))[..., None]


def heap(rng: Rng, shape: tuple[int, int], palette: list[Floats], *, least: float, boxes: float) -> Floats:
    """Things that hide one another, of every size: the dead-leaves model, whose statistics are photographs'.

    Lee, Mumford and Huang, "Occlusion models for natural images", 2001: radii fall off with the third power,
    here from `least` (of the longer side) up to ten times that; the part `boxes` of them is angular.
    """
    texture = fractal_noise(rng, shape, slope=0.9)
    image = palette[0] * 0.5 * (1 + 0.1 * texture)[..., None]
    for radius in least * max(shape) / np.sqrt(rng.uniform(0.01, 1, int(0.5 / least**2))):
        colour = palette[rng.integers(len(palette))] * np.float32(rng.uniform(0.85, 1.15))
        _thing(rng, image, texture, float(radius), colour, angular=rng.random() < boxes)
    return image


def _thing(rng: Rng, image: Floats, texture: Floats, radius: float, colour: Floats, *, angular: bool) -> None:
    """One box or pebble, lit from above, dark where it touches what is below."""
    y, x = rng.random() * image.shape[0], rng.random() * image.shape[1]
    top, left = max(int(y - radius - 2), 0), max(int(x - radius - 2), 0)
    patch = image[top : int(y + radius) + 3, left : int(x + radius) + 3]
    down, right = grid((patch.shape[0], patch.shape[1]))
    down, right = (
        (down + np.float32(top - y)) / np.float32(radius),
        (right + np.float32(left - x)) / np.float32(radius),
    )
    turn, flat = np.float32(rng.normal(0, 0.3)), np.float32(rng.uniform(1, 2))
    u, v = right * np.cos(turn) - down * np.sin(turn), (right * np.sin(turn) + down * np.cos(turn)) * flat
    off = np.maximum(np.abs(u), np.abs(v)) * np.float32(1.5) if angular else np.sqrt(u * u + v * v)
    cover = np.clip((1 - off) * (np.float32(radius) / flat) + 0.5, 0, 1)
    light = 1.02 - 0.15 * u - 0.25 * v - 0.35 * off**4 * (not angular)
    grain = texture[top : top + patch.shape[0], left : left + patch.shape[1]] * np.float32(
        rng.uniform(0.03, 0.12)
    )
    patch += cover[..., None] * (colour * (light + grain)[..., None] - patch)


def _blurred(image: Floats, part: float) -> Floats:
    """Blur by `part` of the longer side."""
    sigma = part * max(image.shape)
    return np.asarray(ndimage.gaussian_filter(image, (sigma, sigma, 0), mode="nearest", truncate=2.5))


def _disc(image: Floats, y: float, x: float, radius: float, colour: Floats) -> None:
    """Add one point of light out of focus: a disc, a little brighter at its edge."""
    top, left = max(int(y - radius - 2), 0), max(int(x - radius - 2), 0)
    patch = image[top : max(int(y + radius + 3), 0), left : max(int(x + radius + 3), 0)]
    if not patch.size:
        return
    down, right = grid((patch.shape[0], patch.shape[1]))
    off = np.hypot(down + np.float32(top - y), right + np.float32(left - x))
    glow = np.clip((radius - off) / 1.5 + 0.5, 0, 1) * (0.75 + 0.25 * (off / radius) ** 4)
    patch += glow[..., None].astype(np.float32) * colour * (1 - patch)


def _turned(rng: Rng, shape: tuple[int, int], most: float) -> tuple[Floats, Floats]:
    """Rows and columns as a camera held not quite level sees them, far from 0: (h, w) each."""
    y, x = grid(shape)
    turn = rng.uniform(-most, most)
    lean = 1 + rng.uniform(-0.25, 0.25) * (x / shape[1] - 0.5)
    sine, cosine = np.float32(np.sin(turn)), np.float32(np.cos(turn))
    return (y * cosine + x * sine) * lean + 2 * max(shape), (x * cosine - y * sine) * lean + 2 * max(shape)
