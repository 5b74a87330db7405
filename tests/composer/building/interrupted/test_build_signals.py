"""A build that is stopped, and one that is in another's way."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

SOON = 15  # seconds: what "at once" is on a busy machine


@pytest.fixture(scope="module")
def slow(
    image_set: Any, build: Any, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path, list[str]]:
    """Sources whose build takes a while, since one large photograph is decoded again and again; the shards
    that it ends in, and the options for it."""
    root = image_set(tmp_path_factory.mktemp("slow"), foregrounds=10, per_fg=1)
    noise = np.random.default_rng(1).integers(0, 256, (150, 200, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((1600, 1200)).save(root / "bg/b0.jpg")
    (root / "train_bg.txt").write_text("b0.jpg")
    options = ["--reuse-bg", "--per-fg", "8"]
    assert build(root, root / "whole", *options).code == 0
    return root, root / "whole", options


def _wait_for(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


def _lines(err: bytes) -> list[str]:
    return [
        line for line in err.decode().replace("\r", "\n").splitlines() if line.strip() and "%|" not in line
    ]


def _all_gone(session: Callable[[int], dict[int, str]], leader: int) -> None:
    end = time.monotonic() + SOON
    while left := session(leader):
        assert time.monotonic() < end, left
        time.sleep(0.02)


# Seconds after a build has begun to work; None: when a shard is under way.
DELAYS = {1: (0.0, None), 2: (0.0, 0.04, 0.08, 0.15, 0.3, 0.6, None)}


@pytest.mark.parametrize("jobs", DELAYS)
def test_ctrl_c_stops_a_build_with_one_line_and_it_can_go_on(
    slow: tuple[Path, Path, list[str]], start: Any, build_arguments: Any, visible: Any, jobs: int
) -> None:
    """At any moment: also while workers start, which would answer with tracebacks of their own."""
    root, whole, options = slow
    out = root / f"interrupted{jobs}"
    arguments = build_arguments(root, out, *options, jobs=jobs)
    stopped = [_interrupt(start(*arguments, stderr=subprocess.PIPE), out, delay) for delay in DELAYS[jobs]]
    assert sum(stopped) >= 2
    assert start(*arguments).wait(timeout=120) == 0
    assert visible(out) == visible(whole)


def _interrupt(process: subprocess.Popen[bytes], out: Path, delay: float | None) -> bool:
    """Ctrl-C some time after a build has begun to work; whether it was still at work."""
    lists = out / ".build/lists.json"
    before = _time(lists)
    _wait_for(lambda: _time(lists) != before or process.poll() is not None)
    if delay is None:
        _wait_for(lambda: list((out / ".build").glob(".parts-*/*.part")) or process.poll() is not None)
    else:
        time.sleep(delay)
    os.killpg(process.pid, signal.SIGINT)
    asked = time.monotonic()
    _, err = process.communicate(timeout=60)
    assert time.monotonic() - asked < SOON
    assert not list((out / ".build").glob(".parts-*/*.part"))
    if process.returncode == 0:
        return False
    assert process.returncode == 130
    assert [line for line in _lines(err) if not line.startswith("note:")] == [
        "dimtool: interrupted; what is finished is kept: give the same command again"
    ]
    return True


def _time(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


def test_sigterm_ends_the_workers_too_and_the_build_can_go_on(
    slow: tuple[Path, Path, list[str]], start: Any, build_arguments: Any, visible: Any, session: Any
) -> None:
    root, whole, options = slow
    out = root / "terminated"
    process = start(*build_arguments(root, out, *options, jobs=2))
    _wait_for(lambda: list(out.glob("*.h5")))
    process.terminate()
    assert process.wait(timeout=SOON) == -signal.SIGTERM
    _all_gone(session, process.pid)
    assert start(*build_arguments(root, out, *options)).wait(timeout=120) == 0
    assert visible(out) == visible(whole)


def test_workers_do_not_outlive_a_build_that_was_killed_while_they_started(
    slow: tuple[Path, Path, list[str]], start: Any, build_arguments: Any, session: Any, tmp_path: Path
) -> None:
    root, _, options = slow
    for workers in (1, 2):
        process = start(*build_arguments(root, tmp_path / str(workers), *options, jobs=2))
        _wait_for(lambda pid=process.pid, n=workers: str(session(pid)).count("popen_loky") >= n)
        process.kill()
        process.wait()
        _all_gone(session, process.pid)
        assert not list(Path("/dev/shm").glob(f"joblib_memmapping_folder_{process.pid}_*"))


def test_a_second_build_in_the_same_folder_refuses_and_does_no_harm(
    slow: tuple[Path, Path, list[str]], start: Any, build: Any, build_arguments: Any, visible: Any
) -> None:
    root, whole, options = slow
    out = root / "shared"
    first = start(*build_arguments(root, out, *options))
    _wait_for(lambda: list((out / ".build").glob(".parts-*/*.part")) and list(out.glob("*.h5")))
    first.send_signal(signal.SIGSTOP)
    there = sorted(out.rglob("*"))
    outcome = build(root, out, *options)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.lines == [
        f"dimtool: another build is at work in {out}: wait for it, or build into another --out"
    ]
    assert sorted(out.rglob("*")) == there
    first.send_signal(signal.SIGCONT)
    assert first.wait(timeout=120) == 0
    assert visible(out) == visible(whole)


def test_a_worker_that_is_killed_loses_nothing(
    slow: tuple[Path, Path, list[str]], start: Any, build_arguments: Any, *, session: Any, tmp_path: Path,
    visible: Any,
) -> None:  # fmt: skip
    """What it was at is built again, in a process of its own; so it would be known if that died as well."""
    root, whole, options = slow
    out = tmp_path / "shards"
    process = start(*build_arguments(root, out, *options, jobs=2), stderr=subprocess.PIPE)
    _wait_for(lambda: list((out / ".build").glob(".parts-*/*.part")))
    os.kill(
        next(pid for pid, command in session(process.pid).items() if "popen_loky" in command), signal.SIGKILL
    )
    _, err = process.communicate(timeout=60)
    assert (process.returncode, [line for line in _lines(err) if not line.startswith("note:")]) == (0, [])
    assert visible(out) == visible(whole)
