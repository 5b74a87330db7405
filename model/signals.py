"""How a training is asked to stop: SIGTERM and Ctrl-C, which reach its worker processes as well."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Any

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_GRACE = 60  # seconds that a worker lives on after SIGTERM


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Collects the numbers of stop signals instead of dying of them: the loop stops between two steps."""
    asked: list[int] = []
    before: dict[int, Callable[..., Any] | int | None] = {}
    for each in STOP_SIGNALS:
        before[each] = signal.signal(each, lambda received, _: asked.append(received))
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def signals_held() -> Iterator[None]:
    """Hold stop signals back while worker processes start, which inherit that they never get them.

    Terminals, schedulers and torchrun signal whole groups of processes. Workers that died of it would leave
    this one without data in the middle of a step, and other processes waiting for its gradients.
    """
    resource_tracker.ensure_running()  # it would let them through when it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def begin_worker(owner: int, _: int) -> None:
    """Make a worker that started with signals held back end with its owner, the process of that id; and
    when it is terminated, but not at once.
    """
    # PyTorch watches the owner, too, but takes it for alive for ever where it died while the worker started.
    threading.Thread(target=_exit_with, args=(owner,), daemon=True).start()
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(_GRACE))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    gc.freeze()  # or each collection looks through all of torch


def _exit_with(owner: int) -> None:
    while os.getppid() == owner:
        time.sleep(0.5)
    os._exit(1)
