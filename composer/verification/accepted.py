"""Known findings: a file of their lines; what it names is counted and shown, and no finding any more."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from ...errors import WrongUseError
from ...text import first_line
from .findings import Finding, Tally
from .verify import Verification


def read_accepted(path: Path) -> tuple[str, ...]:
    """The lines of a file, each as the verification prints a finding; `#` begins a comment.

    Raises WrongUseError where the file cannot be read or has no line.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise WrongUseError(
            f"{path} cannot be read ({first_line(error)}): give a text file of findings, a line each"
        ) from error
    told = tuple(line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#"))
    if not told:
        raise WrongUseError(f"{path} names no finding: copy the lines that the verification prints into it")
    return told


def accept_known(verification: Verification, lines: Iterable[str]) -> Verification:
    """The same without the findings that `lines` name; those are its `accepted`, and told.

    A line that no finding has any more is noted: whatever it excused is over, or was not looked at.
    """
    known = dict.fromkeys(lines)
    accepted = tuple(each for each in verification.findings if str(each) in known)
    found = {str(each) for each in accepted}
    looked = "" if verification.skipped == () else " in what was looked at"
    over = [line for line in known if line not in found]
    notes = [f"accepted, but not found{looked}: {line}: take it off the list" for line in over]
    tally = Tally(without(verification.findings, known), verification.tally.tried)
    return replace(verification, tally=tally, accepted=accepted, notes=(*verification.notes, *notes))


def without(findings: Iterable[Finding], lines: Iterable[str]) -> list[Finding]:
    """The findings that no line names."""
    known = set(lines)
    return [each for each in findings if str(each) not in known]
