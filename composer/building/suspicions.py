"""What looks like a slip of whoever gave the images: mixed up folders, mattes of a wrong scale."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

import numpy as np

from ...arrays import UInt8Image
from ...storage.remote import Place
from ...text import count, some
from ..sources.folders import ManifestError
from ..sources.images import SourceError, read_background
from ..sources.manifest import ForegroundEntry, Manifest
from ..sources.mattes import GREY_SPREAD
from .work import Built

_LOOKED_AT = 3

# What JPEG and smoothing leave of 255 and 0 is no news.
_NEARLY_OPAQUE, _NEARLY_CLEAR = 240, 15


def refuse_mixed_up(manifest: Manifest) -> None:
    """Raise ManifestError where foregrounds, mattes and backgrounds were given in each other's place.

    Before the work, in one line, not once for each file.

    By the files' paths, and by the colours of the first, a middle and the last foreground: what cannot be
    read is passed over, the build itself tells of it.
    """
    entries = manifest.entries
    backgrounds = {path for entry in entries for path in entry.backgrounds}
    own_a = manifest.lists.alpha_from == "fg"
    _refuse_as_backgrounds(backgrounds, (entry.foreground for entry in entries), "foregrounds")
    _refuse_as_backgrounds(backgrounds, (entry.alpha for entry in entries), "mattes")
    if own_a or not entries:
        return
    if all(entry.foreground == entry.alpha for entry in entries):
        raise ManifestError(
            f"{entries[0].foreground} is given as a foreground and as its own matte: name the photographs "
            "with --fg-dir and the mattes with --alpha-dir, or pass --alpha-from fg where they are cut-outs"
        )
    picked = [entries[len(entries) * i // _LOOKED_AT] for i in range(_LOOKED_AT)]
    _refuse_swapped(list({entry.index: entry for entry in picked}.values()))


def _refuse_as_backgrounds(backgrounds: set[Place], others: Iterable[Place], what: str) -> None:
    if backgrounds and backgrounds <= set(others):
        raise ManifestError(
            f"the backgrounds are the {what} ({min(backgrounds)}): name the backgrounds' folder with "
            "--bg-dir, and their list, if there is one, with --bg-list"
        )


def _refuse_swapped(entries: Iterable[ForegroundEntry]) -> None:
    coloured, same = [], []
    for entry in entries:
        with suppress(SourceError):
            foreground, alpha = (read_background(path).pixels for path in (entry.foreground, entry.alpha))
            coloured.append((_is_coloured(foreground), _is_coloured(alpha)))
            same.append(np.array_equal(foreground, alpha))
            first = entry
    if coloured and all(each == (False, True) for each in coloured):
        raise ManifestError(
            f"{first.foreground.parent} holds what is grey and {first.alpha.parent} what is coloured: swap "
            "--fg-dir and --alpha-dir"
        )
    if same and all(same):
        raise ManifestError(
            f"{first.foreground} and {first.alpha} are the same picture: name the photographs with --fg-dir, "
            "and their mattes with --alpha-dir"
        )


def _is_coloured(pixels: UInt8Image) -> bool:
    return bool((pixels.max(axis=2).astype(np.int16) - pixels.min(axis=2)).max() > GREY_SPREAD)


def faint_mattes(built: Iterable[Built]) -> list[str]:
    """A note on those of the mattes just built that stay under 240, and one on those over 15 everywhere.

    Smoke and glass may be so, and a wrong scale looks so.
    """
    faint, veiled = [], []
    ranges = {(each.record.index, each.record.foreground): each.alpha_range for each in built}
    for (_, foreground), (lowest, highest) in sorted(ranges.items()):
        faint += [f"{foreground}: {highest} at most"] if highest < _NEARLY_OPAQUE else []
        veiled += [f"{foreground}: {lowest} at least"] if lowest > _NEARLY_CLEAR else []
    return [
        f"{count(len(found), 'matte')} nowhere {what} ({some(found)}): right for smoke, glass and the like"
        for found, what in ((faint, "opaque"), (veiled, "clear"))
        if found
    ]
