"""The whole way: its commands fit each other, each is given as it stands, and one page shows it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dimtool.cli import cli
from dimtool.model.runs.recipes import recipe_file

pytest.importorskip("jinja2")

from dimtool.model.tour.page import following, write_page
from dimtool.model.tour.steps import Step, steps_in
from dimtool.model.tour.walk import Done, StepError, walk


def step(*arguments: str, **more: str) -> Step:
    return Step(title="A step", text="It does <b>.", arguments=arguments, **more)


def test_every_command_of_the_way_is_one() -> None:
    """Click takes the options; what they name may not be there yet."""
    for each in steps_in(Path("d e"), size=96, steps="2,1,1"):
        name, *rest = each.arguments
        command = cli.commands[name]
        context = command.make_context(name, [*rest], resilient_parsing=True)
        assert context.params, each.command
        with pytest.raises(Exception, match="No such option"):
            command.make_context(name, [*rest, "--no-such"])
    for _, line in following(Path("demo")):
        assert line.split()[0] == "dimtool" and line.split()[1] in cli.commands


def test_all_of_the_way_lies_in_its_folder() -> None:
    for each in steps_in(Path("/x/demo"), size=96, steps=None):
        paths = [part for part in each.arguments if part.startswith("/") and "weights" not in part]
        assert paths and all(path.startswith("/x/demo/") for path in paths), each.command


def test_the_training_is_the_recipe_that_ships() -> None:
    (train,) = (each for each in steps_in(Path("demo"), size=96, steps=None) if each.title == "Training")
    assert "--recipe demo" in train.command and "--steps" not in train.command
    assert recipe_file("demo").is_file()


def test_commands_are_given_in_turn_and_heard() -> None:
    heard: list[str] = []
    done = walk([step("--version"), step("inspect", "--help")], begins=heard.append, prints=heard.append)
    assert heard[0] == "1 of 2: dimtool --version" and heard[1].startswith("dimtool, version")
    assert heard[2] == "2 of 2: dimtool inspect --help"
    assert done[0].output == heard[1] and done[1].output == "\n".join(heard[3:])
    assert done[0].seconds > 0


def test_the_way_ends_at_the_first_command_that_fails(capfd: pytest.CaptureFixture[str]) -> None:
    heard: list[str] = []
    with pytest.raises(StepError, match=r"`dimtool inspect /no/such` ended with 2: .* goes on from there"):
        walk([step("inspect", "/no/such"), step("--version")], begins=heard.append, prints=heard.append)
    assert heard == ["1 of 2: dimtool inspect /no/such"]
    assert "/no/such" in capfd.readouterr().err  # the command itself says what is wrong


SLOW = """
import sys, time
from pathlib import Path
try:
    print("on its way", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    Path(sys.argv[1]).write_text("in order")
"""
WALK = """
import sys
from dimtool.model.tour import walk
from dimtool.model.tour.steps import Step
sys.executable, script, out = sys.argv[1:]
step = Step(title="", text="", arguments=(out,))
walk.walk([step], begins=print, prints=lambda line: print(line, flush=True))
"""


def test_ctrl_c_lets_the_command_end_in_order(tmp_path: Path) -> None:
    """The interpreter that the way starts is a script that takes its last argument for a file."""
    (tmp_path / "slow.py").write_text(SLOW)
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} {tmp_path}/slow.py "$3"\n')
    python.chmod(0o755)
    command = [sys.executable, "-c", WALK, str(python), "", str(tmp_path / "told")]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stdout is not None
        while b"on its way" not in process.stdout.readline():
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        process.communicate(timeout=30)
    assert process.returncode != 0 and (tmp_path / "told").read_text() == "in order"


def test_a_browser_shows_the_page(browser: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (300, 1900, 3), dtype=np.uint8)).save(tmp_path / "sheet.png")
    (tmp_path / "run").mkdir()
    (tmp_path / "run/index.html").write_text("a run")
    walked = [
        Done(step=step("train", "--out", "x" * 90, page="run/index.html"), output="w " * 200, seconds=61),
        Done(step=step("predict", picture="sheet.png", alt="mattes"), output="\n".join("abc"), seconds=2),
        Done(step=step("inspect", picture="gone.png", page="gone.html"), output="<script>\x1b", seconds=2),
    ]
    page = write_page(tmp_path, walked)
    html = page.read_text()
    assert "From pictures to mattes, in 1:05" in html and "&lt;script&gt;\\x1b" in html and "gone" not in html
    assert 'href="run/index.html"' in html and "It does &lt;b&gt;." in html
    for width in (1280, 400):
        found = browser.look(page, width, "light")
        assert (found["console"], found["broken"], found["outside"], found["sideways"]) == ([], [], [], 0)
        assert found["images"] == 1
