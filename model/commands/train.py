"""train."""

from __future__ import annotations

import os
from typing import Any

import click

from ...options import FOLDER, PATH, PLACE, Numbers, Share, as_json, cache_option, print_result
from ...text import next_steps
from ...verbs import Verb
from .sections import SECTIONS
from .types import ByStage, Often
from .updates import update_options
from .values import read_recipe
from .variation import variation_options


@click.command("train", cls=Verb, kept="the same command goes on from the last checkpoint", sections=SECTIONS)
@click.option(
    "--recipe",
    metavar="paper|fast|demo|FILE",
    default="paper",
    show_default=True,
    is_eager=True,
    callback=read_recipe,
    help="Options that belong together, the paper's, sooner there, in minutes; or a TOML file.",
)
@click.option("--shards", type=PLACE, default="shards/train", show_default=True, help="What to train on.")
@cache_option
@click.option("--out", type=FOLDER, default="runs/dim", show_default=True, help="The run's folder.")
@click.option(
    "--stage",
    type=click.Choice(["1", "2", "3", "all"]),
    default="all",
    show_default=True,
    help="1 encoder-decoder, 2 refinement, 3 both.",
)
@click.option(
    "--steps",
    type=ByStage(int, least=1),
    help="Of each stage, in all, resumed or not; or 20000,5000,5000 by stage.",
)
@click.option(
    "--epochs",
    type=click.FloatRange(min=0, min_open=True),
    default=30.0,
    show_default=True,
    help="Passes of each stage over the data, where --steps is not given.",
)
@click.option(
    "--batch-size",
    type=ByStage(int, least=1),
    default=1,
    show_default=True,
    help="Of all GPUs together; or three by stage.",
)
@click.option(
    "--learning-rate",
    type=ByStage(float),
    default=1e-5,
    show_default=True,
    help="Adam's, the greatest; or three by stage.",
)
@update_options
@click.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "tf32", "bf16", "fp16"]),
    default="tf32",
    show_default=True,
    help="tf32: float32, but a GPU's products TF32. fp16: for cards without bf16. auto: bf16 or tf32.",
)
@click.option("--compile/--no-compile", default=False, show_default=True, help="Compile each step first.")
@click.option(
    "--compile-mode",
    type=click.Choice(["default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"]),
    default="default",
    show_default=True,
    help="torch.compile's, with --compile: longer searches, CUDA graphs.",
)
@click.option(
    "--gradient-compression",
    type=click.Choice(["none", "bf16"]),
    default="none",
    show_default=True,
    help="Of gradients on their way between processes.",
)
@click.option(
    "--on-nan",
    type=click.Choice(["stop", "skip"]),
    default="stop",
    show_default=True,
    help="A step that is not finite: end and name its batch, or leave it out and count it.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=0),
    help="Processes that read crops, on each machine together.  [default: as many as the device needs]",
)
@click.option(
    "--seed", type=click.IntRange(0, 2**31), default=0, show_default=True, help="Of all that is drawn."
)
@click.option(
    "--bottleneck",
    type=click.Choice(["fc6", "slim"]),
    default="fc6",
    show_default=True,
    help="The paper's, or 1 x 1 to 512 channels.",
)
@click.option(
    "--width",
    type=click.FloatRange(0, 1, min_open=True),
    default=1.0,
    show_default=True,
    help="Multiplies every channel count.",
)
@click.option(
    "--normalisation",
    type=click.Choice(["none", "batch"]),
    default="none",
    show_default=True,
    help="Of convolutions while they learn: batch where they start from scratch, in batches of 8 or more.",
)
@click.option(
    "--weights",
    metavar="imagenet|none|FILE",
    help="VGG-16's: fetched once, none, or a copy.  [default: imagenet at width 1, else none]",
)
@click.option("--init", type=PATH, help="A model to start from, or a run's folder.")
@click.option(
    "--init-part",
    type=click.Choice(["all", "encoder", "fitting"]),
    show_default="all",
    help="What is taken of --init: all, which must fit; of its encoder, or of all, the layers that fit.",
)
@click.option(
    "--crop-size", type=click.IntRange(min=32), default=320, show_default=True, help="Side of a crop, scaled."
)
@click.option("--crop-cuts", type=Numbers(), default="320,480,640", show_default=True, help="Sides cut out.")
@click.option(
    "--radii", type=Numbers(), default="1,20", show_default=True, help="Of the random trimaps, least, most."
)
@click.option(
    "--stage2-radius", type=click.IntRange(min=0), default=10, show_default=True, help="Of stage 2's trimaps."
)
@variation_options
@click.option("--val-shards", type=PLACE, help="Validate on these (never the test set).")
@click.option(
    "--val-share",
    type=Share(),
    default="5%",
    show_default=True,
    help="Or hold out this percentage of foregrounds.",
)
@click.option(
    "--val-count", type=click.IntRange(min=1), default=50, show_default=True, help="Composites looked at."
)
@click.option(
    "--val-radius", type=click.IntRange(min=0), default=10, show_default=True, help="Of validation's trimaps."
)
@click.option(
    "--val-every", type=Often(), default="5000", show_default=True, help="Steps, or as in 10min, 0.5epoch."
)
@click.option(
    "--save-every", type=Often(), default="5000", show_default=True, help="Steps, or as in 10min, 0.5epoch."
)
@click.option(
    "--keep", type=click.IntRange(min=1), default=3, show_default=True, help="Checkpoints, the last ones."
)
@click.option("--log-every", type=click.IntRange(min=1), default=50, show_default=True, help="Steps.")
@click.option(
    "--tracker",
    type=click.Choice(["tensorboard", "wandb", "mlflow", "none"]),
    default="tensorboard",
    show_default=True,
    help="Who else gets the values that metrics.jsonl has; wandb and mlflow are to be installed.",
)
@click.option(
    "--page/--no-page",
    default=True,
    show_default=True,
    help="Whether the run gets index.html, curves.png and results.csv, at validations and at the end.",
)
@click.option(
    "--skip-bad", is_flag=True, help="Go on without composites that cannot be read; they are counted."
)
@click.option("--time-limit", metavar="TIME", help="Stop after 90s, 30min or 10h, to go on another time.")
@click.option("--resume", is_flag=True, help="Insist on going on: fail where there is no checkpoint.")
@as_json
def train_command(*, stage: str, resume: bool, as_json: bool, **options: Any) -> None:
    """Train the Deep Image Matting model on a folder of shards, in its three stages.

    A run that was stopped, or killed, goes on when the same command is given again, to the same weights.
    Under `torchrun` or `accelerate launch` it uses several GPUs.

    \b
    Examples:
      dimtool train
      dimtool train --recipe fast --compile --workers 16
      dimtool train --shards demo/shards/train --width 0.25 --bottleneck slim --steps 500
    """
    from ..logbook.after import after_training
    from ..network.precision import best_precision
    from ..processes.failures import SharedError
    from ..runs.beginning import RunError
    from ..runs.config import TrainConfig
    from ..runs.folder import Run
    from ..training.stages import train
    from .progress import TrainBar

    if options["precision"] == "auto":
        options["precision"] = best_precision()
    stages = (1, 2, 3) if stage == "all" else (int(stage),)
    config = TrainConfig(stages=stages, **options)  # type: ignore[arg-type]
    if resume and os.environ.get("RANK", "0") == "0" and Run(config).latest() is None:
        raise RunError(f"{config.out} has no checkpoint to resume from: run without --resume")
    try:
        with TrainBar() as bar:
            result = train(config, bar)
    except SharedError as error:
        if error.told_elsewhere:
            raise click.exceptions.Exit(error.exit_code) from error
        raise
    if not result.main:
        return
    following = after_training(config.out, config.shards, config.val_shards)
    values: dict[str, Any] = {"model": result.model, "val_sad": result.sad, "trivial_sad": result.trivial}
    values |= {"page": result.page, "next": following}
    print_result(as_json, values, f"{result}\n{next_steps(following)}")
