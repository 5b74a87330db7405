"""Shards to training crops: a data set of its own, for this trainer or another."""

from .batches import CropBatches, collate
from .dataset import TrainingCrops
from .reading import Crop, CropConfig

__all__ = ["Crop", "CropBatches", "CropConfig", "TrainingCrops", "collate"]
