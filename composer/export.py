"""Shards -> the PNG folders that other trainers read."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..arrays import UInt8Image, UInt8Mask
from ..errors import WrongUseError
from ..files import LockedError, lock_notes, locked, own_scratch, part_of, write_text
from ..names import stem
from ..progress import Reporter
from ..storage.remote import Place
from .engines.engine import Engine
from .hosts import checked_hosts
from .pixels.trimap import trimap_of
from .shards.dataset import known_background, open_shard
from .shards.index import INDEX_NAME, ShardRecord, index_digest, read_index
from .shards.layout import ShardError
from .shards.reader import Shard
from .sources.images import pixel_digest

FOLDERS = ("merged", "bg", "trimaps", "fg", "alpha")
_SHARED = FOLDERS[3:]
ANNOTATION_NAME = "annotations.json"
_ADVICE = "run `dimtool verify-composites --repair`"
_MARK, _LOCK = "export.json", ".lock"
# zlib's fastest level: a third of the default's time for a tenth more bytes.
_PNG_LEVEL = 1


@dataclass(frozen=True, kw_only=True)
class ExportJob:
    """Export one shard; the trimaps' unknown region reaches `trimap_radius` pixels to either side.

    scratch: for unfinished pictures; once it is gone, so is the export.
    """

    folder: Place
    record: ShardRecord
    out: Path
    scratch: Path
    trimap_radius: int

    @property
    def name(self) -> str:
        """What the shard's pictures are named after: as the index says, which was looked at."""
        return self.record.label or stem(self.record.foreground)


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What one job did: `composites` in the shard `file`, pictures `written` and those `kept` from before.

    error: why the rest of it was not written, in one line; empty where all is there.
    """

    file: str
    composites: int
    written: int
    kept: int
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class ExportSummary:
    """What an export did: composites that are there, pictures written, those kept from before.

    missing: composites that the lists asked for and the shards do not have. errors: a line for each shard
    that could not be exported wholly.
    """

    out: Path
    composites: int
    written: int
    kept: int
    missing: int
    errors: tuple[str, ...]


def export_images(
    folder: Place, out: Path, *, trimap_radius: int, engine: Engine, reporter: Reporter[Exported]
) -> ExportSummary:
    """Write a folder of shards as PNG: merged/, bg/, trimaps/ by composite, fg/ and alpha/ by foreground.

    Names are the official ones, `<stem>_<i>.png`. `annotations.json` lists them in the form of mmagic's
    AdobeComp1kDataset. bg/ is exact wherever a composite depends on it; deep inside an opaque foreground,
    where the shards do not keep it, it is black. Files that are there from an earlier run of the same
    export stay. Each picture is held against its digest before it is written; a shard that is damaged ends
    nothing else. Raises ShardError where there is no index; WrongUseError where `out` holds another export
    or something else.
    """
    index = read_index(folder)
    mark = json.dumps({"index": index_digest(folder), "trimap_radius": trimap_radius}) + "\n"
    _refuse_other(out, mark)
    results = {}
    folders = [out / name for name in FOLDERS]
    with (
        _sole_export(out, reporter),
        _claimed(out, mark) as scratch,
        checked_hosts(engine, files=[folder / INDEX_NAME], scratch=scratch, writable=folders) as fit,
    ):
        jobs = [
            ExportJob(folder=folder, record=record, out=out, scratch=scratch, trimap_radius=trimap_radius)
            for record in index.shards
        ]
        reporter.planned(index.composites)
        with closing(fit.run(export_shard, jobs, lost=_died)) as done:
            for each in done:
                reporter.finished(each)
                results[each.file] = each
        whole = [job for job in jobs if not results[job.record.file].error]
        _annotate(out, whole)
    return ExportSummary(
        out=out,
        composites=sum(job.record.composites for job in whole),
        written=sum(each.written for each in results.values()),
        kept=sum(each.kept for each in results.values()),
        missing=index.asked - index.composites,
        errors=tuple(sorted(each.error for each in results.values() if each.error)),
    )


def _died(job: ExportJob) -> Exported:
    error = f"{job.folder / job.record.file}: the process that read it died of it: {_ADVICE}"
    return Exported(file=job.record.file, composites=0, written=0, kept=0, error=error)


@contextmanager
def _sole_export(out: Path, reporter: Reporter[Exported]) -> Iterator[None]:
    """Hold the folder's lock: a second export would take the first one's unfinished files for left-overs."""
    out.mkdir(parents=True, exist_ok=True)
    try:
        with locked(out / _LOCK) as alone:
            for note in lock_notes(alone, "export"):
                reporter.note(note)
            yield
    except LockedError as error:
        raise WrongUseError(
            f"another export is at work in {out}: wait for it, or choose another OUT"
        ) from error


def _refuse_other(out: Path, mark: str) -> None:
    """Raise WrongUseError, with nothing changed, where `out` has another export or something else in it."""
    path = out / _MARK
    if path.exists():
        if path.read_bytes() != mark.encode():
            raise WrongUseError(
                f"{out} holds the export of other shards or another radius: choose another OUT"
            )
    elif out.exists() and not all(each.name == _LOCK or each.match(".*.part") for each in out.iterdir()):
        raise WrongUseError(f"{out} is not empty and no export of ours: choose another OUT")


@contextmanager
def _claimed(out: Path, mark: str) -> Iterator[Path]:
    """Make `out` this export's, rid of what a killed one left unfinished; gives a folder for such files."""
    if not (out / _MARK).exists():
        write_text(out / _MARK, mark)
    for name in FOLDERS:
        (out / name).mkdir(exist_ok=True)
    for part in out.glob(".*.part"):
        part.unlink(missing_ok=True)
    with own_scratch(out) as scratch:
        yield scratch


def export_shard(job: ExportJob) -> Exported:
    """Write the pictures of one shard that are not there yet; what is wrong with it is told, not raised."""
    record = job.record
    written = Counter[bool]()  # of the foreground's own pictures, and of its composites'
    try:
        with open_shard(job.folder, record) as shard:
            for picture, file in _pictures(shard, job):
                written[file.parent.name in _SHARED] += _write(picture, file, job.scratch)
    except ShardError as problem:
        return Exported(file=record.file, composites=0, written=written.total(), kept=0, error=str(problem))
    total = written.total()
    kept = 3 * record.composites - written[False] + (0 if record.first else len(_SHARED) - written[True])
    return Exported(file=record.file, composites=record.composites, written=total, kept=kept)


def _pictures(shard: Shard, job: ExportJob) -> Iterator[tuple[UInt8Image | UInt8Mask, Path]]:
    """Those that are not there yet, with their files. Raises ShardError: another shard, or damaged."""
    record, header = job.record, shard.header
    there = (header.foreground, header.label, header.first, len(shard), *shard.shape)
    listed = (record.foreground, record.label, record.first, record.composites, record.height, record.width)
    if there != listed:
        raise ShardError(f"{shard.path} is not the shard that {INDEX_NAME} names: {_ADVICE}")
    alpha, foreground, digests = shard.alpha(), shard.foreground(), shard.source_digests
    _refuse_other_pixels(shard, "foreground", foreground, digests["foreground"][1])
    _refuse_other_pixels(shard, "alpha", alpha, digests["alpha"][1])
    # Every piece sees that these are there, the further ones last: the first should be who writes them.
    places = [job.out / each / f"{job.name}.png" for each in _SHARED]
    shared = list(zip((foreground, alpha), places, strict=True))
    if not record.first:
        yield from shared
    trimap = trimap_of(alpha, shard.distance(), job.trimap_radius, job.trimap_radius)
    for i, digest in enumerate(shard.digests):
        paths = [job.out / each / f"{job.name}_{record.first + i}.png" for each in FOLDERS[:3]]
        if all(path.exists() for path in paths):
            continue
        layer, stored = shard.composite(i), shard.background(i)
        _refuse_other_pixels(shard, f"composite {i}", layer, digest[0])
        _refuse_other_pixels(shard, f"background {i}", stored, digest[1])
        yield from zip((layer, known_background(stored, layer, alpha), trimap), paths, strict=True)
    if record.first:
        yield from shared


def _refuse_other_pixels(
    shard: Shard, what: str, pixels: NDArray[np.uint8], digest: NDArray[np.uint8]
) -> None:
    if pixel_digest(pixels) != digest.tobytes():
        raise ShardError(f"{shard.path}: {what} does not have the digest written with it: {_ADVICE}")


def _write(pixels: UInt8Image | UInt8Mask, path: Path, scratch: Path) -> int:
    """1 if the picture was written, 0 if it is there: a file under its final name is complete."""
    if path.exists():
        return 0
    with part_of(path, scratch) as part:
        Image.fromarray(pixels).save(part, format="PNG", compress_level=_PNG_LEVEL)
    return 1


def _annotate(out: Path, jobs: Iterable[ExportJob]) -> None:
    rows = [
        {
            "alpha": f"alpha/{name}.png",
            "merged": f"merged/{name}_{i}.png",
            "fg": f"fg/{name}.png",
            "bg": f"bg/{name}_{i}.png",
            "trimap": f"trimaps/{name}_{i}.png",
        }
        for name, first, composites in ((job.name, job.record.first, job.record.composites) for job in jobs)
        for i in range(first, first + composites)
    ]
    write_text(out / ANNOTATION_NAME, json.dumps(rows, indent=1) + "\n")
