"""What a build has to do in a folder: what stands there and is right, and the jobs for what is missing."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from .engine import Engine
from .index import ShardRecord, read_index, record_of
from .manifest import Manifest
from .scratch import BuildError, scratch_of
from .shard import ShardError, current_versions
from .work import Found, ShardJob, examine_shard, pixel_count


@dataclass(frozen=True, kw_only=True)
class Plan:
    """kept: shards that stand there and are right. jobs: the others, the largest first. notes: oddities."""

    kept: tuple[ShardRecord, ...]
    jobs: tuple[ShardJob, ...]
    notes: tuple[str, ...]


def make_plan(
    manifest: Manifest,
    folder: Path,
    *,
    engine: Engine,
    known: dict[str, ShardRecord],
    rebuild: Collection[str] = (),
) -> Plan:
    """Compare `folder` with `manifest`; nothing is changed.

    known: records of shards from before, by file name; one that is not among them is hashed. rebuild:
    names of shards to build anew whatever they are. Raises BuildError where shards of other input are
    there, which must not be mixed with these.
    """
    scratch = scratch_of(folder)
    jobs = [
        ShardJob(entry=entry, split=manifest.split, folder=folder, scratch=scratch)
        for entry in manifest.entries
    ]
    there = {path.name: path for path in sorted(folder.glob("*.h5"))}
    # A shard stays when its sources are gone since; it is only not looked at again.
    orphans = [there.pop(each.shard_name) for each in manifest.failures if each.shard_name in there]
    _refuse_strangers(folder, there.keys() - {job.path.name for job in jobs})
    present = [job for job in jobs if job.path.name in there and job.path.name not in rebuild]
    found = list(engine.run(examine_shard, [(job, known.get(job.path.name)) for job in present]))
    _refuse_clashes(found)
    broken = [f"{each.broken}; it is built anew now" for each in found if each.broken]
    done = {each.job.path: each.record for each in found if each.record}
    kept = [known.get(path.name) or record_of(path) for path in orphans]
    return Plan(
        kept=(*kept, *done.values()),
        jobs=_largest_first([job for job in jobs if job.path not in done]),
        notes=(*broken, *_other_versions(found)),
    )


def indexed(folder: Path) -> dict[str, ShardRecord]:
    """The records of a folder's index, by file name; none where there is no index, or a broken one."""
    try:
        return {record.file: record for record in read_index(folder).shards}
    except ShardError:
        return {}  # the shards themselves are looked at, and the index is written anew


def _refuse_strangers(folder: Path, names: Collection[str]) -> None:
    if names:
        others = f" and {len(names) - 1} others are" if len(names) > 1 else " is"
        raise BuildError(
            f"{folder / min(names)}{others} not of this list: build into another --out, or remove what does "
            "not belong there"
        )


def _refuse_clashes(found: Sequence[Found]) -> None:
    clashes = sorted((each for each in found if each.clash), key=lambda each: each.job.path)
    if clashes:
        first = clashes[0]
        more = f" (and {len(clashes) - 1} other shards do not fit)" if len(clashes) > 1 else ""
        raise BuildError(
            f"{first.job.path} was built from other input: {first.clash}{more}. "
            "Build into another --out, or remove the shards to have them built again"
        )


def _other_versions(found: Sequence[Found]) -> list[str]:
    others = [each for each in found if each.record and each.versions != current_versions()]
    if not others:
        return []
    return [
        f"{len(others)} shards are from other versions ({others[0].versions}, now {current_versions()}): "
        "`dimtool verify-composites` tells whether their pixels agree"
    ]


def _largest_first(jobs: Sequence[ShardJob]) -> tuple[ShardJob, ...]:
    """Large images first, so that the last worker to finish is not the one with the most to do."""
    return tuple(sorted(jobs, key=lambda job: pixel_count(job.entry), reverse=True))
