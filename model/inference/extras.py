"""Libraries that only some commands need, and that are installed with an extra."""

from __future__ import annotations

import importlib
from typing import Any

from ...errors import WrongUseError


class MissingExtraError(WrongUseError):
    """A library of an extra is not there; one line that says how to get it."""


def optional(module: str, *, extra: str) -> Any:
    """A module of an extra. Raises MissingExtraError where it cannot be imported."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"{module.partition('.')[0]} cannot be imported ({error}): pip install 'dimtool[{extra}]'"
        ) from error
