"""A sample of a set of any size, told by arithmetic."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from dimtool.composer.verification.verify import Sample


@given(st.integers(1, 400), st.data())
def test_as_many_as_are_wanted_each_once_and_spread(total: int, data: st.DataObject) -> None:
    """However the set is cut into shards: a shard's part does not depend on where it lies in the folder."""
    wanted = data.draw(st.integers(1, total))
    drawn = Sample(total=total, wanted=wanted, seed=data.draw(st.integers(0, 9)))
    places = list(drawn.within(0, total))
    assert len(places) == len(set(places)) == wanted
    assert [place * wanted // total for place in places] == list(range(wanted))
    cuts = sorted({0, total, *data.draw(st.lists(st.integers(0, total), max_size=5))})
    parts = [start + i for start, stop in pairwise(cuts) for i in drawn.within(start, stop)]
    assert parts == places


def test_other_seeds_draw_others_and_no_layer_is_preferred() -> None:
    """One of a hundred: not the same composite of every shard."""
    drawn = [[*Sample(total=10_000, wanted=100, seed=seed).within(0, 10_000)] for seed in range(2)]
    assert drawn[0] != drawn[1]
    assert len({place % 100 for place in drawn[0]}) > 40


def test_a_billion_composites_cost_nothing() -> None:
    assert len([*Sample(total=10**9, wanted=10**8, seed=1).within(999_999_900, 10**9)]) == 10
