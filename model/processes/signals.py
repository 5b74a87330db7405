"""How a training is asked to stop: SIGTERM and Ctrl-C, which reach its worker processes as well."""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Any

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_LOOK_EVERY = 0.5  # seconds


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
    """Have a worker that started with signals held back end with its owner, the process of that id."""
    threading.Thread(target=_follow, args=(owner,), daemon=True).start()
    # A thread hands the tensors over. What it says when the owner stops in the midst of that helps nobody,
    # and if Python ended it in the midst of PyTorch's code, as it does at its own end, it would abort.
    sys.excepthook = lambda *_: None
    atexit.register(os._exit, 0)
    gc.freeze()  # or each collection looks through all of torch


def _follow(owner: int) -> None:
    """End when the owner is gone or says so; a SIGTERM of others was for the owner to hear.

    PyTorch looks for the owner, too, but takes it for alive for ever if it died while the worker started.
    """
    while os.getppid() == owner:
        told = signal.sigtimedwait([signal.SIGTERM], _LOOK_EVERY)
        if told is not None and told.si_pid == owner:
            break
    os._exit(0)
