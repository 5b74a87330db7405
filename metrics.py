"""The four errors of image matting, as the official Composition-1k evaluation code (MATLAB) defines them.

SAD, MSE, gradient and connectivity error (Rhemann et al., CVPR 2009; Xu et al., CVPR 2017) compare a
predicted alpha with the true one over the unknown region, `trimap == 128`, and nowhere else. A table in
a paper holds their means over all images, SAD, gradient and connectivity divided by 1000; every function
here has divided already.

Alphas are uint8, 0 to 255, or floating point, 0 to 1. The official code reads alphas back from 8-bit
PNGs, so a float alpha is first rounded to uint8 as MATLAB's `imwrite` does it: floor(255 a + 0.5).

`whole_image_sad` and `whole_image_mse` are other quantities: what mmagic prints under the same names.
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage, sparse

from .arrays import UInt8Mask

BoolMask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
AlphaMask = npt.NDArray[np.uint8] | npt.NDArray[np.floating]

UNKNOWN = 128
REPORT_SCALE = 1000
GRADIENT_SIGMA = 1.4
GRADIENT_EPSILON = 1e-2
# 10 * alpha >= 255 * k, in integers: float64 puts alpha 153 = 0.6 * 255 below the threshold 0.6.
CONNECTIVITY_THRESHOLDS = tuple(math.ceil(255 * k / 10) for k in range(1, 11))
CONNECTIVITY_MARGIN = math.ceil(0.15 * 2550)
TILE = 96  # pixels; fastest of 48 to 256 (80 to 128 are alike): the arrays of the filters stay in the cache
GROW_AT_MOST = 1 / 16  # of the pixels; with more to add, labelling the whole image is faster


@dataclass(frozen=True, kw_only=True)
class Scores:
    """The errors of one image in the units of the papers' tables; lower is better, 0 is perfect."""

    sad: float
    mse: float
    grad: float
    conn: float
    whole_image_sad: float
    whole_image_mse: float


def matting_scores(prediction: AlphaMask, truth: AlphaMask, trimap: UInt8Mask) -> Scores:
    """All errors of one image; each as the function of its name gives it, with the checks done once.

    prediction, truth: (h, w) uint8 or float in 0 to 1; trimap: (h, w) uint8 of 0, 128, 255.
    Raises ValueError for other shapes, types or values, and where the trimap has no unknown pixel.
    """
    predicted, true, unknown = _checked(prediction, truth, trimap)
    pixels = int(np.count_nonzero(unknown))
    difference = _difference(predicted, true)
    absolute, squared = _sums(difference[unknown])
    known_absolute, known_squared = _sums(difference[~unknown])
    return Scores(
        sad=absolute / 255 / REPORT_SCALE,
        mse=squared / 255**2 / pixels,
        grad=_gradient_sum(predicted, true, unknown) / REPORT_SCALE,
        conn=_connectivity_sum(predicted, true, unknown) / REPORT_SCALE,
        whole_image_sad=(absolute + known_absolute) / 255 / REPORT_SCALE,
        whole_image_mse=(squared + known_squared) / 255**2 / pixels,
    )


def sad(prediction: AlphaMask, truth: AlphaMask, trimap: UInt8Mask) -> float:
    """Sum of absolute differences over the unknown region: sum |p - t| / 1000, p and t in 0 to 1.

    Arguments and errors as in `matting_scores`.
    """
    predicted, true, unknown = _checked(prediction, truth, trimap)
    return _sums(_difference(predicted, true)[unknown])[0] / 255 / REPORT_SCALE


def mse(prediction: AlphaMask, truth: AlphaMask, trimap: UInt8Mask) -> float:
    """Mean squared error over the unknown region: sum (p - t)² / unknown pixels, p and t in 0 to 1.

    Not scaled. Arguments and errors as in `matting_scores`.
    """
    predicted, true, unknown = _checked(prediction, truth, trimap)
    return _sums(_difference(predicted, true)[unknown])[1] / 255**2 / int(np.count_nonzero(unknown))


def gradient_error(prediction: AlphaMask, truth: AlphaMask, trimap: UInt8Mask) -> float:
    """Gradient error: sum (|∇p| - |∇t|)² / 1000 over the unknown region.

    p and t are each normalised to 0 to 1 by the minimum and maximum of the whole image. ∇ is a pair of
    first derivatives of a Gaussian, sigma 1.4, 9 x 9, each kernel divided by its L2 norm; borders are
    replicated. The gradient of a constant image, where the normalisation would be 0 / 0, is 0, as with
    MATLAB's `mat2gray`, which leaves such an image alone. Arguments and errors as in `matting_scores`.
    """
    return _gradient_sum(*_checked(prediction, truth, trimap)) / REPORT_SCALE


def connectivity_error(prediction: AlphaMask, truth: AlphaMask, trimap: UInt8Mask) -> float:
    """Connectivity error: sum |phi_p - phi_t| / 1000 over the unknown region.

    For each threshold k / 10, k = 1 to 10, Omega_k is the largest 4-connected component of the pixels
    where both alphas reach it, wherever they lie in the image. A pixel's l is the threshold before the
    first k whose Omega_k leaves it out, 1 if none does; phi = 1 - d where d = alpha - l >= 0.15, else 1.

    Of equally large components the one whose first pixel comes first column by column is taken, the
    first maximum in the order of MATLAB's labelling. Where no pixel reaches a threshold, and the
    official code stops, Omega_k is empty. Arguments and errors as in `matting_scores`.
    """
    return _connectivity_sum(*_checked(prediction, truth, trimap)) / REPORT_SCALE


def whole_image_sad(prediction: AlphaMask, truth: AlphaMask) -> float:
    """The SAD that mmagic reports: sum |p - t| / 1000 over all pixels, known ones too.

    mmagic sets a prediction to 0 and 1 where the trimap is known before it measures; that is the
    caller's part. Arguments and errors as in `matting_scores`.
    """
    return _sums(_difference(*_checked_pair(prediction, truth)))[0] / 255 / REPORT_SCALE


def whole_image_mse(prediction: AlphaMask, truth: AlphaMask, trimap: UInt8Mask) -> float:
    """The MSE that mmagic reports: sum (p - t)² over all pixels / *unknown* pixels; it can exceed 1.

    The prediction as for `whole_image_sad`. Arguments and errors as in `matting_scores`.
    """
    predicted, true, unknown = _checked(prediction, truth, trimap)
    return _sums(_difference(predicted, true))[1] / 255**2 / int(np.count_nonzero(unknown))


# Arguments


def _checked(
    prediction: AlphaMask, truth: AlphaMask, trimap: UInt8Mask
) -> tuple[UInt8Mask, UInt8Mask, BoolMask]:
    """Both alphas as uint8 and the unknown region, or a ValueError."""
    predicted, true = _checked_pair(prediction, truth)
    if trimap.dtype != np.uint8 or trimap.shape != true.shape:
        raise ValueError(
            f"trimap is {trimap.dtype} {trimap.shape}; give uint8 of the alpha's shape, {true.shape}"
        )
    unknown = trimap == UNKNOWN
    if not (unknown | (trimap == 0) | (trimap == 255)).all():
        values = np.unique(trimap)
        others = ", ".join(str(value) for value in values[~np.isin(values, (0, UNKNOWN, 255))][:8])
        raise ValueError(f"trimap has the values {others}; make each pixel 0, 128 (unknown) or 255")
    if not unknown.any():
        raise ValueError("trimap has no unknown pixel (128), so no error is defined; leave this image out")
    return predicted, true, unknown


def _checked_pair(prediction: AlphaMask, truth: AlphaMask) -> tuple[UInt8Mask, UInt8Mask]:
    if truth.ndim != 2:
        raise ValueError(f"truth has shape {truth.shape}; give one channel, (height, width)")
    if prediction.shape != truth.shape:
        raise ValueError(
            f"prediction has shape {prediction.shape}, truth {truth.shape}; resize neither: "
            "both must belong to the same image"
        )
    return _as_uint8(prediction, "prediction"), _as_uint8(truth, "truth")


def _as_uint8(alpha: AlphaMask, name: str) -> UInt8Mask:
    """Alpha as an 8-bit file would hold it. Halves go up, as in MATLAB; np.rint would send them to even."""
    if alpha.dtype == np.uint8:
        return alpha.astype(np.uint8, copy=False)
    if not np.issubdtype(alpha.dtype, np.floating):
        raise ValueError(f"{name} is {alpha.dtype}; give uint8, 0 to 255, or float, 0 to 1")
    rounded = np.floor(alpha.astype(np.float64) * 255 + 0.5)
    if not ((rounded >= 0) & (rounded <= 255)).all():  # this way round NaN is refused as well
        raise ValueError(f"{name} spans {alpha.min()} to {alpha.max()}; a float alpha must lie in 0 to 1")
    return rounded.astype(np.uint8)


# SAD and MSE


def _difference(prediction: UInt8Mask, truth: UInt8Mask) -> UInt8Mask:
    return np.maximum(prediction, truth) - np.minimum(prediction, truth)


def _sums(difference: UInt8Mask) -> tuple[int, int]:
    """The sum of the values and the sum of their squares, exact; 255² still fits into 16 bits."""
    squares = np.square(difference, dtype=np.uint16)
    return int(difference.sum(dtype=np.int64)), int(squares.sum(dtype=np.int64))


# Gradient


def _gradient_taps() -> tuple[Floats, Floats]:
    """The 9 taps of the Gaussian and of its derivative, whose outer product has the L2 norm 1.

    The official kernel ends where the Gaussian falls below epsilon.
    """
    sigma = GRADIENT_SIGMA
    half = math.ceil(sigma * math.sqrt(-2 * math.log(math.sqrt(2 * math.pi) * sigma * GRADIENT_EPSILON)))
    x = np.arange(-half, half + 1)
    gaussian = np.exp(-(x**2) / (2 * sigma**2))
    derivative = x * gaussian
    return gaussian / np.linalg.norm(gaussian), derivative / np.linalg.norm(derivative)


SMOOTH, DERIVE = _gradient_taps()
HALO = len(SMOOTH) // 2


def _gradient_sum(prediction: UInt8Mask, truth: UInt8Mask, unknown: BoolMask) -> float:
    """Sum (|∇p| - |∇t|)² over the unknown region, tile by tile, tiles without unknown pixels left out."""
    predicted, true = (np.pad(alpha, HALO, mode="edge") for alpha in (prediction, truth))
    predicted_derive, true_derive = _normalising_derivative(prediction), _normalising_derivative(truth)
    total = 0.0
    for y, x in itertools.product(*(range(0, side, TILE) for side in unknown.shape)):
        here = unknown[y : y + TILE, x : x + TILE]
        if here.any():
            window = slice(y, y + here.shape[0] + 2 * HALO), slice(x, x + here.shape[1] + 2 * HALO)
            error = _gradient_magnitude(predicted[window], predicted_derive)
            error -= _gradient_magnitude(true[window], true_derive)
            total += float(np.square(error[here]).sum())  # not a BLAS product: that would start threads
    return total


def _normalising_derivative(alpha: UInt8Mask) -> Floats:
    """DERIVE / contrast: filtering is linear, so this min-max normalises without a pass over the image.

    The minimum need not be subtracted, as the taps sum to 0.
    """
    contrast = int(alpha.max()) - int(alpha.min())
    return DERIVE / contrast if contrast else np.zeros_like(DERIVE)


def _gradient_magnitude(window: UInt8Mask, derive: Floats) -> Floats:
    """|∇alpha| without the window's halo; float64, as float32's rounding survives the later difference."""
    by_column = np.ascontiguousarray(window.T, dtype=np.float64)
    dx = _along_rows(_along_rows(by_column, SMOOTH).T, derive)
    dy = _along_rows(_along_rows(by_column, derive).T, SMOOTH)
    return np.sqrt(dx * dx + dy * dy)


def _along_rows(image: Floats, taps: Floats) -> Floats:
    """Each row correlated with the taps: (h, w + 2 halo) gives (h, w).

    One call for all rows, twice as fast as ndimage.correlate1d: what runs from one row into the next lies
    in the halo.
    """
    return np.correlate(image.ravel(), taps, "same").reshape(image.shape)[:, HALO:-HALO]


# Connectivity


def _connectivity_sum(prediction: UInt8Mask, truth: UInt8Mask, unknown: BoolMask) -> float:
    """Sum |phi_p - phi_t| over the unknown region, in whole multiples of 1 / 2550."""
    level = _connected_level(np.minimum(prediction, truth))[unknown].astype(np.int16)
    depth = _depth(prediction[unknown], level) - _depth(truth[unknown], level)
    return float(np.abs(depth).sum(dtype=np.int64)) / 2550


def _depth(alpha: UInt8Mask, level: npt.NDArray[np.int16]) -> npt.NDArray[np.int16]:
    """2550 (1 - phi): how far alpha lies above l = level / 10, 0 if less than 0.15."""
    depth = 10 * alpha.astype(np.int16) - 255 * level
    depth *= depth >= CONNECTIVITY_MARGIN
    return depth


def _connected_level(lowest: UInt8Mask) -> UInt8Mask:
    """10 l, (h, w), 0 to 10; `lowest` is the smaller of both alphas.

    From the highest threshold down: a pixel that Omega_k leaves out starts again from 0, and so ends with
    the number of thresholds before the first that leaves it out.
    """
    bordered = np.pad(lowest, 1)
    level = np.zeros(bordered.shape, np.uint8)
    component = np.zeros(bordered.shape, np.bool_)
    for threshold in reversed(CONNECTIVITY_THRESHOLDS):
        component = _largest_component(bordered >= threshold, component)
        level += 1
        level *= component.view(np.uint8)
    return level[1:-1, 1:-1]


def _largest_component(region: BoolMask, part: BoolMask) -> BoolMask:
    """The largest 4-connected component; of equals, the first column by column; of none, nothing.

    `part` is a connected part of the region, which has a border of False. If it holds over half of the
    region, it lies in the largest component, and is grown in place from the pixels that are left.
    """
    inside, pixels = np.count_nonzero(part), np.count_nonzero(region)
    if 2 * inside > pixels and pixels - inside < GROW_AT_MOST * region.size:
        _grow(part, np.flatnonzero(region > part))
        return part
    labels, count = ndimage.label(region)
    if count <= 1:
        return region
    # Sizes by horizontal runs, of which there are far fewer than pixels.
    edges = np.flatnonzero(np.diff(region.ravel()))
    starts, stops = edges[::2] + 1, edges[1::2] + 1
    label = labels.ravel()[starts]
    sizes = np.bincount(label, weights=stops - starts)
    equals = starts[sizes[label] == sizes.max()]
    by_column = equals % region.shape[1] * region.shape[0] + equals // region.shape[1]
    return np.asarray(labels == labels.ravel()[equals[by_column.argmin()]])


def _grow(part: BoolMask, others: npt.NDArray[np.intp]) -> None:
    """Add to `part`, in place, the 4-connected groups of `others` (ascending flat indices) that touch it.

    Those next to it join at once. Of the rest, horizontal runs are the nodes of a graph, whose edges join a
    run to the runs below it.
    """
    flat, width = part.reshape(-1), part.shape[1]
    near = _neighbours(flat, others, width)
    flat[others[near]] = True
    others = others[~near]
    near = _neighbours(flat, others, width)
    if not near.any():
        return
    run = np.cumsum(np.diff(others, prepend=-2) != 1) - 1
    below = np.searchsorted(others, others + width) % len(others)
    joined = others[below] == others + width
    edges = run[joined], run[below[joined]]
    graph = sparse.coo_array((np.ones(len(edges[0])), edges), shape=(run[-1] + 1, run[-1] + 1))
    groups, group_of_run = sparse.csgraph.connected_components(graph, directed=False)
    group = group_of_run[run]
    reached = np.zeros(groups, np.bool_)
    reached[group[near]] = True
    flat[others[reached[group]]] = True


def _neighbours(flat: BoolMask, indices: npt.NDArray[np.intp], width: int) -> BoolMask:
    """Whether any of the four neighbours is True."""
    return np.asarray(flat[indices - 1] | flat[indices + 1] | flat[indices - width] | flat[indices + width])
