"""The two losses of Deep Image Matting, over the unknown region of the trimap.

Each is a mean over a sample's unknown pixels, and then over the batch's samples. The mean over all
unknown pixels of a batch would give a crop with a wide unknown region more weight, and its divisor
would depend on which crops meet in a process; as it is, the mean over processes with equally many
samples is the loss of one process with all of them, and so are the gradients. A sample without an
unknown pixel counts as a sample of loss zero. With batches of one, as peers train, the two means agree.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ..network.dim import full_precision

EPSILON = 1e-12
"""The paper's: makes sqrt(d² + EPSILON) smooth at d = 0, where it is 1e-6."""

ALPHA_WEIGHT = 0.5
"""The alpha-prediction loss's share of the whole; the compositional loss has the rest."""


class Losses(NamedTuple):
    """The loss to minimise and its two parts, each a scalar."""

    total: Tensor
    alpha: Tensor
    compositional: Tensor


def unknown_region(trimap: Tensor) -> Tensor:
    """Where a trimap in 0..1 (0, 128 / 255 and 1) is unknown, as a bool mask of its shape."""
    return (trimap > 0.25) & (trimap < 0.75)


def alpha_loss(prediction: Tensor, alpha: Tensor, unknown: Tensor) -> Tensor:
    """The alpha-prediction loss: the mean of sqrt((prediction - alpha)² + 1e-12) over unknown pixels.

    prediction, alpha: (n, 1, h, w), 0..1; a refined prediction may leave that range. unknown: bool, of
    that shape. Returns a scalar, float32 at least, whatever the inputs. Raises ValueError for other
    shapes.
    """
    _check_shapes(prediction, unknown, alpha=alpha)
    return _mean_over(unknown, _distance(prediction, alpha))


def compositional_loss(
    prediction: Tensor, *, foreground: Tensor, background: Tensor, composite: Tensor, unknown: Tensor
) -> Tensor:
    """The same mean for the colours that `prediction` composites, averaged over the three channels.

    prediction: (n, 1, h, w). foreground, background, composite: (n, 3, h, w) RGB in 0..1, of the very
    composition that made the network's input. unknown: (n, 1, h, w), bool. Returns a scalar as
    `alpha_loss` does. Raises ValueError for other shapes.
    """
    _check_shapes(prediction, unknown, foreground=foreground, background=background, composite=composite)
    prediction, foreground, background = map(full_precision, (prediction, foreground, background))
    composed = prediction * foreground + (1 - prediction) * background
    return _mean_over(unknown, _distance(composed, composite).mean(1, keepdim=True))


def encoder_decoder_loss(
    prediction: Tensor,
    *,
    alpha: Tensor,
    foreground: Tensor,
    background: Tensor,
    composite: Tensor,
    unknown: Tensor,
) -> Losses:
    """What stage 1 minimises: both losses, half each. The later stages take `alpha_loss` alone."""
    alpha_part = alpha_loss(prediction, alpha, unknown)
    colour_part = compositional_loss(
        prediction, foreground=foreground, background=background, composite=composite, unknown=unknown
    )
    total = ALPHA_WEIGHT * alpha_part + (1 - ALPHA_WEIGHT) * colour_part
    return Losses(total, alpha_part, colour_part)


def _distance(prediction: Tensor, target: Tensor) -> Tensor:
    difference = full_precision(prediction) - full_precision(target)
    return (difference.square() + EPSILON).sqrt()


def _mean_over(unknown: Tensor, distance: Tensor) -> Tensor:
    """Mean of `distance`, (n, 1, h, w), over each sample's unknown pixels, then over the n samples."""
    inside = torch.where(unknown, distance, 0).sum((1, 2, 3))
    return (inside / unknown.sum((1, 2, 3)).clamp(min=1)).mean()


def _check_shapes(prediction: Tensor, unknown: Tensor, **others: Tensor) -> None:
    if prediction.ndim != 4 or prediction.shape[1] != 1:
        raise ValueError(f"prediction is {tuple(prediction.shape)}; give (n, 1, h, w)")
    if unknown.dtype != torch.bool:
        raise ValueError(f"unknown is {unknown.dtype}; give bool, as `unknown_region` makes")
    n, _, h, w = prediction.shape
    for name, tensor in {"unknown": unknown, **others}.items():
        expected = (n, 1 if name in {"unknown", "alpha"} else 3, h, w)
        if tuple(tensor.shape) != expected:
            raise ValueError(f"{name} is {tuple(tensor.shape)}; with this prediction it must be {expected}")
