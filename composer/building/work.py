"""The work on one foreground, or a piece of it, as functions that any engine can carry to any process."""

from __future__ import annotations

import errno
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...arrays import UInt8Image
from ...errors import DimtoolError
from ...storage.lock import is_held
from ...storage.publishing import publish_file
from ...storage.remote import Place, Remote
from ...storage.stores import StorageError
from ...text import count
from ..pixels.composition import Compositor, fit_background
from ..pixels.trimap import background_band, sample_centers, transition_distance, transition_region
from ..shards.index import ShardRecord, record_of
from ..shards.layout import BACKGROUND_RADIUS, ShardError, ShardHeader
from ..shards.reader import Shard
from ..shards.writer import Layer, Matte, write_shard
from ..sources.images import Source, SourceError, image_size, read_background, read_foreground
from ..sources.manifest import Failure, ForegroundEntry
from ..sources.mattes import read_alpha
from .alike import reads_alike
from .objects import LOCK, STATE, beside
from .records import Known, trusted
from .stamps import Hashed, hash_file


class DiskFullError(DimtoolError):
    """No space is left for a shard: no other one will fit either."""


@dataclass(frozen=True, kw_only=True)
class ShardJob:
    """Build `entry` into `folder`; unfinished files live in `scratch`, on the same file system.

    Once `scratch` is gone, so is who asked for the shard: nothing more is built or published. A folder in an
    object store is asked instead whether it is still held for this `scratch`, which then is on the worker's
    own disk.
    sha256: what the file must be, in hexadecimal, where it is to be what it was before.
    """

    entry: ForegroundEntry
    split: str
    folder: Place
    scratch: Path
    sha256: str = ""

    @property
    def path(self) -> Place:
        """The shard's final name."""
        return self.folder / self.entry.shard_name

    @property
    def workplace(self) -> Path:
        """Where the unfinished file lies: of a shard to be uploaded, on whatever machine builds it."""
        if isinstance(self.folder, Remote):
            return beside(self.folder) / self.scratch.name
        return self.scratch

    @property
    def header(self) -> ShardHeader:
        """What the shard will say that it is."""
        return ShardHeader(
            split=self.split,
            index=self.entry.index,
            foreground=self.entry.name,
            backgrounds=self.entry.background_names,
            reading=self.entry.reading.recorded,
            label=self.entry.label,
            first=self.entry.first,
        )


@dataclass(frozen=True, kw_only=True)
class Examination:
    """Look at the shard that a job would build. known: a record of it from before, else the file is hashed.

    sources: the hashes of the job's files, in their order; without them each is read.
    """

    job: ShardJob
    known: Known | None = None
    sources: tuple[Hashed, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Found:
    """What stands at `path`, a job's final name: `record` if it is the right shard, else what is the matter.

    clash: it is whole, but of other input. broken: it cannot be read. unread: the first source that cannot,
    so that the shard was not compared with it.
    """

    path: Place
    record: ShardRecord | None = None
    clash: str = ""
    broken: str = ""
    unread: str = ""


@dataclass(frozen=True, kw_only=True)
class Built:
    """A shard just built. alpha_range: its least and its greatest alpha, 0 to 255."""

    record: ShardRecord
    alpha_range: tuple[int, int]


def build_shard(job: ShardJob) -> Built | Failure:
    """Decode, compose, write and publish one shard.

    A source that cannot be used gives a Failure with a line for each such file of this foreground. Raises
    DiskFullError; whatever happens, nothing incomplete appears under the final name.
    """
    part = job.workplace / f"{uuid.uuid4().hex}.part"
    try:
        _prepare(job)
        matte = read_matte(job.entry)
        write_shard(part, job.header, matte, _layers(job, matte))
        record = record_of(part, job.path.name)
        _refuse_another(record, job)
        _prepare(job)
        publish_file(part, job.path, record.sha256)
    except SourceError as error:
        errors = (str(error), *_background_errors(job.entry))
        return job.entry.failure(tuple(dict.fromkeys(errors)))
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(
                f"no space is left in {job.folder} for {job.path.name}: make room and run the same command "
                "again; the shards that are finished are kept"
            ) from error
        raise
    finally:
        part.unlink(missing_ok=True)
    alpha = matte.alpha.pixels
    return Built(record=record, alpha_range=(int(alpha.min()), int(alpha.max())))


def not_built(job: ShardJob) -> Failure:
    """That the workers which had a job did not survive it."""
    what = "the workers that built this shard died of it, perhaps for want of memory: give them more of it"
    return job.entry.failure([f"{job.entry.foreground}: {what}, and run the same command again"])


def not_examined(task: Examination) -> Found:
    """That the workers which looked at a shard did not survive it."""
    path = task.job.path
    return Found(path=path, broken=f"{path}: the workers that read it died of it")


def _prepare(job: ShardJob) -> None:
    """Of a shard that is to be uploaded: see that it is still wanted. Raises StorageError."""
    if isinstance(job.folder, Remote):
        if not is_held(job.folder / STATE / LOCK, job.scratch.name):
            raise StorageError(f"{job.path} is not built: its build has ended, or lost its lock")
        job.workplace.mkdir(parents=True, exist_ok=True)


def _refuse_another(record: ShardRecord, job: ShardJob) -> None:
    if job.sha256 and record.sha256 != job.sha256:
        raise SourceError(
            f"{job.path} cannot be built as it was: a source or a decoder has changed since; "
            "remove it and run `dimtool build-dataset` to have it from what is there now"
        )


def pixel_count(alpha: Place) -> int:
    """Pixels of a matte, from its header; 0 where that cannot be read (the job itself will say why)."""
    try:
        height, width = image_size(alpha)
    except SourceError:
        return 0
    return height * width


def read_matte(entry: ForegroundEntry) -> Matte:
    """Decode foreground and alpha, and compute what all composites share. Raises SourceError."""
    foreground = read_foreground(entry.foreground, entry.reading)
    alpha = read_alpha(entry.alpha, entry.reading)
    height, width = alpha.pixels.shape
    if foreground.pixels.shape[:2] != (height, width):
        rows, columns = foreground.pixels.shape[:2]
        raise SourceError(
            f"{entry.foreground} is {columns} x {rows} and {entry.alpha} {width} x {height}: "
            "a foreground and its alpha must be of one size, bring those that belong together"
        )
    if alpha.pixels.min() == alpha.pixels.max():
        raise SourceError(
            f"{entry.alpha} is {alpha.pixels.min()} everywhere, so it separates nothing: "
            "bring the right matte, or take it off the list"
        )
    region = transition_region(alpha.pixels)
    distance = transition_distance(region)
    return Matte(
        foreground=foreground,
        alpha=alpha,
        distance=distance,
        centers=sample_centers(region, entry.index),
        band=background_band(alpha.pixels, distance, BACKGROUND_RADIUS),
    )


def _layers(job: ShardJob, matte: Matte) -> Iterator[Layer]:
    entry, composed = job.entry, Compositor(matte.foreground.pixels, matte.alpha.pixels)
    for path in entry.backgrounds:
        job.workplace.stat()  # raises where the build has ended meanwhile: on another host nothing else tells
        source = read_background(path, entry.reading)
        background = fit_source(source, *matte.alpha.pixels.shape)
        yield Layer(composed(background), background, source)


def fit_source(source: Source, height: int, width: int) -> UInt8Image:
    """`fit_background` of a decoded file, (height, width, 3); a SourceError names the file."""
    try:
        return fit_background(source.pixels, height, width)
    except SourceError as error:
        raise SourceError(f"{source.path}: {error}") from error


def _background_errors(entry: ForegroundEntry) -> Iterator[str]:
    """Once one file is bad, name the others of this foreground too: one run should tell them all."""
    for path in entry.backgrounds:
        try:
            read_background(path, entry.reading)
        except SourceError as error:
            yield str(error)


def examine_shard(task: Examination) -> Found:
    """Whether what stands under the job's final name is what the job would build.

    The header must be the job's (or another way to read the sources, that gives the same pixels), and every
    source file must have the bytes that the shard was built from.
    """
    job = task.job
    try:
        with Shard(job.path) as shard:
            if shard.header != job.header and not reads_alike(shard, job.header, job.entry):
                return Found(path=job.path, clash=difference(shard.header, job.header))
            changed, unread = _changed_source(shard, job.entry, task.sources)
        if changed:
            return Found(path=job.path, clash=f"{changed} has changed since")
        return Found(path=job.path, record=trusted(task.known, job.path), unread=unread)
    except ShardError as error:
        return Found(path=job.path, broken=str(error))


def difference(there: ShardHeader, asked: ShardHeader) -> str:
    """In what a shard is not the one that is asked for."""
    if there.reading != asked.reading:
        return f"its sources were read with {there.reading}, now with {asked.reading}"
    for name in ("split", "index", "foreground", "background_radius", "label", "first"):
        if getattr(there, name) != getattr(asked, name):
            return f"its {name} is {getattr(there, name)}, now {getattr(asked, name)}"
    if len(there.backgrounds) != len(asked.backgrounds):
        backgrounds = count(len(there.backgrounds), "background")
        return f"it has {backgrounds}, now {len(asked.backgrounds)} are asked for"
    pairs = zip(there.backgrounds, asked.backgrounds, strict=True)
    i = next(i for i, names in enumerate(pairs) if names[0] != names[1])
    return f"its background {i} is {there.backgrounds[i]}, now {asked.backgrounds[i]}"


def _changed_source(
    shard: Shard, entry: ForegroundEntry, known: Sequence[Hashed]
) -> tuple[Place | None, str]:
    """The first source whose bytes are not those that the shard was built from; what of one is unreadable."""
    digests, unread = shard.source_digests, ""
    built_from = [digests["foreground"][0], digests["alpha"][0], *digests["background"][:, 0]]
    found = known or map(hash_file, entry.files)
    for path, digest, (sha256, error) in zip(entry.files, built_from, found, strict=True):
        if error:
            unread = unread or error
        elif sha256 != digest.tobytes().hex():
            return path, unread
    return None, unread
