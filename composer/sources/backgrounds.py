"""The backgrounds of a build, by place: from a list, or drawn from a folder."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...text import count, some
from .folders import FolderIndex, ManifestError
from .lists import Lists, read_list
from .places import EMPTY, Begun, begins_with, fill, head, keep_places, names_ever


@dataclass(frozen=True, kw_only=True)
class Backgrounds:
    """names: one for each composite asked for. listed, replaced: as `Begun` has them. notes: what was odd."""

    names: Sequence[str]
    listed: Sequence[str]
    replaced: tuple[tuple[int, str], ...]
    notes: tuple[str, ...]


def find_backgrounds(lists: Lists, needed: int, folder: FolderIndex, begun: Begun | None) -> Backgrounds:
    """Names of `needed` backgrounds; what `begun` has built keeps its own. Raises ManifestError."""
    path = lists.beside_bg_list
    if path is not None:
        names, notes, source = *_listed(path, begun), str(path)
        if len(names) > needed:
            notes.append(f"{path}: the first {needed:,} of {count(len(names), 'background')} are used")
    else:
        names, notes, source = _drawn(lists, needed, folder, begun), [], f"folder {folder.root}"
        expected = lists.fg_list.name.replace("fg", "bg")
        known = expected != lists.fg_list.name
        missing = f"no {expected} beside the list" if known else "no background list"
        notes = [f"{missing}: backgrounds drawn from {folder.root}, seed {lists.seed}", *folder.passed_over]
    if len(names) < needed and not (lists.reuse_bg and names):
        raise ManifestError(
            f"{source} has {count(len(names), 'background')} and {needed:,} are needed: "
            "add some, lower --per-fg, or pass --reuse-bg"
        )
    before = begun if begun is not None and begun.seed is None else None
    filled = fill(names, needed, again=lists.reuse_bg, replaced=before.replaced if before else ())
    empty = EMPTY in names
    pairs = enumerate(zip(names, filled, strict=False)) if empty else ()
    places = [i for i, (old, new) in pairs if EMPTY == old != new]
    return Backgrounds(
        names=filled,
        listed=names_ever(head(names, needed), before.backgrounds if before else ()),
        replaced=tuple((place, filled[place]) for place in places),
        notes=(*notes, *_replaced(places, filled, source)),
    )


def _listed(path: Path, begun: Begun | None) -> tuple[list[str], list[str]]:
    names, notes = read_list(path)
    notes += _repeats(path, names)
    if begun is not None and begun.seed is None and not begins_with(names, begun.backgrounds):
        taken = {place for place, _ in begun.replaced}
        names = keep_places(names, begun.backgrounds, begun.built_backgrounds - taken)
    return names, notes


def _drawn(lists: Lists, needed: int, folder: FolderIndex, begun: Begun | None) -> list[str]:
    """All names of the folder, in an order that the seed decides; places that were drawn before stay.

    One whose file is gone since is drawn anew, but where a shard was built with it.
    """
    names = sorted(folder.names)
    # random.Random's shuffle is the same in every Python; the listing is sorted first.
    random.Random(lists.seed).shuffle(names)
    if begun is None or begun.seed != lists.seed:
        return names
    there, built = set(names), begun.built_backgrounds
    kept = [
        name if name in there or place in built else EMPTY for place, name in enumerate(begun.backgrounds)
    ]
    used = set(kept)
    spare = [name for name in names if name not in used]
    replaced = iter(spare)
    first = [next(replaced, EMPTY) if name == EMPTY else name for name in kept]
    # One that is used again and again must stay as long as it was.
    return first if lists.reuse_bg and begun.starts_again else [*first, *replaced]


def _replaced(places: Sequence[int], filled: Sequence[str], source: str) -> list[str]:
    """A note where `-` was replaced: the set is not what its list alone would give."""
    if not places:
        return []
    first = places[0]
    return [
        f"{source}: {count(len(places), 'place')} of names that are gone taken by others (entry "
        f"{first + 1} by {filled[first]}), so that what is built stays as it is"
    ]


def _repeats(path: Path, names: Sequence[str]) -> list[str]:
    repeated = [name for name, count in Counter(names).items() if count > 1 and name != EMPTY]
    if not repeated:
        return []
    names_stand = count(len(repeated), "name stands", "names stand")
    return [f"{path}: {names_stand} there more than once ({some(repeated, 1)}); used as listed"]
