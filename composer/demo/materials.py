"""What surfaces are made of: patterns over a whole image, whose edges are no edges of a thing. (h, w, 3)."""

from collections.abc import Callable

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from .drawing import Floats, Rng, floats, fractal_noise, grid, ramp, smoothstep
from .palettes import Palette

Place = tuple[Floats, Floats]
Material = Callable[[Rng, Place, Palette], Floats]


def material(rng: Rng, shape: tuple[int, int], palette: Palette, kind: Material | None = None) -> Floats:
    """One of MATERIALS over an image of `shape`, turned and draped, with the grain that everything has."""
    kind = kind or MATERIALS[rng.integers(len(MATERIALS))]
    colour = kind(rng, _drape(rng, shape), palette)
    grain = fractal_noise(rng, shape, slope=rng.uniform(0.3, 1.1)) * np.float32(rng.uniform(0.01, 0.06))
    stains = fractal_noise(rng, shape, slope=1.8) * np.float32(rng.uniform(0.02, 0.12))
    return floats(np.clip(colour * (1 + grain + stains)[..., None], 0, 1))


def _drape(rng: Rng, shape: tuple[int, int]) -> Place:
    """Rows and columns of a sheet that lies crumpled and turned: (h, w) each, in pixels."""
    y, x = grid(shape)
    turn = rng.uniform(-np.pi, np.pi) if rng.random() < 0.5 else rng.normal(0, 0.15)
    sine, cosine = np.float32(np.sin(turn)), np.float32(np.cos(turn))
    bend = np.float32(rng.choice([0.0, 6.0, 18.0]))
    down, right = (bend * fractal_noise(rng, shape, slope=2.4) for _ in range(2))
    return y * cosine + x * sine + down, x * cosine - y * sine + right


def plain(rng: Rng, place: Place, palette: Palette) -> Floats:
    """One colour."""
    return floats(np.broadcast_to(palette.pick(rng), (*_shape(place), 3)))


def mottled(rng: Rng, place: Place, palette: Palette) -> Floats:
    """Colours that run into one another."""
    clouds = fractal_noise(rng, _shape(place), slope=rng.uniform(0.9, 1.8))
    return ramp(palette.dark_to_light(rng, 4), 0.5 + np.float32(rng.uniform(0.1, 0.3)) * clouds)


def stripes(rng: Rng, place: Place, palette: Palette) -> Floats:
    """Stripes of several widths."""
    width = np.float32(np.exp(rng.uniform(np.log(4), np.log(50))))
    colours = palette.dark_to_light(rng, int(rng.integers(2, 5)))
    duty = rng.uniform(0.2, 0.8)
    phase = place[0] / width
    band = (phase % 1 < duty).astype(np.intp) + 2 * np.floor(phase).astype(np.intp)
    return _soft(colours[band % len(colours)], rng)


def plaid(rng: Rng, place: Place, palette: Palette) -> Floats:
    """Two sets of stripes woven over one another."""
    size = np.float32(rng.uniform(14, 70))
    warp, weft = palette.dark_to_light(rng, 3), palette.dark_to_light(rng, 3)
    cuts = np.sort(rng.random(3))
    first, second = (np.searchsorted(cuts, axis / size % 1) % 3 for axis in place)
    over = (np.floor(place[0] / 2) + np.floor(place[1] / 2)) % 2
    return floats(
        np.where(over[..., None] > 0, warp[first], weft[second]) * 0.6 + 0.2 * (warp[first] + weft[second])
    )


def dots(rng: Rng, place: Place, palette: Palette) -> Floats:
    """Round or square spots in rows."""
    size = np.float32(rng.uniform(7, 40))
    y, x = place[0] / size, place[1] / size
    x = x + 0.5 * (np.floor(y) % 2) * (rng.random() < 0.6)
    off = (
        np.maximum(np.abs(y % 1 - 0.5), np.abs(x % 1 - 0.5))
        if rng.random() < 0.3
        else np.hypot(y % 1 - 0.5, x % 1 - 0.5)
    )
    inside = np.clip((np.float32(rng.uniform(0.15, 0.42)) - off) * size + 0.5, 0, 1)[..., None]
    return floats(palette.pick(rng) * (1 - inside) + palette.pick(rng) * inside)


def patches(rng: Rng, place: Place, palette: Palette) -> Floats:
    """Cells, as on a giraffe, a paved way, a patchwork; with seams at times."""
    y, x = place
    size = np.exp(rng.uniform(np.log(12), np.log(90)))
    low, high = (y.min(), x.min()), (y.max(), x.max())
    count = int(np.clip((high[0] - low[0]) * (high[1] - low[1]) / size**2, 4, 3000))
    seeds = rng.uniform(low, high, (count, 2))
    distance, nearest = cKDTree(seeds).query(np.stack([y, x], axis=-1)[::2, ::2], k=2)
    distance, nearest = (
        np.repeat(np.repeat(part, 2, 0), 2, 1)[: y.shape[0], : y.shape[1]] for part in (distance, nearest)
    )
    colours = palette.dark_to_light(rng, 5)[rng.integers(0, 5, count)]
    image: Floats = floats(colours[nearest[..., 0]])
    if rng.random() < 0.6:
        seam = smoothstep(0, size * rng.uniform(0.05, 0.3), floats(distance[..., 1] - distance[..., 0]))
        image = image * seam[..., None] + palette.pick(rng) * (1 - seam[..., None])
    return _soft(image, rng)


def spots(rng: Rng, place: Place, palette: Palette) -> Floats:
    """Blotches or the stripes of a tiger: noise of one scale, cut at a level."""
    shape = _shape(place)
    size = np.exp(rng.uniform(np.log(2.5), np.log(14)))
    stretch = (size * rng.choice([1, 1, 4]), size)
    noise = rng.standard_normal(shape, dtype=np.float32)
    band = ndimage.gaussian_filter(noise, stretch) - ndimage.gaussian_filter(
        noise, (stretch[0] * 1.6, stretch[1] * 1.6)
    )
    mask = smoothstep(-0.15, 0.15, band / band.std() - np.float32(rng.uniform(-0.3, 0.8)))[..., None]
    return floats(palette.pick(rng) * (1 - mask) + palette.pick(rng) * mask)


def weave(rng: Rng, place: Place, palette: Palette) -> Floats:
    """Cloth or canvas seen near: threads over and under."""
    size = np.float32(rng.uniform(2.2, 9))
    y, x = place[0] / size, place[1] / size
    over = (np.floor(y) + np.floor(x)) % 2
    round_y, round_x = np.abs(np.sin(np.pi * y)), np.abs(np.sin(np.pi * x))
    light = np.where(over > 0, round_y * (0.6 + 0.4 * round_x), round_x * (0.6 + 0.4 * round_y))
    one, other = palette.pick(rng), palette.pick(rng)
    other = other if rng.random() < 0.4 else one * 0.85
    colour = np.where(over[..., None] > 0, one, other)
    return floats(colour * (0.45 + 0.6 * light)[..., None])


def knit(rng: Rng, place: Place, palette: Palette) -> Floats:
    """Stockinette: rows of little Vs, at times in several yarns."""
    size = np.float32(rng.uniform(6, 22))
    x = place[1] / size
    lean = np.abs(x % 1 - 0.5) * 2
    y = place[0] / (size * 0.8) + lean * 0.8
    light = np.abs(np.sin(np.pi * y)) ** 0.6 * np.abs(np.sin(np.pi * lean * 0.95 + 0.05)) ** 0.4
    yarns = palette.dark_to_light(rng, 3)[: int(rng.integers(1, 4))]
    yarn = np.floor(np.floor(y) / int(rng.integers(1, 8))).astype(np.intp) % len(yarns)
    return floats(yarns[yarn] * (0.3 + 0.7 * light)[..., None])


def grain(rng: Rng, place: Place, palette: Palette) -> Floats:
    """Wood: rings and fibres along one way."""
    shape = _shape(place)
    rings = np.sin(
        place[0] / np.float32(rng.uniform(3, 14)) + 3 * fractal_noise(rng, shape, slope=2.0, stretch=(1, 4))
    )
    fibre = fractal_noise(rng, shape, slope=0.7, stretch=(1, 14))
    return ramp(palette.dark_to_light(rng, 3), 0.5 + 0.2 * rings + 0.12 * fibre)


def veins(rng: Rng, place: Place, palette: Palette) -> Floats:
    """Marble, bark or cracked paint: thin lines where noise crosses 0."""
    noise = fractal_noise(rng, _shape(place), slope=rng.uniform(1.1, 1.7))
    line = smoothstep(rng.uniform(0.05, 0.4), 0, np.abs(noise))[..., None]
    ground = mottled(rng, place, palette)
    return floats(ground * (1 - line) + palette.pick(rng) * line)


def writing(rng: Rng, place: Place, palette: Palette) -> Floats:
    """Rows of strokes like print, from small text to large letters."""
    size = np.float32(np.exp(rng.uniform(np.log(6), np.log(40))))
    y, x = place[0] / size, place[1] / (size * np.float32(0.6))
    row, column = np.floor(y).astype(np.intp), np.floor(x).astype(np.intp)
    marks = rng.random((97, 89, 5, 4)) < 0.5
    blank = rng.random((97, 89)) < 0.2
    in_y, in_x = ((y % 1) * 7).astype(np.intp), ((x % 1) * 5).astype(np.intp)
    on = marks[row % 97, column % 89, np.minimum(in_y, 4), np.minimum(in_x, 3)]
    on = on & (in_y < 5) & (in_x < 4) & ~blank[row % 97, column % 89]
    return _soft(np.where(on[..., None], palette.pick(rng), palette.pick(rng)), rng)


def brushed(rng: Rng, place: Place, palette: Palette) -> Floats:
    """Metal or silk: streaks of light along one way."""
    shape = _shape(place)
    streak = fractal_noise(rng, shape, slope=0.9, stretch=(1, 30))
    sheen = np.sin(place[0] / np.float32(rng.uniform(10, 60)) + fractal_noise(rng, shape, slope=2.2))
    return ramp(palette.dark_to_light(rng, 4), 0.5 + 0.08 * streak + 0.3 * sheen)


def _shape(place: Place) -> tuple[int, int]:
    return place[0].shape[0], place[0].shape[1]


def _soft(image: Floats, rng: Rng) -> Floats:
    """Edges as a lens leaves them."""
    sigma = rng.uniform(0.5, 1.2)
    return floats(ndimage.gaussian_filter(floats(image), (sigma, sigma, 0), truncate=2.5))


MATERIALS: tuple[Material, ...] = (
    plain,
    plain,
    mottled,
    mottled,
    stripes,
    plaid,
    dots,
    patches,
    spots,
    weave,
    knit,
    grain,
    veins,
    writing,
    brushed,
)
