"""Published scores of Deep Image Matting on Composition-1k (1,000 images, official trimaps)."""

from __future__ import annotations

from typing import NamedTuple


class Published(NamedTuple):
    """SAD in thousands, MSE, gradient and connectivity errors in thousands; all over the unknown region.

    mmagic's SAD and MSE sum over all pixels, with the known ones as the trimap has them.
    """

    model: str
    sad: float
    mse: float
    grad: float
    conn: float


PUBLISHED = (
    Published("paper, alpha loss only", 59.6, 0.019, 40.5, 59.3),
    Published("paper, encoder-decoder", 54.6, 0.017, 36.7, 55.3),
    Published("paper, with refinement", 50.4, 0.014, 31.0, 50.8),
    Published("mmagic, stage 1", 53.8, 0.017, 32.7, 54.5),
    Published("mmagic, stage 2", 52.3, 0.016, 29.4, 52.4),
    Published("mmagic, stage 3", 50.6, 0.015, 29.0, 50.7),
    Published("huochaitiantang, stage 1 with skips", 53.0, 0.0171, 31.6, 53.2),
)
