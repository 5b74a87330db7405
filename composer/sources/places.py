"""Which name stands at which place of a set that is partly built: what is built keeps its place.

A pair is made by places alone: entry k of the foregrounds, and its entries of the backgrounds (`Order`). A
name taken out of a list, or a file out of a folder, would shift all that come after it. So a build notes
down which names stood where, and a list that has lost some is read as if `-` stood in their place.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from operator import eq

from .order import Order

EMPTY = "-"
"""A line of a list that keeps a place: a foreground that is left out, a background that another replaces."""


@dataclass(frozen=True, kw_only=True)
class Begun:
    """What the build of a folder was begun with: the name at each place.

    backgrounds: all that `order` takes, or all of a list that is used again and again, as listed. replaced:
    (place, name) where another took the place of one that is not listed any more. seed: of a draw, None where
    there was a list. built: the pieces whose shards are there: (number of the foreground, of the piece).
    """

    foregrounds: Sequence[str]
    backgrounds: Sequence[str]
    order: Order
    seed: int | None
    replaced: tuple[tuple[int, str], ...] = ()
    built: frozenset[tuple[int, int]] = frozenset()

    @property
    def built_foregrounds(self) -> frozenset[int]:
        """Numbers of the foregrounds of which a shard is there."""
        return frozenset(number for number, _ in self.built)

    @property
    def built_backgrounds(self) -> frozenset[int]:
        """The places in `backgrounds` that belong to those shards."""
        length = len(self.backgrounds)
        return frozenset(place % length for place in self.order.places(self.built)) if length else frozenset()

    @property
    def starts_again(self) -> bool:
        """Whether the backgrounds did not suffice and were used again from their head."""
        return self.order.needed(len(self.foregrounds)) > len(self.backgrounds)

    def within(self, per_fg: int) -> Begun | None:
        """What a build of `per_fg` backgrounds a foreground goes on with; None where that is nothing."""
        if per_fg == self.order.per_fg:
            return self
        pieces = max((number + 1 for _, number in self.built), default=0)
        order = self.order.shrink(pieces)
        return replace(self, order=order) if pieces and order.per_fg <= per_fg else None


def begins_with(names: Sequence[str], begun: Sequence[str]) -> bool:
    """Whether nothing was taken out of what was begun with; of millions, without a copy."""
    return len(names) >= len(begun) and all(map(eq, names, begun))


def keep_places(names: Sequence[str], begun: Sequence[str], built: Collection[int]) -> list[str]:
    """`names`, with `-` where they lack what `begun` had, so that the places in `built` keep their names.

    The names as they are where that cannot be: where one that is built is not there, or in another order.
    """
    result: list[str] = []
    here, before = 0, 0
    runs = list(_runs(built, len(begun)))
    wanted = sum(stop - start for start, stop in runs)
    for start, stop in runs:
        block = list(begun[start:stop])
        # Its old place first, then further to the front; behind it there must be room for those that follow.
        likely = range(min(here + start - before, len(names) - wanted), here - 1, -1)
        wanted -= len(block)
        found = next((at for at in likely if list(names[at : at + len(block)]) == block), None)
        if found is None:
            return list(names)
        result += [*_spread(names[here:found], begun[before:start]), *block]
        here, before = found + len(block), stop
    return result + list(names[here:])


def _runs(places: Collection[int], end: int) -> Iterator[tuple[int, int]]:
    """Places that follow each other, as (first, behind the last)."""
    within = sorted(place for place in places if place < end)
    start = 0
    for i, place in enumerate(within):
        if i + 1 == len(within) or within[i + 1] != place + 1:
            yield within[start], place + 1
            start = i + 1


def _spread(names: Sequence[str], places: Sequence[str]) -> list[str]:
    """Names at their old places, as far as they are those; the others in between, `-` where none is left."""
    left, result = list(names), []
    for number, old in enumerate(places):
        room = len(places) - number > len(left)
        result.append(EMPTY if room and old not in left[:1] else left.pop(0))
    return result


def fill(
    names: Sequence[str], needed: int, *, again: bool, replaced: Collection[tuple[int, str]] = ()
) -> Sequence[str]:
    """`needed` names, `-` replaced by those that are too many, as before where they were `replaced` before.

    `again`: from the head where they end.
    """
    if len(names) >= needed and EMPTY not in names:
        return head(names, needed)
    first, spare = list(names[:needed]), [name for name in names[needed:] if name != EMPTY]
    for place, name in replaced:
        if place < len(first) and first[place] == EMPTY and name in spare:
            first[place] = name
            spare.remove(name)
    others = iter(spare)
    first = [next(others, EMPTY) if name == EMPTY else name for name in first]
    some = [name for name in first if name != EMPTY]
    if not (again and some):
        return first
    more = cycle(some)
    first = [next(more) if name == EMPTY else name for name in first]
    return [first[i % len(first)] for i in range(needed)]


def head(names: Sequence[str], length: int) -> Sequence[str]:
    """The first ones: of millions no copy where there are no others."""
    return names if len(names) == length else names[:length]


def names_ever(names: Sequence[str], before: Sequence[str]) -> Sequence[str]:
    """The names by place, with those that stood there `before` where one is left out."""
    if EMPTY not in names:
        return names
    old = dict(enumerate(before))
    return [old.get(place, name) if name == EMPTY else name for place, name in enumerate(names)]
