"""A folder or a file in an object store, by its URL, with as much of pathlib's ways as the rest here uses.

Nothing secret is in it: a URL with a user, a password or a query is refused, unread. So its text may go into
an index, a log, a message. What opens the store is found by the store's own library, where people keep it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, cast

from ..errors import WrongUseError
from .stores import filesystem, told

WRITABLE = ("s3", "gs", "az")
PROTOCOLS = (*WRITABLE, "https", "http")

SIZE_VARIABLE = "DIMTOOL_CACHE_SIZE"
"""What bounds the cache where no option does; see `Cache`."""

_BLOCK = 2**17  # bytes asked for at a time where only parts of a file are read


class Stored(NamedTuple):
    """What a store says of an object: its size, and a mark that another content under the name changes."""

    bytes: int
    mark: str


class Remote:
    """An object, or all objects below a name. Immutable; equal where the URLs are.

    cache_bytes: how much of the disk the cache may take for what is read from it; None for the usual.
    stored: what the store's listing said of the object, where this came from a listing.
    """

    __slots__ = ("cache_bytes", "path", "protocol", "stored")

    def __init__(
        self, protocol: str, path: str, cache_bytes: int | None = None, stored: Stored | None = None
    ) -> None:
        self.protocol, self.path = protocol, path
        self.cache_bytes, self.stored = cache_bytes, stored

    def __reduce__(self) -> tuple[Any, ...]:
        return Remote, (self.protocol, self.path, self.cache_bytes, self.stored)

    def __str__(self) -> str:
        return f"{self.protocol}://{self.path}"

    def __repr__(self) -> str:
        return f"Remote({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Remote) and str(self) == str(other)

    def __lt__(self, other: object) -> bool:
        return str(self) < str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __truediv__(self, name: str | PurePosixPath) -> Remote:
        return Remote(self.protocol, f"{self.path}/{name}", self.cache_bytes)

    def at(self, below: str, stored: Stored | None) -> Remote:
        """What a listing of this folder has at a path below it."""
        return Remote(self.protocol, f"{self.path}/{below}", self.cache_bytes, stored)

    @property
    def name(self) -> str:
        """The last part."""
        return self.path.rpartition("/")[2]

    @property
    def parts(self) -> tuple[str, ...]:
        """As pathlib's: the store, then the parts."""
        return (f"{self.protocol}://", *self.path.split("/"))

    @property
    def parent(self) -> Remote:
        """What it lies in; a bucket lies in itself."""
        above = self.path.rpartition("/")[0] or self.path
        return Remote(self.protocol, above, self.cache_bytes)

    @property
    def url(self) -> str:
        """What fsspec calls it."""
        return str(self) if self.protocol.startswith("http") else self.path

    @property
    def listable(self) -> bool:
        """Whether the store can say what there is: a plain web server cannot."""
        return not self.protocol.startswith("http")

    def absolute(self) -> Remote:
        """Itself."""
        return self

    resolve = absolute

    # ---- what the store is asked -------------------------------------------------------------------------

    def listed(self) -> dict[str, Stored]:
        """The objects in this folder, not below it, by name; none where there is no such folder.

        Raises StorageError, also over https, which has no listings.
        """
        files = filesystem(self)
        with told(self):
            try:
                found = files.ls(self.url, detail=True)
            except FileNotFoundError:
                return {}
        return {
            each["name"].rpartition("/")[2]: _stored(each)
            for each in found
            if each["type"] == "file" and each["name"].strip("/") != self.path
        }

    def below(self) -> dict[str, Stored]:
        """All objects below this folder, by their path there. Raises StorageError."""
        files = filesystem(self)
        with told(self):
            found = files.find(self.url, detail=True)
        return {name[len(self.path) + 1 :]: _stored(each) for name, each in found.items()}

    def glob(self, pattern: str) -> Iterator[Remote]:
        """The objects in this folder whose names fit."""
        for name, state in self.listed().items():
            if fnmatchcase(name, pattern):
                yield self.at(name, state)

    def iterdir(self) -> Iterator[Remote]:
        """What lies in this folder, folders included."""
        files = filesystem(self)
        with told(self):
            try:
                found = files.ls(self.url, detail=False)
            except FileNotFoundError:
                return
        own = (each.strip("/").rpartition("/")[2] for each in found if each.strip("/") != self.path)
        yield from (self / name for name in own)

    def state(self) -> Stored:
        """Of an object. Raises FileNotFoundError, StorageError."""
        files = filesystem(self)
        with told(self):
            found = files.info(self.url)
            if found["type"] != "file":
                raise FileNotFoundError
        return _stored(found)

    def is_file(self) -> bool:
        """Whether it is an object."""
        try:
            self.state()
        except FileNotFoundError:
            return False
        return True

    def is_dir(self) -> bool:
        """Whether anything lies below it; over https, where nobody can tell, it is no file of a data set."""
        if not self.listable:
            return PurePosixPath(self.name).suffix == ""
        files = filesystem(self)
        with told(self):
            return bool(files.isdir(self.url))

    def exists(self) -> bool:
        """Whether it is an object or a folder of some."""
        return self.is_file() or (self.listable and self.is_dir())

    def read_bytes(self) -> bytes:
        """All of an object. Raises FileNotFoundError, StorageError."""
        files = filesystem(self)
        with told(self):
            return cast(bytes, files.cat_file(self.url))

    def read_text(self, encoding: str = "utf-8") -> str:
        """The same as text."""
        return self.read_bytes().decode(encoding)

    def opened(self) -> Parts:
        """An object to be read in parts, of which only those that are asked for travel."""
        files = filesystem(self)
        with told(self):
            return Parts(self, files.open(self.url, "rb", block_size=_BLOCK, cache_type="blockcache"))

    def write_bytes(self, data: bytes) -> None:
        """Write an object, whole or not at all, replacing what is there. Raises StorageError."""
        files = filesystem(self)
        with told(self):
            files.pipe_file(self.url, data)

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove an object. Raises FileNotFoundError, StorageError."""
        files = filesystem(self)
        try:
            with told(self):
                files.rm_file(self.url)
        except FileNotFoundError:
            if not missing_ok:
                raise


class Parts:
    """An open object, as HDF5 reads it, whose errors are those of `told`."""

    def __init__(self, remote: Remote, file: Any) -> None:
        self.remote, self.file = remote, file

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return int(self.file.seek(offset, whence))

    def tell(self) -> int:
        return int(self.file.tell())

    def read(self, size: int = -1) -> bytes:
        with told(self.remote):
            return bytes(self.file.read(size))

    def readinto(self, buffer: Any) -> int:
        with told(self.remote):
            return int(self.file.readinto(buffer))


Place = Path | Remote
"""A folder or file, here or in an object store."""


def _stored(found: dict[str, Any]) -> Stored:
    """What a store says of an object, by whatever name it calls it."""
    marks = (found.get(name) for name in ("ETag", "etag", "md5Hash", "crc32c", "mtime", "updated"))
    return Stored(int(found.get("size") or 0), next((str(each).strip('"') for each in marks if each), ""))


def is_url(text: str) -> bool:
    """Whether a text is the URL of a store, not a path."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text) is not None


def read_url(text: str, *, cache_bytes: int | None = None) -> Remote:
    """The place that a URL names. Raises WrongUseError, which never repeats what may be a secret."""
    protocol, _, path = text.partition("://")
    protocol = {"gcs": "gs", "abfs": "az", "s3a": "s3"}.get(protocol.lower(), protocol.lower())
    if protocol not in PROTOCOLS:
        raise WrongUseError(
            f"{protocol}:// is no store that is known here: give {', '.join(PROTOCOLS)} or a path"
        )
    if "@" in path.split("/")[0] or "?" in path or "#" in path:
        raise WrongUseError(
            f"a {protocol}:// URL with a user, a password or a query is not taken, as it would be shown: "
            "keep credentials where the store's own tools look for them (the environment, their files, the "
            "machine's role)"
        )
    parts = [part for part in path.split("/") if part]
    if not parts or ".." in parts:
        raise WrongUseError(
            f"{protocol}:// lacks the bucket, or leads upwards: write {protocol}://bucket/folder"
        )
    return Remote(protocol, "/".join(parts), cache_bytes)


def read_place(place: Place | str) -> Place:
    """A place that may be given by its path or its URL."""
    if isinstance(place, Remote):
        return place
    return read_url(place) if isinstance(place, str) and is_url(place) else Path(place)
