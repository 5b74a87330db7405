"""Damaged and hostile files against every command that reads them: no crash, no hang, no traceback.

    python tests/fuzzing/fuzz.py [--cases 2000] [--seed 0] [--jobs 2] [--limit 10]

Each case is a copy of a small set with one file changed: a shard, an index, a list, an image or a checkpoint.
The commands that read it run in a process of their own kind. A case is at fault if that process dies, if a
command takes more than 10 seconds, if it ends in anything but an exit code, if something lands outside of the
case's folder, or if what lies outside is read: a named pipe lies there, and to open it is to hang.
Not part of the test suite: it takes about a quarter of an hour. A fault is told with its seed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from cases import make_set, quietly

SHARE = {"shard": 0.5, "index": 0.15, "list": 0.12, "image": 0.15, "checkpoint": 0.08}


class Lane:
    """One process that runs cases, started anew where it dies or hangs."""

    def __init__(self, root: Path, place: Path, limit: float) -> None:
        self._root, self._place, self._limit = root, place, limit
        self._process: Any = None

    def run(self, kind: str, seed: int) -> list[str]:
        """The faults of a case."""
        if self._process is None:
            self._start()
        self._connection.send((kind, seed))
        last: object = "the preparation"
        started = time.monotonic()
        while True:
            try:
                if not self._connection.poll(self._limit):
                    return self._lost(f"hangs in {last} for over {time.monotonic() - started:.0f} s")
                word, value = self._connection.recv()
            except (EOFError, ConnectionError):
                return self._lost(f"dies in {last}")
            if word == "done":
                return list(value)
            last = f"command {value}"

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._place.mkdir(exist_ok=True)
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=quietly, args=(theirs, self._root, self._place), daemon=True)
        self._process.start()
        theirs.close()
        self._connection.recv()

    def _lost(self, what: str) -> list[str]:
        self._process.kill()
        self._process.join()
        what += f" (exit {self._process.exitcode})"
        self._process = None
        return [what]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0, help="of the first case")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--limit", type=float, default=10, help="seconds that a command may take")
    parser.add_argument("--only", choices=SHARE)
    options = parser.parse_args()
    kinds = [kind for kind, share in SHARE.items() for _ in range(round(share * options.cases))]
    orders = [(options.only or kind, options.seed + number) for number, kind in enumerate(kinds)]
    faulty, done, lock = [], Counter[str](), threading.Lock()
    with tempfile.TemporaryDirectory(prefix="dimtool-fuzz-") as name:
        root = Path(name)
        (root / "outside").mkdir()
        os.mkfifo(root / "outside" / "pipe")
        make_set(root)

        def work(lane: Lane) -> None:
            while True:
                with lock:
                    if not orders:
                        return
                    kind, seed = orders.pop()
                faults = lane.run(kind, seed)
                with lock:
                    done[kind] += 1
                    faulty.extend((kind, seed, fault) for fault in faults)
                    for fault in faults:
                        print(f"FAULT {kind} {seed}: {fault}", flush=True)
                    if done.total() % 100 == 0:
                        print(
                            f"{done.total()} of {len(kinds)}, {len(faulty)} faults",
                            file=sys.stderr,
                            flush=True,
                        )

        lanes = [Lane(root, root / f"lane{k}", options.limit) for k in range(options.jobs)]
        threads = [threading.Thread(target=work, args=(lane,)) for lane in lanes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for kind, number in done.items():
        print(f"{kind:12}{number:6} cases {sum(each[0] == kind for each in faulty):6} faults")
    return 1 if faulty else 0


if __name__ == "__main__":
    sys.exit(main())
