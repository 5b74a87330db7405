"""What a build has to do in a folder: what stands there and is right, and the jobs for what is missing."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ...storage.remote import Place, Remote
from ...text import count
from ..engines.engine import Engine
from ..shards.index import ShardRecord
from ..shards.layout import ShardError, ShardHeader, current_versions
from ..shards.reader import Shard
from ..sources.manifest import Failure, Manifest
from .records import Known, trusted
from .scratch import BuildError
from .stamps import SourceFiles, Stamp, stamps_in
from .work import Examination, Found, ShardJob, difference, examine_shard, not_examined, pixel_count


@dataclass(frozen=True, kw_only=True)
class Plan:
    """kept: shards that stand there and are right. jobs: the others, the largest first. notes: oddities.

    made_of: of what all of them are made, by file name, but for those that could not be compared.
    """

    kept: tuple[ShardRecord, ...]
    jobs: tuple[ShardJob, ...]
    notes: tuple[str, ...]
    made_of: dict[str, str]


def make_plan(
    manifest: Manifest,
    folder: Place,
    *,
    engine: Engine,
    known: dict[str, Known],
    scratch: Path,
    sources: SourceFiles,
) -> Plan:
    """Compare `folder` with `manifest`; nothing is changed.

    scratch: where the jobs are to have their unfinished files.
    known: records of shards from before, by file name. One of the very file that is there, made of what it
    would be made of now, is believed; any other shard is opened and its sources' hashes are compared. Raises
    BuildError where shards of other input are there, which must not be mixed with these.
    """
    jobs = {
        entry.shard_name: ShardJob(entry=entry, split=manifest.split, folder=folder, scratch=scratch)
        for entry in manifest.entries
    }
    there = stamps_in(folder, ".h5")
    failed = {each.shard_name: each for each in manifest.failures}
    _refuse_strangers(folder, there.keys() - jobs.keys() - failed.keys())
    if isinstance(folder, Remote):
        # Whether another is whole nobody knows without downloading it.
        there = {name: stamp for name, stamp in there.items() if name in known}
    orphans, oddities = _orphans(manifest, folder, [failed[name] for name in failed if name in there], known)
    made_of = {name: sources.made_of(job.header, job.entry.files) for name, job in jobs.items()}
    done = _untouched(there, made_of, known)
    doubtful = [job for name, job in jobs.items() if name in there and name not in done]
    found = _examine(doubtful, engine, known, sources)
    _refuse_clashes(found)
    done |= {each.path.name: each.record for each in found if each.record}
    kept = (*orphans, *done.values())
    broken = [f"{each.broken}; it is built anew now" for each in found if each.broken]
    return Plan(
        kept=kept,
        jobs=_largest_first([job for name, job in jobs.items() if name not in done]),
        notes=(*oddities, *broken, *_unread(found), *_other_versions(kept)),
        made_of=made_of | {each.path.name: "" for each in found if each.unread},
    )


def _untouched(
    there: Mapping[str, Stamp | None], made_of: Mapping[str, str], known: Mapping[str, Known]
) -> dict[str, ShardRecord]:
    """The records of shards that are as they were when noted, and so is all that they are made of."""
    return {
        name: known[name].record
        for name, stamp in there.items()
        if name in known and known[name].stamp == stamp and made_of.get(name, "") == known[name].made_of != ""
    }


def _examine(
    jobs: Sequence[ShardJob], engine: Engine, known: Mapping[str, Known], sources: SourceFiles
) -> list[Found]:
    hashes = sources.hashes((path for job in jobs for path in job.entry.files), engine)
    tasks = [
        Examination(
            job=job,
            known=known.get(job.path.name),
            sources=tuple(hashes[path] for path in job.entry.files),
        )
        for job in jobs
    ]
    return list(engine.run(examine_shard, tasks, lost=not_examined))


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
        more = len(names) - 1
        others = f" and {count(more, 'other', 'others')} are" if more else " is"
        raise BuildError(
            f"{folder / min(names)}{others} not of this list: build into another --out, or remove what does "
            "not belong there"
        )


def _refuse_clashes(found: Sequence[Found]) -> None:
    clashes = sorted((each for each in found if each.clash), key=lambda each: each.path)
    if clashes:
        first = clashes[0]
        more = count(len(clashes) - 1, "other shard does", "other shards do")
        raise _clash(first.path, first.clash, f" (and {more} not fit)" if len(clashes) > 1 else "")


def _unread(found: Sequence[Found]) -> list[str]:
    return [f"{each.unread}: {each.path} stays, not compared with it" for each in found if each.unread]


def _other_versions(records: Sequence[ShardRecord]) -> list[str]:
    current = current_versions()
    others = [record.versions for record in records if record.versions != current]
    if not others:
        return []
    shards = count(len(others), "shard is", "shards are")
    return [
        f"{shards} from other versions ({others[0]}, now {current}): "
        "`dimtool verify-composites` tells whether their pixels agree"
    ]


def _largest_first(jobs: Sequence[ShardJob]) -> tuple[ShardJob, ...]:
    """The most pixels first, so that the last worker to finish is not the one with the most to do."""
    pixels = cache(pixel_count)  # pieces of a foreground share its matte
    weight = {job.path: pixels(job.entry.alpha) * (1 + len(job.entry.backgrounds)) for job in jobs}
    return tuple(sorted(jobs, key=lambda job: weight[job.path], reverse=True))
