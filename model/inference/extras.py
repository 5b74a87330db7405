"""Libraries that only some commands need: they are loaded where they are used, and may be missing there."""

from __future__ import annotations

import atexit
import importlib
import os
import shutil
import sys
import tempfile
from typing import Any

from ...errors import WrongUseError
from ...text import first_line


class MissingExtraError(WrongUseError):
    """A library is not there; one line that says how to get it."""


def optional(module: str) -> Any:
    """A module of such a library. Raises MissingExtraError where it cannot be imported."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        name = module.partition(".")[0]
        raise MissingExtraError(f"{name} cannot be imported ({error}): pip install {name}") from error


def pymatting(module: str) -> tuple[Any, list[str]]:
    """A module of pymatting, and what to say of it.

    It is compiled at its first import, which numba keeps beside it or in the user's cache folder. In a
    container neither may be writable: then in a folder that lasts as long as the process. Raises
    MissingExtraError.
    """
    name = f"pymatting.{module}"
    try:
        return optional(name), []
    except RuntimeError as error:
        if "cannot cache" not in str(error):  # numba says so where no folder can be written
            raise
        folder = _cache_for_now(error)
    for each in [each for each in sys.modules if each.partition(".")[0] == "pymatting"]:
        del sys.modules[each]  # some of it is there, some is not
    optional("numba").config.CACHE_DIR = folder
    note = (
        "pymatting has no folder to keep what it compiles, which takes a minute each time: set "
        "NUMBA_CACHE_DIR to one that you may write"
    )
    return optional(name), [note]


def _cache_for_now(error: RuntimeError) -> str:
    try:
        folder = tempfile.mkdtemp(prefix="dimtool-numba-")
    except OSError as again:
        raise MissingExtraError(
            f"pymatting cannot keep what it compiles ({first_line(again)}): set NUMBA_CACHE_DIR to a folder "
            "that you may write"
        ) from error
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ["NUMBA_CACHE_DIR"] = folder  # for processes that this one starts
    return folder
