"""verify_composites(): what to check, where the sources are, the work handed out, the findings gathered."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ...errors import WrongUseError
from ...progress import Reporter
from ..building.scratch import read_lists, read_places
from ..engines.local import Engine
from ..shards.index import INDEX_NAME, Index, read_index
from ..shards.layout import ShardError
from ..sources.folders import ManifestError
from ..sources.lists import Lists
from ..sources.manifest import Manifest, read_manifest
from .check_set import FolderReport, check_counts, check_duplicates, check_listing
from .check_shard import ShardReport, check_shard
from .findings import CHECKS, Finding, Tally
from .subject import ShardTask

QUICK = 200  # composites that a quick verification looks into, whatever the size of the set


@dataclass(frozen=True, kw_only=True)
class Scope:
    """How much to verify.

    sources: a folder with the lists, fg/, alpha/ and bg/; None for where the build found them, if they
    are still there. sample: share of the composites to look into, 0 to 1. quick: sizes instead of hashes,
    formats, and 200 composites of the set. seed: of the samples.
    """

    sources: Path | None = None
    sample: float = 1.0
    quick: bool = False
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Verification:
    """The outcome: the folders, all findings with what was tried, notes on what could not be looked at."""

    folders: tuple[FolderReport, ...]
    tally: Tally
    notes: tuple[str, ...]
    seconds: float

    @property
    def findings(self) -> list[Finding]:
        """All findings, by folder, shard and composite."""
        return sorted(self.tally.findings, key=lambda each: (each.folder, each.shard, each.composite or 0))

    def values(self) -> dict[str, Any]:
        """The outcome as plain values, for JSON."""
        return {
            "folders": [str(report.folder) for report in self.folders],
            "composites": self.tally.tried["pixels"],
            "checks": {
                check: {"tried": self.tally.tried[check], "wrong": self.tally.failed(check)}
                for check in CHECKS
            },
            "findings": [asdict(finding) for finding in self.findings],
            "notes": list(self.notes),
            "seconds": self.seconds,
        }


def verify_composites(
    paths: Sequence[Path], scope: Scope, *, engine: Engine, reporter: Reporter[ShardReport]
) -> Verification:
    """Run every check over the folders of shards at or directly below `paths`.

    Whatever is wrong with the shards is a Finding. Raises WrongUseError where there are no shards, or the
    named sources are none; EngineError.
    """
    started = time.monotonic()
    total = Tally()
    plans, notes = _plans(paths, scope, total)
    tasks = _sampled([task for plan in plans for task in plan.tasks(scope)], scope)
    reporter.planned(sum(map(_count, tasks)))
    reports: dict[tuple[Path, str], ShardReport] = {}
    with closing(engine.run(check_shard, tasks)) as results:
        for report in results:
            reporter.finished(report)
            total.add(report.tally)
            reports[report.folder, report.record.file] = report
    folders = tuple(plan.report(reports) for plan in plans)
    for folder in folders:
        total.add(check_counts(folder))
    total.add(check_duplicates(folders))
    return Verification(folders=folders, tally=total, notes=tuple(notes), seconds=time.monotonic() - started)


def shard_folders(paths: Sequence[Path]) -> list[Path]:
    """The folders of shards at or directly below `paths`. Raises WrongUseError where there is none."""
    found = []
    for path in paths:
        below = sorted(each for each in path.iterdir() if _holds_shards(each)) if path.is_dir() else []
        here = [path] if _holds_shards(path) else below
        if not here:
            raise WrongUseError(f"{path} holds no shards: run `dimtool build-dataset`, or name their folder")
        found += here
    return list({each.resolve(): each for each in reversed(found)}.values())[::-1]


def _holds_shards(path: Path) -> bool:
    return path.is_dir() and ((path / INDEX_NAME).exists() or any(path.glob("*.h5")))


@dataclass(frozen=True)
class _Plan:
    """A folder that is to be verified, with its index, and its lists and sources where they are there."""

    folder: Path
    index: Index
    manifest: Manifest | None

    def tasks(self, scope: Scope) -> list[ShardTask]:
        """The shards that are there; check_listing names those that are not."""
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
            if (self.folder / record.file).is_file()
        ]

    def report(self, reports: dict[tuple[Path, str], ShardReport]) -> FolderReport:
        """The folder with the reports of its shards, in the order of the index."""
        there = [reports.get((self.folder, record.file)) for record in self.index.shards]
        shards = tuple(report for report in there if report is not None)
        return FolderReport(folder=self.folder, index=self.index, manifest=self.manifest, shards=shards)


def _plans(paths: Sequence[Path], scope: Scope, tally: Tally) -> tuple[list[_Plan], list[str]]:
    plans, notes = [], []
    for folder in shard_folders(paths):
        try:
            index = read_index(folder)
        except ShardError as error:
            tally.tried["files"] += 1
            tally.findings.append(Finding(check="files", folder=str(folder), what=str(error)))
            continue
        tally.add(check_listing(folder, index))
        manifest, note = _manifest(folder, index, scope)
        notes += [note] if note else []
        if manifest is not None:
            tally.add(_missing_sources(folder, manifest))
        plans.append(_Plan(folder, index, manifest))
    return plans, notes


def _manifest(folder: Path, index: Index, scope: Scope) -> tuple[Manifest | None, str]:
    """The lists with their sources, and why there are none."""
    built_from = read_lists(folder)
    if scope.sources is not None:
        return read_manifest(_lists_in(scope.sources, index, built_from), read_places(folder)), ""
    if built_from is None:
        return None, f"{folder}: where its sources lie is not known; name them with --sources to compare"
    try:
        return read_manifest(built_from, read_places(folder)), ""
    except ManifestError as error:
        return None, f"{folder}: not compared with its sources: {error}"


def _lists_in(sources: Path, index: Index, built_from: Lists | None) -> Lists:
    """The lists of a split in a folder that is laid out as the build expects it."""
    if built_from is None:
        found = sorted(sources.glob(f"{index.split}*fg*.txt"))
        if len(found) != 1:
            raise WrongUseError(
                f"{sources} has {len(found)} lists named {index.split}*fg*.txt, and one is needed to compare"
            )
        return Lists(
            fg_list=found[0],
            split=index.split,
            per_fg=index.per_fg,
            reuse_bg=True,
            **asdict(index.reading),
        )
    return replace(
        built_from,
        fg_list=sources / built_from.fg_list.name,
        bg_list=built_from.bg_list and sources / built_from.bg_list.name,
        fg_dir=None,
        alpha_dir=None,
        bg_dir=None,
    )


def _missing_sources(folder: Path, manifest: Manifest) -> Tally:
    findings = [
        Finding(check="source", folder=str(folder), shard=failure.shard_name, what=error)
        for failure in manifest.failures
        for error in failure.errors
    ]
    return Tally(findings, Counter(source=len(findings)))


def _sampled(tasks: list[ShardTask], scope: Scope) -> list[ShardTask]:
    """The tasks with the composites that the scope asks for, drawn over the whole set."""
    every = [(number, i) for number, task in enumerate(tasks) for i in range(task.record.composites)]
    wanted = min(QUICK, len(every)) if scope.quick else round(scope.sample * len(every))
    if wanted == len(every):
        return tasks
    chosen: dict[int, list[int]] = {}
    for number, i in sorted(random.Random(scope.seed).sample(every, max(1, wanted))):
        chosen.setdefault(number, []).append(i)
    return [replace(task, composites=tuple(chosen.get(number, ()))) for number, task in enumerate(tasks)]


def _count(task: ShardTask) -> int:
    return task.record.composites if task.composites is None else len(task.composites)
