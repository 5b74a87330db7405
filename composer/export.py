"""Shards -> the PNG folders that other trainers read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from ..arrays import UInt8Image, UInt8Mask
from ..errors import WrongUseError
from ..files import LockedError, file_sha256, locked, part_of, write_text
from ..names import stem
from ..progress import Reporter
from .engines.local import Engine
from .pixels.trimap import trimap_of
from .shards.dataset import known_background
from .shards.index import INDEX_NAME, read_index
from .shards.reader import Shard

FOLDERS = ("merged", "bg", "trimaps", "fg", "alpha")
ANNOTATION_NAME = "annotations.json"
_MARK, _LOCK = "export.json", ".lock"
# zlib's fastest level: a third of the default's time for a tenth more bytes.
_PNG_LEVEL = 1


@dataclass(frozen=True, kw_only=True)
class ExportJob:
    """Export one shard; the trimaps' unknown region reaches `trimap_radius` pixels to either side."""

    shard: Path
    out: Path
    trimap_radius: int


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What one job did: `composites` in the shard, files `written` and those `kept` from before."""

    shard: str
    composites: int
    written: int
    kept: int


@dataclass(frozen=True, kw_only=True)
class ExportSummary:
    """What an export did."""

    out: Path
    composites: int
    written: int
    kept: int


def export_images(
    folder: Path, out: Path, *, trimap_radius: int, engine: Engine, reporter: Reporter[Exported]
) -> ExportSummary:
    """Write a folder of shards as PNG: merged/, bg/, trimaps/ by composite, fg/ and alpha/ by foreground.

    Names are the official ones, `<stem>_<i>.png`. `annotations.json` lists them in the form of mmagic's
    AdobeComp1kDataset. bg/ is exact wherever a composite depends on it; deep inside an opaque foreground,
    where the shards do not keep it, it is black. Files that are there from an earlier run of the same
    export stay. Raises ShardError; WrongUseError where `out` holds another export or something else.
    """
    index = read_index(folder)
    jobs = [
        ExportJob(shard=folder / record.file, out=out, trimap_radius=trimap_radius) for record in index.shards
    ]
    mark = json.dumps({"index": file_sha256(folder / INDEX_NAME), "trimap_radius": trimap_radius}) + "\n"
    _refuse_other(out, mark)
    results = []
    with _sole_export(out):
        _claim(out, mark)
        reporter.planned(index.composites)
        with closing(engine.run(export_shard, jobs)) as done:
            for each in done:
                reporter.finished(each)
                results.append(each)
        _annotate(out, [(each.label or stem(each.foreground), each.composites) for each in index.shards])
    return ExportSummary(
        out=out,
        composites=index.composites,
        written=sum(each.written for each in results),
        kept=sum(each.kept for each in results),
    )


@contextmanager
def _sole_export(out: Path) -> Iterator[None]:
    """Hold the folder's lock: a second export would take the first one's unfinished files for left-overs."""
    out.mkdir(parents=True, exist_ok=True)
    try:
        with locked(out / _LOCK):
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


def _claim(out: Path, mark: str) -> None:
    """Make `out` this export's; rid of what a killed one left unfinished."""
    if not (out / _MARK).exists():
        write_text(out / _MARK, mark)
    for name in FOLDERS:
        (out / name).mkdir(exist_ok=True)
    for part in (*out.glob(".*.part"), *out.glob("*/.*.part")):
        part.unlink(missing_ok=True)


def export_shard(job: ExportJob) -> Exported:
    """Write the pictures of one shard that are not there yet. Raises ShardError."""
    with Shard(job.shard) as shard:
        name = shard.header.label or stem(shard.header.foreground)
        alpha, foreground = shard.alpha(), shard.foreground()
        trimap = trimap_of(alpha, shard.distance(), job.trimap_radius, job.trimap_radius)
        written = _write(foreground, job.out / "fg" / f"{name}.png")
        written += _write(alpha, job.out / "alpha" / f"{name}.png")
        for i in range(len(shard)):
            paths = [job.out / each / f"{name}_{i}.png" for each in FOLDERS[:3]]
            if all(path.exists() for path in paths):
                continue
            layer = shard.composite(i)
            background = known_background(shard.background(i), layer, alpha)
            written += sum(_write(*each) for each in zip((layer, background, trimap), paths, strict=True))
        total = 2 + 3 * len(shard)
        return Exported(shard=job.shard.name, composites=len(shard), written=written, kept=total - written)


def _write(pixels: UInt8Image | UInt8Mask, path: Path) -> int:
    """1 if the picture was written, 0 if it is there: a file under its final name is complete."""
    if path.exists():
        return 0
    with part_of(path) as part:
        Image.fromarray(pixels).save(part, format="PNG", compress_level=_PNG_LEVEL)
    return 1


def _annotate(out: Path, shards: Sequence[tuple[str, int]]) -> None:
    rows = [
        {
            "alpha": f"alpha/{name}.png",
            "merged": f"merged/{name}_{i}.png",
            "fg": f"fg/{name}.png",
            "bg": f"bg/{name}_{i}.png",
            "trimap": f"trimaps/{name}_{i}.png",
        }
        for name, composites in shards
        for i in range(composites)
    ]
    write_text(out / ANNOTATION_NAME, json.dumps(rows, indent=1) + "\n")
