"""The set as a whole: folders against their indexes, counts, lists, and foregrounds that are there twice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest

from ...manifests.presets import OFFICIAL_PAIRS
from ...names import stem
from ...storage.remote import Place
from ...text import count
from ..shards.dataset import existing
from ..shards.index import INDEX_NAME, Index, by_index, stated_total
from ..sources.manifest import ForegroundEntry, Manifest, shard_name
from .check_shard import ShardFacts, ShardReport
from .duplicates import near_pairs
from .findings import Finding, Tally


@dataclass(frozen=True, kw_only=True)
class FolderReport:
    """A folder of shards; `manifest` is what its lists ask for, where the lists are there."""

    folder: Place
    index: Index
    manifest: Manifest | None
    shards: tuple[ShardReport, ...]

    @cached_property
    def asked(self) -> dict[str, ForegroundEntry | None] | None:
        """What the lists ask for, by shard name; None for a shard of which a source file is missing."""
        if self.manifest is None:
            return None
        entries: dict[str, ForegroundEntry | None] = {each.shard_name: each for each in self.manifest.entries}
        return entries | {each.shard_name: None for each in self.manifest.failures}


def check_listing(folder: Place, index: Index) -> Tally:
    """The files of a folder against its index: missing ones, and ones that it does not name."""
    tally = Tally()
    listed = {record.file for record in index.shards}
    there = existing(folder, listed)
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
    tally.findings += [*_of_index(report), *_of_one_matte(report)]
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


def _of_index(report: FolderReport) -> Iterator[Finding]:
    """What the index says of the set as a whole, against its own records and against the lists."""
    index, manifest = report.index, report.manifest
    told: list[tuple[str, str, object, object]] = [
        ("", "composites", index.composites, stated_total(report.folder))
    ]
    if manifest is not None:
        told += [
            ("", "split", manifest.split, index.split),
            ("", "per_fg", manifest.per_fg, index.per_fg),
            ("", "asked", manifest.asked, index.asked),
            ("", "grown", () if manifest.order.is_official else manifest.order.grown, index.grown),
            ("", "reading", manifest.lists.reading.recorded.values(), index.reading.values()),
        ]
    told += _of_pieces(index)
    for shard, name, expected, found in told:
        if expected != found:
            what = f"{name} in {INDEX_NAME} is not what it must be"
            wanted, there = str(expected), str(found)
            yield Finding(
                check="set", folder=str(report.folder), shard=shard, what=what, expected=wanted, found=there
            )
    if not index.shards:
        yield Finding(check="set", folder=str(report.folder), what=f"{INDEX_NAME} lists no shard")


def _of_pieces(index: Index) -> Iterator[tuple[str, str, object, object]]:
    """Each shard where the one before it ends, the last one at the end; named after its place among them."""
    order, ends = index.order, dict[int, int]()
    for record in by_index(index.shards):
        name = shard_name(record.index, record.foreground, record.label, order.number(record.first))
        yield record.file, "first composite", ends.get(record.index, 0), record.first
        yield record.file, "file", name, record.file
        ends[record.index] = record.first + record.composites
    for record in {each.index: each for each in by_index(index.shards)}.values():  # the last of each
        yield record.file, "composites", index.per_fg - record.first, record.composites


def _of_one_matte(report: FolderReport) -> Iterator[Finding]:
    """The pieces of a foreground share its pixels and its matte's."""
    firsts: dict[int, ShardReport] = {}
    for shard in report.shards:
        if shard.facts is None:
            continue
        first = firsts.setdefault(shard.record.index, shard)
        if first.facts is not None and first.facts.matte != shard.facts.matte:
            what = f"its foreground or matte has not the pixels that it has in {first.record.file}"
            yield Finding(check="set", folder=str(report.folder), shard=shard.record.file, what=what)


def _against_lists(shard: str, facts: ShardFacts, entry: ForegroundEntry, folder: str) -> Iterator[Finding]:
    if facts.foreground != entry.name:
        what = "its foreground is not the one that the lists say"
        wanted, there = entry.name, facts.foreground
        yield Finding(check="set", folder=folder, shard=shard, what=what, expected=wanted, found=there)
    pairs = zip_longest(entry.background_names, facts.backgrounds, fillvalue="none")
    wrong = [(i, *names) for i, names in enumerate(pairs) if names[0] != names[1]]
    if wrong:
        i, expected, found = wrong[0]
        what = f"{count(len(wrong), 'background is', 'backgrounds are')} not as the lists say, the first here"
        yield Finding(
            check="set", folder=folder, shard=shard, composite=i, what=what, expected=expected, found=found
        )


def check_duplicates(folders: Sequence[FolderReport]) -> Tally:
    """Foregrounds that are one picture, within a split and across splits: exactly, or nearly.

    Of each, the first shard that can be read.
    """
    tally = Tally()
    shards = [
        ((report.index.split, str(report.folder), shard.record.file), shard.facts)
        for report in folders
        for shard in _first_of_each(report.shards)
        if shard.facts is not None
    ]
    tally.tried["duplicates"] += len(shards)
    by_digest: dict[bytes, list[tuple[str, str, str]]] = defaultdict(list)
    for key, facts in shards:
        by_digest[facts.foreground_digest].append(key)
    exact = {(keys[0], other) for keys in by_digest.values() for other in keys[1:]}
    pairs = [(first, other, "the same pixels") for first, other in sorted(exact)]
    same = {other for _, other in exact}  # the first of each stays: it may be nearly a third one
    hashes = [(key, facts.perceptual) for key, facts in shards if facts.perceptual and key not in same]
    pairs += [
        (first, other, f"nearly the same picture, {bits} of 256 bits apart")
        for first, other, bits in near_pairs(hashes)
    ]
    names = {key: facts.foreground for key, facts in shards}
    for first, other, how in pairs:
        if _is_official(first[0], names[first], other[0], names[other]):
            tally.notes.append(f"Adobe's own lists have {stem(names[other])} in train and in test: {how}")
        else:
            tally.findings.append(_duplicate(first, other, how))
    return tally


def _is_official(split: str, name: str, other_split: str, other_name: str) -> bool:
    """Whether a picture is in two splits because the published lists have it so."""
    splits, stems = {split, other_split}, {stem(name), stem(other_name)}
    return splits == {"train", "test"} and len(stems) == 1 and stems <= OFFICIAL_PAIRS


def _first_of_each(shards: Sequence[ShardReport]) -> list[ShardReport]:
    """The first shard of each foreground that can be read."""
    firsts: dict[int, ShardReport] = {}
    for shard in shards:
        if shard.facts is not None:
            firsts.setdefault(shard.record.index, shard)
    return list(firsts.values())


def check_backgrounds(folders: Sequence[FolderReport]) -> Tally:
    """Backgrounds that one split has and another has too, by their pixels: one finding for a shard."""
    tally, seen = Tally(), dict[bytes, tuple[str, str]]()
    for report in folders if len({report.index.split for report in folders}) > 1 else ():
        for shard in report.shards:
            if shard.facts is None:
                continue
            own = (report.index.split, f"{report.folder}/{shard.record.file}")
            places = [seen.setdefault(digest, own) for digest in shard.facts.background_digests]
            shared = [i for i, (split, _) in enumerate(places) if split != own[0]]
            if shared:
                split, where = places[shared[0]]
                first = f"the first is {shard.facts.backgrounds[shared[0]]}, in {where}"
                what = f"{count(len(shared), 'background')} in {own[0]} as well as in {split}: {first}"
                folder, name = str(report.folder), shard.record.file
                tally.findings.append(Finding(check="duplicates", folder=folder, shard=name, what=what))
    return tally


def check_fingerprints(folders: Sequence[FolderReport], expected: Sequence[str]) -> Tally:
    """Each folder's fingerprint is one that is expected, and each one expected is there."""
    tally, there = Tally(), {report.index.fingerprint for report in folders}
    for report in folders if expected else ():
        tally.tried["set"] += 1
        found = report.index.fingerprint
        if found not in expected:
            what, named = "the set is not the one that is expected", " or ".join(expected)
            tally.findings.append(
                Finding(check="set", folder=str(report.folder), what=what, expected=named, found=found)
            )
    missing = [each for each in expected if each not in there]
    if missing and not tally.findings:
        what = "no folder has a fingerprint that is expected"
        tally.findings.append(Finding(check="set", folder="", what=what, expected=" and ".join(missing)))
    return tally


def _duplicate(first: tuple[str, str, str], other: tuple[str, str, str], how: str) -> Finding:
    across = f", and in {first[0]} as well as in {other[0]}" if first[0] != other[0] else ""
    what = f"its foreground is that of {first[1]}/{first[2]}{across}: {how}"
    return Finding(check="duplicates", folder=other[1], shard=other[2], what=what)
