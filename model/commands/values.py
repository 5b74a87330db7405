"""Options from recipes: what the command line and --config say wins over them."""

from __future__ import annotations

import click

from ...errors import WrongUseError
from ...optionfiles import option_values, read_toml


def read_recipe(context: click.Context, _: click.Parameter, recipe: str) -> str:
    """Take a recipe's values as the command's defaults, less what --config says, whichever comes first."""
    from ..runs.recipes import recipe_file

    try:
        path = recipe_file(recipe)
    except WrongUseError as error:
        raise click.BadParameter(str(error)) from error
    values = option_values(context, path, read_toml(path))
    if "recipe" in values:
        raise click.BadParameter(f"{path} sets recipe: a recipe is no start for another")
    context.default_map = {**values, **(context.default_map or {})}
    return recipe
