"""Files that appear under their final name only when complete."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def publish(part: Path, final: Path) -> None:
    """Move a finished file to its final name: on the disk before it is seen, and whole or not at all."""
    sync(part)
    part.replace(final)
    sync(final.parent)


@contextmanager
def part_of(path: Path) -> Iterator[Path]:
    """A new, empty file beside `path`, to be filled in the block and then published as `path`.

    If the block fails, nothing of it stays.
    """
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
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
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Have a file's content, or a folder's names, on the disk before going on."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
