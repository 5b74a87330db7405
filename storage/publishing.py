"""Files and texts under their final names, here or in an object store: whole, or not at all.

An object appears whole: a store shows it when the last byte of a put, or the end of an upload in parts, has
come and agrees with the checksum that travelled with it. So an upload needs no temporary name, which would
cost a copy of each object and its removal.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from ..files import publish, write_text
from .remote import Place, Remote, Stored
from .stores import StorageError, filesystem, told

_PART = 64 * 2**20  # bytes of an upload in parts, which S3 digests part by part
_BLOCK = 2**20


def publish_text(place: Place, text: str) -> None:
    """Write a UTF-8 text, whole or not at all, replacing what is there."""
    if isinstance(place, Path):
        write_text(place, text)
    else:
        place.write_bytes(text.encode())


def publish_file(part: Path, place: Place, sha256: str) -> None:
    """Bring a finished file to its final name. Raises OSError, StorageError.

    sha256: its digest, in hexadecimal. An upload is checked before this returns: by its size and the MD5 that
    the store gives; where the store gives another digest, or none, by reading it back. What is not right is
    removed.
    """
    if isinstance(place, Path):
        publish(part, place)
        return
    options = {"chunksize": _PART} if place.protocol == "s3" else {}
    with told(place):
        filesystem(place).put_file(str(part), place.url, **options)
    if not (_same_by_store(part, place.state()) or _same_when_read(place, sha256)):
        with suppress(FileNotFoundError):
            place.unlink()
        raise StorageError(f"{place} did not arrive as it was sent: give the same command again")


def _same_by_store(part: Path, state: Stored) -> bool:
    """Whether the store gives the file's size, and a mark that is its MD5 in one of the ways of stores."""
    if state.bytes != part.stat().st_size:
        return False
    with part.open("rb") as stream:
        if "-" in state.mark:  # of an upload in parts
            digests = list(_md5s(stream))
            return state.mark == f"{_md5(b''.join(digests)).hexdigest()}-{len(digests)}"
        whole = hashlib.file_digest(stream, _md5)
    return state.mark in (whole.hexdigest(), base64.b64encode(whole.digest()).decode())


def _md5(data: bytes = b"") -> hashlib._Hash:
    return hashlib.md5(data, usedforsecurity=False)


def _md5s(stream: BinaryIO) -> Iterator[bytes]:
    """The MD5 of each part."""
    while True:
        digest, left = _md5(), _PART
        while left and (block := stream.read(min(_BLOCK, left))):
            digest.update(block)
            left -= len(block)
        if left == _PART:
            return
        yield digest.digest()


def _same_when_read(place: Remote, sha256: str) -> bool:
    digest = hashlib.sha256()
    with (
        told(place),
        filesystem(place).open(place.url, "rb", block_size=_PART, cache_type="readahead") as stream,
    ):
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest() == sha256
