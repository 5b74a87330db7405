"""Small image sets to build from, and the command line as its users run it."""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from dimtool.cli import run

_BAR = re.compile(r"\d+%\|")


class Outcome(NamedTuple):
    """How a command ended: its exit code, standard output, standard error, and that without the bar."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        lines = self.err.replace("\r", "\n").splitlines()
        return [line.strip() for line in lines if line.strip() and not _BAR.search(line)]

    def starting(self, word: str) -> list[str]:
        return [line for line in self.lines if line.startswith(word)]


@pytest.fixture(scope="session")
def image_set() -> Callable[..., Path]:
    """Make fg/, alpha/, bg/ and the lists of a split in a folder; f0.png … over b0.jpg …, in that order."""

    def make(root: Path, foregrounds: int = 3, per_fg: int = 2, side: int = 60, split: str = "train") -> Path:
        rng = np.random.default_rng(7)
        for name in ("fg", "alpha", "bg"):
            (root / name).mkdir(parents=True, exist_ok=True)
        for i in range(foregrounds):
            height, width = side + 7 * i % 40, side + 13 * i % 30
            y, x = np.mgrid[:height, :width]
            distance = np.hypot(2 * y / height - 1, 2 * x / width - 1)
            alpha = np.clip(255 * (1.4 - 1.2 * distance), 0, 255).astype(np.uint8)
            _save(root / "fg" / f"f{i}.png", rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
            _save(root / "alpha" / f"f{i}.png", alpha)
        for i in range(foregrounds * per_fg):
            height, width = rng.integers(side // 2, 2 * side, 2)
            _save(root / "bg" / f"b{i}.jpg", rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
        (root / f"{split}_fg.txt").write_text("\n".join(f"f{i}.png" for i in range(foregrounds)))
        (root / f"{split}_bg.txt").write_text("\n".join(f"b{i}.jpg" for i in range(foregrounds * per_fg)))
        return root

    return make


def _save(path: Path, pixels: np.ndarray) -> None:
    Image.fromarray(pixels).save(path)


@pytest.fixture(scope="session")
def command() -> Callable[..., Outcome]:
    """Run a command in this process."""

    def call(*arguments: object) -> Outcome:
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = run([str(each) for each in arguments])
        return Outcome(code, out.getvalue(), err.getvalue())

    return call


@pytest.fixture(scope="session")
def build_arguments() -> Callable[..., list[str]]:
    """The arguments that build the lists in a folder."""

    def arguments(root: Path, out: Path, *more: object, per_fg: int = 2, jobs: int = 1) -> list[str]:
        given = ["--fg-list", root / "train_fg.txt", "--per-fg", per_fg, "--out", out, "--jobs", jobs, *more]
        return ["build-dataset", *(str(each) for each in given)]

    return arguments


@pytest.fixture(scope="session")
def build(
    command: Callable[..., Outcome], build_arguments: Callable[..., list[str]]
) -> Callable[..., Outcome]:
    """Build in this process."""

    def call(root: Path, out: Path, *more: object, per_fg: int = 2, jobs: int = 1) -> Outcome:
        return command(*build_arguments(root, out, *more, per_fg=per_fg, jobs=jobs))

    return call


@pytest.fixture(scope="session")
def sources(image_set: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four foregrounds over two backgrounds each. Not to be changed: copy it."""
    root: Path = image_set(tmp_path_factory.mktemp("sources"), foregrounds=4)
    return root


@pytest.fixture(scope="session")
def built(sources: Path, build: Callable[..., Outcome], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Their shards. Not to be changed."""
    out = tmp_path_factory.mktemp("shards") / "train"
    assert build(sources, out).code == 0
    return out


@pytest.fixture
def own(sources: Path, built: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Copies of both that a test may change; the shards keep their times."""
    return shutil.copytree(sources, tmp_path / "set"), shutil.copytree(built, tmp_path / "shards")


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start a command in a session of its own, as a terminal does; at the end, what is left of it dies."""
    started = []

    def popen(*arguments: object, stderr: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        words = [sys.executable, "-m", "dimtool", *(str(each) for each in arguments)]
        started.append(
            subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=stderr, start_new_session=True)
        )
        return started[-1]

    yield popen
    for process in started:
        for pid, command in _session(process.pid).items():
            if "resource_tracker" not in command:  # these clear /dev/shm when the others are gone
                os.kill(pid, 9)
        process.wait()
        if process.stderr is not None:
            process.stderr.close()


@pytest.fixture(scope="session")
def session() -> Callable[[int], dict[int, str]]:
    """The processes of a session that are not dead: their command lines."""
    return _session


def _session(leader: int) -> dict[int, str]:
    living = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, its_session = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            if int(its_session) == leader and state != "Z":
                living[int(folder.name)] = (folder / "cmdline").read_text()
        except OSError:
            continue  # gone meanwhile
    return living


@pytest.fixture(scope="session")
def contents() -> Callable[[Path], dict[str, str]]:
    """The SHA-256 of every file under a folder, by its path there."""

    def digest(folder: Path) -> dict[str, str]:
        return {
            str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }

    return digest


@pytest.fixture(scope="session")
def visible(contents: Callable[[Path], dict[str, str]]) -> Callable[[Path], dict[str, str]]:
    """The same of what a user sees: without what lies in .build."""

    def digest(folder: Path) -> dict[str, str]:
        return {name: value for name, value in contents(folder).items() if not name.startswith(".build/")}

    return digest


@pytest.fixture(scope="session")
def stamps() -> Callable[[Path], dict[str, tuple[int, int]]]:
    """Inode and time of each shard in a folder: a shard that was built anew has others."""

    def look(out: Path) -> dict[str, tuple[int, int]]:
        return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in out.glob("*.h5")}

    return look
