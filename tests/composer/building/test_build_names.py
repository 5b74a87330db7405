"""Names that terminals, programs and file systems stumble over, from the lists to the exported pictures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


def _rename(root: Path, old: str, new: str) -> None:
    for folder in ("fg", "alpha"):
        (root / folder / f"{old}.png").rename(root / folder / f"{new}.png")
    lines = (root / "train_fg.txt").read_text().splitlines()
    (root / "train_fg.txt").write_text(
        "\n".join(f"{new}.png" if each == f"{old}.png" else each for each in lines)
    )


@pytest.mark.parametrize(
    "name",
    ["é" * 122 + "x", "shot1.cat", "photo.v2", "a\x1b[2Jb", "\u202egpj", "-rf", "x;rm", "#1", "日本語 (1)"],
)
def test_a_name_is_whole_everywhere_and_steers_nothing(
    own: tuple[Path, Path], build: Any, command: Any, tmp_path: Path, name: str
) -> None:
    """The longest name that its last composite can have, dotted ones, escapes, and other odd ones."""
    root, _ = own
    out, png = tmp_path / "named", tmp_path / "png"
    _rename(root, "f1", name)
    outcomes = [
        build(root, out),
        command("verify-composites", out, "--jobs", 1),
        command("export-images", out, png, "--jobs", 1),
        command("inspect", out),
        command("inspect", out, "--image", 2, "--out", tmp_path / "one.png"),
        command("inspect", out, "--json"),
    ]
    assert [outcome.code for outcome in outcomes] == [0] * 6
    assert (out / f"0001-{name}.h5").is_file()
    assert all((png / "merged" / f"{name}_{i}.png").is_file() for i in (0, 1))
    assert not any(
        character in outcome.out + outcome.err for outcome in outcomes for character in "\x1b\u202e"
    )
    assert name in [Path(each["foreground"]).stem for each in json.loads(outcomes[-1].out)["shards"]]


def test_names_that_are_not_utf8_break_no_output(own: tuple[Path, Path], tmp_path: Path) -> None:
    """In the folders' own path, and in a folder that lists are made of; a terminal that knows ASCII alone."""
    root, _ = own
    strange = os.fsdecode(os.fsencode(tmp_path) + b"/d\xe9j\xe0")
    root.rename(strange)
    (Path(strange) / "fg" / os.fsdecode(b"\xd5\xd5\xc6\xac.png")).touch()
    (Path(strange) / "alpha/f1.png").write_bytes(b"")
    lists = ["make-lists", "--per-fg", "1", "--out", f"{strange}/lists"]
    places = [each for name in ("fg", "alpha", "bg") for each in (f"--{name}-dir", f"{strange}/{name}")]
    built = ["build-dataset", "--fg-list", f"{strange}/train_fg.txt", "--per-fg", "2", "--jobs", "1"]
    for arguments, code in (([*lists, *places], 0), ([*built, "--out", f"{strange}/shards"], 1)):
        done = subprocess.run(
            [sys.executable, "-m", "dimtool", *arguments, "--json"],
            capture_output=True,
            env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
            timeout=120,
            check=False,
        )
        assert (done.returncode, b"Traceback" in done.stderr) == (code, False), done.stderr
        assert json.loads(done.stdout)
    failed = (Path(strange) / "shards/failures.jsonl").read_text()
    assert json.loads(failed)["errors"][0].startswith(f"{strange}/alpha/f1.png is empty")
    left_out = json.loads(subprocess.run(
        [sys.executable, "-m", "dimtool", *lists[:-1], f"{strange}/more", *places, "--json"],
        capture_output=True, timeout=120, check=True,
    ).stdout)["left_out"]  # fmt: skip
    assert len(left_out) == 1
    assert "1 file passed over, their names are not UTF-8" in left_out[0]
