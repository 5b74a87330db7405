"""One builder at a time in a folder of an object store: an object that is made only where there is none.

Two builders are told apart where the store takes `If-None-Match: *` (S3 does, and Google's and Azure's ways
of saying it); where it does not, `held` gives False. Not promised: what a builder does that goes on although
its lock object was removed by hand. It looks for the lock before each upload, so it may still finish one.
"""

from __future__ import annotations

import json
import os
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..files import LockedError, locked, write_text
from .remote import Remote
from .stores import filesystem, told


@contextmanager
def held(lock: Remote, beside: Path, token: str) -> Iterator[bool]:
    """Hold the object `lock` in the block. Gives False where the store cannot tell two builders apart.

    beside: a folder of this machine for the same folder of the store: who holds the lock file in it knows
    that a lock object made from there is of a process that is dead, and takes it over. token: tells this
    holder from all others. Raises LockedError, which says who holds it, since when, and how to remove what
    nobody holds.
    """
    beside.mkdir(parents=True, exist_ok=True)
    try:
        with locked(beside / "lock") as alone:
            place = _identity(beside) if alone else ""
            _take_over(lock, place)
            told_apart = _make(lock, token, place)
            try:
                yield told_apart
            finally:
                if is_held(lock, token):
                    lock.unlink(missing_ok=True)
    except LockedError as error:
        if error.args and str(beside) in str(error):
            raise LockedError(f"another build is at work in {lock.parent.parent}, on this machine") from error
        raise


def is_held(lock: Remote, token: str) -> bool:
    """Whether the lock is still that of `token`. Raises StorageError."""
    return _holder(lock).get("owner") == token


def _holder(lock: Remote) -> dict[str, Any]:
    """What the lock object says; nothing where there is none."""
    try:
        found = json.loads(lock.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError:
        return {"owner": ""}
    return found if isinstance(found, dict) else {"owner": ""}


def _take_over(lock: Remote, place: str) -> None:
    holder = _holder(lock)
    if not holder:
        return
    if not place or holder.get("place") != place:
        raise _refusal(lock, holder)
    lock.unlink(missing_ok=True)


def _make(lock: Remote, token: str, place: str) -> bool:
    """Make the lock object; whether the store refuses to make it twice."""
    since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    values = {"owner": token, "place": place, "host": socket.gethostname(), "process": os.getpid()}
    data = json.dumps({**values, "since": since}).encode()
    if not _created(lock, data):
        raise _refusal(lock, _holder(lock))
    return not _created(lock, data)


def _created(lock: Remote, data: bytes) -> bool:
    """Make an object where there is none; False where there is one and the store says so."""
    files = filesystem(lock)
    try:
        with told(lock), suppress(NotImplementedError):
            files.pipe_file(lock.url, data, mode="create")
    except FileExistsError:
        return False
    return True


def _refusal(lock: Remote, holder: dict[str, Any]) -> LockedError:
    who = f"process {holder.get('process')} on {holder.get('host')}, since {holder.get('since')}"
    return LockedError(
        f"another build is at work in {lock.parent.parent} ({ascii(who)[1:-1]}): wait for it; if it is dead, "
        f"remove {lock} with the store's own tool and give the same command again"
    )


def _identity(beside: Path) -> str:
    """Of that folder on this machine; made once."""
    path = beside / "identity"
    if not path.exists():
        write_text(path, uuid.uuid4().hex)
    return path.read_text(encoding="utf-8")
