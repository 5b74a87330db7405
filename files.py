"""Files that appear under their final name only when complete, and locks on folders."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

# What file systems answer that lack a call: vboxsf, CIFS and FUSE know no fsync of a folder, NFS without
# its lock daemon and some FUSE no locks.
_NOT_HERE = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EBADF}
_SCRATCH, _GONE = ".parts-", ".gone-"
_LONGEST = 200  # bytes of a name, of 255 that systems take, that an unfinished file has of its own


class LockedError(Exception):
    """Another process holds the lock."""


def publish(part: Path, final: Path) -> None:
    """Move a finished file to its final name: on the disk before it is seen, and whole or not at all."""
    sync(part)
    part.replace(final)
    sync(final.parent)


@contextmanager
def part_of(path: Path, scratch: Path | None = None) -> Iterator[Path]:
    """A new, empty file beside `path`, to be filled in the block and then published as `path`.

    If the block fails, nothing of it stays. scratch: a folder of the same file system to have it in instead.
    """
    own = os.fsdecode(os.fsencode(path.name)[:_LONGEST])
    descriptor, name = tempfile.mkstemp(dir=scratch or path.parent, prefix=f".{own}.", suffix=".part")
    os.close(descriptor)
    part = Path(name)
    try:
        with named(path):
            yield part
            part.chmod(0o666 & ~_umask())
            publish(part, path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def own_scratch(parent: Path) -> Iterator[Path]:
    """A new folder in `parent` for unfinished files; at the end of the block it goes, with what is in it.

    So do at the start those of runs that were killed: `parent` must be held alone. A worker on another
    host, that did not hear of the end of its run, then finds that its unfinished file has gone or cannot be
    made: however late, it publishes nothing among the files of another run.
    """
    for folder in (*parent.glob(f"{_SCRATCH}*"), *parent.glob(f"{_GONE}*")):
        _clear(folder)
    scratch = parent / f"{_SCRATCH}{uuid.uuid4().hex}"
    scratch.mkdir()
    try:
        yield scratch
    finally:
        _clear(scratch)


def _clear(folder: Path) -> None:
    gone = folder.with_name(f"{_GONE}{uuid.uuid4().hex}")
    with suppress(FileNotFoundError):
        folder.rename(gone)  # at once: what is made in it meanwhile would escape
    # On NFS a file that is open here stays until it is closed: then it is for the next run to clear.
    shutil.rmtree(gone, ignore_errors=True)


def stranger_in(folder: Path, *own: str, besides: Iterable[str] = ()) -> Path | None:
    """What shows that a folder is somebody's: its first entry, where nothing in it matches one of `own`.

    None where the folder is new, empty, or has something of ours. Hidden files do not count, nor what file
    systems make by themselves, nor names in `besides`.
    """
    if not folder.is_dir() or any(next(folder.glob(pattern), None) for pattern in own):
        return None
    passed = {"lost+found", *besides}
    seen = (path for path in folder.iterdir() if not path.name.startswith(".") and path.name not in passed)
    return min(seen, default=None)


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Errors of the system in the block name `path`: a full disk does not say by itself which file it hit."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically, replacing what is there."""
    with part_of(path) as part:
        part.write_text(text, encoding="utf-8")


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with os.fdopen(_regular(path), "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _regular(path: Path) -> int:
    """Open a file to read; a named pipe or a device would be waited for, or never end."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no file", str(path))
    return descriptor


def refuse_special(path: Path) -> None:
    """Raise OSError where a path leads to no regular file, for readers that open it themselves."""
    os.close(_regular(path))


def sync(path: Path) -> None:
    """Have a file's content, or a folder's names, on the disk before going on.

    Where a file system cannot do that for folders, it is left to the system.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NOT_HERE or not path.is_dir():
            raise
    finally:
        os.close(descriptor)


@contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Hold the lock file `path` in the block. Gives False where the file system has no locks.

    Raises LockedError at once where another process holds it.
    """
    lock, held = FileLock(path, timeout=0), True
    try:
        lock.acquire()
    except Timeout as error:
        raise LockedError(str(path)) from error
    except OSError as error:
        if not lacks_locks(error):
            raise
        held = False
    try:
        yield held
    finally:
        if held:
            lock.release()


def lacks_locks(error: OSError) -> bool:
    """Whether an error says that the file system has no locks, not that one is held."""
    return error.errno in _NOT_HERE


def lock_notes(held: bool, work: str) -> list[str]:
    """What a user is to know where `locked` gave False; `work` is what must not run twice in a folder."""
    if held:
        return []
    return [f"there are no locks here: see that no other {work} works in the same folder"]


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
