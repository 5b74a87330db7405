"""A verification as a page to look at: static HTML that opens from a disk, its pictures beside it."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ...errors import WrongUseError
from ...files import write_text
from ...manifests.presets import explain_count
from ...pages.assets import Assets
from ...version import __version__
from ..shards.index import versions_text
from ..verification.check_set import FolderReport
from ..verification.findings import CHECKS, REPAIRABLE, Finding
from ..verification.verify import Verification
from .gallery import COMPARED, make_gallery

try:
    from ...pages.environment import environment
    from .plots import plot_distributions
except ModuleNotFoundError as _error:
    raise WrongUseError(f"a report needs {_error.name}: pip install {_error.name}") from _error

INDEX = "index.html"
MARKER = ".dimtool-report"
_MARK = "A report of dimtool verify-composites lies here; the next one may take its place.\n"

# What each check proves, for people.
MEANINGS = {
    "files": "every file is there, of the size and SHA-256 that the index names",
    "format": "header, datasets, shapes and types are right, and no tile is missing",
    "pixels": "each decoded composite and background has the digest that was taken when it was composed",
    "composition": "each composite is the official composition, bit for bit: of what lies in its shard, "
    "and of the source images",
    "maps": "foreground and alpha have their digests; distance and centers agree with the alpha",
    "source": "the source images are there, and what they were when the shard was built",
    "decoder": "the source images decode to the pixels that they had when the shard was built",
    "set": "as many composites as the lists ask for, over the backgrounds that they name",
    "duplicates": "no foreground is there twice, exactly or nearly, within a split or across splits",
}


@dataclass(frozen=True, kw_only=True)
class Check:
    """A row of the table of checks; `findings` are the wrong ones."""

    name: str
    meaning: str
    tried: int
    findings: tuple[Finding, ...]


@dataclass(frozen=True, kw_only=True)
class Counts:
    """A folder of shards in numbers; `meaning` sets them beside the published set."""

    folder: str
    split: str
    foregrounds: int
    composites: int
    asked: int
    gigapixels: float
    bytes: int
    versions: str
    meaning: str


def check_report_folder(folder: Path) -> None:
    """Raise WrongUseError unless `folder` is new, empty, or a report from before."""
    if folder.exists() and not folder.is_dir():
        raise WrongUseError(f"{folder} is a file: name a folder for the report")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MARKER).is_file():
        raise WrongUseError(
            f"{folder} holds files that are no report: name a new or an empty folder for the report"
        )
    folder.mkdir(parents=True, exist_ok=True)  # what is in the way should not show after a day


def write_report(verification: Verification, folder: Path) -> Path:
    """Write the page of a verification and its pictures into `folder`; returns its index.html.

    A new or an empty folder, or one with an earlier report, which stays whole until the new page replaces
    it. Raises WrongUseError for any other, and OSError where the disk is full.
    """
    check_report_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARKER).write_text(_MARK, encoding="utf-8")
    assets = Assets(folder=folder)
    html = _render(verification, assets)
    write_text(folder / INDEX, html)
    assets.prune()
    return folder / INDEX


def _render(verification: Verification, assets: Assets) -> str:
    template = environment(Path(__file__)).get_template("report.html.j2")
    gallery = make_gallery(verification, assets)
    return template.render(
        checks=list(_checks(verification)),
        counts=[_counts(folder) for folder in verification.folders],
        gallery=gallery,
        anchors=gallery.anchors,
        compared=COMPARED,
        notes=(*verification.notes, *(f"accepted: {finding}" for finding in verification.accepted)),
        skipped=verification.skipped,
        fingerprints=verification.fingerprints,
        plots=plot_distributions(verification.folders, assets),
        repair=_repair_command(verification),
        title=", ".join(str(folder.folder) for folder in verification.folders) or "no folder",
        total=sum(folder.index.composites for folder in verification.folders),
        looked=verification.tally.tried["pixels"],
        seconds=verification.seconds,
        wrong_shards=len({(each.folder, each.shard) for each in verification.findings if each.shard}),
        findings=len(verification.findings),
        version=__version__,
        when=datetime.now().astimezone(),
    )


def _checks(verification: Verification) -> Iterator[Check]:
    findings, tried = verification.findings, verification.tally.tried
    for name in CHECKS:
        wrong = tuple(finding for finding in findings if finding.check == name)
        yield Check(name=name, meaning=MEANINGS[name], tried=tried[name], findings=wrong)


def _counts(folder: FolderReport) -> Counts:
    index = folder.index
    return Counts(
        folder=str(folder.folder),
        split=index.split,
        foregrounds=index.foregrounds,
        composites=index.composites,
        asked=index.asked,
        gigapixels=sum(each.composites * each.height * each.width for each in index.shards) / 1e9,
        bytes=index.bytes,
        versions=versions_text(index.versions),
        meaning=explain_count(index.split, index.foregrounds, index.composites, asked=index.asked),
    )


def _repair_command(verification: Verification) -> str:
    """What builds the bad shards anew; empty where nothing of the kind was found."""
    bad = Counter(each.folder for each in verification.findings if each.shard and each.check in REPAIRABLE)
    folders = [str(folder.folder) for folder in verification.folders if str(folder.folder) in bad]
    return shlex.join(["dimtool", "verify-composites", *folders, "--repair"]) if folders else ""
