"""Build anew exactly the shards that a verification found bad, and verify those again."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from ...files import lock_notes
from ...progress import Reporter
from ...storage.remote import Place
from ..building.scratch import sole_builder
from ..building.work import Built, Examination, ShardJob, build_shard, examine_shard, not_built
from ..engines.engine import Engine
from ..hosts import checked_hosts
from ..shards.index import INDEX_NAME, ShardRecord, read_index, write_index
from ..shards.layout import current_versions
from ..sources.manifest import Failure, ForegroundEntry
from .check_set import FolderReport
from .check_shard import check_shard
from .findings import REPAIRABLE, Finding
from .subject import ShardTask
from .verify import Verification

# What is settled once a shard is built anew as it was: also that its sources are those of before.
_MENDED = REPAIRABLE | {"source", "decoder"}


@dataclass(frozen=True, kw_only=True)
class Repair:
    """rebuilt: the shards built anew. findings: what is still wrong: what building anew could not mend.

    reasons: why bad shards were left, where that is not one of the findings.
    """

    rebuilt: tuple[str, ...]
    findings: tuple[Finding, ...]
    reasons: tuple[str, ...]


def repair_shards(
    verification: Verification, *, engine: Engine, reporter: Reporter[ShardRecord | Failure]
) -> Repair:
    """Rebuild the shards with findings that building anew mends, and check them again, wholly.

    A shard is replaced only by what it was, byte for byte; where the versions are others by now, which its
    bytes name, only if it does not say that its sources were others. Changed sources, other decoders,
    duplicates and faults of the lists are left: mending those would make another data set. So is a folder
    whose sources are not there. Raises BuildError where a build is at work, DiskFullError, EngineError.
    """
    folders = {str(report.folder) for report in verification.folders}
    left = [finding for finding in verification.findings if finding.folder not in folders]
    rebuilt: list[str] = []
    reasons: list[str] = []
    for report in verification.folders:
        mine = [finding for finding in verification.findings if finding.folder == str(report.folder)]
        reasons += _why_not(report, mine)
        records, failures = _rebuild(report, _bad_shards(report, mine), engine, reporter)
        left += [finding for finding in mine if finding.shard not in records or finding.check not in _MENDED]
        left += [finding for failure in failures for finding in _told(report.folder, failure)]
        left += _check_again(report, list(records.values()), engine)
        rebuilt += [str(report.folder / name) for name in sorted(records)]
    return Repair(rebuilt=tuple(rebuilt), findings=tuple(left), reasons=tuple(reasons))


def _why_not(report: FolderReport, findings: Sequence[Finding]) -> list[str]:
    """Why bad shards of a folder are left: its sources are not known, or the lists do not ask for them."""
    bad = {each.shard for each in findings if each.shard and each.check in REPAIRABLE}
    if bad and report.manifest is None:
        return [f"{report.folder}: nothing can be built anew without the sources: name them with --sources"]
    asked = {record.file for record, _ in _bad_shards(report, findings)}
    return [
        f"{report.folder / name}: left: the index or the lists do not have it, or a source is missing"
        for name in sorted(bad - asked)
    ]


def _bad_shards(
    report: FolderReport, findings: Sequence[Finding]
) -> list[tuple[ShardRecord, ForegroundEntry]]:
    """The bad shards that the index has, with their sources, where those are there."""
    if report.manifest is None:
        return []
    entries = {entry.shard_name: entry for entry in report.manifest.entries}
    bad = {finding.shard for finding in findings if finding.check in REPAIRABLE} & entries.keys()
    return [(record, entries[record.file]) for record in report.index.shards if record.file in bad]


def _job(report: FolderReport, record: ShardRecord, entry: ForegroundEntry, scratch: Path) -> ShardJob:
    return ShardJob(
        entry=entry,
        split=(report.manifest or report.index).split,
        folder=report.folder,
        scratch=scratch,
        sha256=record.sha256 if record.versions == current_versions() else "",
    )


def _rebuild(
    report: FolderReport,
    bad: Sequence[tuple[ShardRecord, ForegroundEntry]],
    engine: Engine,
    reporter: Reporter[ShardRecord | Failure],
) -> tuple[dict[str, ShardRecord], list[Failure]]:
    """Build the shards, and put them into the index; what was built, by file name, and what could not be."""
    records: dict[str, ShardRecord] = {}
    failures: list[Failure] = []
    if not bad:
        return records, failures
    reporter.planned(sum(len(entry.backgrounds) for _, entry in bad))
    with (
        sole_builder(report.folder) as hold,
        checked_hosts(engine, scratch=hold.scratch, writable=[report.folder]) as fit,
    ):
        for note in lock_notes(hold.alone, "build"):
            reporter.note(note)
        there = {record.file: record for record in read_index(report.folder).shards}
        still = [(record, entry) for record, entry in bad if there.get(record.file) == record]
        gone = [entry for record, entry in bad if there.get(record.file) != record]
        failures += [_meanwhile(report.folder, entry) for entry in gone]
        jobs = [_job(report, record, entry, hold.scratch) for record, entry in still]
        with closing(fit.run(_rebuild_shard, jobs, lost=not_built)) as outcomes:
            for outcome in outcomes:
                reporter.finished(outcome)
                if isinstance(outcome, Failure):
                    failures.append(outcome)
                else:
                    records[outcome.file] = outcome
                    _put(report.folder, outcome)
    return records, failures


def _put(folder: Place, built: ShardRecord) -> None:
    """Into the index as it is now, hours after the verification, in place of that shard's record alone."""
    index = read_index(folder)
    shards = tuple(built if record.file == built.file else record for record in index.shards)
    write_index(folder, replace(index, shards=shards))


def _meanwhile(folder: Place, entry: ForegroundEntry) -> Failure:
    path = folder / entry.shard_name
    error = f"{path} was built anew or left the index since it was verified: verify again"
    return entry.failure([error])


def _rebuild_shard(job: ShardJob) -> ShardRecord | Failure:
    clash = "" if job.sha256 else examine_shard(Examination(job=job)).clash
    if not clash:
        outcome = build_shard(job)
        return outcome.record if isinstance(outcome, Built) else outcome
    error = f"{job.path} is not built anew, it would become another: {clash}"
    return job.entry.failure([error])


def _told(folder: Place, failure: Failure) -> list[Finding]:
    return [
        Finding(check="source", folder=str(folder), shard=failure.shard_name, what=error)
        for error in failure.errors
    ]


def _check_again(report: FolderReport, records: Sequence[ShardRecord], engine: Engine) -> list[Finding]:
    tasks = [ShardTask(folder=report.folder, split=report.index.split, record=each) for each in records]
    if not tasks:
        return []
    with checked_hosts(engine, files=[report.folder / INDEX_NAME]) as fit:
        return [finding for checked in fit.run(check_shard, tasks) for finding in checked.tally.findings]
