"""Name lists -> Manifest: which foreground goes over which backgrounds, and where each file lies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import repeat
from pathlib import Path

from ...manifests.presets import PER_FG
from ...names import composite_name, labels, stem
from ...storage.remote import Place
from ...text import count, some
from .backgrounds import find_backgrounds
from .folders import FolderIndex, ManifestError, holds_roles
from .lists import Lists, read_list
from .order import Order
from .places import EMPTY, Begun, keep_places, names_ever
from .reading import ADOBE, Reading


def shard_name(index: int, foreground: str, label: str = "", piece: int = 0) -> str:
    """The file name of a shard of foreground number `index`: `0007-cat.h5`, `0007-cat.1.h5` of piece 1.

    label: see composite_name.
    """
    return f"{index:04d}-{label or stem(foreground)}{f'.{piece}' if piece else ''}.h5"


@dataclass(frozen=True, kw_only=True)
class ForegroundEntry:
    """A foreground with its backgrounds, in the order of the lists, or with a piece of them; files resolved.

    first, piece: the number of the first of these backgrounds among the foreground's, and of the piece.
    label: what its shards and composites are named after, where that is not the stem of its name alone.
    """

    index: int
    name: str
    foreground: Place
    alpha: Place
    background_names: tuple[str, ...]
    backgrounds: tuple[Place, ...]
    reading: Reading = ADOBE
    label: str = ""
    first: int = 0
    piece: int = 0

    @property
    def shard_name(self) -> str:
        """The shard's file name."""
        return shard_name(self.index, self.name, self.label, self.piece)

    @property
    def files(self) -> tuple[Place, ...]:
        """All that the shard is made from: foreground, alpha, backgrounds."""
        return self.foreground, self.alpha, *self.backgrounds

    def failure(self, errors: Sequence[str]) -> Failure:
        """That it cannot be built."""
        return Failure(
            index=self.index,
            foreground=self.name,
            errors=tuple(errors),
            label=self.label,
            first=self.first,
            piece=self.piece,
        )


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A foreground, or a piece of it, that cannot be built; each line of `errors` names a file, and a remedy.

    background_names: what it was to be composited over, where the lists alone show that it cannot be.
    """

    index: int
    foreground: str
    errors: tuple[str, ...]
    background_names: tuple[str, ...] = ()
    label: str = ""
    first: int = 0
    piece: int = 0

    @property
    def shard_name(self) -> str:
        """The file name that its shard would have."""
        return shard_name(self.index, self.foreground, self.label, self.piece)


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A split: the pieces of foregrounds that can be built, those that cannot, what was odd about the lists.

    begun: the names by place, for a build to note down.
    """

    lists: Lists
    split: str
    order: Order
    listed: int
    entries: tuple[ForegroundEntry, ...]
    failures: tuple[Failure, ...] = ()
    notes: tuple[str, ...] = ()
    begun: Begun | None = None

    @property
    def per_fg(self) -> int:
        """Backgrounds a foreground."""
        return self.order.per_fg

    @property
    def asked(self) -> int:
        """Composites that the lists ask for."""
        return self.listed * self.per_fg


def read_manifest(lists: Lists, begun: Begun | None = None, order: Order | None = None) -> Manifest:
    """Read the lists, find every file, and pair foreground k, composite i with background k * per_fg + i.

    What concerns one foreground alone (a missing file, a repeated name) is a `Failure` of it; its place
    in the list stays taken, so that the others keep their backgrounds. `begun`: what a folder was begun
    with; what is built there keeps its place, and its pairs where it gets more backgrounds a foreground.
    `order`: that of a set of which no more is known. Raises ManifestError for what concerns all: no such
    list or folder, an unknown split, too few backgrounds.
    """
    split = lists.known_split
    lists = replace(lists, split=split, per_fg=PER_FG[split] if lists.per_fg is None else lists.per_fg)
    begun, order = _order(lists, begun, order)
    names, notes = _foregrounds(lists, begun)
    wanted = [name for name in names if name != EMPTY]
    folders = _folders(lists)
    backgrounds = find_backgrounds(lists, order.needed(len(names)), folders[2], begun)
    for folder, listed, what in zip(
        folders, (wanted, wanted, backgrounds.names), ("", "", "the backgrounds of "), strict=True
    ):
        folder.refuse_all_missing(listed, f"{what}{lists.fg_list}")
    ever = names_ever(names, begun.foregrounds if begun else ())
    pairing = _Pairing(lists, names, ever, backgrounds.names, order, folders)
    pairs = [pair for index, name in enumerate(names) if name != EMPTY for pair in pairing.pieces(index)]
    return Manifest(
        lists=lists,
        split=split,
        order=order,
        listed=len(wanted),
        entries=tuple(pair for pair in pairs if isinstance(pair, ForegroundEntry)),
        failures=tuple(pair for pair in pairs if isinstance(pair, Failure)),
        notes=(*notes, *_order_notes(lists, order), *backgrounds.notes, *_found_otherwise(*folders)),
        begun=Begun(
            foregrounds=ever,
            backgrounds=backgrounds.listed,
            replaced=backgrounds.replaced,
            order=order,
            seed=lists.seed if lists.beside_bg_list is None else None,
        ),
    )


def _order(lists: Lists, begun: Begun | None, known: Order | None) -> tuple[Begun | None, Order]:
    """What is begun, as far as this goes on with it, and the order of what is to be there."""
    per_fg, per_shard = lists.per_fg or 0, lists.per_shard
    for number, of in ((per_fg, "foreground"), (per_shard, "shard")):
        if number < 1:
            raise ManifestError(f"{number} backgrounds a {of}: at least 1 is needed")
    begun = begun and begun.within(per_fg)
    if begun and begun.built:
        return begun, begun.order.grow(len(begun.foregrounds), per_fg, per_shard)
    if known is not None and known.per_fg == per_fg and begun is None:
        return None, known
    return begun, Order.official(per_fg, per_shard)


def _order_notes(lists: Lists, order: Order) -> list[str]:
    """What of a set is not as if it were made at once."""
    per_fg, notes = order.per_fg, []
    if not order.is_official:
        before = [had for foregrounds, had in order.grown if foregrounds > 1]
        notes.append(
            f"{lists.fg_list}: begun with {some([str(each) for each in before])} backgrounds a foreground, "
            f"which stay; those up to {per_fg} are the next of the list. It is not the official order of "
            f"{per_fg}: for that, build into another --out"
        )
    usual = Order.official(per_fg, lists.per_shard)
    if order.cuts != usual.cuts:
        sizes = [piece.stop - piece.first for piece in order.pieces]
        notes.append(f"what is built stays cut as it is: {some([str(each) for each in sizes])} a shard")
    return notes


def _foregrounds(lists: Lists, begun: Begun | None) -> tuple[list[str], list[str]]:
    """Names by place, `-` where one is left out, and notes."""
    names, notes = read_list(lists.fg_list)
    if all(name == EMPTY for name in names):
        raise ManifestError(f"{lists.fg_list} lists no foreground: write one file name a line")
    if begun is not None:
        names = keep_places(names, begun.foregrounds, begun.built_foregrounds)
    if left_out := names.count(EMPTY):
        left = f"{count(left_out, 'foreground')} left out"
        notes.append(f"{lists.fg_list}: {left}; the others keep their numbers and backgrounds")
    return names, notes


def _folders(lists: Lists) -> tuple[FolderIndex, FolderIndex, FolderIndex]:
    """Foregrounds, mattes, backgrounds. Raises ManifestError."""
    beside = lists.fg_list.parent
    foregrounds = FolderIndex(lists.fg_dir or _beside(beside, "fg"), role="fg")
    own_a = lists.alpha_from == "fg"
    place = lists.alpha_dir or _beside(beside, "alpha")
    if not own_a and not place.is_dir():
        raise ManifestError(
            f"{place} is no folder: bring it, say where it is with --alpha-dir, or pass --alpha-from fg "
            "where the foregrounds are cut-outs"
        )
    alphas = foregrounds if own_a else FolderIndex(place, role="alpha")
    return foregrounds, alphas, FolderIndex(lists.bg_dir or beside / "bg")


def _beside(folder: Path, role: str) -> Path:
    """`fg` or `alpha` beside the lists; the folder itself where it is the root of Adobe's release."""
    own = folder / role
    return folder if not own.is_dir() and holds_roles(folder) else own


def _found_otherwise(foregrounds: FolderIndex, alphas: FolderIndex, backgrounds: FolderIndex) -> list[str]:
    """A matte has its foreground's stem, whatever its suffix: that is no news."""
    own_a = alphas is foregrounds
    return [*foregrounds.notes(), *([] if own_a else alphas.notes(stems=False)), *backgrounds.notes()]


def _too_long(*files: str) -> list[str]:
    longest = max(files, key=lambda file: len(file.encode()))
    size = len(longest.encode())
    if size <= 255:
        return []
    return [f"{longest} would have a name of {size} bytes, and 255 is what systems take: shorten it"]


@dataclass(frozen=True)
class _Pairing:
    """Everything that an entry of the foreground list is resolved against."""

    lists: Lists
    names: Sequence[str]
    ever: Sequence[str]
    backgrounds: Sequence[str]
    order: Order
    folders: tuple[FolderIndex, FolderIndex, FolderIndex]

    def pieces(self, index: int) -> Iterator[ForegroundEntry | Failure]:
        """A foreground with its backgrounds, piece by piece; what is wrong with itself is so in each."""
        name, label = self.names[index], self._labels[index]
        picture = f"{composite_name(name, self.order.per_fg - 1, label)}.png"
        longest = shard_name(index, name, label, len(self.order.cuts) - 1)
        errors = [*self._clashes(index), *_too_long(longest, picture)]
        foreground, alpha = self._find((self.folders[0], self.folders[1]), (name, name), name, errors)
        backgrounds = self.order.of(index, self.backgrounds)
        for number, first, stop in self.order.pieces:
            wanted, wrong = tuple(backgrounds[first:stop]), [*errors]
            found = self._find(repeat(self.folders[2]), wanted, name, wrong)
            entry = ForegroundEntry(
                index=index,
                name=name,
                foreground=foreground,
                alpha=alpha,
                background_names=wanted,
                backgrounds=tuple(found),
                reading=self.lists.reading,
                label="" if label == stem(name) else label,
                first=first,
                piece=number,
            )
            yield replace(entry.failure(wrong), background_names=wanted) if wrong else entry

    def _find(
        self, folders: Iterable[FolderIndex], names: Sequence[str], foreground: str, errors: list[str]
    ) -> list[Place]:
        """Where the names lie, an empty path for each that is nowhere; why not, into `errors`."""
        found: list[Place] = []
        for folder, name in zip(folders, names, strict=False):
            try:
                found.append(folder.find(name))
            except ManifestError as error:
                errors.append(self._no_name(foreground) if name == EMPTY else str(error))
                found.append(Path())
        return found

    def _no_name(self, name: str) -> str:
        return (
            f"{self.lists.beside_bg_list or self.folders[2].root} has no name too many for a place of {name} "
            f"that holds {EMPTY}: write another background there, or add one at the end"
        )

    def _clashes(self, index: int) -> list[str]:
        """Two foregrounds that nothing tells apart would give their composites the same official names."""
        own = self._labels[index]
        first = self._first_with_label[own]
        if first == index:
            return []
        name, other = self.names[index], self.names[first]
        if name == other:
            entries = f"entries {first + 1} and {index + 1}"
            return [f"{self.lists.fg_list} lists {name} twice ({entries}): remove the second"]
        return [
            f"{self.lists.fg_list} lists {other} and {name}, whose composites would both be called "
            f"{own}_0.png: rename the second (entry {index + 1})"
        ]

    @cached_property
    def _labels(self) -> list[str]:
        return labels(self.ever)

    @cached_property
    def _first_with_label(self) -> dict[str, int]:
        first: dict[str, int] = {}
        for index, label in enumerate(self._labels):
            if self.names[index] != EMPTY:
                first.setdefault(label, index)
        return first
