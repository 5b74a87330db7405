"""What every host must have to take part: looked at first, and again by each process that joins later."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import h5py
import hdf5plugin
import imagecodecs

from ..errors import DimtoolError, WrongUseError
from ..files import file_sha256
from ..storage.remote import Place
from ..text import first_line
from .engines.cluster import Cluster
from .engines.engine import Engine, Job, Result
from .shards.layout import BLOSC2, current_versions
from .shards.tiles import HTJ2K


class HostError(DimtoolError):
    """A host cannot take part; the line names it and says what is the matter."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What a host must have: files of these SHA-256, folders that it can write into, the same versions.

    The versions decide bytes: of what decodes pictures, and of what encodes shards.
    """

    files: tuple[tuple[Path, str], ...]
    writable: tuple[Path, ...]
    versions: tuple[tuple[str, str], ...]


def versions_here() -> tuple[tuple[str, str], ...]:
    """The versions of this process, see Terms."""
    encoders = {
        "hdf5": h5py.version.hdf5_version,
        "hdf5plugin": hdf5plugin.version,
        "imagecodecs": imagecodecs.__version__,
    }
    return tuple((current_versions() | encoders).items())


def unmet(terms: Terms) -> str:
    """What of the terms this host does not meet, in one line; empty where it meets them all."""
    here = dict(versions_here())
    for name, version in terms.versions:
        if here.get(name) != version:
            return f"it has {name} {here.get(name)}, and this one {version}: install the same there"
    for codec in (HTJ2K, BLOSC2):
        if not h5py.h5z.filter_avail(codec):
            return f"HDF5 has no filter {codec} there: install hdf5plugin anew"
    try:
        for path, digest in terms.files:
            if file_sha256(path) != digest:
                return f"{path} is another file there: all hosts must see the same folders"
        for folder in terms.writable:
            _try_to_write(folder)
    except OSError as error:
        return f"{error.filename} is not to be had there ({error.strerror}): mount it at the same path"
    return ""


def _try_to_write(folder: Path) -> None:
    path = folder / f".host-{uuid.uuid4().hex}.json.part"
    try:
        path.touch()
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def checked_hosts(
    engine: Engine,
    *,
    files: Iterable[Place] = (),
    scratch: Path | None = None,
    token: Path | None = None,
    writable: Iterable[Place] = (),
) -> Iterator[Engine]:
    """The engine, once each of its hosts is found to meet the terms of the work; workers check them again.

    files: some that the work reads, which must be the same everywhere. scratch: a folder of this run, where a
    token is put: a folder of the same name on another disk has none. token: the file for it, where there is
    no such folder. What is in an object store is for the
    store to say: of it, and of the scratch of work that goes there, nothing is looked at. An engine of this
    machine is as it is.
    Raises HostError, WrongUseError where a path is relative: it would be another one there.
    """
    if not isinstance(engine, Cluster):
        yield engine
        return
    folders = [each for each in writable if isinstance(each, Path)]
    paths = [each for each in files if isinstance(each, Path)]
    if scratch is not None and folders:
        folders.insert(0, scratch)
        token = scratch / "token"
    if token is not None and folders:
        token.write_text(uuid.uuid4().hex)
        paths.insert(0, token)
    for path in (*paths, *folders):
        if not path.is_absolute():
            raise WrongUseError(f"{path} may be another path on other hosts: give it from / on")
    terms = Terms(
        files=tuple((path, file_sha256(path)) for path in paths),
        writable=tuple(folders),
        versions=versions_here(),
    )
    _refuse(engine.on_hosts(unmet, terms))
    yield _OnTerms(engine, terms)


def _refuse(answers: dict[str, str | Exception]) -> None:
    """Raise HostError with what is the matter with the first host, and how many others there are."""
    bad = {host: answer for host, answer in sorted(answers.items()) if answer}
    if not bad:
        return
    host, answer = next(iter(bad.items()))
    others = f" (and {len(bad) - 1} other hosts are not fit)" if len(bad) > 1 else ""
    raise HostError(f"host {host}: {_in_words(answer)}{others}")


def _in_words(answer: str | Exception) -> str:
    if isinstance(answer, str):
        return answer
    return f"dimtool does not run there, or is another version ({first_line(answer)}): install this one there"


@dataclass(frozen=True)
class _OnTerms:
    """An engine that checks the terms in each of its processes before the first job there."""

    engine: Engine
    terms: Terms

    def ready(self, function: Callable[[Job], Result], *, most: int) -> AbstractContextManager[None]:
        """See Engine."""
        return self.engine.ready(function, most=most)

    def run(
        self,
        function: Callable[[Job], Result],
        jobs: Sequence[Job],
        *,
        lost: Callable[[Job], Result] | None = None,
    ) -> Generator[Result, None, None]:
        """See Engine. Raises HostError for a host that joined later and does not meet the terms."""
        return self.engine.run(partial(_on_terms, self.terms, function), jobs, lost=lost)


_MET: set[Terms] = set()  # by this process


def _on_terms(terms: Terms, function: Callable[[Job], Result], job: Job) -> Result:
    if terms not in _MET:
        if problem := unmet(terms):
            raise HostError(f"host {socket.gethostname()}: {problem}")
        _MET.add(terms)
    return function(job)
