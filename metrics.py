"""The errors of image matting in public, without torch: see `dimtool.model.metrics`, which this names.

from dimtool.metrics import MeanScores, sad
"""

from .model.metrics import (
    MeanScores,
    Scores,
    connectivity,
    gradient,
    mad,
    matting_scores,
    mse,
    sad,
    whole_image_mad,
    whole_image_mse,
    whole_image_sad,
)

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
