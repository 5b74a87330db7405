"""The set as a whole: folders against their indexes, counts, lists, and foregrounds that are there twice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from ..shards.index import INDEX_NAME, Index
from ..sources.manifest import ForegroundEntry, Manifest
from .check_shard import ShardFacts, ShardReport
from .duplicates import near_pairs
from .findings import Finding, Tally


@dataclass(frozen=True, kw_only=True)
class FolderReport:
    """A folder of shards; `manifest` is what its lists ask for, where the lists are there."""

    folder: Path
    index: Index
    manifest: Manifest | None
    shards: tuple[ShardReport, ...]

    @property
    def asked(self) -> dict[str, ForegroundEntry | None] | None:
        """What the lists ask for, by shard name; None for a shard of which a source file is missing."""
        if self.manifest is None:
            return None
        entries: dict[str, ForegroundEntry | None] = {each.shard_name: each for each in self.manifest.entries}
        return entries | {each.shard_name: None for each in self.manifest.failures}


def check_listing(folder: Path, index: Index) -> Tally:
    """The files of a folder against its index: missing ones, and ones that it does not name."""
    tally = Tally()
    listed = {record.file for record in index.shards}
    there = {path.name for path in folder.glob("*.h5") if path.is_file()}
    tally.tried["files"] += len(listed - there) + len(there - listed)
    for name in sorted(listed - there):
        tally.findings.append(
            Finding(check="files", folder=str(folder), shard=name, what="the shard is missing")
        )
    for name in sorted(there - listed):
        what = f"the file is not in {INDEX_NAME}"
        tally.findings.append(Finding(check="files", folder=str(folder), shard=name, what=what))
    return tally


def check_counts(report: FolderReport) -> Tally:
    """As many composites as the lists asked for, and every background where the lists say."""
    tally = Tally()
    folder, index, asked = str(report.folder), report.index, report.asked
    tally.tried["set"] += 1
    if index.composites != index.asked:
        what = "the build is not complete: composites are missing; run `dimtool build-dataset` again"
        tally.findings.append(
            Finding(
                check="set", folder=folder, what=what, expected=str(index.asked), found=str(index.composites)
            )
        )
    listed = {record.file for record in index.shards}
    for name in asked or ():
        tally.tried["set"] += 1
        if name not in listed:
            what = "the lists ask for this shard, and the index does not have it"
            tally.findings.append(Finding(check="set", folder=folder, shard=name, what=what))
    for shard in report.shards:
        if asked is not None and shard.record.file not in asked:
            what = "the lists do not ask for it"
            tally.findings.append(Finding(check="set", folder=folder, shard=shard.record.file, what=what))
        entry = (asked or {}).get(shard.record.file)
        if entry is not None and shard.facts is not None:
            tally.tried["set"] += 1
            tally.findings += _against_lists(shard.record.file, shard.facts, entry, folder)
    return tally


def _against_lists(shard: str, facts: ShardFacts, entry: ForegroundEntry, folder: str) -> Iterator[Finding]:
    pairs = zip_longest(entry.background_names, facts.backgrounds, fillvalue="none")
    wrong = [(i, *names) for i, names in enumerate(pairs) if names[0] != names[1]]
    if wrong:
        i, expected, found = wrong[0]
        what = f"{len(wrong)} backgrounds are not those that the lists say, the first here"
        yield Finding(
            check="set", folder=folder, shard=shard, composite=i, what=what, expected=expected, found=found
        )


def check_duplicates(folders: Sequence[FolderReport]) -> Tally:
    """Foregrounds that are one picture, within a split and across splits: exactly, or nearly."""
    tally = Tally()
    shards = [
        ((report.index.split, str(report.folder), shard.record.file), shard.facts)
        for report in folders
        for shard in report.shards
        if shard.facts is not None
    ]
    tally.tried["duplicates"] += len(shards)
    by_digest: dict[bytes, list[tuple[str, str, str]]] = defaultdict(list)
    for key, facts in shards:
        by_digest[facts.foreground_sha256].append(key)
    exact = {(keys[0], other) for keys in by_digest.values() for other in keys[1:]}
    tally.findings += [_duplicate(first, other, "the same pixels") for first, other in sorted(exact)]
    same = {other for _, other in exact}  # the first of each stays: it may be nearly a third one
    hashes = [(key, facts.perceptual) for key, facts in shards if facts.perceptual and key not in same]
    for first, other, bits in near_pairs(hashes):
        tally.findings.append(_duplicate(first, other, f"nearly the same picture, {bits} of 256 bits apart"))
    return tally


def _duplicate(first: tuple[str, str, str], other: tuple[str, str, str], how: str) -> Finding:
    across = f", and in {first[0]} as well as in {other[0]}" if first[0] != other[0] else ""
    what = f"its foreground is that of {first[1]}/{first[2]}{across}: {how}"
    return Finding(check="duplicates", folder=other[1], shard=other[2], what=what)
