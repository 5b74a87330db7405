"""What can go wrong through no fault of the code: each message is one line that says what to do."""

from __future__ import annotations


class DimtoolError(Exception):
    """Something was found wrong: a file, a disk, a process. Its line goes to standard error; exit 1."""

    exit_code = 1


class WrongUseError(DimtoolError, ValueError):
    """What was asked for cannot be done as asked: exit 2."""

    exit_code = 2
