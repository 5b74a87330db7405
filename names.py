"""File names as lists and folders have them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import cache
from pathlib import Path, PurePosixPath

# What Pillow tells by its first bytes and does not decode itself: EPS would start Ghostscript.
_NOT_DECODED = frozenset(("BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"))


@cache
def image_formats() -> tuple[str, ...]:
    """The formats that Pillow decodes by itself, by its own names."""
    from PIL import Image  # noqa: PLC0415 -- loads every plug-in: not before a name is looked at

    Image.init()
    return tuple(kind for kind in Image.ID if kind not in _NOT_DECODED)  # the likely ones first


@cache
def image_suffixes() -> frozenset[str]:
    """The suffixes of those formats, in lower case: Pillow's own table."""
    from PIL import Image  # noqa: PLC0415

    formats = frozenset((*image_formats(), "MPO"))  # several JPEGs, the first of which JPEG's reader takes
    return frozenset(each for each, kind in Image.registered_extensions().items() if kind in formats)


def has_image_suffix(name: str | Path) -> bool:
    """Whether a file's name says that it is an image."""
    return PurePosixPath(name).suffix.lower() in image_suffixes()


def stem(name: str | Path) -> str:
    """A listed name without its folders and its image suffix: what a composite is named after.

    In a name that is listed without its suffix, what follows a dot is no suffix: `shot1.cat` stays whole.
    """
    last = path_parts(str(name))[-1]
    return PurePosixPath(last).stem if has_image_suffix(last) else last


def path_parts(name: str) -> tuple[str, ...]:
    """A listed path in its parts, the file last; of a path from Windows as well. At least one part."""
    if "/" not in name and "\\" not in name:
        return (name,)
    if "/" not in name and "\\" in name:
        drive, colon, rest = name.partition(":")
        name = (rest if colon and len(drive) == 1 else name).replace("\\", "/")
    return tuple(part for part in name.split("/") if part not in ("", ".", "..")) or (name,)


def labels(names: Sequence[str]) -> list[str]:
    """What the shards and composites of listed foregrounds are named after, from the list alone.

    The stem; where several names have the same one, with as many of their folders before it, joined by
    `-`, as tell them apart: `clip1/0000.png` and `clip2/0000.png` are clip1-0000 and clip2-0000. Names
    that their folders do not tell apart keep their stem, all of them.
    """
    sharing: dict[str, set[str]] = defaultdict(set)
    for name in names:
        sharing[stem(name)].add(name)
    depths = {each: _depth(sorted(group)) for each, group in sharing.items()}
    return [_label(name, depths[stem(name)]) for name in names]


def _depth(names: Sequence[str]) -> int:
    """How many folders tell names of one stem apart; 0 where none do."""
    longest = max(len(path_parts(name)) for name in names)
    told = (depth for depth in range(longest) if len({_label(each, depth) for each in names}) == len(names))
    return next(told, 0)


def _label(name: str, depth: int) -> str:
    folders = path_parts(name)[:-1]
    return "-".join((*folders[len(folders) - min(depth, len(folders)) :], stem(name)))


def composite_name(foreground: str, i: int, label: str = "") -> str:
    """The official name of composite `i` of a foreground, without suffix: `<stem>_<i>`, i from 0.

    label: what stands for the stem, where that is not the foreground's alone.
    """
    return f"{label or stem(foreground)}_{i}"
