"""What all commands have in common: short names, sections in their help, what their interruption leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import click

from .errors import WrongUseError
from .optionfiles import config_option

KEPT = "what is finished is kept: give the same command again"
UNCHANGED = "nothing was written"

FOR_MODELS = (
    "accelerate",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "pymatting",
    "safetensors",
    "tensorboard",
    "torch",
)
"""What a machine that only builds data sets may lack: requirements-build.txt has all but these."""

_META = "dimtool.kept"


class Verb(click.Command):
    """A command that says what is left where it is interrupted, and may have its options in sections.

    kept: what is true after Ctrl-C, and what to do then. sections: the options' names by the title that they
    stand under in the help; those of none come last.
    """

    def __init__(
        self,
        *args: Any,
        kept: str = "",
        sections: Mapping[str, Sequence[str]] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(*args, **more)
        self.kept, self.sections = kept, sections or {}

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """See click."""
        left = {str(each.name): each for each in self.get_params(ctx) if isinstance(each, click.Option)}
        for title, names in self.sections.items():
            with formatter.section(title):
                formatter.write_dl(_records(ctx, [left.pop(name) for name in names]))
        with formatter.section("Other options" if self.sections else "Options"):
            formatter.write_dl(_records(ctx, list(left.values())))


def _records(ctx: click.Context, options: Sequence[click.Option]) -> list[tuple[str, str]]:
    records = (each.get_help_record(ctx) for each in options)
    return [record for record in records if record is not None]


def say_if_interrupted(kept: str) -> None:
    """What is true of this call of a command after Ctrl-C, where that is not what it mostly is."""
    click.get_current_context().meta[_META] = kept


class Verbs(click.Group):
    """The group of all commands, in the order of their use; each gets --config.

    aliases: short names of commands, by the short name.
    """

    def __init__(self, *args: Any, aliases: Mapping[str, str], **more: Any) -> None:
        super().__init__(*args, **more)
        self.aliases = aliases

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """See click."""
        cmd.params.append(config_option())
        super().add_command(cmd, name)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """See click."""
        return list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """See click."""
        short = {name: f"{name}, {alias}" for alias, name in self.aliases.items()}
        titles = {name: short.get(name, name) for name in self.list_commands(ctx)}
        limit = formatter.width - 6 - max(map(len, titles.values()))
        with formatter.section("Commands"):
            formatter.write_dl(
                [(title, self.commands[name].get_short_help_str(limit)) for name, title in titles.items()]
            )

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """See click."""
        try:
            return super().resolve_command(ctx, [self.aliases.get(args[0], args[0]), *args[1:]])
        except click.exceptions.NoSuchCommand as error:
            known = [*self.commands, *self.aliases]
            raise click.exceptions.NoSuchCommand(error.command_name, possibilities=known, ctx=ctx) from error

    def invoke(self, ctx: click.Context) -> Any:
        """See click. Raises Abort after Ctrl-C, with what that leaves; WrongUseError for what is lacking."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            command = self.commands.get(ctx.invoked_subcommand or "")
            raise click.Abort(ctx.meta.get(_META, getattr(command, "kept", ""))) from error
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] not in FOR_MODELS:
                raise
            missing = " ".join(each for each in FOR_MODELS if not find_spec(each))
            raise WrongUseError(
                f"this command needs what is not installed here: pip install {missing}"
            ) from error
