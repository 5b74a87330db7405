"""The page itself, one HTML file with its style and scripts in it."""

from __future__ import annotations

from pathlib import Path

from ...pages.environment import environment
from ...version import __version__
from .server import MOST_BYTES
from .studio import MOST_PIXELS


def page(title: str) -> str:
    """The page; title: which model it tries."""
    return (
        environment(Path(__file__))
        .get_template("studio.html.j2")
        .render(
            title=title,
            version=__version__,
            most_pixels=MOST_PIXELS,
            most_bytes=MOST_BYTES * 3 // 4 - MOST_PIXELS // 8,  # base64, and room for the trimap
        )
    )
