from __future__ import annotations

import json
import os
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dimtool.text import count, duration, json_text, printable, size, table

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


# ---- names that terminals, and programs, must not stumble over ---------------------------------------------


NAMES = st.text(max_size=20) | st.binary(max_size=20).map(os.fsdecode)


@given(NAMES)
def test_what_is_printed_steers_no_terminal_and_is_text(name: str) -> None:
    shown = printable(name)
    shown.encode()  # which bytes that are no text would refuse
    assert all(unicodedata.category(each) not in ("Cc", "Cs", "Zl", "Zp") for each in shown)
    assert not re.search("[\u202a-\u202e\u2066-\u2069]", shown)
    if name.isprintable():
        assert shown == name


def test_what_is_written_out() -> None:
    assert printable("a\x1b[31mb\n") == "a\\x1b[31mb\\x0a"
    assert printable("a\nb\r", keep="\n") == "a\nb\\x0d"
    assert printable(os.fsdecode(b"caf\xe9.png")) == "caf\\xe9.png"
    assert printable("Käfer 猫 👩\u200d👦.png") == "Käfer 猫 👩\u200d👦.png"


@given(st.dictionaries(NAMES, NAMES))
def test_json_is_exact_for_programs_and_harmless_to_terminals(values: dict[str, str]) -> None:
    text = json_text(values)
    assert json.loads(text) == values
    text.encode()
    assert printable(text) == text
