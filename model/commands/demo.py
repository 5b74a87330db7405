"""demo: the whole way in minutes; demo-page: a model to try in a browser."""

from __future__ import annotations

from pathlib import Path

import click

from ...options import EXISTING, FOLDER, as_json, print_result, say
from ...verbs import KEPT, UNCHANGED, Verb


@click.command("demo", cls=Verb, kept=KEPT)
@click.argument("folder", type=FOLDER, default="demo")
@click.option(
    "--size", type=click.IntRange(96, 4096), default=400, show_default=True, help="Of pictures, about."
)
@click.option("--steps", help="Of each stage of the training, as 50,10,10.  [default: the recipe's]")
@as_json
def demo_command(*, folder: Path, size: int, steps: str | None, as_json: bool) -> None:
    """Go the whole way in minutes: a drawn set, shards, verification, training, scores, mattes, on one page.

    It gives the commands of dimtool as one would type them, and shows each. All of it goes into FOLDER
    (demo), with FOLDER/index.html to look at. Stopped, and given again, it goes on; what is finished is kept.
    It needs no data, no GPU and no network.

    \b
    Examples:
      dimtool demo
      dimtool demo try --size 320 --steps 50,10,10
    """
    from ..tour.page import following, write_page
    from ..tour.steps import steps_in
    from ..tour.walk import walk

    way = steps_in(folder, size=size, steps=steps)
    folder.mkdir(parents=True, exist_ok=True)
    walked = walk(
        way, begins=lambda line: say(f"\n{line}", err=True), prints=lambda line: say(line, err=as_json)
    )
    page = write_page(folder, walked)
    lines = [f"{what}: {command}" for what, command in following(folder)]
    values = {"page": page, "seconds": {done.step.command: done.seconds for done in walked}}
    print_result(as_json, values, "\n".join([f"\n{page}: open it in a browser", "next:", *lines]))


@click.command("demo-page", cls=Verb, kept=UNCHANGED)
@click.option(
    "--checkpoint",
    type=EXISTING,
    help="A model.safetensors, or the folder of a run.  [default: the model that comes with dimtool]",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=8467,
    show_default=True,
    help="Or 0 for any that is free.",
)
def demo_page_command(*, checkpoint: Path | None, port: int) -> None:
    """Open a page where one drops a photograph, paints a trimap over it, and sees the cut-out.

    The page works offline, and only on this machine. It mattes one picture at a time, of at most 24
    megapixels in a request of 64 MB, and keeps none. To use it from elsewhere, make a tunnel: ssh -L
    8467:127.0.0.1:8467 MACHINE. Ctrl-C ends it.

    \b
    Examples:
      dimtool demo-page
      dimtool demo-page --checkpoint runs/dim
    """
    from ..inference.matter import load
    from ..serving.page import page
    from ..serving.server import PageServer
    from ..serving.studio import Studio

    name = checkpoint or "the model that comes with dimtool, small and of drawn pictures alone"
    studio = Studio(load(checkpoint))
    for note in studio.notes:
        say(f"note: {note}", err=True)
    with PageServer(page=page(f"With {name}"), studio=studio, port=port) as server:
        say(f"{server.address}  (open it in a browser; Ctrl-C ends it)")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            say("ended")
