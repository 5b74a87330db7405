"""How a crop looks: its layers' colours, changed before they are composited, and noise and JPEG after.

Made before it, a change of colours keeps C = a F + (1 - a) B whether it is linear or not, and wherever
colours are cut off. Noise and JPEG are put on what the network sees, and not on what the losses compare with.
"""

from __future__ import annotations

import io
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.special import ndtri

from ...arrays import UInt8Image
from .layers import Layer
from .variation import Variation

_LUMA = (0.299, 0.587, 0.114)  # of Rec. 601

# Standard deviations at strength 1: of logarithms, but for the last, in levels.
_LIGHT, _BALANCE, _CONTRAST, _SATURATION, _GAMMA = 0.25, 0.12, 0.2, 0.5, 0.25
_BIAS = 12.0

_QUALITY = (30, 96)  # of JPEG: from, below

_NORMAL = ndtri((np.arange(256) + 0.5) / 256)
"""The normal distribution's quantiles: a random byte to a random deviate, in a tenth of the time."""


class Change(NamedTuple):
    """A colour from 0 to 1 becomes (matrix @ colour + bias) ** gamma; matrix (3, 3), bias (3,)."""

    matrix: NDArray[np.float64]
    bias: NDArray[np.float64]
    gamma: float

    def after(self, other: Change) -> Change:
        """The change by another's matrix and bias, and then by all of this one."""
        return Change(self.matrix @ other.matrix, self.matrix @ other.bias + self.bias, self.gamma)

    def __call__(self, colours: UInt8Image) -> UInt8Image:
        """Changed colours, (h, w, 3), rounded; what leaves 0 to 255 is cut off."""
        rows = np.column_stack([self.matrix, 255 * self.bias]).ravel().tolist()
        curve = np.rint(255 * (np.arange(256) / 255) ** self.gamma).astype(int).tolist()
        return np.array(Image.fromarray(colours).convert("RGB", tuple(rows)).point(curve * 3))


def draw_change(strength: float, draw: np.random.Generator) -> Change:
    """Light, white balance, contrast, saturation, offset and gamma; at `strength` 0 nothing changes."""
    light, contrast, saturation, gamma = np.exp(
        strength * draw.normal(0, (_LIGHT, _CONTRAST, _SATURATION, _GAMMA))
    ).tolist()
    balance = np.exp(strength * draw.normal(0, _BALANCE, 3))
    grey = np.broadcast_to(_LUMA, (3, 3))
    matrix = contrast * light * balance[:, None] * (saturation * np.eye(3) + (1 - saturation) * grey)
    bias = (1 - contrast) / 2 + strength * draw.normal(0, _BIAS) / 255
    return Change(matrix, np.full(3, bias), gamma)


def recoloured(
    layer: Layer, background: UInt8Image, strength: float, draw: np.random.Generator
) -> tuple[Layer, UInt8Image]:
    """A foreground and the background behind it, (s, s, 3), in other colours.

    One change is drawn for both, and half as strong a one for the foreground before it: its light need not
    be that of the background.
    """
    both, own = draw_change(strength, draw), draw_change(strength / 2, draw)
    return layer._replace(colours=both.after(own)(layer.colours)), both(background)


def worn(image: UInt8Image, variation: Variation, draw: np.random.Generator) -> UInt8Image:
    """A composite, (s, s, 3), with noise of a deviation up to the variation's, and perhaps out of a JPEG."""
    if variation.noise:
        image = noisy(image, draw.uniform(0, variation.noise), draw)
    if draw.random() < variation.jpeg:
        image = through_jpeg(image, int(draw.integers(*_QUALITY)))
    return image


def noisy(image: UInt8Image, deviation: float, draw: np.random.Generator) -> UInt8Image:
    """With normal noise, drawn for each value: in levels, rounded, of at most 2.9 deviations."""
    levels = np.rint(deviation * _NORMAL).astype(np.int16)
    values = levels.take(np.frombuffer(draw.bytes(image.size), np.uint8)).reshape(image.shape)
    values += image
    return np.clip(values, 0, 255, out=values).astype(np.uint8)


def through_jpeg(image: UInt8Image, quality: int) -> UInt8Image:
    """Encoded and decoded again."""
    with io.BytesIO() as file:
        Image.fromarray(image).save(file, "JPEG", quality=quality)
        return np.array(Image.open(file))
