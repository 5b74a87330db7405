"""Recipes: the options of a training that belong together, as TOML files that one reads and changes."""

from __future__ import annotations

from pathlib import Path

from ...errors import WrongUseError
from ...text import is_it

_FOLDER = Path(__file__).resolve().parent.parent / "recipes"


def recipe_names() -> list[str]:
    """The recipes that ship."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


def recipe_file(recipe: str) -> Path:
    """The file of a recipe that ships, or the one that is named. Raises WrongUseError for neither."""
    if recipe in recipe_names():
        return _FOLDER / f"{recipe}.toml"
    path = Path(recipe)
    if path.suffix != ".toml" or not path.is_file():
        names = ", ".join(recipe_names())
        close = is_it(recipe, recipe_names())
        raise WrongUseError(f"{recipe} is no recipe: name one of {names}, or a TOML file of options{close}")
    return path
