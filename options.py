"""What the commands share: option types, and how a result is printed."""

from __future__ import annotations

import re
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import click

from .text import json_text, printable

FOLDER = click.Path(path_type=Path, file_okay=False)
FILE = click.Path(path_type=Path, dir_okay=False)
PATH = click.Path(path_type=Path)
EXISTING = click.Path(path_type=Path, exists=True)
EXISTING_FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)

NUMBER = click.IntRange(min=0)

as_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON, for programs.")


def print_result(as_json: bool, values: dict[str, Any], text: str) -> None:
    """A command's result on standard output: for programs, or for people."""
    say(json_text(values, _plain) if as_json else text)


def say(text: str, *, err: bool = False) -> None:
    """Lines on standard output, or on standard error, whatever names stand in them."""
    click.echo(printable(text, keep="\n"), err=err)


def _plain(value: Any) -> Any:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else str(value)


class Share(click.ParamType[float]):
    """A percentage, `5%` or `5`, as a share from 0 to 1."""

    name = "percentage"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """See click."""
        if re.fullmatch(r"0?\.\d+", str(value).strip()):
            self.fail(f"{value} could be a share or a percentage: write 5% for 5 of 100", param, ctx)
        try:
            share = float(str(value).removesuffix("%")) / 100
        except ValueError:
            share = -1.0
        if not 0 <= share <= 1:
            self.fail(f"{value} is not a percentage from 0 to 100", param, ctx)
        return share


class Bytes(click.ParamType[int]):
    """An amount of memory, `4GB`, `500 MB` or a number of bytes, in bytes."""

    name = "bytes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """See click."""
        found = re.fullmatch(r"(\d+(?:\.\d+)?) ?(|[kMGT]B)", str(value))
        if not found:
            self.fail(f"{value} is no amount of memory, as in 4GB or 500MB", param, ctx)
        return int(float(found[1]) * 1000 ** ("", "kB", "MB", "GB", "TB").index(found[2]))


class Numbers(click.ParamType[tuple[int, ...]]):
    """Whole numbers with commas between them: `320,480,640`."""

    name = "numbers"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """See click."""
        if isinstance(value, list | tuple):
            return tuple(value)
        try:
            return tuple(int(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value} is not a list of whole numbers, as in 320,480,640", param, ctx)
