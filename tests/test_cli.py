"""The command line as programs and people meet it: help, exit codes, what goes to which stream."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from PIL import Image

from dimtool import cli
from dimtool.errors import DimtoolError, WrongUseError
from dimtool.version import __version__

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def dimtool() -> Run:
    """`python -m dimtool`, in a process of its own."""

    def call(*arguments: object, **more: Any) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-m", "dimtool", *map(str, arguments)]
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more}
        return subprocess.run(words, text=True, check=False, **streams)

    return call


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """431 tiny foregrounds, as many as Adobe's, and three backgrounds."""
    root = tmp_path_factory.mktemp("demo")
    rng = np.random.default_rng(1)
    for folder in ("fg", "alpha", "bg"):
        (root / folder).mkdir()
    for k in range(431):
        Image.fromarray(rng.integers(0, 256, (9, 8, 3), dtype=np.uint8)).save(root / f"fg/{k}.png")
        Image.fromarray(rng.integers(0, 256, (9, 8), dtype=np.uint8)).save(root / f"alpha/{k}.png")
    for j in range(3):
        Image.fromarray(rng.integers(0, 256, (8, 7 + j, 3), dtype=np.uint8)).save(root / f"bg/{j}.jpg")
    (root / "training_fg_names.txt").write_text("\n".join(f"{k}.png" for k in range(431)))
    (root / "training_bg_names.txt").write_text("0.jpg\n1.jpg\n2.jpg")
    (root / "test_fg.txt").write_text("0.png\n1.png\n")
    return root


@pytest.fixture(scope="module")
def shards(demo: Path, dimtool: Run) -> Path:
    """The two test foregrounds over three backgrounds each, drawn from the folder."""
    out = demo / "shards"
    done = dimtool("build-dataset", "--fg-list", demo / "test_fg.txt", *_FEW, "--out", out)
    assert done.returncode == 0, done.stderr
    return out


_FEW = ["--per-fg", "3", "--reuse-bg", "--jobs", "1"]

# ---- help --------------------------------------------------------------------------------------------------


def _help(name: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert cli.run([name, "--help"] if name else ["--help"]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("name", sorted(cli.cli.commands))
def test_every_command_has_an_example_that_can_be_copied(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = _help(name, capsys)
    lines = [line.strip() for line in text.split("\n")]
    assert any(line.startswith(f"dimtool {name} ") or line == f"dimtool {name}" for line in lines), text
    assert "\\b" not in text
    assert "\b" not in text


def test_the_help_says_how_to_start(capsys: pytest.CaptureFixture[str]) -> None:
    text = _help("", capsys)
    assert "\n    dimtool build-dataset --fg-list demo/train_fg.txt --per-fg 10\n" in text
    assert all(name in text for name in cli.cli.commands)


def test_help_loads_nothing_heavy(run_python: Callable[..., str]) -> None:
    script = """
import sys
from dimtool.cli import cli, run
assert run(["--help"]) == 0
for name in cli.commands:
    assert run([name, "--help"]) == 0
heavy = {"torch", "numpy", "scipy", "h5py", "PIL", "joblib", "imagecodecs", "tqdm"}
print("loaded:", sorted(heavy & sys.modules.keys()))
"""
    assert run_python(script).endswith("loaded: []\n")


def test_a_build_does_not_load_torch(demo: Path, run_python: Callable[..., str]) -> None:
    script = """
import sys
from dimtool.cli import run
assert run(sys.argv[1:]) == 0
print("torch" in sys.modules)
"""
    words = ["build-dataset", "--fg-list", demo / "test_fg.txt", *_FEW, "--dry-run"]
    assert run_python(script, *words).endswith("False\n")


def test_the_version(dimtool: Run) -> None:
    assert dimtool("--version").stdout == f"dimtool, version {__version__}\n"


# ---- exit codes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [[], ["nonsense"], ["inspect"], ["inspect", "nowhere"], ["build-dataset"]])
def test_wrong_use_is_2_and_says_so_on_standard_error(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "Usage: dimtool" in said.err


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (DimtoolError("a file is bad"), 1, "dimtool: a file is bad"),
        (WrongUseError("ask otherwise"), 2, "dimtool: ask otherwise"),
        (KeyboardInterrupt(), 130, "dimtool: interrupted"),
        (
            OSError(errno.ENOSPC, "No space left on device", "x"),
            1,
            "dimtool: No space left on device: x; make room",
        ),
        (
            OSError(errno.EDQUOT, "Disk quota exceeded"),
            1,
            "dimtool: Disk quota exceeded: while writing; make room",
        ),
        (
            PermissionError(errno.EACCES, "Permission denied", "x"),
            1,
            "dimtool: Permission denied: x; you may not",
        ),
        (OSError(errno.EROFS, "Read-only file system", "x"), 1, "dimtool: Read-only file system: x; choose"),
    ],
)
def test_what_goes_wrong_is_one_line(
    error: BaseException,
    code: int,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(cli.cli.commands, "fail", click.Command("fail", callback=_raiser(error)))
    assert cli.run(["fail"]) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.strip().startswith(line)
    assert len(said.err.strip().split("\n")) == 1


def _raiser(error: BaseException) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


def test_a_fault_of_ours_shows_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (ZeroDivisionError("ours"), OSError(errno.EBADF, "Bad file descriptor")):
        monkeypatch.setitem(cli.cli.commands, "fail", click.Command("fail", callback=_raiser(error)))
        with pytest.raises(type(error)):
            cli.run(["fail"])


def test_ctrl_c_is_heard_where_python_would_drop_it(run_python: Callable[..., str]) -> None:
    """In the callback of a weak reference an exception is printed and forgotten, and the build goes on."""
    script = """
import subprocess, sys
program = '''
import signal, sys, time, weakref, click
from dimtool import cli
class Thing: pass
def work():
    thing = Thing()
    reference = weakref.ref(thing, lambda _: signal.raise_signal(signal.SIGINT))
    del thing
    time.sleep(60)
cli.cli.add_command(click.Command("work", callback=work))
sys.argv = ["dimtool", "work"]
cli.main()
'''
done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=40)
print(done.returncode, done.stderr.strip())
"""
    assert run_python(script).startswith("130 dimtool: interrupted")


def test_other_exceptions_that_python_drops_are_still_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Faulty:
        def __del__(self) -> None:
            raise ValueError("a fault")

    monkeypatch.setattr(sys, "unraisablehook", cli._interrupt_again)
    Faulty()
    assert "ValueError: a fault" in capsys.readouterr().err


def test_a_reader_that_has_seen_enough_is_no_fault(shards: Path) -> None:
    command = f"{sys.executable} -m dimtool inspect '{shards}' | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("1\n", "")


def test_a_full_disk_behind_standard_output_is_one_line(shards: Path, dimtool: Run) -> None:
    with Path("/dev/full").open("w") as full:
        done = dimtool("inspect", shards, stdout=full)
    assert done.returncode == 1
    assert done.stderr.startswith("dimtool: No space left on device")
    assert len(done.stderr.strip().split("\n")) == 1


# ---- JSON --------------------------------------------------------------------------------------------------


def _json(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The one object on standard output; nothing of it is on standard error."""
    assert done.stdout.count("\n") == 1
    assert "{" not in done.stderr
    values: dict[str, Any] = json.loads(done.stdout)
    return values


def test_a_build_in_json(demo: Path, dimtool: Run, tmp_path: Path) -> None:
    (tmp_path / "test_fg.txt").write_text("0.png\nmissing.png\n")
    folders = [word for name in ("fg", "alpha", "bg") for word in (f"--{name}-dir", demo / name)]
    words = ["build-dataset", "--fg-list", tmp_path / "test_fg.txt", *folders, *_FEW, "--json"]

    dry = dimtool(*words, "--out", tmp_path / "shards", "--dry-run")
    assert dry.returncode == 1
    said = _json(dry)
    assert (said["composites"], said["pixels"]) == (3, 3 * 72)
    assert said["bytes"] > 0
    assert [failure["foreground"] for failure in said["failures"]] == ["missing.png"]
    assert "error: missing.png is not in" in dry.stderr
    assert not (tmp_path / "shards").exists()

    done = dimtool(*words, "--out", tmp_path / "shards")
    assert done.returncode == 1
    said = _json(done)
    assert said["folder"] == str(tmp_path / "shards")
    assert (said["split"], said["asked"], said["foregrounds"], said["composites"]) == ("test", 6, 1, 3)
    assert [failure["index"] for failure in said["failures"]] == [1]
    assert "composites/s" in done.stderr
    assert "error: missing.png is not in" in done.stderr


def test_what_is_refused_has_no_result(demo: Path, dimtool: Run, tmp_path: Path) -> None:
    done = dimtool("build-dataset", "--fg-list", demo / "test_fg.txt", "--json", "--out", tmp_path / "shards")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("dimtool: ")


def test_an_inspection_in_json(shards: Path, dimtool: Run, tmp_path: Path) -> None:
    assert _json(dimtool("inspect", shards, "--json"))["composites"] == "6 of 6 asked"
    said = _json(dimtool("inspect", shards / "0001-1.h5", "--json"))
    assert (said["foreground"], said["composites"], len(said["backgrounds"])) == ("1.png", 3, 3)
    out = tmp_path / "a.png"
    assert _json(dimtool("inspect", shards, "--image", 4, "--out", out, "--json")) == {"picture": str(out)}
    assert _json(dimtool("inspect", shards, "--sheet", out, "--json")) == {"picture": str(out)}


# ---- inspect -----------------------------------------------------------------------------------------------


def test_inspect_prints_a_table(shards: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["inspect", str(shards)]) == 0
    said = capsys.readouterr()
    assert "composites: 6 of 6 asked" in said.out
    assert "0001-1.h5" in said.out
    assert said.err == ""


def test_inspect_writes_a_composite_where_it_is_told(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.run(["inspect", str(shards), "--image", "5"]) == 0
    assert capsys.readouterr().out == "wrote 1_2.png\n"
    assert (tmp_path / "1_2.png").exists()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["{shards}", "--image", "6"], 2, "6 of 6 in {shards}: --image counts from 0"),
        (["{shards}/0000-0.h5", "--image", "3"], 2, "composite 3 of 3 in {shards}/0000-0.h5"),
        (["{shards}", "--image", "-1"], 2, "-1 is not in the range x>=0"),
        (["{shards}", "--out", "a.png"], 2, "--out says where --image goes: give both"),
        (["{shards}", "--image", "0", "--sheet", "a.png"], 2, "ask for one at a time"),
        (["{shards}/index.json"], 1, "{shards}/index.json cannot be opened"),
        (["{shards}/.."], 1, "{shards}/.. holds no shards itself: name {shards}/../shards"),
        (["{shards}/.build", "--sheet", "a.png"], 1, ".build holds no shards: run `dimtool build-dataset`"),
        (["{shards}", "--image", "0", "--out", "nowhere/a.png"], 2, "nowhere is no folder"),
    ],
)
def test_inspect_says_what_cannot_be_shown(
    words: list[str], code: int, message: str, shards: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["inspect", *(word.format(shards=shards) for word in words)]) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert message.format(shards=shards) in said.err


# ---- what the counts mean ----------------------------------------------------------------------------------


def test_adobes_431_foregrounds_make_43_100_of_the_papers_49_300(
    demo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fg_list = demo / "training_fg_names.txt"
    words = ["--fg-list", str(fg_list), "--reuse-bg", "--out", str(tmp_path / "new"), "--dry-run"]
    assert cli.run(["build-dataset", *words]) == 0
    text = capsys.readouterr().out
    assert "431 foregrounds x 100 backgrounds, 43,100 composites" in text
    assert "43,100 of the paper's 49,300 composites: all 431 foregrounds that Adobe gives out" in text
    assert "455 are unique" in text
    assert list(tmp_path.iterdir()) == []


def test_the_shards_go_to_a_folder_of_the_splits_name(
    demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.run(["build-dataset", "--fg-list", str(demo / "test_fg.txt"), *_FEW]) == 0
    assert sorted(path.name for path in (tmp_path / "shards/test").glob("*.h5")) == ["0000-0.h5", "0001-1.h5"]
