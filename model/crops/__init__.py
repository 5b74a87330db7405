"""Shards to training crops: a data set of its own, for this trainer or another."""

from .batches import CropBatches, collate
from .dataset import TrainingCrops
from .reading import Backgrounds, Crop, CropConfig
from .variation import Variation

__all__ = ["Backgrounds", "Crop", "CropBatches", "CropConfig", "TrainingCrops", "Variation", "collate"]
