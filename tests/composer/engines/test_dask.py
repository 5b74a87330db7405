"""Builds, verifications and exports on a Dask cluster of real processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import dimtool
from dimtool.composer.engines import dask as module
from dimtool.composer.engines.dask import DaskCluster
from dimtool.composer.engines.engine import EngineError
from dimtool.composer.hosts import HostError, checked_hosts


def test_jobs_run_in_the_workers_and_stream_back(three: Any) -> None:
    with DaskCluster(address=three.address) as engine:
        assert sorted(engine.run(abs, range(-300, 0))) == list(range(1, 301))
        results = engine.run(time.sleep, [0, 1.5, 1.5, 1.5])
        started = time.monotonic()
        next(results)
        assert time.monotonic() - started < 1
        results.close()
        with pytest.raises(ValueError, match="three"):
            list(engine.run(int, ["1", "three"]))
        assert engine.slots() == 3


def test_the_shards_are_those_of_this_machine(
    three: Any, sources: Path, built: Path, on: Any, *, visible: Any, tmp_path: Path
) -> None:
    outcome = on(sources, tmp_path / "shards", "dask", three.address)
    assert (outcome.code, outcome.lines) == (0, [])
    assert visible(tmp_path / "shards") == visible(built)
    again = on(sources, tmp_path / "shards", "dask", three.address)
    assert "8 of 8 composites are in" in again.err


def test_paths_are_relative_to_the_driver(
    three: Any, sources: Path, built: Path, command: Any, *, visible: Any, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    shutil.copytree(sources, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    engine = ["--engine", "dask", "--address", str(three.folder / "scheduler.json")]
    assert command("build-dataset", "--fg-list", "train_fg.txt", "--per-fg", 2, *engine).code == 0
    assert visible(tmp_path / "shards/train") == visible(built)
    assert command("verify-composites", *engine).code == 0


def test_verification_repair_and_export(
    three: Any, own: tuple[Path, Path], built: Path, command: Any, *, visible: Any, tmp_path: Path
) -> None:
    _, out = own
    engine = ["--engine", "dask", "--address", three.address]
    os.truncate(out / "0001-f1.h5", 1000)
    outcome = command("verify-composites", out, "--repair", "--json", *engine)
    values = json.loads(outcome.out)
    assert outcome.code == 0
    assert values["repair"]["rebuilt"] == [str(out / "0001-f1.h5")]
    assert visible(out) == visible(built)
    pictures = [tmp_path / name for name in ("here", "there")]
    assert command("export-images", out, pictures[0], "--jobs", 1).code == 0
    assert command("export-images", out, pictures[1], *engine).code == 0
    assert visible(pictures[0]) == visible(pictures[1])


def test_the_demo_is_the_same(three: Any, command: Any, visible: Any, tmp_path: Path) -> None:
    engine = ["--engine", "dask", "--address", three.address]
    assert command("make-demo", tmp_path / "a", "--size", 64, "--jobs", 1).code == 0
    assert command("make-demo", tmp_path / "b", "--size", 64, *engine).code == 0
    assert visible(tmp_path / "a") == visible(tmp_path / "b")


# ---- what gets lost ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def frail(dask_processes: Callable[[int], Any]) -> Any:
    """A scheduler with three workers, that are killed; those that lack are started again."""
    return dask_processes(3)


@pytest.fixture(scope="module")
def long(
    image_set: Any, build: Any, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path, list[str]]:
    """Sources whose build takes some seconds, the shards that it ends in, and the options for it."""
    root = image_set(tmp_path_factory.mktemp("long"), foregrounds=12, per_fg=1, side=120)
    options = ["--reuse-bg", "--per-fg", "12"]
    assert build(root, root / "whole", *options).code == 0
    return root, root / "whole", options


KILLS = int(os.environ.get("DIMTOOL_WORKER_KILLS", "3"))


def test_workers_killed_in_mid_build(
    frail: Any, long: Any, tmp_path: Path, *, start: Any, visible: Any
) -> None:
    """Nothing is lost, and the bytes are the same; a new worker comes for each that goes."""
    root, whole, options = long
    kills = 0
    while kills < KILLS:
        shutil.rmtree(tmp_path / "shards", ignore_errors=True)
        process = start(*_words(root, tmp_path / "shards", frail.address, *options))
        for done in (1, 4, 7, 10):
            while len(list((tmp_path / "shards").glob("*.h5"))) < done and process.poll() is None:
                time.sleep(0.005)
            if process.poll() is None:
                frail.kill(frail.workers[kills % 3])
                frail.add()
                kills += 1
        assert process.wait(timeout=120) == 0
        assert visible(tmp_path / "shards") == visible(whole)


def _words(root: Path, out: Path, address: str, *options: str) -> list[object]:
    engine = ["--engine", "dask", "--address", address]
    return ["build-dataset", "--fg-list", root / "train_fg.txt", "--out", out, *options, *engine]


def test_a_job_that_kills_its_workers_is_named_and_ends_nothing_else(dask_processes: Any) -> None:
    cluster = dask_processes(5)
    jobs = [f"import os; os._exit(3) if {k} == 1 else {k}" for k in range(6)]
    with DaskCluster(address=cluster.address) as engine:
        while engine.slots() < 5:
            time.sleep(0.1)
        results = list(engine.run(exec, jobs, lost=lambda job: f"lost: {job}"))
        assert sorted(map(str, results)) == ["None"] * 5 + [f"lost: {jobs[1]}"]
        assert engine.on_hosts(abs, -1) == {"127.0.0.1": 1}  # the fifth worker


def test_a_driver_that_is_killed_loses_nothing_that_was_finished(
    frail: Any, long: Any, tmp_path: Path, *, start: Any, build: Any, visible: Any
) -> None:
    """The same command goes on, on any engine, also while the orphans are still at work."""
    root, whole, options = long
    out = tmp_path / "shards"
    for goal in (1, 3, 5, 7, 9):
        process = start(*_words(root, out, frail.address, *options))
        while len(list(out.glob("*.h5"))) < goal and process.poll() is None:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
        there = list(out.glob("*.h5"))
        assert len(there) >= goal
        assert all(path.read_bytes() == (whole / path.name).read_bytes() for path in there)
    assert build(root, out, *options).code == 0
    assert visible(out) == visible(whole)
    assert not list((out / ".build").glob(".parts-*"))


def test_ctrl_c_ends_the_build_and_what_is_under_way(
    frail: Any, long: Any, tmp_path: Path, start: Any
) -> None:
    root, _, options = long
    out = tmp_path / "shards"
    process = start(*_words(root, out, frail.address, *options), stderr=subprocess.PIPE)
    while not list(out.glob("*.h5")):
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert _lines(err) == ["dimtool: interrupted; what is finished is kept: give the same command again"]
    there = len(list(out.glob("*.h5")))
    time.sleep(1)
    assert len(list(out.glob("*.h5"))) == there < 12


def test_a_scheduler_that_is_lost_ends_the_build_with_one_line(
    dask_processes: Any, long: Any, tmp_path: Path, *, start: Any, build: Any, visible: Any
) -> None:
    root, whole, options = long
    out = tmp_path / "shards"
    cluster = dask_processes(1)
    process = start(*_words(root, out, cluster.address, *options), stderr=subprocess.PIPE)
    while not list(out.glob("*.h5")):
        time.sleep(0.005)
    cluster.scheduler.send_signal(signal.SIGKILL)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 1
    line, *others = _lines(err)
    assert others == [], err.decode()
    assert line.startswith(f"dimtool: the Dask scheduler at {cluster.address} is gone, or was started anew: ")
    assert "the same command goes on, with any --engine" in line
    assert build(root, out, *options).code == 0
    assert visible(out) == visible(whole)


def _lines(err: bytes) -> list[str]:
    return [
        line for line in err.decode().replace("\r", "\n").splitlines() if line.strip() and "%|" not in line
    ]


def test_no_workers_is_an_error_not_a_wait_for_ever(
    dask_processes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = dask_processes(0)
    monkeypatch.setattr(module, "_START", 0.2)
    with (
        DaskCluster(address=cluster.address) as engine,
        pytest.raises(EngineError, match=r"has no workers: start .*dask worker"),
    ):
        engine.on_hosts(abs, 1)
    cluster.add()
    monkeypatch.setattr(module, "_START", 60)
    monkeypatch.setattr(module, "_PATIENCE", 0.5)
    with DaskCluster(address=cluster.address) as engine:
        while not engine.slots():
            time.sleep(0.1)
        cluster.kill(cluster.workers[0])
        with pytest.raises(EngineError, match="has no workers"):
            list(engine.run(abs, [-1]))


# ---- hosts that are not fit --------------------------------------------------------------------------------


def _other_dimtool(folder: Path, version: str | None) -> dict[str, str]:
    """An environment whose dimtool is of another version, or none at all."""
    if version is None:
        (folder / "dimtool.py").write_text("")
    else:
        (folder / "dimtool").mkdir()
        for path in Path(dimtool.__file__).parent.iterdir():
            if path.name != "version.py" and not path.name.startswith("."):
                (folder / "dimtool" / path.name).symlink_to(path)
        (folder / "dimtool" / "version.py").write_text(f'__version__ = "{version}"\n')
    return {"PYTHONPATH": str(folder)}


@pytest.mark.parametrize(
    ("version", "said"),
    [("9.9.9", "it has dimtool 9.9.9, and this one 0"), (None, "dimtool does not run there")],
)
def test_another_dimtool_on_a_host(
    dask_processes: Any, sources: Path, on: Any, tmp_path: Path, *, version: str | None, said: str
) -> None:
    cluster = dask_processes(0)
    cluster.add(**_other_dimtool(tmp_path, version))
    outcome = on(sources, tmp_path / "shards", "dask", cluster.address)
    assert (outcome.code, outcome.out) == (1, "")
    (line,) = outcome.lines
    assert line.startswith(f"dimtool: host 127.0.0.1: {said}")
    assert not list((tmp_path / "shards").glob("*.h5"))


def _hiding(folder: Path) -> list[str]:
    """Words that have a command see an empty folder of that name, as on a host that has it not mounted."""
    hide = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"', str(folder)]
    if subprocess.run([*hide, "true"], check=False, stderr=subprocess.DEVNULL).returncode:
        pytest.skip("needs the right to mount")
    return hide


@pytest.mark.parametrize("hidden", ["fg", "bg", "shards"])
def test_a_folder_that_a_host_does_not_see(
    dask_processes: Any, own: tuple[Path, Path], on: Any, hidden: str
) -> None:
    """Also where it has one of that name: what the driver put into it is not there."""
    root, out = own
    cluster = dask_processes(0)
    folder = out if hidden == "shards" else root / hidden
    cluster.add(*_hiding(folder))
    outcome = on(root, out, "dask", cluster.address)
    assert (outcome.code, outcome.out) == (1, "")
    (line,) = outcome.lines
    assert line.startswith(f"dimtool: host 127.0.0.1: {folder}/")
    assert line.endswith("is not to be had there (No such file or directory): mount it at the same path")


def test_a_host_that_joins_later_is_looked_at_too(dask_processes: Any, tmp_path: Path, sources: Path) -> None:
    cluster = dask_processes(1)
    with (
        DaskCluster(address=cluster.address) as engine,
        checked_hosts(engine, files=[sources / "train_fg.txt"]) as fit,
    ):
        assert list(fit.run(abs, [-1])) == [1]
        cluster.add(**_other_dimtool(tmp_path, "9.9.9"))
        while engine.slots() < 2:
            time.sleep(0.1)
        with pytest.raises(HostError, match=r"host .*: it has dimtool 9\.9\.9"):
            list(fit.run(time.sleep, [0.1] * 20))
