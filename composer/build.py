"""build_dataset(): plan, run, resume, index. What is there and right is kept, what is missing is built."""

from __future__ import annotations

import json
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from filelock import FileLock, Timeout

from ..errors import WrongUseError
from .engine import Engine
from .files import write_text
from .index import Index, ShardRecord, by_index, read_index, record_of, write_index
from .manifest import Failure, Manifest
from .shard import ShardError, current_versions
from .work import Found, ShardJob, build_shard, examine_shard, pixel_count

FAILURES_NAME = "failures.jsonl"
SCRATCH_NAME = ".build"
JOURNAL_NAME = "journal.jsonl"


class BuildError(WrongUseError):
    """The build cannot go on in this folder; the message says why and what to do. Nothing was changed."""


class Reporter(Protocol):
    """What a build tells while it runs; the command line shows it as a progress bar."""

    def planned(self, composites: int, kept: int) -> None:
        """`composites` are to be there in the end, `kept` of them are there from before."""

    def finished(self, outcome: ShardRecord | Failure) -> None:
        """A shard was built, or cannot be."""

    def note(self, text: str) -> None:
        """Something odd that does not stop the build."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a build did. composites, bytes: in the folder now. built: composites of this run."""

    folder: Path
    split: str
    asked: int
    foregrounds: int
    composites: int
    bytes: int
    built: int
    seconds: float
    failures: tuple[Failure, ...]


def build_dataset(
    manifest: Manifest, folder: Path, *, engine: Engine, reporter: Reporter, keep_going: bool = True
) -> Summary:
    """Build every shard of `manifest` that `folder` lacks, then write index.json.

    Shards that stand there from before are kept if they are what the manifest asks for, sources included.
    With `keep_going` a foreground that cannot be built is reported and left out; without, the first one
    stops the build. Raises BuildError where another build works in the folder or what is there is of other
    input, DiskFullError, EngineError; an interrupted build loses at most the shards under way.
    """
    started = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    with _sole_builder(folder) as scratch, _Journal(scratch / JOURNAL_NAME) as journal:
        kept, jobs = _plan(manifest, folder, engine, journal, reporter)
        asked = (len(manifest.entries) + len(manifest.failures)) * manifest.per_fg
        reporter.planned(asked, sum(record.composites for record in kept))
        built: list[ShardRecord] = []
        failures: list[Failure] = []
        with closing(_outcomes(manifest, engine, jobs)) as outcomes:
            for outcome in outcomes:
                reporter.finished(outcome)
                if isinstance(outcome, ShardRecord):
                    journal.add(outcome)
                    built.append(outcome)
                else:
                    failures.append(outcome)
                    if not keep_going:
                        break
        index = _finish(manifest, folder, [*kept, *built], failures)
        journal.discard()
    return Summary(
        folder=folder,
        split=manifest.split,
        asked=manifest.asked,
        foregrounds=len(index.shards),
        composites=index.composites,
        bytes=index.bytes,
        built=sum(record.composites for record in built),
        seconds=time.monotonic() - started,
        failures=tuple(sorted(failures, key=lambda failure: failure.index)),
    )


def _outcomes(
    manifest: Manifest, engine: Engine, jobs: Sequence[ShardJob]
) -> Generator[ShardRecord | Failure, None, None]:
    """What the lists alone show to fail, before hours of work; then the work."""
    yield from manifest.failures
    with closing(engine.run(build_shard, jobs)) as results:
        yield from results


@contextmanager
def _sole_builder(folder: Path) -> Iterator[Path]:
    """Hold the folder's lock; gives the scratch folder, emptied of what a killed build left there."""
    scratch = folder / SCRATCH_NAME
    scratch.mkdir(exist_ok=True)
    try:
        with FileLock(scratch / "lock", timeout=0):
            for part in scratch.glob("*.part"):
                part.unlink(missing_ok=True)
            yield scratch
    except Timeout as error:
        raise BuildError(
            f"another build is at work in {folder}: wait for it, or build into another --out"
        ) from error


def _plan(
    manifest: Manifest, folder: Path, engine: Engine, journal: _Journal, reporter: Reporter
) -> tuple[list[ShardRecord], list[ShardJob]]:
    """What is there and right, and the jobs for what is missing. Raises BuildError where they would mix."""
    jobs = [
        ShardJob(entry=entry, split=manifest.split, folder=folder, scratch=folder / SCRATCH_NAME)
        for entry in manifest.entries
    ]
    known = {**_indexed(folder), **journal.records()}
    there = {path.name: path for path in sorted(folder.glob("*.h5"))}
    # A shard stays when its sources are gone since; it is only not looked at again.
    orphans = [there.pop(each.shard_name) for each in manifest.failures if each.shard_name in there]
    kept = [known.get(path.name) or record_of(path) for path in orphans]
    strangers = there.keys() - {job.path.name for job in jobs}
    if strangers:
        raise BuildError(
            f"{folder / min(strangers)} is not of this list, nor are {len(strangers) - 1} others there: "
            "build into another --out, or remove them"
        )
    present = [(job, known.get(job.path.name)) for job in jobs if job.path.name in there]
    found = list(engine.run(examine_shard, present))
    _refuse_clashes(found)
    for each in found:
        if each.broken:
            reporter.note(f"{each.broken}; it is built anew now")
    _note_other_versions(found, reporter)
    done = {each.job.path: each.record for each in found if each.record}
    return [*kept, *done.values()], _largest_first([job for job in jobs if job.path not in done])


def _refuse_clashes(found: Sequence[Found]) -> None:
    clashes = sorted((each for each in found if each.clash), key=lambda each: each.job.path)
    if clashes:
        first = clashes[0]
        more = f" (and {len(clashes) - 1} other shards do not fit)" if len(clashes) > 1 else ""
        raise BuildError(
            f"{first.job.path} was built from other input: {first.clash}{more}. "
            "Build into another --out, or remove the shards to have them built again"
        )


def _note_other_versions(found: Sequence[Found], reporter: Reporter) -> None:
    others = [each for each in found if each.record and each.versions != current_versions()]
    if others:
        reporter.note(
            f"{len(others)} shards are from other versions ({others[0].versions}, now {current_versions()}): "
            "`dimtool verify-composites` with --sources tells whether their pixels agree"
        )


def _largest_first(jobs: Sequence[ShardJob]) -> list[ShardJob]:
    """Large images first, so that the last worker to finish is not the one with the most to do."""
    return sorted(jobs, key=lambda job: pixel_count(job.entry), reverse=True)


def _finish(
    manifest: Manifest, folder: Path, records: Sequence[ShardRecord], failures: Sequence[Failure]
) -> Index:
    """Write failures.jsonl (or remove it) and, last of all, index.json."""
    path = folder / FAILURES_NAME
    if failures:
        ordered = sorted(failures, key=lambda failure: failure.index)
        write_text(path, "".join(json.dumps(asdict(each), ensure_ascii=False) + "\n" for each in ordered))
    else:
        path.unlink(missing_ok=True)
    index = Index(
        split=manifest.split,
        per_fg=manifest.per_fg,
        asked=manifest.asked,
        versions=current_versions(),
        shards=by_index(records),
    )
    write_index(folder, index)
    return index


def _indexed(folder: Path) -> dict[str, ShardRecord]:
    try:
        return {record.file: record for record in read_index(folder).shards}
    except ShardError:
        return {}  # none yet, or a broken one: the shards themselves are looked at, and it is written anew


class _Journal:
    """Records of the shards finished so far, so that going on need not hash them again.

    A cache: a line cut off by a kill costs one shard's hashing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> _Journal:
        self._stream = self._path.open("a", encoding="utf-8")
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def add(self, record: ShardRecord) -> None:
        self._stream.write(json.dumps(asdict(record)) + "\n")
        self._stream.flush()

    def records(self) -> dict[str, ShardRecord]:
        found = {}
        for line in self._path.read_text(encoding="utf-8").splitlines():
            try:
                record = ShardRecord(**json.loads(line))
            except (ValueError, TypeError):
                continue
            found[record.file] = record
        return found

    def discard(self) -> None:
        self._path.unlink()
