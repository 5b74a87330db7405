"""What the demo's foregrounds and backgrounds are drawn with: noise, anti-aliased strokes, layers of paint.

A canvas is a (h, w, 4) float32 array of red, green, blue and alpha in 0 to 1, the colours premultiplied by
alpha (Porter and Duff, "Compositing Digital Images", 1984), so painting is one multiply and one add.
"""

import colorsys
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

Floats = npt.NDArray[np.floating[Any]]  # float32, but where numpy's own typing loses sight of that
UInt8 = npt.NDArray[np.uint8]
Rng = np.random.Generator
CONTRAST, SATURATION = 1.3, 0.8  # of the backgrounds: they bring both near those of COCO's photographs
PACKED = 0.94  # the least mass a pixel gets from strokes side by side, as they fall on the grid
GATHER = 1.5  # how much a level of `extend_colours` trusts little alpha: 1 is smoothest, 4 most local


def floats(values: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """`values` as a float32 array: a single double would turn all that it meets into doubles."""
    return np.asarray(values, dtype=np.float32)


def fractal_noise(
    rng: Rng, shape: tuple[int, int], *, slope: float, stretch: tuple[float, float] = (1.0, 1.0)
) -> Floats:
    """Gaussian noise whose amplitude falls as 1 / frequency ** slope: (h, w), mean 0, deviation 1.

    Photographs have a slope near 1; 1.5 to 2.5 looks like clouds and hills. `stretch` makes the grain that
    much longer along (y, x). Drawn in the frequency domain, so one inverse transform is all it costs.
    """
    height, width = (fft.next_fast_len(side, real=True) for side in shape)
    y = fft.fftfreq(height).astype(np.float32)[:, None] * np.float32(stretch[0])
    x = fft.rfftfreq(width).astype(np.float32)[None, :] * np.float32(stretch[1])
    squared = y * y + x * x
    squared[0, 0] = np.inf
    parts = rng.standard_normal((2, *squared.shape), dtype=np.float32)
    spectrum = (parts[0] + np.complex64(1j) * parts[1]) * squared ** np.float32(-slope / 2)
    noise = fft.irfft2(spectrum, s=(height, width))[: shape[0], : shape[1]]
    noise -= noise.mean()
    return floats(noise / noise.std())


def smoothstep(low: float, high: float, x: Floats) -> Floats:
    """0 up to `low`, 1 from `high` on, a smooth S between them; falls where `high` < `low`."""
    t = np.clip((x - np.float32(low)) / np.float32(high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t))


def grid(shape: tuple[int, int]) -> tuple[Floats, Floats]:
    """Rows y (h, 1) and columns x (1, w) of the pixels, as float32."""
    height, width = shape
    return np.arange(height, dtype=np.float32)[:, None], np.arange(width, dtype=np.float32)[None, :]


def ramp(stops: npt.ArrayLike, position: Floats) -> Floats:
    """Colours along a gradient: `stops` (n, 3) spread evenly over `position` 0 to 1. Returns (..., 3)."""
    colours = floats(stops)
    place = np.clip(position, 0, 1) * np.float32(len(colours) - 1)
    first = np.minimum(place.astype(np.intp), len(colours) - 2)
    mixed = (place - first)[..., None]
    return floats(colours[first] * (1 - mixed) + colours[first + 1] * mixed)


def paint(canvas: Floats, colour: npt.ArrayLike, coverage: Floats) -> None:
    """Lay paint over `canvas` (h, w, 4) in place: `colour` (3,) or (h, w, 3), `coverage` (h, w) 0 to 1."""
    canvas *= 1 - coverage[..., None]
    canvas[..., :3] += coverage[..., None] * floats(colour)
    canvas[..., 3] += coverage


def splat(
    shape: tuple[int, int], y: Floats, x: Floats, values: Floats, *, corner: tuple[int, int] = (0, 0)
) -> Floats:
    """Share each point's `values` (n, c) among its four nearest pixels, bilinearly: their sums (h, w, c).

    A line of points that carry width x spacing becomes a line anti-aliased with a tent filter, however thin.
    `corner`: the row and column that the sums begin at.
    """
    total = np.zeros(((shape[0] + 1) * (shape[1] + 1), values.shape[1]), dtype=np.float32)
    top, left = corner
    inside = (y > top - 1) & (y < top + shape[0]) & (x > left - 1) & (x < left + shape[1])
    y, x, values = y[inside] + 1, x[inside] + 1, values[inside]  # shifted: one row and column of margin
    row, column = y.astype(np.intp), x.astype(np.intp)
    down, right = y - row, x - column
    row, column = row - top, column - left
    for step_y, share_y in ((0, 1 - down), (1, down)):
        for step_x, share_x in ((0, 1 - right), (1, right)):
            index = (row + step_y) % (shape[0] + 1) * (shape[1] + 1) + (column + step_x) % (shape[1] + 1)
            for channel in range(values.shape[1]):
                weight = values[:, channel] * share_y * share_x
                total[:, channel] += np.bincount(index, weight, len(total)).astype(np.float32)
    return total.reshape(shape[0] + 1, shape[1] + 1, -1)[1:, 1:]


def paint_strokes(
    canvas: Floats, y: Floats, x: Floats, colour: Floats, mass: Floats, *, solid: bool = False
) -> None:
    """Paint points (n,) of `colour` (n, 3) over `canvas`; `mass` (n,) is stroke width x spacing, in pixels.

    Strokes that cross at random hide what is behind them as 1 - exp(-mass), as thin fibres do; `solid`
    ones lie side by side and hide as much as their mass.
    """
    (top, bottom), (left, right) = _reach(y, canvas.shape[0]), _reach(x, canvas.shape[1])
    if top >= bottom or left >= right:
        return
    part = canvas[top:bottom, left:right]
    values = np.column_stack([colour * mass[:, None], mass])
    sums = splat((bottom - top, right - left), y, x, values, corner=(top, left))
    amount = sums[..., 3]
    paint(
        part,
        sums[..., :3] / np.maximum(amount, 1e-6)[..., None],
        np.minimum(amount / PACKED, 1) if solid else -np.expm1(-amount),
    )


def _reach(place: Floats, side: int) -> tuple[int, int]:
    """The pixels, from and up to, that points at `place` share themselves among, of `side` that there are."""
    if not len(place):
        return 0, 0
    return max(int(np.floor(place.min())), 0), min(int(np.floor(place.max())) + 2, side)


def extend_colours(canvas: Floats) -> Floats:
    """The canvas's own colours (h, w, 3), continued smoothly to where it is transparent.

    Pull-push over an image pyramid (Gortler et al., "The Lumigraph", 1996): where alpha is low, the colour
    is filled up from the averages of ever larger surroundings.
    """
    height, width = canvas.shape[:2]
    alpha = canvas[..., 3:]
    if max(height, width) <= 2:
        total = canvas.sum(axis=(0, 1))
        return np.broadcast_to(total[:3] / max(total[3], 1e-6), (height, width, 3)).astype(np.float32)
    even = np.pad(canvas, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    fours = even.reshape(even.shape[0] // 2, 2, even.shape[1] // 2, 2, 4)
    halves = np.float32(GATHER) * fours.mean(axis=(1, 3))
    halves /= np.maximum(halves[..., 3:], 1)  # weights saturate at 1, colours stay premultiplied
    coarse = resize(extend_colours(halves), (height, width))
    return canvas[..., :3] + (1 - alpha) * coarse


def resize(image: Floats, shape: tuple[int, int]) -> Floats:
    """`image` (h, w) or (h, w, c) scaled to `shape` with linear interpolation."""
    y = (np.arange(shape[0]) + 0.5) * (image.shape[0] / shape[0]) - 0.5
    x = (np.arange(shape[1]) + 0.5) * (image.shape[1] / shape[1]) - 0.5
    return _interpolate(_interpolate(image, y, 0), x, 1)


def _interpolate(image: Floats, position: npt.NDArray[np.float64], axis: int) -> Floats:
    place = np.clip(position, 0, image.shape[axis] - 1)
    first = np.minimum(place.astype(np.intp), max(image.shape[axis] - 2, 0))
    second = np.minimum(first + 1, image.shape[axis] - 1)
    mixed = (place - first).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(image.ndim)])
    return np.asarray(image.take(first, axis) * (1 - mixed) + image.take(second, axis) * mixed)


def sample(image: Floats, y: Floats, x: Floats) -> Floats:
    """`image` (h, w) at fractional places, linearly, mirrored at its borders."""
    return floats(ndimage.map_coordinates(image, np.broadcast_arrays(y, x), order=1, mode="mirror"))


def to_uint8(image: Floats) -> UInt8:
    """0 to 1 as 0 to 255, rounded; values outside are clipped."""
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)


def hsv(hue: float, saturation: float, value: float) -> Floats:
    """One colour (3,) from hue (1 is once round), saturation and value, 0 to 1."""
    return floats(colorsys.hsv_to_rgb(hue % 1, saturation, value))


def photograph(rng: Rng, image: Floats) -> Floats:
    """What a camera makes of a scene (h, w, 3): a little blur, dark corners, contrast, film grain."""
    height, width = image.shape[:2]
    y, x = grid((height, width))
    corner = (y / height - 0.5) ** 2 + (x / width - 0.5) ** 2
    image = ndimage.gaussian_filter(image, (0.55, 0.55, 0), mode="nearest", truncate=3)
    grey = image.mean(axis=2, keepdims=True)
    image = grey + np.float32(SATURATION) * (image - grey)
    image = np.float32(CONTRAST) * (image - np.float32(0.45)) + np.float32(0.45)
    image *= np.float32(rng.uniform(0.9, 1.1)) * (1 - np.float32(rng.uniform(0, 0.7)) * corner)[..., None]
    grain = rng.standard_normal((height, width, 1), dtype=np.float32)
    tint = rng.standard_normal((height, width, 3), dtype=np.float32)
    return image + np.float32(rng.uniform(0.006, 0.02)) * (grain + 0.4 * tint)
