"""The demo's smoke: a soft alpha of every value, with hardly an edge."""

import numpy as np
from scipy import ndimage

from ..drawing import Floats, Rng, fractal_noise, grid, hsv, paint, sample, smoothstep


def smoke(rng: Rng, shape: tuple[int, int]) -> Floats:
    """A rising plume, carried backwards through divergence-free noise into sheets and wisps. (h, w, 4).

    Curl noise: Bridson et al., "Curl-noise for procedural fluid flow", 2007. Alpha follows from the density
    by Beer's law, 1 - exp(-density).
    """
    height, width = shape
    y, x = _carry(rng, shape)
    risen = np.clip(1 - y / height, 0, 1)
    sway = np.sin(risen * rng.uniform(2, 4) + rng.uniform(0, 6.28)) * risen * 0.1
    center = width * (rng.uniform(0.42, 0.58) + sway)
    plume = np.exp(-1.6 * ((x - center) / (min(shape) * (0.07 + 0.28 * risen**0.8))) ** 2)
    sheets = sample(fractal_noise(rng, shape, slope=1.7, stretch=(4, 1)), y, x)
    wisps = sample(fractal_noise(rng, shape, slope=1.2, stretch=(3, 1)), y, x)
    density = plume * np.exp(0.9 * sheets + 0.2 * wisps) * smoothstep(1.0, 0.4, risen)
    density = np.maximum(density / np.quantile(density, 0.96) - 0.02, 0)
    alpha = -np.expm1(-density * np.float32(rng.uniform(1.2, 3.0)))
    thick = ndimage.gaussian_filter(density, max(shape) * 0.012)
    slope_y, slope_x = np.gradient(thick)
    light = (0.6 * slope_x + 0.8 * slope_y) / (5 * slope_y.std())
    tone = 0.8 + 0.06 * np.tanh(light) + 0.03 * sheets - 0.16 * smoothstep(0.2, 2.0, thick)
    tint = hsv(rng.choice([0.6, 0.08, 0.55]), rng.uniform(0.02, 0.1), rng.uniform(0.85, 1.0))
    canvas = np.zeros((*shape, 4), dtype=np.float32)
    paint(canvas, np.clip(tone, 0, 1)[..., None] * tint, alpha.astype(np.float32))
    return canvas


def _carry(rng: Rng, shape: tuple[int, int]) -> tuple[Floats, Floats]:
    """Where the smoke of each pixel came from: (h, w) rows and columns."""
    side = max(shape)
    stream = ndimage.gaussian_filter(fractal_noise(rng, shape, slope=2.5), side * 0.006)
    flow_y, flow_x = -np.gradient(stream, axis=1), np.asarray(np.gradient(stream, axis=0))
    speed = side * 0.011 / np.sqrt((flow_x**2 + flow_y**2).mean())
    y, x = np.broadcast_arrays(*grid(shape))
    swirl = speed * (1.2 - y / shape[0])  # turbulence grows as smoke rises
    for _ in range(15):
        step_y, step_x = swirl * sample(flow_y, y, x), swirl * sample(flow_x, y, x)
        y, x = y + step_y, x + step_x
    return y, x
