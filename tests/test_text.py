from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dimtool.text import count, duration, size, table

UNITS = ["B", "kB", "MB", "GB", "TB", "PB"]


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),  # and not 1000.0 kB
        (63_100_000_000, "63.1 GB"),
        (5e18, "5000.0 PB"),
        (-1500, "-1.5 kB"),
    ],
)
def test_sizes(number: float, text: str) -> None:
    assert size(number) == text


@given(st.integers(0, 10**15 - 10**12))
def test_a_size_is_within_its_last_digit(number: int) -> None:
    value, unit = size(number).split()
    assert abs(float(value) * 1000 ** UNITS.index(unit) - number) <= 0.0501 * 1000 ** UNITS.index(unit)
    assert float(value) < 1000


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (12.34, "12.3 s"),
        (59.94, "59.9 s"),
        (59.96, "1:00"),
        (62, "1:02"),
        (3599.6, "1:00:00"),
        (7384, "2:03:04"),
        (360_000, "100:00:00"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_counts() -> None:
    assert [count(n, "shard") for n in (0, 1, 2, 43_100)] == [
        "0 shards",
        "1 shard",
        "2 shards",
        "43,100 shards",
    ]
    assert count(3, "asked", "asked") == "3 asked"


def test_a_table_has_numbers_to_the_right() -> None:
    assert table(["name", "bytes"], [["a.h5", 12_345], ["longer.h5", 7]]).split("\n") == [
        "name        bytes",
        "a.h5       12,345",
        "longer.h5       7",
    ]
    assert table(["a", "b"], []) == "a  b"
