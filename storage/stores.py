"""The stores' own libraries, through fsspec: opened, patient, and with errors of one line."""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..errors import DimtoolError, WrongUseError
from ..text import first_line

if TYPE_CHECKING:
    from .remote import Remote

_EXTRAS = {"s3": "s3", "gs": "gcs", "az": "azure", "https": "https", "http": "https"}

# Of a library that tries three times by itself, a server that restarts sees the end. Ten tries, each after
# a longer wait, take half a minute or more. AWS_MAX_ATTEMPTS, where a user sets it, wins.
_TRIES = 10

_FULL = (errno.ENOSPC, errno.EDQUOT)  # of the disk here, not of the store

# What the libraries raise beside OSError, by the modules that define it; only those loaded can have raised.
_OTHERS = (
    ("botocore.exceptions", "BotoCoreError"),
    ("botocore.exceptions", "ClientError"),
    ("aiohttp", "ClientError"),
    ("gcsfs.retry", "HttpError"),
    ("google.auth.exceptions", "GoogleAuthError"),
    ("azure.core.exceptions", "AzureError"),
    ("fsspec.exceptions", "FSTimeoutError"),
)


class StorageError(DimtoolError):
    """A store does not give or take what it should; the message is one line that names the object."""


def filesystem(remote: Remote) -> Any:
    """The file system of a store, opened once a process. Raises WrongUseError where its library lacks."""
    import fsspec  # noqa: PLC0415 -- half a second with a store's library: not before one is asked

    options: dict[str, Any] = {"use_listings_cache": False}
    if remote.protocol == "s3" and "AWS_MAX_ATTEMPTS" not in os.environ:
        options["config_kwargs"] = {"retries": {"mode": "standard", "total_max_attempts": _TRIES}}
    try:
        return fsspec.filesystem(remote.protocol, **options)
    except ImportError as error:
        extra = _EXTRAS[remote.protocol]
        raise WrongUseError(
            f"{remote} needs a library that is not installed: pip install 'dimtool[{extra}]'"
        ) from error


@contextmanager
def told(what: object) -> Iterator[None]:
    """Whatever goes wrong with the store in the block becomes a StorageError of one line.

    But for FileNotFoundError and FileExistsError, which mean what they mean of files.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(what)) from error
    except FileExistsError as error:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(what)) from error
    except PermissionError as error:
        raise StorageError(
            f"{what}: the store does not allow it ({harmless(first_line(error))}): see that the credentials "
            "that its own tools use are there, and may read (and write) that"
        ) from error
    except _all_errors() as error:
        if isinstance(error, OSError) and error.errno in _FULL:
            raise
        if "PreconditionFailed" in str(error):  # s3fs's word for it in a put
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(what)) from error
        raise StorageError(
            f"{what}: the store does not answer as it should ({harmless(first_line(error))}): see that it is "
            "there, then give the same command again; what is finished is kept"
        ) from error


def _all_errors() -> tuple[type[Exception], ...]:
    there = (getattr(sys.modules.get(module), name, None) for module, name in _OTHERS)
    return OSError, NotImplementedError, *(each for each in there if each is not None)


def harmless(text: str) -> str:
    """A library's words without what a URL in them may hold that is secret: users, passwords, queries."""
    return re.sub(r"(\w+://)(?:[^\s/@\"']*@)?([^\s?\"']*)(?:\?[^\s\"']*)?", r"\1\2", text)
