"""kill -9, again and again, at any moment: no harm, and the same bytes in the end."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

Moment = Callable[[], bool]


@dataclass
class Torture:
    """Builds the same set again and again, and kills each build; `jobs` is not that of the `whole` one."""

    start: Callable[[], Any]
    session: Callable[[int], dict[int, str]]
    out: Path
    whole: dict[str, bytes]
    rng: random.Random
    seconds: float = 0.0
    kills: Counter[str] = field(default_factory=Counter)

    def finish(self) -> None:
        """Let a build end by itself: everything is as in the undisturbed one, and nothing is left over."""
        started = time.monotonic()
        assert self.start().wait(timeout=300) == 0
        self.seconds = self.seconds or time.monotonic() - started
        assert {path.name for path in self.out.iterdir()} == {".build", *self.whole}
        there = {path.name.partition("-")[0] for path in (self.out / ".build").iterdir()}
        kept = {"backgrounds", "lock", "lists.json", "places.json", "journal.jsonl"}
        assert there - {"sources.jsonl"} == kept  # which has no source that was written just before
        self.check()

    def check(self) -> None:
        """Whatever stands under a final name is whole, and the right thing."""
        for path in self.out.glob("[!.]*"):
            assert path.read_bytes() == self.whole[path.name], path

    def empty(self) -> None:
        """Begin a new one; only the lock stays."""
        for path in [path for path in self.out.rglob("*") if path.is_file() and path.name != "lock"]:
            path.unlink()

    def kill(self, kind: str) -> bool:
        """Start a build and kill it, or a worker of it, at a moment of that kind; False if it was done."""
        began, process = time.monotonic(), self.start()
        moment = self._moment(kind, process.pid)
        while not moment() and process.poll() is None:
            time.sleep(0.001)
        victim = self._victim(kind, process.pid)
        struck = process.poll() is None
        if not struck:  # builds are faster than the first was: another program may have run beside it
            self.seconds = min(self.seconds, time.monotonic() - began)
        if struck:
            os.kill(victim, signal.SIGKILL)
        code = process.wait(timeout=60)
        struck = bool(code) or (struck and victim != process.pid)  # a build goes on without a worker
        self.check()
        if self.rng.random() < 0.5:  # the next build may come before the last one's workers are gone
            self._wait_for_orphans(process.pid)
        if code == 0:
            self.empty()
        self.kills[kind] += struck
        return struck

    def _moment(self, kind: str, process: int) -> Moment:
        out, rng = self.out, self.rng
        if kind == "worker":
            number, end = rng.randint(1, 2), time.monotonic() + rng.uniform(0, self.seconds / 2)
            return lambda: time.monotonic() > end and len(self._workers(process)) >= number
        if kind == "shard under way":
            return lambda: any((out / ".build").glob(".parts-*/*.part")) and rng.random() < 0.2
        if kind == "shard finished":
            there = len(list(out.glob("*.h5")))
            return lambda: len(list(out.glob("*.h5"))) > there
        if kind == "index under way":
            return lambda: any(out.glob(".index*.part"))
        end = time.monotonic() + rng.uniform(0, 1.1 * self.seconds)
        return lambda: time.monotonic() > end

    def _victim(self, kind: str, process: int) -> int:
        workers = self._workers(process)
        return self.rng.choice(workers) if kind == "worker" and workers else process

    def _workers(self, process: int) -> list[int]:
        return [pid for pid, command in self.session(process).items() if "popen_loky" in command]

    def _wait_for_orphans(self, process: int) -> None:
        end = time.monotonic() + 15
        while left := self.session(process):
            assert time.monotonic() < end, left
            time.sleep(0.02)


def _run(torture: Torture, kinds: list[str]) -> Counter[str]:
    torture.finish()
    torture.empty()
    for kind in kinds:
        if not torture.kill(kind):
            assert any(torture.kill(again) for again in [kind, *["any time"] * 9])
    torture.finish()
    return torture.kills


@pytest.fixture(scope="module")
def small(
    image_set: Any, build: Any, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[int, Path]]:
    """Sources, and what they are built into without disturbance, by the number of jobs."""
    root = image_set(tmp_path_factory.mktemp("small"), foregrounds=8, per_fg=3)
    whole = {jobs: root / f"whole{jobs}" for jobs in (1, 2)}
    for jobs, out in whole.items():
        assert build(root, out, per_fg=3, jobs=jobs).code == 0
    return root, whole


def test_fifty_kills(
    small: tuple[Path, dict[int, Path]], start: Any, session: Any, build_arguments: Any, tmp_path: Path
) -> None:
    root, whole = small
    tortures = [
        Torture(
            start=lambda jobs=jobs: start(*build_arguments(root, tmp_path / str(jobs), per_fg=3, jobs=jobs)),
            session=session,
            out=tmp_path / str(jobs),
            whole={path.name: path.read_bytes() for path in whole[3 - jobs].iterdir() if path.is_file()},
            rng=random.Random(jobs),
        )
        for jobs in (1, 2)
    ]
    early = ["shard under way", "shard finished"]
    plans = [
        ["any time"] * 21 + early * 4 + ["index under way"] * 5,
        ["any time"] * 6 + early * 2 + ["index under way"] + ["worker"] * 3,
    ]
    for torture, plan in zip(tortures, plans, strict=True):
        torture.rng.shuffle(plan)
        plan.append("shard under way")  # so that the last build has something to clear away
    with ThreadPoolExecutor(2) as lanes:
        kills = sum(lanes.map(_run, tortures, plans), Counter[str]())
    assert kills.total() == 50
    assert all(kills[kind] for kind in (*early, "worker", "any time")), kills
