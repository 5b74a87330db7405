"""trimap: from a mask or a matte to what `predict` takes beside a photograph."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from ...options import EXISTING, PATH, as_json, print_result
from ...verbs import KEPT, Verb
from ..sources.reading import ALPHA_SOURCES

_RADIUS = click.IntRange(0, 254)


@click.command("trimap", cls=Verb, kept=KEPT)
@click.argument("mask", type=EXISTING, metavar="MASK|DIR")
@click.option(
    "--out", type=PATH, help="The trimap, or the folder of a folder's.  [default: STEM_trimap.png, trimaps]"
)
@click.option(
    "--erode",
    type=_RADIUS,
    default=10,
    show_default=True,
    help="How far the unknown region reaches into the foreground, in pixels.",
)
@click.option("--dilate", type=_RADIUS, default=10, show_default=True, help="And into the background.")
@click.option(
    "--alpha-from",
    type=click.Choice(ALPHA_SOURCES),
    default="alpha",
    show_default=True,
    help="alpha: the mask is a grey picture. Else: it is in A, as in a cut-out.",
)
@click.option("--alpha-max", type=click.IntRange(1, 65_535), help="Foreground in it.  [default: 255, 65535]")
@click.option("--overwrite", is_flag=True, help="Take the place of what is there.")
@as_json
def trimap_command(
    *,
    mask: Path,
    out: Path | None,
    erode: int,
    dilate: int,
    alpha_from: str,
    alpha_max: int | None,
    overwrite: bool,
    as_json: bool,
) -> int:
    """Make a trimap of a mask or a matte: 0 background, 255 foreground, 128 where the alpha is to be found.

    Unknown is what is neither 0 nor 255, the edge where they meet, and what lies within so many pixels of
    that. The foreground loses a disc of radius --erode, the background one of radius --dilate. A mask is
    turned upright by its EXIF tag, as `predict` turns photographs.

    \b
    Examples:
      dimtool trimap cat_mask.png --erode 8 --dilate 20 --out cat_trimap.png
      dimtool trimap masks --out trimaps
    """
    from ...names import stem
    from ...progress import CountingBar
    from ..sources.reading import Reading
    from ..trimaps import Radii, write_trimaps

    out = out or Path("trimaps" if mask.is_dir() else f"{stem(mask)}_trimap.png")
    with CountingBar("trimaps") as bar:
        summary = write_trimaps(
            mask,
            out,
            Radii(erode, dilate),
            reading=Reading(alpha_from=alpha_from, alpha_max=alpha_max, exif_transpose=True),
            overwrite=overwrite,
            reporter=bar,
        )
    print_result(as_json, asdict(summary), str(summary))
    return 1 if summary.errors else 0
