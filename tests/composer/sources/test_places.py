"""What is built keeps its place, whatever lists and folders lose or gain."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dimtool.composer.sources.order import Order
from dimtool.composer.sources.places import EMPTY, Begun, fill, keep_places


@given(data=st.data(), count=st.integers(1, 12), grown=st.integers(0, 3))
def test_what_is_built_keeps_its_place_whatever_else_is_taken_out(
    data: st.DataObject, count: int, grown: int
) -> None:
    begun = [data.draw(st.sampled_from("abcd")) + str(i // 3) for i in range(count)]  # some stand there twice
    built = data.draw(st.sets(st.integers(0, count - 1)))
    gone = (
        data.draw(st.sets(st.sampled_from([i for i in range(count) if i not in built])))
        if len(built) < count
        else set()
    )
    names = [name for i, name in enumerate(begun) if i not in gone] + [f"new{i}" for i in range(grown)]
    kept = keep_places(names, begun, built)
    assert [kept[i] for i in sorted(built)] == [begun[i] for i in sorted(built)]
    assert sorted(name for name in kept if name != EMPTY) == sorted(names)
    # A line - says the same.
    lines = [EMPTY if i in gone else name for i, name in enumerate(begun)] + [f"new{i}" for i in range(grown)]
    assert keep_places(lines, begun, built) == lines


@given(st.permutations(range(6)), st.sets(st.integers(0, 5), min_size=1))
def test_another_order_of_what_is_built_is_left_as_it_is(order: list[int], built: set[int]) -> None:
    begun, names = [f"{i}" for i in range(6)], [f"{i}" for i in order]
    kept = keep_places(names, begun, built)
    assert kept == names or [kept[i] for i in sorted(built)] == [begun[i] for i in sorted(built)]


def test_a_name_that_was_replaced_stands_where_the_old_one_stood() -> None:
    assert keep_places(["x", "b", "c"], "abc", {1, 2}) == ["x", "b", "c"]
    assert keep_places(["b", "c", "d"], "abcd", {1, 3}) == [EMPTY, "b", "c", "d"]
    assert keep_places(["a", "d"], "abcd", {3}) == ["a", EMPTY, EMPTY, "d"]
    assert keep_places(["c", "d"], "abcd", {3}) == [EMPTY, EMPTY, "c", "d"]
    assert keep_places(["a", "b"], "abc", {2}) == ["a", "b"]  # what is built is not in the list


def test_names_that_are_too_many_take_empty_places() -> None:
    assert fill([EMPTY, "b", "c", "d", "e"], 3, again=False) == ["d", "b", "c"]
    assert fill([EMPTY, "b", EMPTY, "d"], 3, again=False) == ["d", "b", EMPTY]
    assert fill([EMPTY, "b"], 2, again=True) == ["b", "b"]
    assert fill(["a", "b"], 5, again=True) == ["a", "b", "a", "b", "a"]
    assert fill([], 0, again=True) == []


def test_the_places_of_built_backgrounds() -> None:
    begun = Begun(foregrounds=("a", "b"), backgrounds=("0", "1", "2", "3"), order=Order(per_fg=2), seed=None)
    assert begun.built_backgrounds == frozenset()
    several = Begun(
        foregrounds=("a", "b"),
        backgrounds=("0", "1", "2"),
        order=Order(per_fg=2),
        seed=None,
        built=frozenset([(1, 0)]),
    )
    assert several.built_backgrounds == {2, 0}


def test_names_that_are_alike_leave_room_for_those_behind_them() -> None:
    """Two of six were taken out: what is built still finds a name for each of its places."""
    kept = keep_places(["a"] * 4, ["a"] * 6, {0, 3, 5})
    assert len(kept) == 6
    assert [kept[place] for place in (0, 3, 5)] == ["a", "a", "a"]
