"""build-dataset, and what comes before it: make-lists, make-demo."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...options import FILE, FOLDER, PLACE, Share, as_json, cache_option, print_result, say
from ...verbs import KEPT, UNCHANGED, Verb, say_if_interrupted
from ..sources.reading import ALPHA_SOURCES
from .engine import Workers, engine_options

if TYPE_CHECKING:
    from ...storage.remote import Place
    from ..sources.manifest import Manifest


@click.command("build-dataset", cls=Verb, kept=KEPT)
@click.option("--fg-list", type=FILE, required=True, help="Foreground names, one a line.")
@click.option("--fg-dir", type=PLACE, help="Foreground images.  [default: fg beside the list]")
@click.option("--alpha-dir", type=PLACE, help="Mattes of the same names.  [default: alpha beside the list]")
@click.option("--bg-list", type=FILE, help="Background names.  [default: the list's name with bg for fg]")
@click.option("--bg-dir", type=PLACE, help="Background images.  [default: bg beside the list]")
@click.option("--split", type=click.Choice(["train", "val", "test"]), help="[default: in the list's name]")
@click.option("--per-fg", type=click.IntRange(min=1), help="Backgrounds each.  [default: train 100, else 20]")
@click.option(
    "--per-shard", type=click.IntRange(min=1), default=100, show_default=True, help="Of these in a shard."
)
@click.option("--out", type=PLACE, help="Where the shards go.  [default: shards/SPLIT]")
@click.option("--reuse-bg", is_flag=True, help="Start the background list again when it ends.")
@click.option(
    "--keep-going/--fail-fast", default=True, show_default=True, help="Build the rest when one fails."
)
@click.option(
    "--alpha-from",
    type=click.Choice(ALPHA_SOURCES),
    default="alpha",
    show_default=True,
    help="The mattes: the grey of --alpha-dir's files, their A, or the A of the foregrounds.",
)
@click.option(
    "--alpha-max", type=click.IntRange(1, 65_535), help="Opaque in the mattes.  [default: 255, 65535]"
)
@click.option(
    "--exif-transpose/--no-exif-transpose",
    default=None,
    help="Turn all sources upright by their EXIF tags, or none.  [default: none, and mattes refused]",
)
@click.option("--dry-run", is_flag=True, help="Check the lists; say how many, how large, how long.")
@click.option("--seed", type=int, default=0, show_default=True, help="For backgrounds drawn without a list.")
@engine_options
@cache_option
@as_json
def build_dataset_command(
    *, out: Place | None, workers: Workers, keep_going: bool, dry_run: bool, as_json: bool, **lists: Any
) -> int:
    """Composite every foreground over its backgrounds, bit for bit as the official code, into HDF5 shards.

    Nothing is built twice: after an interruption, or when sources that were missing are there, the same
    command goes on with what is left. With a larger --per-fg it keeps what is there and adds the rest, from
    the names behind those used: not the official order of a set made at once, and marked so.

    \b
    Example:
      dimtool build-dataset --fg-list train_fg.txt
    where fg/, alpha/, bg/ and train_bg.txt lie beside train_fg.txt. Folders may be in object stores:
    --out s3://bucket/shards, --bg-dir s3://bucket/coco; also gs:// and az://.
    """
    from ..building.build import build_dataset
    from ..building.scratch import read_begun, refuse_foreign, refuse_unwritable
    from ..building.suspicions import refuse_mixed_up
    from ..sources.lists import Lists
    from ..sources.manifest import read_manifest
    from .progress import BuildBar
    from .summary import summary_text

    if dry_run:
        say_if_interrupted(UNCHANGED)
    given = Lists(**lists)
    folder = out or workers.path(Path("shards") / given.known_split)
    refuse_unwritable(folder)
    begun, order = read_begun(folder)
    manifest = read_manifest(given, begun, order)
    refuse_foreign(folder)
    if not (begun and begun.built):
        refuse_mixed_up(manifest)
    if dry_run:
        return _dry_run(manifest, folder, workers, as_json)
    with workers.start() as engine, BuildBar(folder) as reporter:
        reporter.notes(manifest.notes)
        summary = build_dataset(manifest, folder, engine=engine, reporter=reporter, keep_going=keep_going)
    print_result(as_json, asdict(summary), summary_text(summary))
    return 1 if summary.failures else 0


def _dry_run(manifest: Manifest, folder: Place, workers: Workers, as_json: bool) -> int:
    from ..building.estimate import estimate_build
    from ..engines.choose import places
    from .summary import estimate_text, list_problems

    if problems := list_problems(manifest.notes, manifest.failures):
        say(problems.rstrip("\n"), err=True)
    with workers.start() as engine:
        estimate = estimate_build(manifest, places(engine))
    values = {**asdict(estimate), "failures": manifest.failures}
    print_result(as_json, values, estimate_text(manifest, estimate, folder))
    return 1 if manifest.failures else 0


@click.command("make-lists", cls=Verb, kept="a list that is there is whole: remove it to draw anew")
@click.option(
    "--layout",
    type=click.Choice(["distinctions646", "aim500", "am2k", "p3m", "simd", "folders"]),
    help="A published data set: its folders below --root.",
)
@click.option("--root", type=FOLDER, default=".", show_default=True, help="Of that data set.")
@click.option("--split", type=click.Choice(["train", "val", "test"]), help="Of it.  [default: its first]")
@click.option("--fg-dir", type=FOLDER, default="fg", show_default=True, help="Foreground images.")
@click.option(
    "--alpha-dir", type=FOLDER, default="alpha", show_default=True, help="Mattes of the same names."
)
@click.option("--bg-dir", type=FOLDER, default="bg", show_default=True, help="Background images.")
@click.option("--alpha-from", type=click.Choice(ALPHA_SOURCES), default="alpha", help="As for build-dataset.")
@click.option("--out", type=FOLDER, default=".", show_default=True, help="Where the lists go.")
@click.option("--per-fg", type=click.IntRange(min=1), help="Backgrounds each.  [default: train 100, else 20]")
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
def make_lists_command(
    *,
    layout: str | None,
    root: Path,
    split: str | None,
    per_fg: int | None,
    val_per_fg: int,
    as_json: bool,
    **options: Any,
) -> None:
    """Write the list files for folders of your own, with a validation split by foreground.

    Backgrounds are drawn without repetition; a foreground is in one split only. Foregrounds without a matte
    are left out, and named.

    \b
    Examples:
      dimtool make-lists --layout distinctions646 --root D646 --split test --bg-dir voc
      dimtool make-lists --fg-dir fg --alpha-dir alpha --bg-dir coco --per-fg 50 --val 10%
      dimtool build-dataset --fg-list train_fg.txt --bg-dir coco --per-fg 50
    """
    from ...manifests.presets import PER_FG
    from ..sources.make_lists import ListsPlan, locate, make_lists
    from .summary import lists_text

    located = locate(layout, root, split) if layout else None
    if located:
        options |= {"fg_dir": located.fg_dir, "alpha_dir": located.alpha_dir}
    split = located.split if located else split or "train"
    plan = ListsPlan(split=split, per_fg=per_fg or PER_FG[split], validation_per_fg=val_per_fg, **options)
    made = make_lists(plan)
    if located:
        made = replace(made, notes=located.notes(sum(n for each, n in made.lists.items() if "_fg" in each)))
    print_result(as_json, asdict(made), lists_text(made, plan))


@click.command("make-demo", cls=Verb, kept=KEPT)
@click.argument("folder", type=FOLDER)
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed gives the same images.")
@click.option(
    "--size", type=click.IntRange(64, 4096), default=640, show_default=True, help="Pixels a side, about."
)
@engine_options
@as_json
def make_demo_command(*, folder: Path, seed: int, size: int, workers: Workers, as_json: bool) -> None:
    """Make a small matting data set: procedural foregrounds, mattes and backgrounds, with their lists.

    Hair, lace, smoke, glass, motion blur and foliage, over photographic-looking backgrounds smaller and
    larger than they are. It lies in FOLDER as a real one would: fg/, alpha/, bg/ and four lists.

    \b
    Example:
      dimtool make-demo demo
    """
    from ...progress import CountingBar
    from ..demo import make_demo

    with workers.start() as engine, CountingBar("pictures") as bar:
        demo = make_demo(folder, seed=seed, size=size, engine=engine, progress=bar.of_total)
    print_result(as_json, asdict(demo), str(demo))
