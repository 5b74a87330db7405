"""What any model should beat: the trimap itself, and methods from before there were networks."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...arrays import UInt8Mask
from ...composer.pixels.trimap import UNKNOWN
from ...errors import WrongUseError
from ...text import is_it
from ..inference.extras import pymatting
from .scoring import Alpha, Item

# The module of pymatting, and its function, which takes (h, w, 3) and (h, w) float64 in 0 to 1.
_OF_PYMATTING = {
    "closed-form": "alpha.estimate_alpha_cf",  # Levin et al., CVPR 2006
    "knn": "alpha.estimate_alpha_knn",  # Chen et al., CVPR 2012
    "learning-based": "alpha.estimate_alpha_lbdm",  # Zheng and Kambhamettu, ICCV 2009
}
METHODS = (*_OF_PYMATTING, "trimap")


@dataclass(frozen=True)
class Method:
    """An alpha by one of METHODS, with the trimap's known pixels as they are known.

    "trimap" is the trivial answer: half an alpha wherever it is sought. It stands in for another method
    where the trimap lacks all foreground or all background, of which the method would have to learn.
    """

    name: str

    def __call__(self, item: Item) -> Alpha:
        trivial = Alpha(item.trimap, instead=self.name != "trimap")
        if self.name == "trimap":
            return trivial
        if item.image is None:
            raise WrongUseError(f"{self.name} needs the images: give --shards, or --image-dir")
        if not ((item.trimap == 0).any() and (item.trimap == 255).any()):
            return trivial
        alpha = _estimator(self.name)(item.image / 255, _halves(item.trimap))
        rounded = np.floor(np.clip(alpha, 0, 1) * 255 + 0.5).astype(np.uint8)
        return Alpha(np.where(item.trimap == UNKNOWN, rounded, item.trimap))


def check_other(name: str) -> list[str]:
    """What to say of a method, or of the path of what else is scored, before any work.

    Raises MissingExtraError for a method that cannot run, WrongUseError for what is neither.
    """
    if name not in METHODS and not Path(name).exists():
        raise WrongUseError(
            f"{name} is neither a file or folder nor one of {', '.join(METHODS)}{is_it(name, METHODS)}"
        )
    return pymatting(_OF_PYMATTING[name])[1] if name in _OF_PYMATTING else []


def _estimator(name: str) -> Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]:
    os.environ.setdefault("NUMBA_NUM_THREADS", "1")  # processes beside each other, not threads
    path = _OF_PYMATTING[name]
    found: Callable[..., NDArray[np.float64]] = getattr(pymatting(path)[0], path.rpartition(".")[2])
    return found


def _halves(trimap: UInt8Mask) -> NDArray[np.float64]:
    """0, 1/2 and 1: pymatting takes what is above 0 and below 1 for unknown."""
    return np.where(trimap == UNKNOWN, 0.5, trimap / 255)
