"""File names as lists and folders have them."""

from __future__ import annotations

from pathlib import Path

IMAGE_SUFFIXES = frozenset(
    (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
)


def stem(name: str | Path) -> str:
    """A listed name without its folders and its image suffix: what a composite is named after.

    In a name that is listed without its suffix, what follows a dot is no suffix: `shot1.cat` stays whole.
    """
    path = Path(name)
    return path.stem if path.suffix.lower() in IMAGE_SUFFIXES else path.name


def composite_name(foreground: str, i: int) -> str:
    """The official name of composite `i` of a foreground, without suffix: `<stem>_<i>`, i from 0."""
    return f"{stem(foreground)}_{i}"
