"""Numbers, tables and names as people, terminals and programs read them."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


# Control characters, what turns the direction of writing, line ends beside \n, and bytes that are no text.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str, keep: str = "") -> str:
    """Text as it may go to a terminal: what would steer it, or is no text, is written out.

    File names may hold all that; bytes that are not UTF-8 come as Python carries them. keep: what stays.
    """
    return _UNPRINTABLE.sub(lambda found: found[0] if found[0] in keep else _written_out(found[0]), text)


def _written_out(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte, in Python's disguise
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def json_text(values: Any, default: Callable[[Any], Any] | None = None) -> str:
    """JSON in one line, exact for programs and harmless to terminals, whatever names it holds."""
    text = json.dumps(values, default=default, ensure_ascii=False)
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def size(count: float) -> str:
    """Bytes with a decimal unit: `63.1 GB`."""
    for unit in _UNITS:
        if abs(round(count, 1)) < 1000 or unit == _UNITS[-1]:
            break
        count /= 1000
    return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"


def amount(text: str) -> int:
    """`4G`, `4GB`, `500 MB`, `3.5GiB` or a number of bytes, in bytes. Raises ValueError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([kmgt]?)(i?)b?", text.strip().lower())
    if not found or (found[3] and not found[2]):
        raise ValueError(f"{text} is no amount of memory, as in 4G, 4GB, 3.5GiB or 500MB")
    return int(float(found[1]) * (1024 if found[3] else 1000) ** " kmgt".index(found[2] or " "))


def duration(seconds: float) -> str:
    """`12.3 s` under a minute, then `1:02` and `2:03:04`."""
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def about(seconds: float) -> str:
    """A time that is not known to the second: `12 minutes`, `9 hours`, `200 days`."""
    for most, length, unit in ((90, 1, "second"), (5400, 60, "minute"), (172_800, 3600, "hour")):
        if seconds < most:
            return count(max(1, round(seconds / length)), unit)
    return count(round(seconds / 86_400), "day")


def count(number: int, one: str, many: str = "") -> str:
    """`1 shard`, `2 shards`, with separators."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def next_steps(commands: Sequence[str]) -> str:
    """Commands that work as they stand, one below the other, after a word that says what they are."""
    return "next: " + "\n      ".join(commands)


def some(names: Sequence[str], most: int = 3) -> str:
    """The first few of many: `a, b, c, ...`."""
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def is_it(name: str, known: Iterable[str], *, suffix: str = "") -> str:
    """`; is it jobs?` where one of the known names is close to a wrong one; empty where none is.

    suffix: what belongs to each name and says nothing about how close it is.
    """
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; is it {close[0]}{suffix}?" if close else ""


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Aligned columns; numbers to the right."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(len(row[i]) for row in [list(header), *cells]) for i in range(len(header))]
    right = [bool(rows) and all(isinstance(row[i], int | float) for row in rows) for i in range(len(header))]

    def line(row: Sequence[str]) -> str:
        parts = (
            cell.rjust(width) if flag else cell.ljust(width)
            for cell, width, flag in zip(row, widths, right, strict=True)
        )
        return "  ".join(parts).rstrip()

    return "\n".join([line(header), *map(line, cells)])


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else printable(str(value))


def first_line(error: BaseException) -> str:
    """What an error says, in one line; its type where it says nothing.

    Of the system's errors only the reason: the messages that quote it name the file themselves.
    """
    reason = error.strerror if isinstance(error, OSError) else None
    return ((reason or str(error)).splitlines() or [type(error).__name__])[0]


def sides(shape: Sequence[int]) -> str:
    """An image's shape, (h, w, ...), as people say it: `640 x 480`, width first."""
    return f"{shape[1]} x {shape[0]}"
