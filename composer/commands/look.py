"""inspect and export-images: shards as people and other programs see them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ...options import (
    EXISTING_FOLDER,
    EXISTING_FOLDER_PLACE,
    EXISTING_PLACE,
    FILE,
    FOLDER,
    NUMBER,
    as_json,
    cache_option,
    print_result,
)
from ...verbs import KEPT, UNCHANGED, Verb
from .engine import Workers, engine_options

if TYPE_CHECKING:
    from ...storage.remote import Place
    from ..export.layouts import LayoutName


@click.command("export-images", cls=Verb, kept=KEPT)
@click.argument("shards", type=EXISTING_FOLDER_PLACE)
@click.argument("out", type=FOLDER)
@click.option(
    "--trimap-radius", type=click.IntRange(0, 254), default=10, show_default=True, help="Of trimaps/."
)
@click.option(
    "--layout",
    type=click.Choice(["folders", "mmagic", "huochaitiantang", "indexnet", "gca"]),
    default="folders",
    show_default=True,
    help="Whose names, folders and lists: nothing needs renaming.",
)
@click.option(
    "--sources",
    type=EXISTING_FOLDER,
    help="Lists, fg/, alpha/, bg/, for whole backgrounds.  [default: where the build found them]",
)
@engine_options
@cache_option
@as_json
def export_command(
    *,
    shards: Place,
    out: Path,
    trimap_radius: int,
    layout: LayoutName,
    sources: Path | None,
    workers: Workers,
    as_json: bool,
) -> int:
    """Write a folder of shards as the PNG folders that other trainers read.

    Without --layout merged/, bg/, trimaps/ (by composite), fg/, alpha/ (by foreground), under the official
    names, and annotations.json for mmagic's AdobeComp1kDataset. With it what mmagic, huochaitiantang's
    pytorch-deep-image-matting, IndexNet or GCA-Matting reads, Training_set and Test_set in one OUT. OUT has a
    README.md that says how. An export that was interrupted goes on.

    \b
    Examples:
      dimtool export-images shards/test composition-1k/test
      dimtool export-images shards/train Combined_Dataset --layout indexnet
    """
    from ..export.export import ExportPlan, export_images
    from .progress import ExportBar
    from .summary import export_text

    plan = ExportPlan(folder=shards, out=out, trimap_radius=trimap_radius, layout=layout, sources=sources)
    with workers.start() as engine, ExportBar() as bar:
        summary = export_images(plan, engine=engine, reporter=bar)
    print_result(as_json, asdict(summary), export_text(summary))
    return 1 if summary.errors else 0


@click.command("inspect", cls=Verb, kept=UNCHANGED)
@click.argument("path", type=EXISTING_PLACE, metavar="SHARD|DIR")
@click.option("--image", "number", type=NUMBER, metavar="I", help="Write composite I, from 0, as a picture.")
@click.option("--out", type=FILE, help="Where the picture goes.  [default: its official name, .png]")
@click.option("--sheet", type=FILE, help="Write a contact sheet of a folder of shards.")
@cache_option
@as_json
def inspect_command(
    *, path: Place, number: int | None, out: Path | None, sheet: Path | None, as_json: bool
) -> None:
    """Show what is in a shard or in a folder of shards, or write pictures of it.

    \b
    Examples:
      dimtool inspect shards/train
      dimtool inspect shards/train/0003-cat.h5 --image 7 --out cat_7.png
      dimtool inspect shards/train --sheet sheet.png
    """
    from ..inspection import describe, gallery

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
