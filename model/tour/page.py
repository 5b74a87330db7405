"""All of the way on one page, which opens from a disk."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from ...files import write_text
from ...pages.environment import environment
from ...text import printable
from ...version import __version__
from .walk import Done

PAGE_NAME = "index.html"


def write_page(folder: Path, walked: Sequence[Done]) -> Path:
    """Write `folder`/index.html; returns it."""
    page = folder / PAGE_NAME
    html = (
        environment(Path(__file__))
        .get_template("tour.html.j2")
        .render(
            steps=[_shown(folder, done) for done in walked],
            seconds=sum(done.seconds for done in walked),
            following=following(folder),
            version=__version__,
        )
    )
    write_text(page, html)
    return page


def following(folder: Path) -> list[tuple[str, str]]:
    """What to do next: for what, and the command, which works as it stands where it names no file."""
    run = shlex.quote(str(folder / "run"))
    return [
        ("Cut something out of a photograph of your own", "dimtool demo-page"),
        ("The same with files", "dimtool predict photo.jpg trimap.png --cutout"),
        ("Build a set of your own images", "dimtool make-lists --fg-dir fg --alpha-dir alpha --bg-dir bg"),
        ("Or Adobe's", "dimtool build-dataset --fg-list train_fg.txt --dry-run"),
        ("Draw a set that is large enough to train on", "dimtool draw-set drawn"),
        ("Train in earnest, with a GPU", "dimtool train --recipe fast"),
        ("Take the small network of this page elsewhere", f"dimtool export-onnx --checkpoint {run}"),
    ]


def _shown(folder: Path, done: Done) -> dict[str, object]:
    step = done.step
    picture = folder / step.picture
    width, height = _size(picture) if step.picture and picture.is_file() else (0, 0)
    return {
        "step": step,
        "command": printable(step.command),
        "output": printable(done.output, keep="\n"),
        "seconds": done.seconds,
        "picture": step.picture if width else "",
        "width": width,
        "height": height,
        "page": step.page if (folder / step.page).is_file() else "",
    }


def _size(picture: Path) -> tuple[int, int]:
    with Image.open(picture) as image:
        return image.size
