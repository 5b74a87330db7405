"""What a build has to do in a folder: what stands there and is right, and the jobs for what is missing."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ...storage.remote import Place, Remote
from ..engines.engine import Engine
from ..shards.index import ShardRecord
from ..shards.layout import ShardError, ShardHeader, current_versions
from ..shards.reader import Shard
from ..sources.manifest import Failure, Manifest
from .records import Known, trusted
from .scratch import BuildError
from .work import Found, ShardJob, difference, examine_shard, not_examined, pixel_count


@dataclass(frozen=True, kw_only=True)
class Plan:
    """kept: shards that stand there and are right. jobs: the others, the largest first. notes: oddities."""

    kept: tuple[ShardRecord, ...]
    jobs: tuple[ShardJob, ...]
    notes: tuple[str, ...]


def make_plan(
    manifest: Manifest,
    folder: Place,
    *,
    engine: Engine,
    known: dict[str, Known],
    scratch: Path,
) -> Plan:
    """Compare `folder` with `manifest`; nothing is changed.

    scratch: where the jobs are to have their unfinished files.
    known: records of shards from before, by file name; one that is not of the file there is hashed. Raises
    BuildError where shards of other input are there, which must not be mixed with these.
    """
    jobs = [
        ShardJob(entry=entry, split=manifest.split, folder=folder, scratch=scratch)
        for entry in manifest.entries
    ]
    there = {path.name for path in folder.glob("*.h5")}
    listed = [each.shard_name for each in manifest.entries] + [each.shard_name for each in manifest.failures]
    _refuse_strangers(folder, there - set(listed))
    if isinstance(folder, Remote):
        # Whether another is whole nobody knows without downloading it.
        there &= known.keys()
    gone = [each for each in manifest.failures if each.shard_name in there]
    orphans, oddities = _orphans(manifest, folder, gone, known)
    present = [job for job in jobs if job.path.name in there]
    tasks = [(job, known.get(job.path.name)) for job in present]
    found = list(engine.run(examine_shard, tasks, lost=not_examined))
    _refuse_clashes(found)
    broken = [f"{each.broken}; it is built anew now" for each in found if each.broken]
    done = {each.path: each.record for each in found if each.record}
    return Plan(
        kept=(*orphans, *done.values()),
        jobs=_largest_first([job for job in jobs if job.path not in done]),
        notes=(*oddities, *broken, *_unread(found), *_other_versions(found)),
    )


def _orphans(
    manifest: Manifest, folder: Place, failures: Sequence[Failure], known: dict[str, Known]
) -> tuple[list[ShardRecord], list[str]]:
    """Shards whose sources are gone since: they stay, only not compared with those; notes on broken ones."""
    kept, notes = [], []
    for failure in failures:
        path = folder / failure.shard_name
        header = ShardHeader(
            split=manifest.split,
            index=failure.index,
            foreground=failure.foreground,
            backgrounds=failure.background_names,
            reading=manifest.lists.reading.recorded,
            label=failure.label,
            first=failure.first,
        )
        try:
            with Shard(path) as shard:
                if shard.header != header:
                    raise _clash(path, difference(shard.header, header))
            kept.append(trusted(known.get(path.name), path))
        except ShardError as error:
            notes.append(f"{error}; that cannot be done, as its sources are missing: it is left out")
    return kept, notes


def _clash(path: Place, why: str, more: str = "") -> BuildError:
    return BuildError(
        f"{path} was built from other input: {why}{more}. "
        "Build into another --out, or remove the shards to have them built again"
    )


def _refuse_strangers(folder: Place, names: Collection[str]) -> None:
    if names:
        others = f" and {len(names) - 1} others are" if len(names) > 1 else " is"
        raise BuildError(
            f"{folder / min(names)}{others} not of this list: build into another --out, or remove what does "
            "not belong there"
        )


def _refuse_clashes(found: Sequence[Found]) -> None:
    clashes = sorted((each for each in found if each.clash), key=lambda each: each.path)
    if clashes:
        first = clashes[0]
        more = f" (and {len(clashes) - 1} other shards do not fit)" if len(clashes) > 1 else ""
        raise _clash(first.path, first.clash, more)


def _unread(found: Sequence[Found]) -> list[str]:
    return [f"{each.unread}: {each.path} stays, not compared with it" for each in found if each.unread]


def _other_versions(found: Sequence[Found]) -> list[str]:
    every = [each.record.versions for each in found if each.record]
    others = [versions for versions in every if versions != current_versions()]
    if not others:
        return []
    return [
        f"{len(others)} shards are from other versions ({others[0]}, now {current_versions()}): "
        "`dimtool verify-composites` tells whether their pixels agree"
    ]


def _largest_first(jobs: Sequence[ShardJob]) -> tuple[ShardJob, ...]:
    """The most pixels first, so that the last worker to finish is not the one with the most to do."""
    pixels = cache(pixel_count)  # pieces of a foreground share its matte
    weight = {job.path: pixels(job.entry.alpha) * (1 + len(job.entry.backgrounds)) for job in jobs}
    return tuple(sorted(jobs, key=lambda job: weight[job.path], reverse=True))
