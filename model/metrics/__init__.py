"""The errors of image matting, as the official Composition-1k evaluation code (MATLAB) defines them.

    from dimtool.metrics import MeanScores, sad

    sad(prediction, truth, trimap)                  # one error of one image
    scores = MeanScores()
    scores.add(prediction, truth, trimap)           # all errors of one image; for each image
    scores.mean().conn                              # as a paper's table has it

SAD, MSE, gradient and connectivity error (Rhemann et al., CVPR 2009; Xu et al., CVPR 2017) compare a
predicted alpha with the true one over the unknown region, `trimap == 128`, and nowhere else. A table in
a paper holds their means over all images, SAD, gradient and connectivity divided by 1000; every function
here has divided already. Run under Octave, the original code agrees within its own single precision (a
relative 7.7e-6); a copy of it in double precision agrees to 4e-12.

Alphas are uint8, 0 to 255, or floating point, 0 to 1; arrays, or what NumPy makes arrays of (Pillow's images,
tensors on the CPU, lists). The official code reads alphas back from 8-bit PNGs, so a float alpha is first
rounded to uint8 as MATLAB's `imwrite` does it: floor(255 a + 0.5).

`whole_image_sad` and `whole_image_mse` are other quantities: what mmagic prints under the same names.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...arrays import UInt8Mask
from .connected import connectivity_sum
from .gradients import gradient_sum

__all__ = [
    "MeanScores",
    "Scores",
    "connectivity",
    "gradient",
    "mad",
    "matting_scores",
    "mse",
    "sad",
    "whole_image_mad",
    "whole_image_mse",
    "whole_image_sad",
]

BoolMask = npt.NDArray[np.bool_]
Alpha = npt.ArrayLike
"""(h, w) uint8, 0 to 255, or floating point, 0 to 1."""

UNKNOWN = 128
REPORT_SCALE = 1000


@dataclass(frozen=True, kw_only=True)
class Scores:
    """The errors of one image in the units of the papers' tables; lower is better, 0 is perfect."""

    sad: float
    mse: float
    grad: float
    conn: float
    mad: float
    whole_image_sad: float
    whole_image_mse: float


def matting_scores(prediction: Alpha, truth: Alpha, trimap: npt.ArrayLike) -> Scores:
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
        grad=gradient_sum(predicted, true, unknown) / REPORT_SCALE,
        conn=connectivity_sum(predicted, true, unknown) / REPORT_SCALE,
        mad=absolute / 255 / pixels,
        whole_image_sad=(absolute + known_absolute) / 255 / REPORT_SCALE,
        whole_image_mse=(squared + known_squared) / 255**2 / pixels,
    )


def sad(prediction: Alpha, truth: Alpha, trimap: npt.ArrayLike) -> float:
    """Sum of absolute differences over the unknown region: sum |p - t| / 1000, p and t in 0 to 1.

    Arguments and errors as in `matting_scores`.
    """
    predicted, true, unknown = _checked(prediction, truth, trimap)
    return _sums(_difference(predicted, true)[unknown])[0] / 255 / REPORT_SCALE


def mse(prediction: Alpha, truth: Alpha, trimap: npt.ArrayLike) -> float:
    """Mean squared error over the unknown region: sum (p - t)² / unknown pixels, p and t in 0 to 1.

    Not scaled. Arguments and errors as in `matting_scores`.
    """
    predicted, true, unknown = _checked(prediction, truth, trimap)
    return _sums(_difference(predicted, true)[unknown])[1] / 255**2 / int(np.count_nonzero(unknown))


def mad(prediction: Alpha, truth: Alpha, trimap: npt.ArrayLike) -> float:
    """Mean absolute difference over the unknown region: sum |p - t| / unknown pixels, p and t in 0 to 1.

    Not scaled; some tables print it times 1000. Arguments and errors as in `matting_scores`.
    """
    predicted, true, unknown = _checked(prediction, truth, trimap)
    return _sums(_difference(predicted, true)[unknown])[0] / 255 / int(np.count_nonzero(unknown))


def gradient(prediction: Alpha, truth: Alpha, trimap: npt.ArrayLike) -> float:
    """Gradient error: sum (|∇p| - |∇t|)² / 1000 over the unknown region.

    p and t are each normalised to 0 to 1 by the minimum and maximum of the whole image. ∇ is a pair of
    first derivatives of a Gaussian, sigma 1.4, 9 x 9, each kernel divided by its L2 norm; borders are
    replicated. The gradient of a constant image, where the normalisation would be 0 / 0, is 0, as with
    MATLAB's `mat2gray`, which leaves such an image alone. Arguments and errors as in `matting_scores`.
    """
    return gradient_sum(*_checked(prediction, truth, trimap)) / REPORT_SCALE


def connectivity(prediction: Alpha, truth: Alpha, trimap: npt.ArrayLike) -> float:
    """Connectivity error: sum |phi_p - phi_t| / 1000 over the unknown region.

    For each threshold k / 10, k = 1 to 10, Omega_k is the largest 4-connected component of the pixels
    where both alphas reach it, wherever they lie in the image. A pixel's l is the threshold before the
    first k whose Omega_k leaves it out, 1 if none does; phi = 1 - d where d = alpha - l >= 0.15, else 1.

    Of equally large components the one whose first pixel comes first column by column is taken, the
    first maximum in the order of MATLAB's labelling. Where no pixel reaches a threshold, and the
    official code stops, Omega_k is empty. Arguments and errors as in `matting_scores`.
    """
    return connectivity_sum(*_checked(prediction, truth, trimap)) / REPORT_SCALE


def whole_image_sad(prediction: Alpha, truth: Alpha) -> float:
    """The SAD that mmagic reports: sum |p - t| / 1000 over all pixels, known ones too.

    mmagic sets a prediction to 0 and 1 where the trimap is known before it measures; that is the
    caller's part. Arguments and errors as in `matting_scores`.
    """
    return _sums(_difference(*_checked_pair(prediction, truth)))[0] / 255 / REPORT_SCALE


def whole_image_mad(prediction: Alpha, truth: Alpha) -> float:
    """Mean absolute difference over all pixels: sum |p - t| / pixels, as portrait matting reports it.

    Not scaled. Arguments and errors as in `matting_scores`.
    """
    predicted, true = _checked_pair(prediction, truth)
    return _sums(_difference(predicted, true))[0] / 255 / true.size


def whole_image_mse(prediction: Alpha, truth: Alpha, trimap: npt.ArrayLike) -> float:
    """The MSE that mmagic reports: sum (p - t)² over all pixels / *unknown* pixels; it can exceed 1.

    The prediction as for `whole_image_sad`. Arguments and errors as in `matting_scores`.
    """
    predicted, true, unknown = _checked(prediction, truth, trimap)
    return _sums(_difference(predicted, true))[1] / 255**2 / int(np.count_nonzero(unknown))


# Means


class MeanScores:
    """The scores of images, one after the other, and their mean: what a paper's table holds.

    The mean is over images, as the official code takes it: a large image counts as much as a small one.
    Several can be joined, as of processes that score a part each: `MeanScores(a.images + b.images)`.
    """

    def __init__(self, images: Iterable[Scores] = ()) -> None:
        self.images = list(images)

    def __len__(self) -> int:
        return len(self.images)

    def add(self, prediction: Alpha, truth: Alpha, trimap: npt.ArrayLike) -> Scores:
        """Score one image, and count it. Arguments and errors as in `matting_scores`."""
        self.images.append(matting_scores(prediction, truth, trimap))
        return self.images[-1]

    def mean(self) -> Scores:
        """The mean of each error. Raises ValueError where there is no image."""
        if not self.images:
            raise ValueError("there is no image yet, and so no mean: add some")
        every = [asdict(image) for image in self.images]
        return Scores(**{name: float(np.mean([each[name] for each in every])) for name in every[0]})


# Arguments


def _checked(prediction: Alpha, truth: Alpha, trimap: npt.ArrayLike) -> tuple[UInt8Mask, UInt8Mask, BoolMask]:
    """Both alphas as uint8 and the unknown region, or a ValueError."""
    predicted, true = _checked_pair(prediction, truth)
    trimap = np.asarray(trimap)
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


def _checked_pair(prediction: Alpha, truth: Alpha) -> tuple[UInt8Mask, UInt8Mask]:
    prediction, truth = np.asarray(prediction), np.asarray(truth)
    if truth.ndim != 2:
        raise ValueError(f"truth has shape {truth.shape}; give one channel, (height, width)")
    if prediction.shape != truth.shape:
        raise ValueError(
            f"prediction has shape {prediction.shape}, truth {truth.shape}; resize neither: "
            "both must belong to the same image"
        )
    return _as_uint8(prediction, "prediction"), _as_uint8(truth, "truth")


def _as_uint8(alpha: npt.NDArray[Any], name: str) -> UInt8Mask:
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
