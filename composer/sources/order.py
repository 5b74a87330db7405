"""Which backgrounds of the list a foreground gets, and how they are cut into pieces, a shard each.

Adobe's rule: background i of foreground k is entry k * per_fg + i of the list. With another per_fg nearly all
pairs are others. A set that gets more backgrounds a foreground later keeps the pairs that it has: what is
further comes from the entries behind all that were used. It is a set of its own, and says so.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar

PER_SHARD = 100

Name = TypeVar("Name")


class Piece(NamedTuple):
    """Backgrounds `first` to before `stop` of a foreground, its shard number `number`."""

    number: int
    first: int
    stop: int


@dataclass(frozen=True, kw_only=True)
class Order:
    """The order of a set: `per_fg` backgrounds a foreground, cut into pieces at `cuts`, of which 0 is one.

    grown: how many foregrounds there were, of how many backgrounds each, every time before these became more.
    """

    per_fg: int
    cuts: tuple[int, ...] = (0,)
    grown: tuple[tuple[int, int], ...] = ()

    @classmethod
    def official(cls, per_fg: int, per_shard: int = PER_SHARD) -> Order:
        """That of a set made at once, at most `per_shard` backgrounds a shard."""
        return cls(per_fg=per_fg, cuts=tuple(range(0, per_fg, per_shard)))

    @property
    def is_official(self) -> bool:
        """Whether each pair is the one of Adobe's rule; a single foreground's only ever get more."""
        return all(foregrounds <= 1 for foregrounds, _ in self.grown)

    @property
    def pieces(self) -> Iterator[Piece]:
        """The pieces of each foreground."""
        for number, (first, stop) in enumerate(pairwise((*self.cuts, self.per_fg))):
            yield Piece(number, first, stop)

    def number(self, first: int) -> int:
        """Of the piece that begins with background `first`, or of where it would be."""
        return bisect_left(self.cuts, first)

    def needed(self, foregrounds: int) -> int:
        """How many entries of the list `foregrounds` foregrounds take."""
        return max([foregrounds, *(before for before, _ in self.grown)]) * self.per_fg

    def runs(self, k: int) -> Iterator[range]:
        """The places in the list of foreground k's backgrounds: one after the other, run by run."""
        steps = ((0, 0), *self.grown, (k + 1, self.per_fg))
        for (before, had), (foregrounds, each) in pairwise(steps):
            if before <= k < foregrounds:
                yield range(k * each, (k + 1) * each)
            elif k < before:
                start = before * had + k * (each - had)
                yield range(start, start + each - had)

    def of(self, k: int, backgrounds: Sequence[Name]) -> list[Name]:
        """Foreground k's entries of the list."""
        return [name for run in self.runs(k) for name in backgrounds[run.start : run.stop]]

    def places(self, built: Collection[tuple[int, int]]) -> Iterator[int]:
        """The places of the backgrounds of these (foreground, number of the piece)."""
        pieces = list(self.pieces)
        for k, number in built:
            if number < len(pieces):
                places = [place for run in self.runs(k) for place in run]
                yield from places[pieces[number].first : pieces[number].stop]

    def grow(self, foregrounds: int, per_fg: int, per_shard: int) -> Order:
        """With more backgrounds for each of so many foregrounds; the pieces that are there stay."""
        if per_fg == self.per_fg:
            return self
        further = range(self.per_fg, per_fg, per_shard)
        grown = (*self.grown, (foregrounds, self.per_fg))
        return Order(per_fg=per_fg, cuts=(*self.cuts, *further), grown=grown)

    def shrink(self, pieces: int) -> Order:
        """As it was before it grew beyond its first `pieces` pieces, where it did."""
        order = self
        while order.grown and order.number(order.grown[-1][1]) >= pieces:
            per_fg = order.grown[-1][1]
            cuts = tuple(cut for cut in order.cuts if cut < per_fg)
            order = replace(order, per_fg=per_fg, cuts=cuts, grown=order.grown[:-1])
        return order


def order_from(values: dict[str, Any]) -> Order:
    """An order from plain values, as JSON has them. Raises TypeError or ValueError where it can be none."""
    grown = tuple((foregrounds, had) for foregrounds, had in values.get("grown", ()))
    order = Order(**{**values, "cuts": tuple(values.get("cuts", (0,))), "grown": grown})
    every = [order.per_fg, *order.cuts, *(number for pair in grown for number in pair)]
    if not all(type(each) is int for each in every):
        raise TypeError("the order of a set is made of whole numbers")
    had = [0, *(had for _, had in grown), order.per_fg]
    before = [1, *(foregrounds for foregrounds, _ in grown)]
    rising = all(a < b for row in ((*order.cuts, order.per_fg), had) for a, b in pairwise(row))
    if order.cuts[:1] != (0,) or not rising or not all(a <= b for a, b in pairwise(before)):
        raise ValueError("an order that no set can have")
    return order
