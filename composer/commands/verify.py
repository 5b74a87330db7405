"""verify-composites."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ...options import EXISTING_FOLDER_PLACE, FOLDER, Share, as_json, cache_option, print_result, say
from ...verbs import KEPT, UNCHANGED, Verb, say_if_interrupted
from .engine import Workers, engine_options

if TYPE_CHECKING:
    from ...storage.remote import Place
    from ..engines.engine import Engine
    from ..verification.verify import Scope, Verification


@click.command("verify-composites", cls=Verb, kept=KEPT)
@click.argument("folders", nargs=-1, type=EXISTING_FOLDER_PLACE, metavar="[DIR]...")
@click.option(
    "--sources", type=FOLDER, help="Lists, fg/, alpha/, bg/.  [default: where the build found them]"
)
@click.option("--quick", is_flag=True, help="Sizes, formats and 200 composites: under a minute.")
@click.option(
    "--sample", type=Share(), default="100%", show_default=True, help="Of the composites, to look into."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the samples.")
@click.option(
    "--require",
    type=click.Choice(["sources"]),
    help="Make it a finding that the source images could not be compared.",
)
@click.option(
    "--expect",
    multiple=True,
    metavar="FINGERPRINT",
    help="The set must be this one: a finding where it is another. Once for each folder.",
)
@click.option(
    "--repair", is_flag=True, help="Build anew exactly the shards found bad, and verify them again."
)
@click.option(
    "--accept",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="Known findings, a line each as they are printed: shown as accepted, no failure.",
)
@click.option("--report", type=FOLDER, help="Write a page to look at: findings, distributions, pictures.")
@engine_options
@cache_option
@as_json
def verify_command(
    *,
    folders: tuple[Place, ...],
    sources: Path | None,
    quick: bool,
    sample: float,
    seed: int,
    require: str | None,
    expect: tuple[str, ...],
    workers: Workers,
    repair: bool,
    accept: Path | None,
    report: Path | None,
    as_json: bool,
) -> int:
    """Prove that shards are whole and right: files, format, every pixel, the set.

    DIR is a folder of shards, or one that holds such folders; without any, all of shards/. Where the source
    images are still there, each composite is composed again from them and compared bit for bit.

    \b
    Examples:
      dimtool verify-composites --report report
      dimtool verify-composites shards/train --quick
      dimtool verify-composites shards/test --sources /data/composition-1k --require sources
      dimtool verify-composites --accept known-findings.txt
    """
    from ..verification.findings import read_accepted
    from ..verification.verify import verify_composites
    from .progress import VerifyBar

    known = read_accepted(accept) if accept else ()
    scope = _scope_of(sources=sources, quick=quick, sample=sample, seed=seed, require=require, expect=expect)
    if quick and not repair:
        say_if_interrupted(UNCHANGED)
    write_report = _report_writer(report)
    paths = folders or (workers.path(Path("shards")),)
    with workers.start() as engine:
        with VerifyBar() as bar:
            verified = verify_composites(paths, scope, engine=engine, reporter=bar)
            verification = verified.accepting(known)
            bar.notes(verification.notes)
        repairing = engine if repair else None
        left = _tell_outcome(verification, write_report, repairing, known, as_json=as_json)
    return 1 if left else 0


def _scope_of(
    *,
    sources: Path | None,
    quick: bool,
    sample: float,
    seed: int,
    require: str | None,
    expect: tuple[str, ...],
) -> Scope:
    """What the options ask for. Raises UsageError where they contradict each other or mean nothing."""
    from ..verification.verify import Scope

    source = click.get_current_context().get_parameter_source("sample")
    if quick and source is click.core.ParameterSource.COMMANDLINE:
        raise click.UsageError("--quick looks into 200 composites, --sample into a share: give one of them")
    if wrong := [each for each in expect if not re.fullmatch(r"[0-9a-f]{64}", each)]:
        raise click.UsageError(f"--expect {wrong[0]}: a fingerprint is 64 digits, 0 to 9 and a to f")
    return Scope(
        sources=sources,
        quick=quick,
        sample=sample,
        seed=seed,
        require_sources=require == "sources",
        expect=expect,
    )


def _tell_outcome(
    verification: Verification,
    write_report: Callable[[Verification], str | None],
    repairing: Engine | None,
    known: Sequence[str],
    *,
    as_json: bool,
) -> int:
    """Tell, write the report, repair if there is an engine for it; how many findings are left.

    known: lines of accepted findings, which a repair does not mend and need not.
    """
    from ..verification.findings import without
    from ..verification.repair import repair_shards
    from .progress import BuildBar
    from .summary import repair_text, verification_text

    values, left = verification.values(), len(verification.findings)
    tell: Callable[[str], None] = (lambda text: None) if as_json else say
    tell(verification_text(verification))
    try:  # what was found is told whatever becomes of the rest
        values["report"] = write_report(verification)
        if values["report"]:
            tell(f"report: {values['report']}")
        if repairing and left:
            with BuildBar(Path()) as bar:
                outcome = repair_shards(verification, engine=repairing, reporter=bar)
            outcome = replace(outcome, findings=tuple(without(outcome.findings, known)))
            values["repair"], left = asdict(outcome), len(outcome.findings)
            tell(repair_text(outcome))
    finally:
        if as_json:
            print_result(as_json, values, "")
    return left


def _report_writer(folder: Path | None) -> Callable[[Verification], str | None]:
    """What writes the report. A folder that cannot take it is refused now, not when all is verified."""
    if folder is None:
        return lambda verification: None
    from ..report.page import check_report_folder, write_report

    check_report_folder(folder)
    return lambda verification: str(write_report(verification, folder))
