"""A drawn thing as a photograph of it: framed, through a lens, in its own light, with its matte."""

import numpy as np

from .camera import any_camera, defocus, take
from .drawing import Floats, Rng, UInt8, extend_colours, floats, grid, smoothstep, to_uint8
from .foregrounds.kinds import Kind
from .foregrounds.solids import blur_along
from .palettes import Palette

MARGIN = 0.06  # of the picture, that is left around a thing at least
LEAST = 96  # pixels of a side


def photograph_of(rng: Rng, kind: Kind, palette: Palette, shape: tuple[int, int]) -> tuple[UInt8, UInt8]:
    """Foreground (h, w, 3) and alpha (h, w) of one subject; h and w are those of `shape` at most.

    The colours go on beyond the edge, and noise, sharpening and JPEG are on them as on a background's; the
    alpha is exact.
    """
    canvas = lens(rng, frame(rng, kind(rng, shape, palette)))
    if rng.random() < 0.5:
        canvas = canvas[:, ::-1]
    alpha = np.clip(canvas[..., 3], 0, 1)
    return to_uint8(take(rng, colours(canvas), any_camera(rng), alpha + 1e-3)), to_uint8(alpha)


def frame(rng: Rng, canvas: Floats) -> Floats:
    """The part of `canvas` that holds something, and a margin."""
    slices = []
    for axis in (0, 1):
        side = canvas.shape[axis]
        held = np.flatnonzero((canvas[..., 3] > 0.05).any(axis=1 - axis))
        if not len(held):
            return canvas
        margin = side * rng.uniform(MARGIN, 3 * MARGIN)
        low, high = max(int(held[0] - margin), 0), min(int(held[-1] + margin) + 1, side)
        short = max(LEAST - (high - low), 0)
        low = max(low - short, 0)
        slices.append(slice(low, max(high, min(low + LEAST, side))))
    return canvas[slices[0], slices[1]]


def lens(rng: Rng, canvas: Floats) -> Floats:
    """Sharp, a little soft, out of focus, or moved while the shutter was open; colours and alpha alike."""
    kind = rng.choice(["sharp", "soft", "defocus", "deep", "moved"], p=[0.42, 0.28, 0.14, 0.09, 0.07])
    if kind == "soft":
        canvas = defocus(canvas, rng.uniform(0.6, 1.3))
    elif kind == "defocus":
        canvas = defocus(canvas, float(np.exp(rng.uniform(np.log(1.3), np.log(7)))))
    elif kind == "deep":
        canvas = _in_part(rng, canvas, defocus(canvas, rng.uniform(2, 9)))
    elif kind == "moved":
        way, far = rng.uniform(0, 2 * np.pi), np.exp(rng.uniform(np.log(3), np.log(40)))
        canvas = blur_along(canvas, float(far * np.sin(way)), float(far * np.cos(way)))
    canvas = np.clip(canvas, 0, 1)
    canvas[canvas[..., 3] < 0.5 / 255] = 0  # what a blur in the frequency domain leaves far away
    solid = canvas[..., 3:] > 1 - 0.5 / 255
    canvas[..., 3:][solid] = 1
    return floats(np.minimum(canvas, canvas[..., 3:]))


def _in_part(rng: Rng, sharp: Floats, soft: Floats) -> Floats:
    """Sharp at one side and out of focus at the other: a thing that reaches out of the plane of focus."""
    y, x = grid((sharp.shape[0], sharp.shape[1]))
    way = rng.uniform(0, 2 * np.pi)
    along = (y / sharp.shape[0] - 0.5) * np.sin(way) + (x / sharp.shape[1] - 0.5) * np.cos(way)
    middle, width = rng.uniform(-0.25, 0.25), rng.uniform(0.05, 0.4)
    share = smoothstep(middle - width, middle + width, floats(along))[..., None]
    return sharp + share * (soft - sharp)


def colours(canvas: Floats) -> Floats:
    """The subject's own colours (h, w, 3): each pixel's where it has enough alpha, else its surroundings'."""
    alpha = canvas[..., 3:]
    trust = smoothstep(0.02, 0.25, alpha)
    own = canvas[..., :3] / np.maximum(alpha, 0.02)
    return floats(np.clip(trust * own + (1 - trust) * extend_colours(canvas), 0, 1))
