"""What the commands share: option types, and how a result is printed."""

from __future__ import annotations

import re
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import click

from .storage.remote import SIZE_VARIABLE, is_url, read_url
from .text import amount, json_text, printable

_CACHE = f"{__name__}.cache"  # in click's own notes of a call: what --cache says to the places read after it


class PlaceType(click.Path):
    """A path, or the URL of a place in an object store, which is not looked at before it is used."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See click; a Path or a Remote."""
        if isinstance(value, str) and is_url(value):
            return read_url(value, cache_bytes=ctx.meta.get(_CACHE) if ctx else None)
        return super().convert(value, param, ctx)


def _keep_cache(ctx: click.Context, _param: click.Parameter, value: int | None) -> None:
    ctx.meta[_CACHE] = value


FOLDER = click.Path(path_type=Path, file_okay=False)
FILE = click.Path(path_type=Path, dir_okay=False)
PATH = click.Path(path_type=Path)
EXISTING = click.Path(path_type=Path, exists=True)
EXISTING_FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)

PLACE = PlaceType(path_type=Path, file_okay=False)
EXISTING_PLACE = PlaceType(path_type=Path, exists=True)
EXISTING_FOLDER_PLACE = PlaceType(path_type=Path, exists=True, file_okay=False)

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
    """An amount of memory, `4G`, `4GB`, `500 MB`, `3.5GiB` or a number of bytes, in bytes."""

    name = "bytes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """See click."""
        try:
            return amount(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


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


cache_option = click.option(
    "--cache",
    type=Bytes(),
    envvar=SIZE_VARIABLE,
    is_eager=True,
    expose_value=False,
    callback=_keep_cache,
    help="Disk for copies of what lies in object stores, as in 500GB.  [default: 20GB]",
)
