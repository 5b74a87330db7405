"""draw-set: a large set of drawn foregrounds and backgrounds to train on."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from ...options import FOLDER, as_json, print_result
from ...verbs import KEPT, Verb
from .engine import Workers, engine_options


@click.command("draw-set", cls=Verb, kept=KEPT)
@click.argument("folder", type=FOLDER)
@click.option("--foregrounds", type=click.IntRange(min=1), default=2000, show_default=True, help="How many.")
@click.option("--backgrounds", type=click.IntRange(min=1), default=1500, show_default=True, help="How many.")
@click.option("--per-fg", type=click.IntRange(min=1), default=6, show_default=True, help="Backgrounds each.")
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed gives the same images.")
@click.option(
    "--size", type=click.IntRange(96, 2048), default=512, show_default=True, help="Pixels a side, about."
)
@engine_options
@as_json
def draw_set_command(
    *,
    folder: Path,
    foregrounds: int,
    backgrounds: int,
    per_fg: int,
    seed: int,
    size: int,
    workers: Workers,
    as_json: bool,
) -> None:
    """Draw a large matting data set of every kind: what a model can be trained on without any photograph.

    Hair, fur, feathers, plants, nets, glass, smoke, cloth and things, sharp, out of focus and moved, over
    backgrounds from sharp to bokeh, with a camera's noise and colours. One in 25 is listed for validation.

    An interrupted run goes on where it stopped; larger numbers add to a set that is there.

    \b
    Example:
      dimtool draw-set drawn --foregrounds 2000 --backgrounds 1500
      dimtool build-dataset --fg-list drawn/train_fg.txt --per-fg 6 --alpha-max 255
    """
    from ...progress import CountingBar
    from ..demo.training_set import draw_set

    with workers.start() as engine, CountingBar("pictures") as bar:
        drawn = draw_set(
            folder,
            engine=engine,
            foregrounds=foregrounds,
            backgrounds=backgrounds,
            per_fg=per_fg,
            seed=seed,
            size=size,
            reporter=bar,
        )
    print_result(as_json, asdict(drawn), str(drawn))
