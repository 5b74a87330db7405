"""Processes that watch each other: real ones, whose main threads wait where nothing reaches them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dimtool.model.processes.failures import PeerError, SharedError
from dimtool.model.processes.watch import Watch

_COUNT, _GRACE = 3, 0.5

# Each process: folder, index, then what it does in the context.
_SCRIPT = f"""
import pickle, sys, threading, time
from pathlib import Path
from dimtool.model.processes.failures import PeerError, SharedError
from dimtool.model.processes.watch import Watch

class Group:
    count, rounds = {_COUNT}, 0

    def __init__(self, folder, index):
        self.folder, self.index = Path(folder), int(index)

    def gather(self, value):
        self.rounds += 1
        path = self.folder / f"{{self.rounds}}-{{self.index}}"
        path.with_suffix(".part").write_bytes(pickle.dumps(value))
        path.with_suffix(".part").rename(path)
        paths = [self.folder / f"{{self.rounds}}-{{index}}" for index in range(self.count)]
        while not all(each.exists() for each in paths):
            time.sleep(0.002)
        return [pickle.loads(each.read_bytes()) for each in paths]

folder, index, work = sys.argv[1:]
with Watch(Group(folder, index), grace={_GRACE}) as watch:
    Path(folder, f"inside-{{index}}").touch()
    exec(work)
print("left")
"""

_GOES_ON = ": the same command goes on from the last checkpoint\n"
_STUCK = "threading.Lock().acquire() and threading.Event().wait()"


class Processes:
    """Three processes in the context, each with something to do there."""

    def __init__(self, folder: Path, works: list[str]) -> None:
        self.all = [
            subprocess.Popen(
                [sys.executable, "-c", _SCRIPT, str(folder), str(index), work],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, "LOCAL_RANK": str(index)},
            )
            for index, work in enumerate(works)
        ]
        end = time.monotonic() + 60
        while len(list(folder.glob("inside-*"))) < _COUNT:
            assert time.monotonic() < end
            time.sleep(0.01)

    def ended(self) -> list[tuple[int, str, str]]:
        """Exit code, standard output and standard error of each."""
        said = [each.communicate(timeout=60) for each in self.all]
        return [(each.returncode, out, err) for each, (out, err) in zip(self.all, said, strict=True)]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[list[str]], Processes]]:
    """Start three processes; none is left over."""
    started: list[Processes] = []

    def call(works: list[str]) -> Processes:
        started.append(Processes(tmp_path, works))
        return started[-1]

    yield call
    for process in (each for some in started for each in some.all):
        process.kill()
        process.communicate()


@pytest.mark.parametrize(("killed", "teller"), [(2, 0), (0, 1)])
def test_one_that_dies_ends_all_and_one_tells_it(
    start: Callable[[list[str]], Processes], killed: int, teller: int
) -> None:
    processes = start([_STUCK] * _COUNT)
    processes.all[killed].send_signal(signal.SIGKILL)
    line = f"dimtool: process {killed} of this training has died{_GOES_ON}"
    for index, (code, out, err) in enumerate(processes.ended()):
        assert code == (-signal.SIGKILL if index == killed else 1)
        assert out == ""
        assert err == (line if index == teller else "")


def test_one_that_ends_with_an_error_has_told_it(start: Callable[[list[str]], Processes]) -> None:
    (main, one, other) = start([_STUCK, "raise ValueError('ours')", _STUCK]).ended()
    assert main == other == (1, "", "")
    assert one[0] == 1
    assert one[2].endswith("ValueError: ours\n")


def test_who_is_busy_for_long_is_not_taken_for_dead(start: Callable[[list[str]], Processes]) -> None:
    """Nor are those missed that have left, without an error or with one of all."""
    works = ["", "time.sleep(1.5)", "time.sleep(1.5); raise SharedError('of all')"]
    main, one, other = start(works).ended()
    assert main == one == (0, "left\n", "")
    assert other[2].endswith("of all\n")


def test_who_learns_of_a_death_by_itself_ends_by_itself(start: Callable[[list[str]], Processes]) -> None:
    """And has all the time that it needs, where it says that it leaves."""
    told = "time.sleep(0.2)\ntry:\n    raise PeerError\nfinally:\n    watch.leave()\n    time.sleep(1.5)"
    processes = start([told, told, _STUCK])
    processes.all[2].kill()
    main, one, _ = processes.ended()
    assert main[2].endswith(f"PeerError: process 2 of this training has died{_GOES_ON}")
    assert one[2].endswith(f"PeerError: another process of this training has ended{_GOES_ON}")


class Alone:
    """The group of one."""

    index, count = 0, 1


def test_alone_nothing_is_watched_and_all_is_told_here() -> None:
    for error in (SharedError("ours"), PeerError()):
        with pytest.raises(SharedError) as caught, Watch(Alone()):  # type: ignore[arg-type]
            raise error
        assert not caught.value.told_elsewhere


class Two:
    """The main one of two, the other of which cannot be reached, while strangers call."""

    index, count = 0, 2

    def __init__(self) -> None:
        self._rounds = 0

    def gather(self, value: object) -> list[object]:
        self._rounds += 1
        if self._rounds == 1:
            _, port, _ = value  # type: ignore[misc]
            with socket.create_connection(("localhost", port)) as stranger:
                stranger.sendall(bytes(20))
            return [value, None]
        return [False, False]


def test_who_cannot_be_reached_is_not_watched() -> None:
    with Watch(Two()) as watch:
        assert watch._peers == {}
