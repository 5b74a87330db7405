"""What a verification finds, and how much it tried."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ...errors import WrongUseError
from ...text import first_line, printable

# In the order in which they are told. `source` and `decoder` are no fault of the shard: repairing it
# would make another data set of it.
CHECKS = ("files", "format", "pixels", "composition", "maps", "source", "decoder", "set", "duplicates")
REPAIRABLE = frozenset(("files", "format", "pixels", "composition", "maps"))


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that is not as it should be.

    folder, shard: where (the shard's file name; empty for a finding about the set). composite: its number
    in the shard, or None for the whole shard. what: the finding in words; expected and found: the two
    values that should agree.
    """

    check: str
    folder: str
    shard: str = ""
    composite: int | None = None
    what: str
    expected: str = ""
    found: str = ""

    def __str__(self) -> str:
        where = "/".join(filter(None, (self.folder, self.shard)))
        number = "" if self.composite is None else f" composite {self.composite}"
        values = f" (expected {self.expected}, found {self.found})" if self.expected or self.found else ""
        return printable(f"{self.check}: {where}{number}: {self.what}{values}")


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """Something that a verification did not look at: `what` of which folder, and why."""

    folder: str
    what: str
    why: str

    def __str__(self) -> str:
        return f"not looked at: {self.what} of {self.folder}: {self.why}"


@dataclass
class Tally:
    """Findings, and how many things each check tried. notes: what is to be known, and no fault."""

    findings: list[Finding] = field(default_factory=list)
    tried: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Take over what another tally holds."""
        self.findings += other.findings
        self.tried += other.tried
        self.notes += other.notes

    def failed(self, check: str) -> int:
        """How many findings a check has."""
        return sum(finding.check == check for finding in self.findings)


def read_accepted(path: Path) -> tuple[str, ...]:
    """Known findings: the lines of a file, each as a finding is printed; `#` begins a comment.

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


def without(findings: Iterable[Finding], lines: Iterable[str]) -> list[Finding]:
    """The findings that no line names."""
    known = set(lines)
    return [each for each in findings if str(each) not in known]
