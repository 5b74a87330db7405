"""A slow oracle of the metrics, and images to compare with.

It follows the definitions pixel by pixel, in fractions where it can, with its own flood fill and its own
9 x 9 kernel. Its keywords plant the faults seen in other tools; the vectors must tell them apart.
"""

import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

Mask = npt.NDArray[np.uint8]
Vector = tuple[Mask, Mask, Mask]
Pixel = tuple[int, int]

FOUR = ((-1, 0), (1, 0), (0, -1), (0, 1))


@pytest.fixture(scope="session")
def oracle() -> SimpleNamespace:
    """Each metric by its name, of a prediction, its truth and its trimap; and the gradient's kernel."""
    return SimpleNamespace(
        sad=slow_sad,
        mse=slow_mse,
        gradient=slow_gradient,
        connectivity=slow_connectivity,
        mad=slow_mad,
        kernel=kernel,
    )


def pixels(shape: tuple[int, ...]) -> Iterator[Pixel]:
    """Column by column, as MATLAB counts."""
    return ((y, x) for x in range(shape[1]) for y in range(shape[0]))


def measured(trimap: Mask, *, everywhere: bool = False) -> list[Pixel]:
    return [at for at in pixels(trimap.shape) if everywhere or trimap[at] == 128]


def slow_sad(p: Mask, t: Mask, trimap: Mask, *, everywhere: bool = False) -> float:
    return sum(abs(int(p[at]) - int(t[at])) for at in measured(trimap, everywhere=everywhere)) / 255 / 1000


def slow_mad(p: Mask, t: Mask, trimap: Mask, *, everywhere: bool = False) -> float:
    pixels = measured(trimap, everywhere=everywhere)
    return sum(abs(int(p[at]) - int(t[at])) for at in pixels) / 255 / len(pixels)


def slow_mse(p: Mask, t: Mask, trimap: Mask, *, everywhere: bool = False) -> float:
    squares = sum((int(p[at]) - int(t[at])) ** 2 for at in measured(trimap, everywhere=everywhere))
    return squares / 255**2 / len(measured(trimap))


def kernel(sigma: float = 1.4, epsilon: float = 1e-2) -> list[list[float]]:
    """Derivative along x, of L2 norm 1."""

    def gauss(x: float) -> float:
        return math.exp(-(x**2) / (2 * sigma**2)) / (sigma * math.sqrt(2 * math.pi))

    half = math.ceil(sigma * math.sqrt(-2 * math.log(math.sqrt(2 * math.pi) * sigma * epsilon)))
    steps = range(-half, half + 1)
    values = [[gauss(y) * -x * gauss(x) / sigma**2 for x in steps] for y in steps]
    norm = math.sqrt(sum(value**2 for row in values for value in row))
    return [[value / norm for value in row] for row in values]


def slow_gradient(
    p: Mask, t: Mask, trimap: Mask, *, everywhere: bool = False, normalised: bool = True, unit: bool = True
) -> float:
    taps = kernel()
    scale = 1.0 if unit else 1 / max(abs(value) for row in taps for value in row)

    def magnitudes(alpha: Mask) -> dict[Pixel, float]:
        low, high = (int(alpha.min()), int(alpha.max())) if normalised else (0, 255)
        image = [[(int(v) - low) / (high - low) if high > low else 0.0 for v in row] for row in alpha]
        bottom, right = len(image) - 1, len(image[0]) - 1
        found = {}
        for y, x in measured(trimap, everywhere=everywhere):
            dx = dy = 0.0
            for i in range(9):
                row = image[min(max(y + i - 4, 0), bottom)]
                for j in range(9):
                    value = row[min(max(x + j - 4, 0), right)]
                    dx += taps[i][j] * value
                    dy += taps[j][i] * value
            found[y, x] = scale * math.hypot(dx, dy)
        return found

    true = magnitudes(t)
    return sum((value - true[at]) ** 2 for at, value in magnitudes(p).items()) / 1000


def reaches(alpha: int, k: int) -> bool:
    return Fraction(alpha, 255) >= Fraction(k, 10)


def largest(region: set[Pixel], order: list[Pixel], around: tuple[Pixel, ...]) -> set[Pixel]:
    """The largest component of the region; of equals the one met first in the given order."""
    best: set[Pixel] = set()
    left = set(region)
    for start in order:
        if start not in left:
            continue
        left.remove(start)
        component, waiting = {start}, [start]
        while waiting:
            y, x = waiting.pop()
            found = {(y + i, x + j) for i, j in around} & left
            left -= found
            component |= found
            waiting.extend(found)
        best = component if len(component) > len(best) else best
    return best


def slow_connectivity(
    p: Mask,
    t: Mask,
    trimap: Mask,
    *,
    everywhere: bool = False,
    around: tuple[Pixel, ...] = FOUR,
    by_rows: bool = False,
    background_may_win: bool = False,
    reach: Callable[[int, int], bool] = reaches,
) -> float:
    order = list(np.ndindex(*p.shape)) if by_rows else list(pixels(p.shape))
    level: dict[Pixel, int] = {}
    for k in range(1, 11):
        region = {at for at in order if reach(int(p[at]), k) and reach(int(t[at]), k)}
        omega = largest(region, order, around)
        if background_may_win and len(order) - len(region) > len(omega):
            omega = set(order) - region
        for at in order:
            if at not in omega:
                level.setdefault(at, k - 1)

    def phi(alpha: int, at: Pixel) -> Fraction:
        d = Fraction(alpha, 255) - Fraction(level.get(at, 10), 10)
        return 1 - d if d >= Fraction(15, 100) else Fraction(1)

    where = measured(trimap, everywhere=everywhere)
    return float(sum(abs(phi(int(p[at]), at) - phi(int(t[at]), at)) for at in where)) / 1000


@pytest.fixture(scope="session")
def blobs() -> Callable[[Pixel, int], Vector]:
    """Soft shapes with holes and specks, of a shape and a seed; and a prediction that errs everywhere."""
    return _blobs


def _blobs(shape: Pixel, seed: int) -> Vector:
    rng = np.random.default_rng(seed)
    smooth, errors = (ndimage.gaussian_filter(rng.standard_normal(shape), sigma) for sigma in (5, 1))
    truth = np.clip(160 + 2000 * smooth, 0, 255)
    prediction = np.clip(truth + 160 * errors, 0, 255)
    trimap = rng.choice(np.array([0, 128, 255], np.uint8), shape)
    return prediction.astype(np.uint8), truth.astype(np.uint8), trimap
