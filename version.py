"""The version of dimtool, in one place; written into every shard."""

__version__ = "0.1.0"
