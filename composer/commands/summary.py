"""What a build, a dry run or a demo says at its end."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

from ...manifests.presets import explain_count
from ...storage.remote import Place
from ...text import count, duration, next_steps, printable, size, table
from ..building.build import FAILURES_NAME, Summary
from ..building.estimate import Estimate
from ..export.export import ExportSummary
from ..sources.make_lists import ListsMade, ListsPlan
from ..sources.manifest import Failure, Manifest
from ..verification.findings import CHECKS
from ..verification.repair import Repair
from ..verification.verify import Verification


def summary_text(summary: Summary) -> str:
    """What is in the folder, what this run added, what it means beside the published set, what failed."""
    speed = f" ({summary.built / summary.seconds:.1f} a second)" if summary.built else ""
    lines = [
        f"{summary.folder}: {count(summary.shards, 'shard')}, {count(summary.composites, 'composite')}, "
        f"{size(summary.bytes)}; {summary.built:,} built in {duration(summary.seconds)}{speed}.",
        explain_count(summary.split, summary.foregrounds, summary.composites, asked=summary.asked),
        f"fingerprint: {summary.fingerprint}",
    ]
    if summary.failures:
        lines.append(
            f"{_not_built(summary.failures)} could not be built, named above and, all of them, in "
            f"{summary.folder / FAILURES_NAME}: mend them and run the same command again"
        )
    else:
        folder = shlex.quote(str(summary.folder))
        lines.append(next_steps([f"dimtool verify-composites {folder}", _use(summary.split, summary.folder)]))
    return "\n".join(filter(None, lines))


def _use(split: str, folder: Place) -> str:
    """The command that reads shards of this split."""
    option = {"train": "train --shards", "val": "train --val-shards"}.get(
        split, "evaluate --checkpoint runs/dim --shards"
    )
    return f"dimtool {option} {shlex.quote(str(folder))}"


def _not_built(failures: Sequence[Failure]) -> str:
    """How many foregrounds, and how many pieces of them where they have several."""
    foregrounds = count(len({failure.index for failure in failures}), "foreground")
    pieces = count(len(failures), "piece")
    return f"{pieces} of {foregrounds}" if any(failure.piece for failure in failures) else foregrounds


def estimate_text(manifest: Manifest, estimate: Estimate, folder: Place) -> str:
    """How many, how large, how long, and whether the disk has room."""
    free = shutil.disk_usage(_existing(folder)).free if isinstance(folder, Path) else None
    room = "" if free is None else f" ({size(free)} free)"
    lines = [
        f"{folder}: {count(manifest.listed, 'foreground')} x {count(manifest.per_fg, 'background')}, "
        f"{count(estimate.composites, 'composite')} of {estimate.pixels / 1e9:.2f} gigapixels in all.",
        explain_count(manifest.split, estimate.foregrounds, estimate.composites, asked=manifest.asked),
        f"About {size(estimate.bytes)}{room} and {duration(estimate.seconds)} with "
        f"{count(estimate.jobs, 'job')}, measured on a few composites.",
    ]
    if free is not None and estimate.bytes > free:
        lines.append(f"That does not fit: {size(estimate.bytes - free)} are lacking.")
    return "\n".join(filter(None, lines))


def verification_text(verification: Verification) -> str:
    """The findings, then a table of the checks: how many things each tried, how many were wrong."""
    tally = verification.tally
    found = [str(finding) for finding in verification.findings]
    known = [f"accepted: {finding}" for finding in verification.accepted]
    rows = [[check, tally.tried[check], tally.failed(check)] for check in CHECKS if tally.tried[check]]
    verdict = {
        "wrong": count(len(found), "finding"),
        "incomplete": "no finding in what was looked at, and that was not all",
        "good": "no finding: all is as it should be",
    }[verification.verdict]
    looked = f"{count(tally.tried['pixels'], 'composite')} in {duration(verification.seconds)}"
    return "\n".join(
        [
            *found,
            *known,
            *([""] if found or known else []),
            table(["check", "tried", "wrong"], rows),
            *(f"fingerprint of {folder}: {value}" for folder, value in verification.fingerprints.items()),
            *map(str, verification.skipped),
            f"{looked}: {verdict}" + (f"; {len(known):,} accepted" if known else ""),
            *([] if found else [_after_verification(verification)]),
        ]
    )


def _after_verification(verification: Verification) -> str:
    return next_steps([_use(each.index.split, each.folder) for each in verification.folders])


def repair_text(repair: Repair) -> str:
    """What was built anew, and what is still wrong."""
    lines = [f"built anew: {path}" for path in repair.rebuilt]
    lines += [*(str(finding) for finding in repair.findings), *repair.reasons]
    verdict = f"{count(len(repair.findings), 'finding')} left" if repair.findings else "no finding left"
    return "\n".join([*lines, f"{count(len(repair.rebuilt), 'shard')} built anew and verified: {verdict}"])


def export_text(summary: ExportSummary) -> str:
    """What was written, and what was there."""
    lines = [f"error: {error}" for error in summary.errors]
    lines.append(
        f"{summary.out}: {count(summary.composites, 'composite')}, {count(summary.written, 'picture')} "
        f"written, {summary.kept:,} there from before; how to read them: {summary.readme}"
    )
    if summary.holes:
        lines.append(
            f"note: {count(summary.holes, 'background')} black deep inside the opaque foreground, for "
            f"want of the source images: {summary.why}; the same command with them makes them whole"
        )
    if summary.missing > 0:
        lines.append(
            f"The set is not complete: {count(summary.missing, 'composite')} of the lists are not in the "
            "shards; run `dimtool build-dataset` again"
        )
    return "\n".join(lines)


def lists_text(made: ListsMade, plan: ListsPlan) -> str:
    """The lists with their lengths, what was left out, and the command that builds the first of them."""
    lines = [f"note: {note}" for note in made.notes]
    lines += [f"left out: {printable(reason)}" for reason in made.left_out]
    lines += [f"{name}: {count(length, 'name')}" for name, length in made.lists.items()]
    given: dict[str, object] = {
        "--fg-list": plan.out / f"{plan.split}_fg.txt",
        "--fg-dir": plan.fg_dir,
        "--alpha-dir": plan.alpha_dir,
        "--bg-dir": plan.bg_dir,
        "--per-fg": plan.per_fg,
    }
    if plan.alpha_from != "alpha":
        given["--alpha-from"] = plan.alpha_from
    words = [str(word) for option in given.items() for word in option]
    lines.append(next_steps([shlex.join(["dimtool", "build-dataset", *words])]))
    return "\n".join(lines)


def list_problems(notes: Sequence[str], failures: Sequence[Failure]) -> str:
    """A line for each note and each error."""
    lines = [f"note: {printable(note)}" for note in notes]
    errors = dict.fromkeys(error for failure in failures for error in failure.errors)
    lines += [f"error: {printable(error)}" for error in errors]
    return "".join(f"{line}\n" for line in lines)


def _existing(folder: Path) -> Path:
    return next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())
