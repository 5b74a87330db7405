"""Where the first scripts found CompositeDataset; it lives in `dimtool.composer.shards.dataset`."""

from .shards.dataset import CompositeDataset, known_background

__all__ = ["CompositeDataset", "known_background"]
