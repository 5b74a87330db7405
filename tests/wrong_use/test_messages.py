"""Every mistake of messages.txt gets the line that stands there: it names the thing, and the way out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from dimtool.cli import run


class Mistake(NamedTuple):
    """A command, and what is to come of it."""

    command: str
    code: int
    line: str


def _read(text: str) -> list[Mistake]:
    found = []
    for block in text.split("\n\n"):
        if block.startswith("$ dimtool "):
            command, said = block.removeprefix("$ dimtool ").strip().split("\n")
            code, _, line = said.partition(" ")
            found.append(Mistake(command, int(code), line))
    return found


MISTAKES = _read(Path(__file__).with_name("messages.txt").read_text(encoding="utf-8"))


def test_every_kind_is_there_once() -> None:
    assert len(MISTAKES) >= 83
    assert len({each.command for each in MISTAKES}) == len(MISTAKES)
    assert {each.code for each in MISTAKES} == {1, 2}


@pytest.mark.parametrize("mistake", MISTAKES, ids=[each.command for each in MISTAKES])
def test_a_mistake_is_told(say: Callable[[str], tuple[int, str]], mistake: Mistake) -> None:
    assert say(mistake.command) == (mistake.code, mistake.line)


@pytest.mark.parametrize("command", ["", "train --steps many", "predict cat.png", "trian"])
def test_what_the_parser_says_points_to_the_help(capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert run(command.split()) == 2
    said = capsys.readouterr().err
    assert "Try 'dimtool" in said or "Commands:" in said
