"""Options from TOML files: what the command line says wins over --config, and that over --recipe."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import click

from ...errors import WrongUseError


def read_config(context: click.Context, _: click.Parameter, path: Path | None) -> Path | None:
    """Take a TOML file's values as the command's defaults: what the command line says wins."""
    if path is not None:
        context.default_map = {**(context.default_map or {}), **_values_of(context, path)}
    return path


def read_recipe(context: click.Context, _: click.Parameter, recipe: str) -> str:
    """The same for a recipe that ships, or a file; what --config says wins as well, whichever comes first."""
    from ..runs.recipes import recipe_file

    try:
        path = recipe_file(recipe)
    except WrongUseError as error:
        raise click.BadParameter(str(error)) from error
    values = _values_of(context, path)
    if "recipe" in values:
        raise click.BadParameter(f"{path} sets recipe: a recipe is no start for another")
    context.default_map = {**values, **(context.default_map or {})}
    return recipe


def _values_of(context: click.Context, path: Path) -> dict[str, str]:
    """A file's values by their options' names."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise click.BadParameter(f"{path} cannot be read as TOML: {error}") from error
    values = {key.replace("-", "_"): value for key, value in values.items()}
    known = {
        option.lstrip("-").replace("-", "_"): each.name
        for each in context.command.params
        if each.expose_value  # a file cannot name another
        for option in each.opts
    }
    unknown = sorted(values.keys() - known.keys())
    if unknown:
        raise click.BadParameter(
            f"{path} sets {unknown[0]}, which is no option of `dimtool {context.info_name}`"
        )
    return {str(known[key]): _as_typed(value) for key, value in values.items()}


def _as_typed(value: Any) -> str:
    """A TOML value as the command line would carry it: the options' types then judge both alike."""
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
