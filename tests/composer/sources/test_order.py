"""Which backgrounds of a list a foreground gets: Adobe's rule, and what a set keeps that gets more."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dimtool.composer.sources.order import Order, order_from

Step = tuple[int, int]  # foregrounds, backgrounds each


@st.composite
def histories(draw: st.DrawFn) -> list[Step]:
    """How a set grew: never fewer foregrounds, nor fewer backgrounds each."""
    steps = draw(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), min_size=1, max_size=4))
    foregrounds, per_fg, history = 1, 1, []
    for more, each in steps:
        foregrounds, per_fg = foregrounds + more, per_fg + each
        history.append((foregrounds, per_fg))
    return history


def orders_of(history: list[Step], per_shard: int) -> list[Order]:
    """The order after each step."""
    orders = [Order.official(history[0][1], per_shard)]
    for (foregrounds, _), (_, per_fg) in pairwise(history):
        orders.append(orders[-1].grow(foregrounds, per_fg, per_shard))
    return orders


def pairs(order: Order, foregrounds: int) -> dict[Step, int]:
    """The place in the list of each (foreground, background)."""
    places = range(order.needed(foregrounds))
    return {(k, i): place for k in range(foregrounds) for i, place in enumerate(order.of(k, places))}


@given(histories(), st.integers(1, 5))
def test_a_set_that_grows_keeps_its_pairs_and_uses_each_entry_once(
    history: list[Step], per_shard: int
) -> None:
    before: dict[Step, int] = {}
    for (foregrounds, per_fg), order in zip(history, orders_of(history, per_shard), strict=True):
        now = pairs(order, foregrounds)
        assert now.keys() == {(k, i) for k in range(foregrounds) for i in range(per_fg)}
        assert sorted(now.values()) == list(range(foregrounds * per_fg))
        assert before.items() <= now.items()
        before = now


@given(histories(), st.integers(1, 5))
def test_pieces_follow_each_other_and_those_that_are_there_stay(history: list[Step], per_shard: int) -> None:
    before: list[tuple[int, int, int]] = []
    for (_, per_fg), order in zip(history, orders_of(history, per_shard), strict=True):
        pieces = list(order.pieces)
        assert [piece.number for piece in pieces] == list(range(len(pieces)))
        assert [i for piece in pieces for i in range(piece.first, piece.stop)] == list(range(per_fg))
        assert all(0 < piece.stop - piece.first <= per_shard for piece in pieces)
        assert [order.number(piece.first) for piece in pieces] == [piece.number for piece in pieces]
        assert pieces[: len(before)] == before
        before = [*pieces]
        values = {"per_fg": order.per_fg, "cuts": list(order.cuts), "grown": [list(e) for e in order.grown]}
        assert order_from(values) == order


@given(histories(), st.integers(1, 5), st.data())
def test_what_was_begun_and_not_built_is_taken_back(
    history: list[Step], per_shard: int, data: st.DataObject
) -> None:
    """As far as the first pieces tell: the pairs of those are the same ones."""
    foregrounds, order = history[-1][0], orders_of(history, per_shard)[-1]
    pieces = data.draw(st.integers(1, len(order.cuts)))
    back = order.shrink(pieces)
    assert len(back.cuts) >= pieces
    assert not back.grown or back.number(back.grown[-1][1]) < pieces
    if back != order:
        foregrounds = order.grown[len(back.grown)][0]  # those that there were then
    assert pairs(back, foregrounds).items() <= pairs(order, foregrounds).items()
    assert set(order.places({(0, 0)})) == set(back.places({(0, 0)}))


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9))
def test_a_set_made_at_once_has_adobes_order(foregrounds: int, per_fg: int, per_shard: int) -> None:
    order = Order.official(per_fg, per_shard)
    assert order.is_official
    assert pairs(order, foregrounds) == {
        (k, i): k * per_fg + i for k in range(foregrounds) for i in range(per_fg)
    }


@given(histories())
def test_only_an_order_with_adobes_pairs_is_called_official(history: list[Step]) -> None:
    foregrounds, order = history[-1][0], orders_of(history, 100)[-1]
    same = pairs(order, foregrounds) == pairs(Order.official(order.per_fg), foregrounds)
    assert same or not order.is_official


def test_a_set_of_two_that_grows_from_two_to_three() -> None:
    order = Order.official(2).grow(2, 3, 100)
    assert [order.of(k, "abcdefghi") for k in range(3)] == [["a", "b", "e"], ["c", "d", "f"], ["g", "h", "i"]]
    assert not order.is_official
    assert list(order.pieces) == [(0, 0, 2), (1, 2, 3)]


@pytest.mark.parametrize(
    "values",
    [
        {"per_fg": 0},
        {"per_fg": "3"},
        {"per_fg": True},
        {"per_fg": 3, "cuts": [1]},
        {"per_fg": 3, "cuts": []},
        {"per_fg": 3, "cuts": [0, 2, 2]},
        {"per_fg": 3, "cuts": [0, 3]},
        {"per_fg": 3, "grown": [[2, 3]]},
        {"per_fg": 3, "grown": [[0, 2]]},
        {"per_fg": 3, "grown": [[2, 1], [1, 2]]},
        {"per_fg": 3, "grown": [[2, 0]]},
        {"per_fg": 3, "grown": [[2]]},
        {"per_fg": 3, "grown": 7},
        {"per_fg": 3, "more": 1},
    ],
)
def test_what_is_no_order_is_refused(values: dict[str, object]) -> None:
    with pytest.raises((TypeError, ValueError)):
        order_from(values)
