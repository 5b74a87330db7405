"""Builds on a local Ray cluster of two workers."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.ray

_BUILD = """
from dimtool.composer.engines.ray import RayCluster
with RayCluster(address={address!r}) as engine:
"""


@pytest.fixture(scope="module")
def ray_cluster() -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The address of a head with two processors, and its process, the leader of a group."""
    folder = Path(f"/tmp/ray-{os.getpid()}")  # sockets in it: a short path
    folder.mkdir()
    command = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", "--num-cpus=2"]
    options = ["--port=0", "--include-dashboard=false", "--disable-usage-stats", f"--temp-dir={folder}"]
    log = folder / "log"
    with log.open("wb") as stream:
        head = subprocess.Popen(
            [*command, *options, "--object-store-memory=80000000", "--node-ip-address=127.0.0.1"],
            stdout=stream, stderr=stream, start_new_session=True,
        )  # fmt: skip
    try:
        while "Ray runtime started" not in log.read_text() and head.poll() is None:
            time.sleep(0.05)
        address = (folder / "ray_current_cluster").read_text().strip()
        yield address, head
    finally:
        head.terminate()
        head.wait(timeout=60)
        shutil.rmtree(folder, ignore_errors=True)


def _on_ray(address: str, code: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: Ray's threads and warnings are not for this one."""
    lines = "".join(f"    {line}\n" for line in code.splitlines())
    script = _BUILD.format(address=address) + lines
    return subprocess.run(
        [sys.executable, "-c", script], check=False, capture_output=True, text=True, timeout=120
    )


def test_jobs_results_and_what_gets_lost(ray_cluster: Any) -> None:
    code = """
import os
print(sorted(engine.run(abs, range(-100, 0))) == list(range(1, 101)), engine.slots())
jobs = [f"import os; os._exit(3) if {k} == 1 else {k}" for k in range(4)]
print(sorted(map(str, engine.run(exec, jobs, lost=lambda job: "lost")))[-1])
try:
    list(engine.run(int, ["1", "three"]))
except ValueError as error:
    print(error)
print([*engine.on_hosts(abs, -3).values()])
"""
    done = _on_ray(ray_cluster[0], code)
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "True 2", "lost", "invalid literal for int() with base 10: 'three'", "[3]",
    ]  # fmt: skip


def test_the_shards_are_those_of_this_machine(
    ray_cluster: Any, sources: Path, built: Path, start: Any, *, visible: Any, tmp_path: Path
) -> None:
    options = ["--per-fg", 2, "--out", tmp_path / "shards", "--engine", "ray", "--address", ray_cluster[0]]
    process = start("build-dataset", "--fg-list", sources / "train_fg.txt", *options, stderr=subprocess.PIPE)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert visible(tmp_path / "shards") == visible(built)


def test_a_cluster_that_is_lost_is_told_in_one_line(ray_cluster: Any) -> None:
    """Ray ends its driver without a word. The last test: nothing is left of the cluster."""
    address, head = ray_cluster
    code = f"""
import os, time
results = engine.run(time.sleep, [0.5] * 100)
next(results)
os.killpg({head.pid}, {signal.SIGKILL:d})
list(results)
"""
    done = _on_ray(address, code)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"dimtool: the Ray cluster at {address} is gone: what is finished is kept, and the same command "
        "goes on, with any --engine"
    ]
