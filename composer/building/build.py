"""build_dataset(): plan, run, resume, index. What is there and right is kept, what is missing is built."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass

from ...files import lock_notes
from ...progress import Reporter
from ...storage.publishing import publish_text
from ...storage.remote import Place
from ...text import json_text
from ..engines.engine import Engine
from ..hosts import checked_hosts
from ..shards.index import Index, ShardRecord, by_index, write_index
from ..sources.manifest import Failure, Manifest
from .objects import ObjectJournal
from .plan import make_plan
from .records import Journal
from .scratch import sole_builder, write_lists
from .suspicions import faint_mattes
from .work import Built, ShardJob, build_shard, not_built

FAILURES_NAME = "failures.jsonl"


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a build did. composites, bytes: in the folder now. built: composites of this run.
    fingerprint: of the index, see there.
    """

    folder: Place
    split: str
    asked: int
    foregrounds: int
    shards: int
    composites: int
    bytes: int
    built: int
    seconds: float
    failures: tuple[Failure, ...]
    fingerprint: str


def build_dataset(
    manifest: Manifest,
    folder: Place,
    *,
    engine: Engine,
    reporter: Reporter[ShardRecord | Failure],
    keep_going: bool = True,
) -> Summary:
    """Build every shard of `manifest` that `folder` lacks, then write index.json.

    Shards that stand there from before are kept if they are what the manifest asks for, sources included.
    With `keep_going` a foreground that cannot be built is reported and left out; without, the first one
    stops the build. Raises BuildError where another build works in the folder or what is there is of other
    input, DiskFullError, EngineError, HostError; an interrupted build loses at most the shards under way.
    """
    started = time.monotonic()
    ready = engine.ready(build_shard, most=len(manifest.entries))
    with (
        sole_builder(folder) as hold,
        ready,
        checked_hosts(engine, files=_some_sources(manifest), scratch=hold.scratch, writable=[folder]) as fit,
    ):
        journal = hold.journal
        plan = make_plan(
            manifest,
            folder,
            engine=fit,
            known=journal.known(),
            scratch=hold.scratch,
            sources=hold.sources,
        )
        journal.made_of = plan.made_of
        write_lists(folder, manifest.lists, manifest.begun)
        _tell(reporter, (*plan.notes, *lock_notes(hold.alone, "build")))
        reporter.planned(manifest.asked, sum(record.composites for record in plan.kept))
        with closing(_outcomes(manifest, fit, plan.jobs)) as outcomes:
            built, failures = _gather(outcomes, journal, reporter, keep_going=keep_going)
        _tell(reporter, faint_mattes(built))
        index = _finish(manifest, folder, [*plan.kept, *(each.record for each in built)], failures)
        journal.settle(index.shards)
    return Summary(
        folder=folder,
        split=manifest.split,
        asked=manifest.asked,
        foregrounds=index.foregrounds,
        shards=len(index.shards),
        composites=index.composites,
        bytes=index.bytes,
        built=sum(each.record.composites for each in built),
        seconds=time.monotonic() - started,
        failures=_ordered(failures),
        fingerprint=index.fingerprint,
    )


def _some_sources(manifest: Manifest) -> tuple[Place, ...]:
    """A file of each folder of sources, by which other hosts show that they see the same ones."""
    return tuple(
        path
        for entry in manifest.entries[:1]
        for path in (entry.foreground, entry.alpha, *entry.backgrounds[:1])
    )


def _tell(reporter: Reporter[ShardRecord | Failure], notes: Iterable[str]) -> None:
    for note in notes:
        reporter.note(note)


def _gather(
    outcomes: Iterable[Built | Failure],
    journal: Journal | ObjectJournal,
    reporter: Reporter[ShardRecord | Failure],
    *,
    keep_going: bool,
) -> tuple[list[Built], list[Failure]]:
    """The shards that were built, each in the journal at once, and what could not be."""
    built: list[Built] = []
    failures: list[Failure] = []
    for outcome in outcomes:
        if isinstance(outcome, Built):
            reporter.finished(outcome.record)
            journal.add(outcome.record)
            built.append(outcome)
        else:
            reporter.finished(outcome)
            failures.append(outcome)
            if not keep_going:
                break
    return built, failures


def _outcomes(
    manifest: Manifest, engine: Engine, jobs: Sequence[ShardJob]
) -> Generator[Built | Failure, None, None]:
    """What the lists alone show to fail, before hours of work; then the work."""
    yield from manifest.failures
    with closing(engine.run(build_shard, jobs, lost=not_built)) as results:
        yield from results


def _finish(
    manifest: Manifest, folder: Place, records: Sequence[ShardRecord], failures: Sequence[Failure]
) -> Index:
    """Write failures.jsonl (or remove it) and, last of all, index.json."""
    path = folder / FAILURES_NAME
    if failures:
        publish_text(path, "".join(map(_failure_line, _ordered(failures))))
    else:
        path.unlink(missing_ok=True)
    index = Index(
        split=manifest.split,
        per_fg=manifest.per_fg,
        asked=manifest.asked,
        shards=by_index(records),
        reading=manifest.lists.reading.recorded,
        grown=() if manifest.order.is_official else manifest.order.grown,
    )
    write_index(folder, index)
    return index


def _ordered(failures: Iterable[Failure]) -> tuple[Failure, ...]:
    return tuple(sorted(failures, key=lambda failure: (failure.index, failure.first)))


def _failure_line(failure: Failure) -> str:
    values = {"index": failure.index, "foreground": failure.foreground, "errors": failure.errors}
    piece = {"shard": failure.shard_name} if failure.piece else {}
    return json_text({**values, **piece}) + "\n"
