"""The commands of the composer half: each parses, calls one function and prints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..options import EXISTING, EXISTING_FOLDER, FILE, FOLDER, NUMBER, Share, as_json, print_result

# Nothing else is imported up here: `dimtool --help` must answer at once.
if TYPE_CHECKING:
    from .engine import Engine
    from .manifest import Manifest
    from .verify import Verification


@click.command("build-dataset")
@click.option("--fg-list", type=FILE, required=True, help="Foreground names, one a line.")
@click.option("--fg-dir", type=FOLDER, help="Foreground images.  [default: fg beside the list]")
@click.option("--alpha-dir", type=FOLDER, help="Mattes of the same names.  [default: alpha beside the list]")
@click.option("--bg-list", type=FILE, help="Background names.  [default: the list's name with bg for fg]")
@click.option("--bg-dir", type=FOLDER, help="Background images.  [default: bg beside the list]")
@click.option("--split", type=click.Choice(["train", "val", "test"]), help="[default: in the list's name]")
@click.option("--per-fg", type=click.IntRange(min=1), help="Backgrounds each.  [default: train 100, else 20]")
@click.option("--out", type=FOLDER, help="Where the shards go.  [default: shards/SPLIT]")
@click.option("--jobs", type=click.IntRange(min=1), help="Worker processes.  [default: one a core]")
@click.option("--reuse-bg", is_flag=True, help="Start the background list again when it ends.")
@click.option(
    "--keep-going/--fail-fast", default=True, show_default=True, help="Build the rest when one fails."
)
@click.option("--dry-run", is_flag=True, help="Check the lists; say how many, how large, how long.")
@click.option("--seed", type=int, default=0, show_default=True, help="For backgrounds drawn without a list.")
@as_json
def build_dataset_command(
    *, out: Path | None, jobs: int | None, keep_going: bool, dry_run: bool, as_json: bool, **lists: Any
) -> int:
    """Composite every foreground over its backgrounds, bit for bit as the official code, into HDF5 shards.

    Nothing is built twice: after an interruption, or when sources that were missing are there, the same
    command goes on with what is left.

    \b
    Example:
      dimtool build-dataset --fg-list train_fg.txt
    where fg/, alpha/, bg/ and train_bg.txt lie beside train_fg.txt.
    """
    from ..progress import BuildBar
    from .build import build_dataset
    from .engine import LocalProcesses, core_count
    from .manifest import Lists, read_manifest
    from .summary import summary_text

    manifest = read_manifest(Lists(**lists))
    folder = out or Path("shards") / manifest.split
    engine = LocalProcesses(workers=jobs or core_count())
    if dry_run:
        return _dry_run(manifest, folder, engine.workers, as_json)
    with BuildBar(folder) as reporter:
        reporter.notes(manifest.notes)
        summary = build_dataset(manifest, folder, engine=engine, reporter=reporter, keep_going=keep_going)
    print_result(as_json, asdict(summary), summary_text(summary))
    return 1 if summary.failures else 0


def _dry_run(manifest: Manifest, folder: Path, jobs: int, as_json: bool) -> int:
    from .estimate import estimate_build
    from .summary import estimate_text, list_problems

    click.echo(list_problems(manifest.notes, manifest.failures), nl=False, err=True)
    estimate = estimate_build(manifest, jobs)
    values = {**asdict(estimate), "failures": manifest.failures}
    print_result(as_json, values, estimate_text(manifest, estimate, folder))
    return 1 if manifest.failures else 0


@click.command("verify-composites")
@click.argument("folders", nargs=-1, type=EXISTING_FOLDER, metavar="[DIR]...")
@click.option(
    "--sources", type=FOLDER, help="Lists, fg/, alpha/, bg/.  [default: where the build found them]"
)
@click.option("--quick", is_flag=True, help="Sizes, formats and 200 composites: under a minute.")
@click.option(
    "--sample", type=Share(), default="100%", show_default=True, help="Of the composites, to look into."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the samples.")
@click.option("--jobs", type=click.IntRange(min=1), help="Worker processes.  [default: one a core]")
@click.option(
    "--repair", is_flag=True, help="Build anew exactly the shards found bad, and verify them again."
)
@click.option("--report", type=FOLDER, help="Write a page to look at: findings, distributions, pictures.")
@as_json
def verify_command(
    *,
    folders: tuple[Path, ...],
    sources: Path | None,
    quick: bool,
    sample: float,
    seed: int,
    jobs: int | None,
    repair: bool,
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
      dimtool verify-composites shards/test --sources /data/composition-1k
    """
    from ..progress import VerifyBar
    from .engine import LocalProcesses, core_count
    from .verify import Scope, verify_composites

    source = click.get_current_context().get_parameter_source("sample")
    if quick and source is click.core.ParameterSource.COMMANDLINE:
        raise click.UsageError("--quick looks into 200 composites, --sample into a share: give one of them")
    write_report = _report_writer(report)
    scope = Scope(sources=sources, quick=quick, sample=sample, seed=seed)
    engine = LocalProcesses(workers=jobs or core_count())
    with VerifyBar() as bar:
        verification = verify_composites(folders or (Path("shards"),), scope, engine=engine, reporter=bar)
        bar.notes(verification.notes)
    return 1 if _tell_outcome(verification, write_report, engine if repair else None, as_json) else 0


def _tell_outcome(
    verification: Verification,
    write_report: Callable[[Verification], str | None],
    repairing: Engine | None,
    as_json: bool,
) -> int:
    """Tell, write the report, repair if there is an engine for it; how many findings are left."""
    from ..progress import BuildBar
    from .repair import repair_shards
    from .summary import repair_text, verification_text

    values, left = verification.values(), len(verification.findings)
    tell: Callable[[str], None] = (lambda text: None) if as_json else click.echo
    tell(verification_text(verification))
    try:  # what was found is told whatever becomes of the rest
        values["report"] = write_report(verification)
        if values["report"]:
            tell(f"report: {values['report']}")
        if repairing and left:
            with BuildBar(Path()) as bar:
                outcome = repair_shards(verification, engine=repairing, reporter=bar)
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
    from .report import check_report_folder, write_report

    check_report_folder(folder)
    return lambda verification: str(write_report(verification, folder))


@click.command("export-images")
@click.argument("shards", type=EXISTING_FOLDER)
@click.argument("out", type=FOLDER)
@click.option(
    "--trimap-radius", type=click.IntRange(0, 254), default=10, show_default=True, help="Of trimaps/."
)
@click.option("--jobs", type=click.IntRange(min=1), help="Worker processes.  [default: one a core]")
@as_json
def export_command(*, shards: Path, out: Path, trimap_radius: int, jobs: int | None, as_json: bool) -> None:
    """Write a folder of shards as the PNG folders that other trainers read.

    merged/, bg/, trimaps/ (by composite), fg/, alpha/ (by foreground), under the official names, and
    annotations.json for mmagic's AdobeComp1kDataset. An export that was interrupted goes on.

    \b
    Example:
      dimtool export-images shards/test composition-1k/test
    """
    from ..progress import ExportBar
    from .engine import LocalProcesses, core_count
    from .export import export_images
    from .summary import export_text

    engine = LocalProcesses(workers=jobs or core_count())
    with ExportBar() as bar:
        summary = export_images(shards, out, trimap_radius=trimap_radius, engine=engine, reporter=bar)
    print_result(as_json, asdict(summary), export_text(summary))


@click.command("make-lists")
@click.option("--fg-dir", type=FOLDER, default="fg", show_default=True, help="Foreground images.")
@click.option(
    "--alpha-dir", type=FOLDER, default="alpha", show_default=True, help="Mattes of the same names."
)
@click.option("--bg-dir", type=FOLDER, default="bg", show_default=True, help="Background images.")
@click.option("--out", type=FOLDER, default=".", show_default=True, help="Where the lists go.")
@click.option(
    "--per-fg", type=click.IntRange(min=1), default=100, show_default=True, help="Training backgrounds each."
)
@click.option(
    "--val",
    "validation",
    type=Share(),
    default="0%",
    show_default=True,
    help="Share of the foregrounds held out.",
)
@click.option(
    "--val-per-fg",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="Validation backgrounds each.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed gives the same lists.")
@as_json
def make_lists_command(*, val_per_fg: int, as_json: bool, **options: Any) -> None:
    """Write the list files for folders of your own, with a validation split by foreground.

    Backgrounds are drawn without repetition; a foreground is in one split only. Foregrounds without a matte
    are left out, and named.

    \b
    Example:
      dimtool make-lists --fg-dir fg --alpha-dir alpha --bg-dir coco --per-fg 50 --val 10%
      dimtool build-dataset --fg-list train_fg.txt --bg-dir coco --per-fg 50
    """
    from .make_lists import ListsPlan, make_lists
    from .summary import lists_text

    made = make_lists(ListsPlan(validation_per_fg=val_per_fg, **options))
    print_result(as_json, asdict(made), lists_text(made))


@click.command("make-demo")
@click.argument("folder", type=FOLDER)
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed gives the same images.")
@click.option(
    "--size", type=click.IntRange(64, 4096), default=640, show_default=True, help="Pixels a side, about."
)
@as_json
def make_demo_command(*, folder: Path, seed: int, size: int, as_json: bool) -> None:
    """Make a small matting data set: procedural foregrounds, mattes and backgrounds, with their lists.

    Hair, lace, smoke, glass, motion blur and foliage, over photographic-looking backgrounds smaller and
    larger than they are. It lies in FOLDER as a real one would: fg/, alpha/, bg/ and four lists.

    \b
    Example:
      dimtool make-demo demo
    """
    from ..progress import Bar
    from .demo import make_demo

    with Bar() as bar:
        demo = make_demo(folder, seed=seed, size=size, progress=bar.of_pictures)
    print_result(as_json, asdict(demo), str(demo))


@click.command("inspect")
@click.argument("path", type=EXISTING, metavar="SHARD|DIR")
@click.option("--image", "number", type=NUMBER, metavar="I", help="Write composite I, from 0, as a picture.")
@click.option("--out", type=FILE, help="Where the picture goes.  [default: its official name, .png]")
@click.option("--sheet", type=FILE, help="Write a contact sheet of a folder of shards.")
@as_json
def inspect_command(
    *, path: Path, number: int | None, out: Path | None, sheet: Path | None, as_json: bool
) -> None:
    """Show what is in a shard or in a folder of shards, or write pictures of it.

    \b
    Examples:
      dimtool inspect shards/train
      dimtool inspect shards/train/0003-cat.h5 --image 7 --out cat_7.png
      dimtool inspect shards/train --sheet sheet.png
    """
    from . import describe, gallery

    if out and number is None:
        raise click.UsageError("--out says where --image goes: give both")
    if sheet and number is not None:
        raise click.UsageError("--image and --sheet are two pictures: ask for one at a time")
    if number is not None:
        written = gallery.write_composite(path, number, out)
        print_result(as_json, {"picture": written}, f"wrote {written}")
    elif sheet:
        gallery.write_contact_sheet(path, sheet)
        print_result(as_json, {"picture": sheet}, f"wrote {sheet}")
    else:
        description = describe.describe(path)
        print_result(as_json, description, describe.as_text(description))
