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
from .text import printable
from .version import __version__

# Only click is imported by all this: `dimtool --help` must answer at once.


class _InOrder(click.Group):
    """Commands are listed in the order in which they are used, not by the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=_InOrder, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
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


for _command in (*composing.COMMANDS, *modelling.COMMANDS):
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
    except (click.Abort, KeyboardInterrupt):
        return _fail("interrupted; what is finished is kept: give the same command again", 130)
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
