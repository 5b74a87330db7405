"""The gallery of a report: which foregrounds are shown, and the pictures of each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ...pages.assets import Assets, Picture, placeholder
from ...text import count
from ..pixels.trimap import trimap_of
from ..shards.dataset import open_as_stored
from ..shards.decoder import TileDecoder, TileError
from ..shards.layout import ShardError
from ..shards.reader import Shard
from ..verification.check_set import FolderReport
from ..verification.check_shard import UNKNOWN_RADIUS, ShardFacts, ShardReport
from ..verification.findings import Finding
from ..verification.verify import Verification
from .compare import Comparison, Suspect

RADII = (5, 15, 30)  # of the trimaps, in pixels
COMPOSITES = 4  # shown of each foreground
SOUND = 24  # foregrounds without a finding
FAILING = 100  # foregrounds with one
COMPARED = 4  # composites of such a foreground that are compared pixel by pixel

Place = tuple[str, str]  # folder and shard of a finding


@dataclass(frozen=True, kw_only=True)
class Exhibit:
    """A foreground on the page.

    facts: short facts in words. pictures: alpha, trimaps and composites. comparisons: of the shared arrays
    and of single composites. left: how many more composites are wrong. trouble: why there is no more to see.
    """

    anchor: str
    title: str
    place: Place
    facts: tuple[str, ...]
    findings: tuple[Finding, ...]
    pictures: tuple[Picture, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    left: int = 0
    trouble: str = ""


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """What is shown, failures first, out of how many `failing` and `sound` foregrounds."""

    exhibits: tuple[Exhibit, ...]
    failing: int
    sound: int

    @property
    def anchors(self) -> dict[Place, str]:
        """Where on the page a shard is."""
        return {exhibit.place: exhibit.anchor for exhibit in self.exhibits}

    @property
    def shown_failing(self) -> int:
        """Foregrounds with a finding that are shown."""
        return sum(bool(exhibit.findings) for exhibit in self.exhibits)

    @property
    def shown_sound(self) -> int:
        """Foregrounds without one that are shown."""
        return len(self.exhibits) - self.shown_failing


def make_gallery(verification: Verification, assets: Assets) -> Gallery:
    """Pictures of the foregrounds with findings, then of others, spread over the list.

    At most FAILING and SOUND of them.
    """
    findings: dict[Place, list[Finding]] = defaultdict(list)
    for finding in verification.findings:
        findings[finding.folder, finding.shard].append(finding)
    subjects = [(folder, shard) for folder in verification.folders for shard in folder.shards]
    failing = [each for each in subjects if _place(*each) in findings]
    sound = [each for each in subjects if _place(*each) not in findings and not each[1].record.first]
    chosen = [*failing[:FAILING], *(sound[i] for i in spread(len(sound), SOUND))]
    exhibits = [
        _exhibit(f"foreground-{number}", *each, findings.get(_place(*each), []), assets)
        for number, each in enumerate(chosen)
    ]
    return Gallery(exhibits=tuple(exhibits), failing=len(failing), sound=len(sound))


def spread(total: int, most: int) -> list[int]:
    """At most `most` of the numbers from 0 to below `total`, evenly apart, the first among them."""
    shown = min(total, most)
    return [i * total // shown for i in range(shown)]


def coverage(facts: ShardFacts) -> float:
    """Share of the image that the foreground covers, 0 to 1: its mean alpha."""
    return float(facts.alpha_histogram @ np.arange(256) / 255 / facts.alpha_histogram.sum())


def _place(folder: FolderReport, shard: ShardReport) -> Place:
    return str(folder.folder), shard.record.file


def _exhibit(
    anchor: str, folder: FolderReport, report: ShardReport, findings: Sequence[Finding], assets: Assets
) -> Exhibit:
    wrong = sorted({each.composite for each in findings if each.composite is not None and _of_pixels(each)})
    pictures: list[Picture] = []
    comparisons: list[Comparison] = []
    trouble = ""
    if report.facts is None:
        trouble = "There is nothing to show: the shard cannot be read, see its findings."
    else:
        try:
            with open_as_stored(report.folder / report.record.file) as shard:
                pictures += _pictures(shard, assets)
                suspect = Suspect(shard, (folder.asked or {}).get(report.record.file), assets)
                if any(finding.check == "maps" for finding in findings):
                    comparisons += suspect.maps()
                comparisons += suspect.composites(wrong[:COMPARED])
        except (ShardError, RuntimeError) as error:  # HDF5 has both for damage to its own structures
            trouble = f"Not all can be shown: {error}"
    return Exhibit(
        anchor=anchor,
        title=report.record.foreground,
        place=_place(folder, report),
        facts=tuple(_facts(folder, report)),
        findings=tuple(findings),
        pictures=tuple(pictures),
        comparisons=tuple(comparisons),
        left=max(0, len(wrong) - COMPARED),
        trouble=trouble,
    )


def _of_pixels(finding: Finding) -> bool:
    return finding.check in ("pixels", "composition")


def _facts(folder: FolderReport, report: ShardReport) -> Iterator[str]:
    record, facts = report.record, report.facts
    yield f"{folder.index.split} {record.index}"
    if record.first:
        yield f"from composite {record.first:,} on"
    yield f"{record.width:,} × {record.height:,}"
    yield count(record.composites, "composite")
    if facts is not None:
        yield f"covers {100 * coverage(facts):.0f} %"
        yield f"unknown {100 * facts.unknown:.0f} % at radius {UNKNOWN_RADIUS}"


def _pictures(shard: Shard, assets: Assets) -> Iterator[Picture]:
    name, alpha, distance = shard.header.foreground, shard.alpha(), shard.distance()
    yield assets.photo(alpha, "alpha", f"alpha of {name}")
    for radius in RADII:
        trimap = trimap_of(alpha, distance, radius, radius)
        yield assets.photo(trimap, f"trimap, radius {radius}", f"trimap of {name}, radius {radius} pixels")
    read = TileDecoder(shard.dataset("composite"))
    for i in spread(len(shard), COMPOSITES):
        try:
            pixels = read(i)
        except TileError as error:
            yield placeholder(f"composite {i}", f"cannot be decoded: {error}")
            continue
        yield assets.photo(pixels, f"composite {i}", f"{name} over {shard.header.backgrounds[i]}")
