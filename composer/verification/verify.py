"""verify_composites(): what to check, where the sources are, the work handed out, the findings gathered."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from itertools import accumulate, chain
from pathlib import Path
from typing import Any

from ...errors import WrongUseError
from ...progress import Reporter
from ...storage.remote import Place
from ...text import count
from ..building.scratch import known_manifest
from ..engines.engine import Engine
from ..hosts import checked_hosts
from ..shards.dataset import existing
from ..shards.index import INDEX_NAME, Index, no_shards, read_index
from ..shards.layout import ShardError
from ..sources.manifest import Manifest
from .check_set import (
    FolderReport,
    check_backgrounds,
    check_counts,
    check_duplicates,
    check_fingerprints,
    check_listing,
)
from .check_shard import ShardReport, check_shard
from .findings import CHECKS, Finding, Skipped, Tally, without
from .resume import Notebook
from .subject import ShardTask

QUICK = 200  # composites that a quick verification looks into, whatever the size of the set


@dataclass(frozen=True, kw_only=True)
class Scope:
    """How much to verify.

    sources: a folder with the lists, fg/, alpha/ and bg/; None for where the build found them, if they
    are still there. sample: share of the composites to look into, 0 to 1. quick: sizes instead of hashes,
    formats, and 200 composites of the set. seed: of the samples. require_sources: whether it is a finding
    that a folder could not be compared with its sources. expect: the fingerprints that the sets must have.
    """

    sources: Path | None = None
    sample: float = 1.0
    quick: bool = False
    seed: int = 0
    require_sources: bool = False
    expect: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Verification:
    """The outcome: the folders, all findings with what was tried, and what was not looked at.

    accepted: what was found and is known, by a list: no findings any more, and always shown.
    """

    folders: tuple[FolderReport, ...]
    tally: Tally
    skipped: tuple[Skipped, ...]
    notes: tuple[str, ...]
    seconds: float
    accepted: tuple[Finding, ...] = ()

    @property
    def findings(self) -> list[Finding]:
        """All findings, by folder, shard and composite."""
        return sorted(self.tally.findings, key=lambda each: (each.folder, each.shard, each.composite or 0))

    @property
    def verdict(self) -> str:
        """`wrong` with findings, `incomplete` without any where not all was looked at, else `good`."""
        return "wrong" if self.tally.findings else "incomplete" if self.skipped else "good"

    def accepting(self, lines: Iterable[str]) -> Verification:
        """The same without the findings that `lines` name; those are its `accepted`, and told.

        A line that no finding has any more is noted: whatever it excused is over, or was not looked at.
        """
        known = dict.fromkeys(lines)
        accepted = tuple(each for each in self.findings if str(each) in known)
        found = {str(each) for each in accepted}
        looked = " in what was looked at" if self.skipped else ""
        over = [line for line in known if line not in found]
        notes = [f"accepted, but not found{looked}: {line}: take it off the list" for line in over]
        tally = Tally(without(self.findings, known), self.tally.tried)
        return replace(self, tally=tally, accepted=accepted, notes=(*self.notes, *notes))

    @property
    def fingerprints(self) -> dict[str, str]:
        """Of each folder; see Index."""
        return {str(report.folder): report.index.fingerprint for report in self.folders}

    def values(self) -> dict[str, Any]:
        """The outcome as plain values, for JSON."""
        return {
            "verdict": self.verdict,
            "folders": [str(report.folder) for report in self.folders],
            "fingerprints": self.fingerprints,
            "skipped": [asdict(each) for each in self.skipped],
            "composites": self.tally.tried["pixels"],
            "checks": {
                check: {"tried": self.tally.tried[check], "wrong": self.tally.failed(check)}
                for check in CHECKS
            },
            "findings": [asdict(finding) for finding in self.findings],
            "accepted": [asdict(finding) for finding in self.accepted],
            "notes": list(self.notes),
            "seconds": self.seconds,
        }


def verify_composites(
    paths: Sequence[Place], scope: Scope, *, engine: Engine, reporter: Reporter[ShardReport]
) -> Verification:
    """Run every check over the folders of shards at or directly below `paths`.

    Whatever is wrong with the shards is a Finding. Raises WrongUseError where there are no shards, or the
    named sources are none; EngineError.
    """
    started = time.monotonic()
    total = Tally()
    plans, skipped = _plans(paths, scope, total)
    tasks = _sampled([task for plan in plans for task in plan.tasks(scope)], scope)
    reporter.planned(sum(map(_count, tasks)))
    reports: dict[tuple[Place, str], ShardReport] = {}
    notebook = Notebook([plan.folder for plan in plans])
    before = [] if scope.quick else notebook.known(tasks)
    done = {(report.folder, report.record.file) for report in before}
    left = {place: task for task in tasks if (place := (task.folder, task.record.file)) not in done}
    with (
        checked_hosts(engine, files=_some_files(plans)) as fit,
        closing(fit.run(check_shard, list(left.values()), lost=_died)) as results,
    ):
        for report in chain(before, results):
            place = report.folder, report.record.file
            reporter.finished(report)
            total.add(report.tally)
            reports[place] = report
            if place in left and not scope.quick:
                notebook.add(left[place], report)
    folders = tuple(plan.report(reports) for plan in plans)
    for folder in folders:
        total.add(check_counts(folder))
    total.add(check_duplicates(folders))
    total.add(check_backgrounds(folders))
    total.add(check_fingerprints(folders, scope.expect))
    notebook.discard()
    verified = count(len(before), "shard was", "shards were")
    known = [f"{verified} verified by a run that was cut short; nothing of that changed"]
    return Verification(
        folders=folders,
        tally=total,
        skipped=tuple(skipped),
        notes=(*(known if before else ()), *total.notes),
        seconds=time.monotonic() - started,
    )


def _some_files(plans: Sequence[_Plan]) -> Iterator[Place]:
    """By which other hosts show that they see the same folders, of shards and of sources."""
    for plan in plans:
        yield plan.folder / INDEX_NAME
        for entry in plan.manifest.entries[:1] if plan.manifest else ():
            yield from (entry.foreground, entry.alpha, *entry.backgrounds[:1])


def _died(task: ShardTask) -> ShardReport:
    """What is said of a shard that the process which checked it did not survive."""
    what = "the process that checked it died of it: its pixels were not looked at"
    finding = Finding(check="format", folder=str(task.folder), shard=task.record.file, what=what)
    return ShardReport(folder=task.folder, record=task.record, tally=Tally([finding], Counter(format=1)))


def shard_folders(paths: Sequence[Place]) -> list[Place]:
    """The folders of shards at or directly below `paths`. Raises WrongUseError where there is none."""
    found = []
    for path in paths:
        below = sorted(each for each in path.iterdir() if _holds_shards(each)) if path.is_dir() else []
        here = [path] if _holds_shards(path) else below
        if not here:
            raise WrongUseError(no_shards(path))
        found += here
    return list({each.resolve(): each for each in reversed(found)}.values())[::-1]


def _holds_shards(path: Place) -> bool:
    return path.is_dir() and ((path / INDEX_NAME).exists() or any(path.glob("*.h5")))


@dataclass(frozen=True)
class _Plan:
    """A folder that is to be verified, with its index, and its lists and sources where they are there."""

    folder: Place
    index: Index
    manifest: Manifest | None

    def tasks(self, scope: Scope) -> list[ShardTask]:
        """The shards that are there; check_listing names those that are not."""
        there = existing(self.folder, {record.file for record in self.index.shards})
        entries = {each.shard_name: each for each in self.manifest.entries} if self.manifest else {}
        return [
            ShardTask(
                folder=self.folder,
                split=self.index.split,
                record=record,
                entry=None if scope.quick else entries.get(record.file),
                composites=None,
                hash_file=not scope.quick,
                maps=not scope.quick,
            )
            for record in self.index.shards
            if record.file in there
        ]

    def report(self, reports: dict[tuple[Place, str], ShardReport]) -> FolderReport:
        """The folder with the reports of its shards, in the order of the index."""
        there = [reports.get((self.folder, record.file)) for record in self.index.shards]
        shards = tuple(report for report in there if report is not None)
        return FolderReport(folder=self.folder, index=self.index, manifest=self.manifest, shards=shards)


def _plans(paths: Sequence[Place], scope: Scope, tally: Tally) -> tuple[list[_Plan], list[Skipped]]:
    plans: list[_Plan] = []
    skipped: list[Skipped] = []
    for folder in shard_folders(paths):
        try:
            index = read_index(folder)
        except ShardError as error:
            tally.tried["files"] += 1
            tally.findings.append(Finding(check="files", folder=str(folder), what=str(error)))
            continue
        tally.add(check_listing(folder, index))
        manifest, why = known_manifest(folder, index, scope.sources)
        why = why or ("--quick" if scope.quick else "")
        if manifest is not None:
            tally.add(_missing_sources(folder, manifest))
        skipped += _skipped(folder, why, scope)
        if why and scope.require_sources:
            what = f"it was not compared with its sources: {why}"
            tally.add(Tally([Finding(check="source", folder=str(folder), what=what)], Counter(source=1)))
        plans.append(_Plan(folder, index, manifest))
    return plans, skipped


def _skipped(folder: Place, no_sources: str, scope: Scope) -> Iterator[Skipped]:
    """What of a folder is not looked at."""
    parts = [("the sources", no_sources)] if no_sources else []
    if scope.quick:
        parts += [("the files' hashes and the maps", "--quick"), (f"all but {QUICK} composites", "--quick")]
    elif scope.sample < 1:
        parts.append(("the other composites", f"--sample {scope.sample:.4%}"))
    return (Skipped(folder=str(folder), what=what, why=why) for what, why in parts)


def _missing_sources(folder: Place, manifest: Manifest) -> Tally:
    findings = [
        Finding(check="source", folder=str(folder), shard=failure.shard_name, what=error)
        for failure in manifest.failures
        for error in failure.errors
    ]
    return Tally(findings, Counter(source=len(findings)))


def _sampled(tasks: list[ShardTask], scope: Scope) -> list[ShardTask]:
    """The tasks with the composites that the scope asks for, spread over the whole set.

    The set is cut into as many equal stretches as composites are wanted, and one is drawn of each: what is
    drawn of a shard is told by arithmetic, without a list of all.
    """
    ends = list(accumulate(task.record.composites for task in tasks))
    total = ends[-1] if ends else 0
    wanted = min(QUICK, total) if scope.quick else round(scope.sample * total)
    if wanted == total:
        return tasks
    drawn = Sample(total=total, wanted=max(1, wanted), seed=scope.seed)
    return [
        replace(task, composites=tuple(drawn.within(end - task.record.composites, end)))
        for task, end in zip(tasks, ends, strict=True)
    ]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """`wanted` of `total` places, one drawn by `seed` of each of so many equal stretches."""

    total: int
    wanted: int
    seed: int

    def within(self, start: int, stop: int) -> Iterator[int]:
        """Those of the places from `start` to before `stop`, counted from `start`."""
        first, last = (place * self.wanted // self.total for place in (start, stop - 1))
        for stretch in range(first, last + 1):
            if start <= (place := self._drawn(stretch)) < stop:
                yield place - start

    def _drawn(self, stretch: int) -> int:
        begin, end = (-(-edge * self.total // self.wanted) for edge in (stretch, stretch + 1))
        chance = hashlib.blake2b(f"{self.seed} {stretch}".encode(), digest_size=8).digest()
        return begin + int.from_bytes(chance, "big") % (end - begin)


def _count(task: ShardTask) -> int:
    return task.record.composites if task.composites is None else len(task.composites)
