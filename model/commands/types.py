"""What options of the modelling commands can be beside plain numbers."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import click

from ...errors import WrongUseError

Number = TypeVar("Number", int, float)


class ByStage(click.ParamType[Any], Generic[Number]):
    """A number for all stages, or one for each of the three: `20000,5000,5000`."""

    _kind: type[Number]
    _least: Number | None

    def __init__(self, kind: type[Number], *, least: Number | None = None) -> None:
        self.name = "number[,number,number]"
        self._kind, self._least = kind, least

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See click."""
        parts = value if isinstance(value, tuple) else str(value).split(",")
        try:
            numbers = tuple(self._kind(part) for part in parts)
        except ValueError:
            self.fail(f"{value} is no number, nor three with commas between them", param, ctx)
        if self._least is not None and min(numbers) < self._least:
            self.fail(f"{min(numbers)} is less than {self._least}", param, ctx)
        if len(numbers) not in (1, 3):
            self.fail(f"{value}: give one number, or one for each of the three stages", param, ctx)
        return numbers[0] if len(numbers) == 1 else numbers


class Often(click.ParamType[Any]):
    """An interval: `5000` (steps), `10min`, `0.5epoch`."""

    name = "steps|time|epochs"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        """See click."""
        from ..runs.intervals import read_interval

        try:
            interval = read_interval(value)
        except WrongUseError as error:
            self.fail(str(error), param, ctx)
        return int(interval.amount) if interval.unit == "steps" else str(value).strip()
