"""How often: what people write, and how many steps that is."""

from __future__ import annotations

import pytest

from dimtool.errors import WrongUseError
from dimtool.model.runs.intervals import Interval, read_interval


@pytest.mark.parametrize(
    ("text", "interval"),
    [
        (5000, Interval(5000, "steps")),
        ("5000", Interval(5000, "steps")),
        ("90s", Interval(90, "seconds")),
        ("10min", Interval(600, "seconds")),
        ("1.5 h", Interval(5400, "seconds")),
        ("0.5epoch", Interval(0.5, "epochs")),
        ("2epochs", Interval(2, "epochs")),
    ],
)
def test_what_people_write(text: int | str, interval: Interval) -> None:
    assert read_interval(text) == interval


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5", "0min", "min", "5 parsecs", "1e3", "nan", "5 min 3"])
def test_what_is_none(text: str) -> None:
    with pytest.raises(WrongUseError, match=f"^an interval of {text}: give whole steps"):
        read_interval(text)


def test_an_epoch_is_its_steps() -> None:
    assert read_interval("0.5epoch").steps(18 / 4) == 2
    assert read_interval("0.01epoch").steps(18 / 4) == 1
    assert read_interval(7).steps(18 / 4) == 7
    assert read_interval("10min").steps(18 / 4) is None
