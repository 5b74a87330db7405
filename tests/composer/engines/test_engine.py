from __future__ import annotations

import os
import warnings
import wave
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dimtool.composer.engines.engine import EngineError, core_count
from dimtool.composer.engines.local import LocalProcesses

# Workers import what they run, and cannot import a test module: so the jobs are functions of Python's own.


@pytest.fixture
def no_workers_left() -> Iterator[None]:
    yield
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    commands = [Path(f"/proc/{child}/cmdline").read_text() for child in children]
    assert [command for command in commands if "popen_loky" in command] == []


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.usefixtures("no_workers_left")
def test_every_job_gives_its_result_in_any_order(workers: int) -> None:
    results = list(LocalProcesses(workers=workers).run(abs, range(-20, 0)))
    assert sorted(results) == list(range(1, 21))


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.usefixtures("no_workers_left")
def test_an_unexpected_exception_of_a_job_is_not_swallowed(workers: int) -> None:
    with pytest.raises(ValueError, match="invalid literal for int"):
        list(LocalProcesses(workers=workers).run(int, ["1", "2", "three", "4"]))


@pytest.mark.usefixtures("no_workers_left")
def test_a_worker_that_dies_is_an_error_of_the_engine() -> None:
    with pytest.raises(EngineError, match=r"a worker process was killed.*fewer --jobs"):
        list(LocalProcesses(workers=2).run(os._exit, [3, 3, 3]))


@pytest.mark.usefixtures("no_workers_left")
def test_results_that_are_not_wanted_any_more_end_the_work_in_silence() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        results = LocalProcesses(workers=2).run(abs, range(1000))
        assert next(results) >= 0
        results.close()


def test_workers_do_not_hear_ctrl_c_from_their_first_moment_on(run_python: Callable[..., str]) -> None:
    """The signal reaches the whole process group: each worker would answer with a traceback.

    In a fresh process, where the helpers that unblock signals as they start are not at work yet.
    """
    script = """
import signal
from functools import partial
from dimtool.composer.engines.local import LocalProcesses

blocked = partial(signal.pthread_sigmask, signal.SIG_BLOCK)  # given nothing more to block
print(*(signal.SIGINT in mask for mask in LocalProcesses(workers=2).run(blocked, [[]] * 4)))
print(signal.SIGINT in blocked([]))
"""
    assert run_python(script) == "True True True True\nFalse\n"


def test_a_single_job_or_worker_is_this_process_itself() -> None:
    seen: list[int] = []
    for workers, jobs in ((1, [0, 0]), (2, [0])):
        list(LocalProcesses(workers=workers).run(lambda _: seen.append(os.getpid()), jobs))
    assert seen == [os.getpid()] * 3
    assert list(LocalProcesses(workers=2).run(abs, [])) == []


_PID = "__import__('os').getpid()"


@pytest.mark.usefixtures("no_workers_left")
def test_workers_that_are_kept_ready_stay_from_one_run_to_the_next() -> None:
    engine = LocalProcesses(workers=2)
    with engine.ready(wave.open, most=8):
        pids = {pid for _ in range(3) for pid in engine.run(eval, [_PID] * 6)}
        loaded = list(engine.run(eval, ["'wave' in __import__('sys').modules"] * 6))
    assert 1 <= len(pids) <= 2
    assert os.getpid() not in pids
    assert any(loaded)  # it came with the function, which nobody called
    assert pids.isdisjoint(engine.run(eval, [_PID] * 6))


@pytest.mark.usefixtures("no_workers_left")
def test_what_ends_the_workers_that_are_kept_does_not_end_the_runs_after_it() -> None:
    engine = LocalProcesses(workers=2)
    with engine.ready(abs, most=8):
        with pytest.raises(EngineError, match="a worker process was killed"):
            list(engine.run(os._exit, [3, 3]))
        assert sorted(engine.run(abs, [-1, -2, -3])) == [1, 2, 3]
    with engine.ready(abs, most=8):
        results = engine.run(abs, range(1000))
        next(results)
        results.close()
        assert sorted(engine.run(abs, [-1, -2, -3])) == [1, 2, 3]


def test_nothing_is_made_ready_for_what_this_process_does_itself() -> None:
    for workers, most in ((1, 8), (2, 1), (2, 0)):
        engine = LocalProcesses(workers=workers)
        with engine.ready(abs, most=most):
            assert list(engine.run(eval, [_PID])) == [os.getpid()]


def test_cores_are_those_that_this_process_may_use() -> None:
    assert 1 <= core_count() <= len(os.sched_getaffinity(0))


@pytest.mark.usefixtures("no_workers_left")
def test_a_job_that_kills_its_worker_ends_nothing_else() -> None:
    """It is known which one it was: those under way are run again, each in a process of its own."""
    jobs = [f"import os; os._exit(3) if {k} == 1 else {k}" for k in range(4)]
    results = list(LocalProcesses(workers=2).run(exec, jobs, lost=lambda job: f"lost: {job}"))
    assert sorted(map(str, results)) == ["None"] * 3 + [f"lost: {jobs[1]}"]


@pytest.mark.usefixtures("no_workers_left")
def test_a_single_job_that_may_die_is_not_run_in_this_process() -> None:
    assert list(LocalProcesses(workers=2).run(os._exit, [3], lost=lambda job: job + 1)) == [4]


def test_without_shared_memory_one_line_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("_multiprocessing.SemLock", full)
    with LocalProcesses(workers=2).ready(abs, most=3):
        pass  # perhaps there is no work for them
    with pytest.raises(EngineError, match=r"No space left on device.*/dev/shm.*--jobs 1"):
        list(LocalProcesses(workers=2).run(abs, [1, 2, 3]))
