"""What a folder of shards was built from: its lists, and the source images, where they are still there."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

from ...errors import WrongUseError
from ...storage.remote import Place
from ..shards.index import Index
from ..sources.folders import ManifestError
from ..sources.lists import Lists
from ..sources.manifest import Manifest, read_manifest
from .scratch import read_lists, read_places


def known_manifest(folder: Place, index: Index, sources: Path | None = None) -> tuple[Manifest | None, str]:
    """The lists of a folder of shards with their files, or None and why they are not known.

    sources: a folder that holds lists, fg/, alpha/ and bg/; None for where the build found them. Raises
    WrongUseError where the named folder has no lists for it.
    """
    built_from = read_lists(folder)
    if sources is not None:
        lists = _lists_in(sources, index, built_from)
        return read_manifest(lists, read_places(folder), index.order), ""
    if built_from is None:
        return None, "where they lie is not known: name their folder with --sources"
    try:
        return read_manifest(built_from, read_places(folder), index.order), ""
    except ManifestError as error:
        return None, f"{error}; or name their folder with --sources"


def _lists_in(sources: Path, index: Index, built_from: Lists | None) -> Lists:
    """The lists of a split in a folder that is laid out as the build expects it."""
    if built_from is None:
        found = sorted(sources.glob(f"{index.split}*fg*.txt"))
        if len(found) != 1:
            raise WrongUseError(
                f"{sources} has {len(found)} lists named {index.split}*fg*.txt, and one is needed to compare"
            )
        return Lists(
            fg_list=found[0],
            split=index.split,
            per_fg=index.per_fg,
            reuse_bg=True,
            **asdict(index.reading),
        )
    return replace(
        built_from,
        fg_list=sources / built_from.fg_list.name,
        bg_list=built_from.bg_list and sources / built_from.bg_list.name,
        fg_dir=None,
        alpha_dir=None,
        bg_dir=None,
    )
