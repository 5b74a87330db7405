"""The command line: the group of all commands, and what becomes of their errors."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
import threading
from collections.abc import Sequence
from typing import NoReturn

import click

from .composer import commands as composing
from .errors import DimtoolError
from .model import commands as modelling
from .text import is_it, printable
from .verbs import UNCHANGED, Verb, Verbs
from .version import __version__

# Only click is imported by all this: `dimtool --help` must answer at once.


_ALIASES = {"build": "build-dataset", "verify": "verify-composites", "export": "export-images"}


@click.group(
    cls=Verbs,
    aliases=_ALIASES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="dimtool")
def cli() -> None:
    """Build the Deep Image Matting data set, exactly, and train the model on it.

    \b
    Start with:
      dimtool make-demo demo                                 a small data set to try things on
      dimtool build-dataset --fg-list demo/train_fg.txt --per-fg 10
      dimtool verify-composites
      dimtool train --width 0.25 --bottleneck slim --steps 500
    """


@click.command("config", cls=Verb, kept=UNCHANGED)
@click.argument("names", nargs=-1, metavar="[COMMAND]...")
def config_command(names: tuple[str, ...]) -> None:
    """Print a file of options for --config: all of a command's, or of all commands.

    \b
    Example:
      dimtool config train > train.toml
      dimtool train --config train.toml
    """
    from .optionfiles import sample

    wanted = [_ALIASES.get(name, name) for name in names]
    if unknown := [name for name in wanted if name not in cli.commands]:
        raise click.UsageError(f"{unknown[0]} is no command{is_it(unknown[0], cli.commands)}")
    own = [each for each in cli.commands.values() if each is not config_command]
    click.echo(sample(cli.commands[name] for name in wanted) if wanted else sample(own), nl=False)


for _command in (*composing.COMMANDS, *modelling.COMMANDS, config_command):
    cli.add_command(_command)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command; 0 for good, 1 for what was found wrong, 2 for wrong use, 130 after Ctrl-C.

    A fault of ours is not caught: its traceback is what a report needs.
    """
    try:
        return cli.main(arguments, prog_name="dimtool", standalone_mode=False) or 0
    except click.ClickException as error:
        shown = io.StringIO()
        error.show(file=shown)
        click.echo(printable(shown.getvalue(), keep="\n"), nl=False, err=True)
        return error.exit_code
    except DimtoolError as error:
        return _fail(str(error), error.exit_code)
    except (click.Abort, KeyboardInterrupt) as error:
        return _fail("; ".join(filter(None, ("interrupted", str(error)))), 130)
    except BrokenPipeError:
        # Whoever read the output has seen enough; Python must not complain of it again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if error.errno not in _SYSTEM:
            raise
        return _fail(f"{error.strerror}: {error.filename or 'while writing'}; {_SYSTEM[error.errno]}", 1)


_SYSTEM = {
    errno.ENOSPC: "make room and run the same command again: what is finished is kept",
    errno.EDQUOT: "make room and run the same command again: what is finished is kept",
    errno.EACCES: "you may not write or read there: choose another place",
    errno.EPERM: "you may not write or read there: choose another place",
    errno.EROFS: "choose another place",
    errno.ENOTDIR: "a file is in the way of a folder: choose another place",
    errno.EEXIST: "a file is in the way of a folder: choose another place",
    errno.EISDIR: "a folder is in the way of a file: move it, or choose another place",
    errno.ENOENT: "it is not there, or cannot be made there: choose another place",
}


def _fail(line: str, code: int) -> int:
    click.echo(f"dimtool: {printable(line)}", err=True)
    return code


def main() -> NoReturn:
    """The console script."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal may know fewer characters than names have
            stream.reconfigure(errors="backslashreplace")
    sys.unraisablehook = _interrupt_again
    sys.exit(run())


def _interrupt_again(dropped: sys.UnraisableHookArgs) -> None:
    """Where Python drops exceptions (a weak reference's callback), it would drop Ctrl-C: send it again."""
    if dropped.exc_type is KeyboardInterrupt:
        threading.Timer(0.01, os.kill, [os.getpid(), signal.SIGINT]).start()
    else:
        sys.__unraisablehook__(dropped)
