"""A small matting data set, drawn: real difficulties and photographic-looking backgrounds, from a seed."""

from .make import DemoSummary, make_demo

__all__ = ["DemoSummary", "make_demo"]
