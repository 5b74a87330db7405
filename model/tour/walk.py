"""Goes the way: one command after the other, each a process of its own, as one would type them."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ...errors import DimtoolError
from .steps import Step

_PATIENCE = 20  # seconds that a command has to end after Ctrl-C


class StepError(DimtoolError):
    """A command of the way ended with an error, which it told itself; one line that names it."""


@dataclass(frozen=True, kw_only=True)
class Done:
    """A step, what it printed, and the seconds that it took."""

    step: Step
    output: str
    seconds: float


def walk(
    steps: Sequence[Step], *, begins: Callable[[str], None], prints: Callable[[str], None]
) -> list[Done]:
    """Give each command in turn; those that were finished before keep what they made.

    begins: hears of each command before it starts. prints: gets what commands print, line by line; bars and
    notes go to standard error by themselves. Raises StepError at the first that fails.
    """
    done = []
    for number, step in enumerate(steps, start=1):
        begins(f"{number} of {len(steps)}: {step.command}")
        start = time.perf_counter()
        output = _give(step, prints)
        done.append(Done(step=step, output=output, seconds=time.perf_counter() - start))
    return done


def _give(step: Step, prints: Callable[[str], None]) -> str:
    """What the command prints. Raises StepError."""
    command = [sys.executable, "-m", "dimtool", *step.arguments]
    lines = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, errors="surrogateescape") as process:
        try:
            for line in process.stdout or ():
                lines.append(line)
                prints(line.rstrip("\n"))
            code = process.wait()
        except KeyboardInterrupt:  # the terminal told the command as well: let it end in order
            _see_out(process)
            raise
    if code:
        raise StepError(
            f"`{step.command}` ended with {code}: mend what it says, and give the same command again, which "
            "goes on from there"
        )
    return "".join(lines).rstrip("\n")


def _see_out(process: subprocess.Popen[str]) -> None:
    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        process.terminate()
