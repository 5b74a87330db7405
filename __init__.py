"""dimtool: exact Composition-1k composites in HDF5 shards, and the Deep Image Matting model from them."""

from .version import __version__

__all__ = ["__version__"]
