"""The demo's backgrounds with depth: hills, sea, forest, city, room. Each gives (h, w, 3) in 0 to 1."""

import numpy as np
from scipy import ndimage

from ..drawing import Floats, Rng, floats, fractal_noise, grid, hsv, ramp, resize, sample, smoothstep

# Skies from the zenith down to the horizon; the last colour is also that of the haze.
SKIES = (
    ((0.22, 0.42, 0.72), (0.47, 0.66, 0.86), (0.80, 0.87, 0.92)),  # noon
    ((0.35, 0.50, 0.66), (0.62, 0.70, 0.76), (0.86, 0.84, 0.80)),  # hazy
    ((0.45, 0.49, 0.54), (0.61, 0.64, 0.67), (0.75, 0.76, 0.77)),  # overcast
    ((0.25, 0.27, 0.45), (0.68, 0.48, 0.48), (0.96, 0.72, 0.46)),  # evening
    ((0.10, 0.14, 0.27), (0.29, 0.30, 0.44), (0.62, 0.52, 0.52)),  # dusk
)


def hills(rng: Rng, shape: tuple[int, int]) -> Floats:
    """Ridge behind ridge fading into the haze, a meadow or a field in front."""
    image, haze = _sky(rng, shape)
    y, x = grid(shape)
    land = hsv(rng.uniform(0.13, 0.3), rng.uniform(0.3, 0.5), rng.uniform(0.25, 0.45)) * haze.mean() * 1.4
    cover = fractal_noise(rng, shape, slope=1.1, stretch=(0.6, 1.5))
    horizon = rng.uniform(0.35, 0.6) * shape[0]
    layers = int(rng.integers(2, 5))
    for layer in range(layers):
        near = (layer + 0.3) / layers
        height = shape[0] * rng.uniform(0.03, 0.1) * (1.3 - near)
        crest = horizon + near * 0.12 * shape[0] - height * _outline(rng, shape[1], 1.7)
        rough = 0.012 * near * shape[0] * fractal_noise(rng, (1, shape[1]), slope=0.6)
        colour = haze + (land * (1 + 0.35 * near * cover)[..., None] - haze) * near**0.7 * 0.9
        _lay(image, colour, np.clip(y - crest - rough + 0.5, 0, 1))
    start = horizon + 0.12 * shape[0]
    grass = _ground(rng, shape, start, 0.7)
    tone = 0.95 + 0.2 * grass + 0.1 * cover
    warm = ramp(
        [land * 1.5, hsv(rng.uniform(0.1, 0.24), 0.45, 0.55)], (y - start) / (shape[0] - start) + 0 * x
    )
    _lay(image, warm * tone[..., None], np.clip((y - start) / 4 + _outline(rng, shape[1], 1.2), 0, 1))
    return image


def sea(rng: Rng, shape: tuple[int, int]) -> Floats:
    """Water to the horizon: it mirrors the sky, glitters under the sun, and breaks on sand at times."""
    image, haze = _sky(rng, shape)
    y, x = grid(shape)
    horizon = rng.uniform(0.38, 0.62) * shape[0]
    depth = np.clip((y - horizon) / (shape[0] - horizon), 0, 1)
    waves = _ground(rng, shape, horizon, 0.25)
    water = hsv(rng.uniform(0.48, 0.6), rng.uniform(0.3, 0.6), 0.45) * (0.4 + 0.8 * haze.mean())
    colour = ramp([haze * 0.9, water, water * 0.6], depth + 0.12 * waves * depth)
    sun = np.exp(-(((x - shape[1] * rng.uniform(0.1, 0.9)) / (shape[1] * (0.03 + 0.12 * depth))) ** 2))
    colour += ((smoothstep(0.6, 2.2, waves) * (0.15 + sun) + 0.05 * waves)[..., None] * haze).astype(
        np.float32
    )
    _lay(image, colour, np.clip(y - horizon + 0.5, 0, 1) + 0 * x)
    if rng.random() < 0.5:
        shore = shape[0] * rng.uniform(0.75, 0.9) + 0.03 * shape[0] * _outline(rng, shape[1], 2.0)
        sand = hsv(0.1, 0.3, 0.75) * (0.4 + 0.7 * haze.mean())
        sand = sand * (1 + 0.1 * _ground(rng, shape, horizon, 1.0))[..., None]
        _lay(image, haze * 1.02, smoothstep(-0.014 * shape[0], 0, y - shore) * 0.8)
        _lay(image, sand, smoothstep(0, 0.02 * shape[0], y - shore))
    return image


def forest(rng: Rng, shape: tuple[int, int]) -> Floats:
    """Trunks in mist, the nearer the darker, leaves and light between them."""
    y, x = grid(shape)
    mist = hsv(rng.uniform(0.12, 0.5), rng.uniform(0.05, 0.2), rng.uniform(0.7, 0.9))
    leaf = hsv(rng.uniform(0.14, 0.32), rng.uniform(0.35, 0.6), rng.uniform(0.2, 0.35))
    image = ramp([mist, mist * 0.9, mist * 0.6], y / shape[0] + 0.1 * fractal_noise(rng, shape, slope=1.8))
    bark = fractal_noise(rng, shape, slope=0.9, stretch=(6, 0.7))
    for near in np.linspace(0.1, 1, 6, dtype=np.float32):
        tone = mist + (leaf - mist) * near
        crowns = fractal_noise(rng, shape, slope=1.25)
        high = smoothstep(0.1, 1.0, crowns + 1.2 - 2.6 * y / shape[0] - 0.8 * near)
        low = smoothstep(0, 0.6, crowns * 0.25 + (y / shape[0] - 0.62 - 0.28 * near) * 6)
        _lay(image, tone * (1 + 0.3 * crowns)[..., None], np.maximum(high, low) * 0.9)
        for _ in range(int(rng.integers(2, 5))):
            half = shape[1] * (0.004 + 0.022 * near**1.5) * rng.uniform(0.7, 1.3)
            axis = shape[1] * rng.random() + (y - shape[0]) * rng.normal(0, 0.05)
            off = (x - axis) / (half * (0.8 + 0.3 * y / shape[0]))
            wood = mist + (leaf * floats([1, 0.8, 0.75]) * 0.7 - mist) * near
            light = 1 - 0.4 * near * np.clip(off, -1, 1) + 0.16 * near * bark
            _lay(image, wood * light[..., None], np.clip((1 - np.abs(off)) * half + 0.5, 0, 1) * 0.97)
    return image


def city(rng: Rng, shape: tuple[int, int]) -> Floats:
    """Houses in three rows, windows lit here and there, a street."""
    image, haze = _sky(rng, shape)
    dark = haze.mean() < 0.65
    for near in (0.25, 0.6, 1.0):
        left = -0.05 * shape[1]
        while left < shape[1]:
            wide = shape[1] * rng.uniform(0.07, 0.16) * (0.6 + 0.6 * near)
            top = shape[0] * np.clip(rng.normal(0.45 + 0.08 * near, 0.12), 0.1, 0.8)
            _house(rng, image[int(top) :, max(int(left), 0) : max(int(left + wide), 0)], near, haze, dark)
            left += wide * rng.uniform(0.9, 1.2)
    start = 0.86 * shape[0]
    y, x = grid(shape)
    asphalt = haze * 0.4 * (1 + 0.12 * _ground(rng, shape, start - 0.1 * shape[0], 1.0))[..., None]
    _lay(image, asphalt, np.clip(y - start + 0.5, 0, 1) + 0 * x)
    return image


def _house(rng: Rng, wall: Floats, near: float, haze: Floats, dark: bool) -> None:
    """Fill `wall`, a part of the image, with a front of windows."""
    high, wide = wall.shape[:2]
    if min(high, wide) < 4:
        return
    plaster = hsv(rng.choice([0.03, 0.07, 0.1, 0.58]), rng.uniform(0.1, 0.45), rng.uniform(0.35, 0.85))
    plaster = haze + (plaster * haze.mean() - haze) * near
    columns, rows = max(2, wide // int(rng.integers(10, 22))), max(3, high // int(rng.integers(14, 28)))
    y, x = grid((high, wide))
    y, x = (y + 0.5) * rows / high, (x + 0.5) * columns / wide
    lit = rng.random((rows, columns)) < (0.35 if dark else 0.06)
    glass = np.where(lit[..., None], floats([1, 0.82, 0.5]), haze * rng.uniform(0.3, 0.6, (rows, columns, 1)))
    pane = smoothstep(0.5, 0.4, np.abs(y % 1 - 0.5) * 1.4) * smoothstep(0.5, 0.38, np.abs(x % 1 - 0.5) * 1.7)
    stain = 1 + 0.07 * fractal_noise(rng, (high, wide), slope=1.3, stretch=(3, 1))
    light = stain * (1.05 - 0.25 * x / columns)
    colours = glass[y[:, 0].astype(np.intp)][:, x[0].astype(np.intp)]
    wall[:] = plaster * light[..., None]
    _lay(wall, colours, pane * np.float32(0.4 + 0.55 * near))


def room(rng: Rng, shape: tuple[int, int]) -> Floats:
    """A wall with pictures, light from a window across it, a floor."""
    y, x = grid(shape)
    hue = rng.random()
    wall = hsv(hue, rng.uniform(0.05, 0.4), rng.uniform(0.55, 0.85))
    plaster = 1 + 0.015 * fractal_noise(rng, shape, slope=0.8) + 0.05 * fractal_noise(rng, shape, slope=2.2)
    image = wall * (plaster * (1 - 0.35 * (x / shape[1] - rng.random()) ** 2))[..., None]
    floor = shape[0] * rng.uniform(0.72, 0.86)
    for _ in range(int(rng.integers(1, 5))):
        _picture(rng, image[: int(floor * 0.85)])
    boards = hsv(rng.uniform(0.05, 0.1), rng.uniform(0.3, 0.6), rng.uniform(0.3, 0.6))
    boards = boards * (1 + 0.16 * _ground(rng, shape, floor - 0.25 * shape[0], 6.0))[..., None]
    _lay(image, wall * 0.3 + 0.6, np.clip(y - floor + 0.035 * shape[0], 0, 1) + 0 * x)
    _lay(image, boards, np.clip(y - floor + 0.5, 0, 1) + 0 * x)
    slant = rng.uniform(-0.6, 0.6)
    u = ((x + slant * y) / shape[1] - rng.uniform(0, 0.5)) * 4
    v = (y / shape[0] - rng.uniform(0.1, 0.3)) * 3
    panes = smoothstep(0.03, 0.1, np.abs(u - 1)) * smoothstep(0.03, 0.1, np.abs(v - 0.75))
    frame = smoothstep(1, 0.88, np.abs(u - 1)) * smoothstep(0.75, 0.67, np.abs(v - 0.75))
    image *= (0.72 + 0.5 * panes * frame)[..., None] * floats([1, 0.97, 0.9])
    return image


def _picture(rng: Rng, wall: Floats) -> None:
    """Hang a framed picture, with its shadow, somewhere on `wall`."""
    high, wide = wall.shape[:2]
    tall, broad = (int(min(high, wide) * rng.uniform(0.15, 0.4)) + 6 for _ in range(2))
    top, left = int(rng.integers(0, max(high - tall, 1))), int(rng.integers(0, max(wide - broad, 1)))
    edge = max(2, min(tall, broad) // 12)
    shade = np.zeros((high, wide), dtype=np.float32)
    shade[top + edge : top + tall + edge, left + edge : left + broad + edge] = 0.45
    wall *= 1 - ndimage.gaussian_filter(shade, edge)[..., None]
    frame = wall[top : top + tall, left : left + broad]
    frame[:] = hsv(rng.uniform(0.05, 0.12), rng.uniform(0, 0.6), rng.uniform(0.1, 0.8))
    inside = frame[edge:-edge, edge:-edge]
    motif = fractal_noise(rng, (inside.shape[0], inside.shape[1]), slope=1.6) * 0.25 + 0.5
    inside[:] = ramp([hsv(rng.random(), 0.4, value) for value in (0.25, 0.55, 0.9)], motif)


def _sky(rng: Rng, shape: tuple[int, int]) -> tuple[Floats, Floats]:
    """A sky over the whole image, with clouds; and the colour of its haze (3,)."""
    y, _ = grid(shape)
    stops = floats(SKIES[rng.integers(len(SKIES))]) * np.float32(rng.uniform(0.9, 1.05))
    drift = fractal_noise(rng, shape, slope=2.2)
    image = ramp(stops, y / (0.55 * shape[0]) + 0.04 * drift)
    clouds = fractal_noise(rng, shape, slope=1.55, stretch=(1, 2.5))
    density = smoothstep(rng.uniform(-0.2, 1.2), 2.4, clouds + 0.12 * drift)
    light = np.clip(0.92 - 0.22 * density + 0.5 * np.gradient(clouds, axis=0), 0, 1.05)
    _lay(image, (stops[-1] * 0.5 + 0.5) * light[..., None], density * 0.85)
    return image, stops[-1]


def _outline(rng: Rng, width: int, slope: float) -> Floats:
    """A random line over the image's columns: (1, w), mean 0, deviation 1; the same shape at any size."""
    return resize(fractal_noise(rng, (1, 512), slope=slope), (1, width))


def _ground(rng: Rng, shape: tuple[int, int], horizon: float, stretch: float) -> Floats:
    """Noise on a plane that ends, and fades, at row `horizon`; `stretch` > 1: its grain runs away from us."""
    y, x = grid(shape)
    below = np.maximum(y - np.float32(horizon), 0) / np.float32(shape[0] - horizon)
    side = max(shape)
    noise = fractal_noise(rng, (512, 512), slope=0.75, stretch=(max(stretch, 1), max(1 / stretch, 1)))
    away = 90 / (below + 0.06)
    across = (x / side - 0.5) * 250 / (below + 0.12)
    return np.asarray(sample(noise, away, across) * smoothstep(0, 0.12, below))


def _lay(image: Floats, colour: Floats, coverage: Floats) -> None:
    """Paint `colour` (3,) or (h, w, 3) over an opaque `image` (h, w, 3) in place."""
    image += coverage[..., None] * (colour - image)
