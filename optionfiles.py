"""Options from TOML files, and a sample of such a file."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from .text import first_line, is_it, json_text

SAMPLE_HEAD = """\
# Options of dimtool, for --config: a table for each command, and the command line wins over the file.
# Take away the # before an option to set it; what stands there is what holds without.
"""


def config_option() -> click.Option:
    """--config, of every command."""
    return click.Option(
        ["--config"],
        type=click.Path(path_type=Path, dir_okay=False),
        is_eager=True,
        expose_value=False,
        callback=_read_config,
        help="A TOML file of options, as `dimtool config` writes one; the command line wins over it.",
    )


def _read_config(context: click.Context, _: click.Parameter, path: Path | None) -> Path | None:
    """Take a TOML file's values as the command's defaults."""
    if path is not None:
        tables = _tables(context, path, read_toml(path))
        context.default_map = {**(context.default_map or {}), **option_values(context, path, tables)}
    return path


def read_toml(path: Path) -> dict[str, Any]:
    """What is in a TOML file. Raises BadParameter."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        advice = "name a file of options, with lines as `batch-size = 16`; `dimtool config` writes one"
        raise click.BadParameter(f"{path} cannot be read as TOML ({first_line(error)}): {advice}") from error


def _tables(context: click.Context, path: Path, values: Mapping[str, Any]) -> dict[str, Any]:
    """The options of this command: those before all tables, and those in its own."""
    group = context.find_root().command
    commands = list(group.commands) if isinstance(group, click.Group) else []
    own = _options(context)
    tables = {key: each for key, each in values.items() if isinstance(each, dict) and _key(key) not in own}
    for name in tables.keys() - set(commands):
        raise click.BadParameter(f"{path} has a table [{name}], which is no command{is_it(name, commands)}")
    return {**{key: values[key] for key in values if key not in tables}, **tables.get(_name(context), {})}


def _name(context: click.Context) -> str:
    return str(context.command.name)


def option_values(context: click.Context, path: Path, values: Mapping[str, Any]) -> dict[str, Any]:
    """A file's values by their options' names in the code. Raises BadParameter for one of no option."""
    known, found = _options(context), {}
    for key, value in values.items():
        option = known.get(_key(key))
        if option is None:
            close = is_it(_key(key), known)
            raise click.BadParameter(
                f"{path} sets {key}, which is no option of `dimtool {_name(context)}`{close}"
            )
        found[str(option.name)] = _as_typed(option, value)
    return found


def _options(context: click.Context) -> dict[str, click.Parameter]:
    """What a file can set, by the names there."""
    return {
        _key(name): each for each in context.command.params if each.name != "config" for name in each.opts
    }


def _key(option: str) -> str:
    return option.lstrip("-").replace("_", "-")


def _as_typed(option: click.Parameter, value: Any) -> Any:
    """A TOML value as the command line would carry it: the options' types then judge both alike."""
    if not isinstance(value, list):
        return (str(value),) if _is_many(option) else str(value)
    return tuple(map(str, value)) if _is_many(option) else ",".join(map(str, value))


def _is_many(option: click.Parameter) -> bool:
    return option.multiple or option.nargs != 1


def sample(commands: Iterable[click.Command]) -> str:
    """A file that sets nothing and shows every option of the commands, with its default."""
    return SAMPLE_HEAD + "".join(f"\n[{each.name}]\n{''.join(_sample_lines(each))}" for each in commands)


def _sample_lines(command: click.Command) -> Iterator[str]:
    context = click.Context(command, info_name=command.name)
    for option in command.params:
        if isinstance(option, click.Option) and option.name != "config":
            default = option.get_default(context, call=False)
            yield f"\n# {option.help}\n# {_key(option.opts[0])} = {_sample_value(context, option, default)}\n"


def _sample_value(context: click.Context, option: click.Option, default: Any) -> str:
    """A default as TOML; what is to stand there, in angle brackets, where there is none."""
    if isinstance(default, bool) or (option.is_flag and not option.secondary_opts):
        return "true" if default is True else "false"
    if isinstance(default, int | float):
        return repr(default)
    return json_text(default) if isinstance(default, str) else f"<{option.make_metavar(context)}>"
