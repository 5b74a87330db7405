"""The commands of the model half: each parses, calls one function and prints."""

from __future__ import annotations

import tomllib
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..options import EXISTING, EXISTING_FOLDER, FILE, FOLDER, Bytes, Numbers, Share, as_json, print_result

if TYPE_CHECKING:
    from .evaluation import Subject

# Nothing else is imported up here: `dimtool --help` must answer without torch.


def _read_config(context: click.Context, _: click.Parameter, path: Path | None) -> Path | None:
    """Take a TOML file's values as the command's defaults: what the command line says wins."""
    if path is None:
        return None
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise click.BadParameter(f"{path} cannot be read as TOML: {error}") from error
    values = {key.replace("-", "_"): value for key, value in values.items()}
    known = {
        option.lstrip("-").replace("-", "_"): each.name
        for each in context.command.params
        if each.expose_value  # a file cannot name another
        for option in each.opts
    }
    unknown = sorted(values.keys() - known.keys())
    if unknown:
        raise click.BadParameter(
            f"{path} sets {unknown[0]}, which is no option of `dimtool {context.info_name}`"
        )
    context.default_map = {str(known[key]): _as_typed(value) for key, value in values.items()}
    return path


def _as_typed(value: Any) -> str:
    """A TOML value as the command line would carry it: the options' types then judge both alike."""
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _workers() -> int:
    from .run import default_workers

    return default_workers()


@click.command("train")
@click.option(
    "--config",
    type=FILE,
    is_eager=True,
    expose_value=False,
    callback=_read_config,
    help="A TOML file of these options, `batch-size = 16`; the command line wins.",
)
@click.option("--shards", type=FOLDER, default="shards/train", show_default=True, help="What to train on.")
@click.option("--out", type=FOLDER, default="runs/dim", show_default=True, help="The run's folder.")
@click.option(
    "--stage",
    type=click.Choice(["1", "2", "3", "all"]),
    default="all",
    show_default=True,
    help="1 encoder-decoder, 2 refinement, 3 both.",
)
@click.option("--steps", type=click.IntRange(min=1), help="Of each stage, in all, resumed or not.")
@click.option(
    "--epochs",
    type=click.FloatRange(min=0, min_open=True),
    default=30.0,
    show_default=True,
    help="Passes of each stage over the data, where --steps is not given.",
)
@click.option(
    "--batch-size", type=click.IntRange(min=1), default=1, show_default=True, help="Of all GPUs together."
)
@click.option("--learning-rate", type=float, default=1e-5, show_default=True, help="Adam's, constant.")
@click.option("--precision", type=click.Choice(["fp32", "bf16"]), default="fp32", show_default=True)
@click.option("--compile/--no-compile", default=False, show_default=True, help="Compile the network first.")
@click.option(
    "--workers",
    type=click.IntRange(min=0),
    default=_workers,
    show_default="one a core, at most 4",
    help="Processes that read crops.",
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
    "--weights", metavar="imagenet|none|FILE", help="VGG-16's.  [default: imagenet at width 1, else none]"
)
@click.option("--init", type=EXISTING, help="A model to start from, or a run's folder.")
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
@click.option("--val-shards", type=FOLDER, help="Validate on these (never the test set).")
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
@click.option("--val-every", type=click.IntRange(min=1), default=5000, show_default=True, help="Steps.")
@click.option("--save-every", type=click.IntRange(min=1), default=5000, show_default=True, help="Steps.")
@click.option(
    "--keep", type=click.IntRange(min=1), default=3, show_default=True, help="Checkpoints, the last ones."
)
@click.option("--log-every", type=click.IntRange(min=1), default=50, show_default=True, help="Steps.")
@click.option(
    "--skip-bad", is_flag=True, help="Go on without composites that cannot be read; they are counted."
)
@click.option("--resume", is_flag=True, help="Insist on going on: fail where there is no checkpoint.")
@as_json
def train_command(*, stage: str, resume: bool, as_json: bool, **options: Any) -> None:
    """Train the Deep Image Matting model on a folder of shards, in its three stages.

    A run that was stopped, or killed, goes on when the same command is given again, to the same weights.
    Under `torchrun` or `accelerate launch` it uses several GPUs.

    \b
    Examples:
      dimtool train
      dimtool train --batch-size 16 --precision bf16 --compile --workers 16
      dimtool train --shards demo/shards/train --width 0.25 --bottleneck slim --steps 500
    """
    from ..progress import TrainBar
    from .run import Run, RunError, TrainConfig
    from .training import train

    stages = (1, 2, 3) if stage == "all" else (int(stage),)
    config = TrainConfig(stages=stages, **options)  # type: ignore[arg-type]
    if resume and Run(config).latest() is None:
        raise RunError(f"{config.out} has no checkpoint to resume from: run without --resume")
    with TrainBar() as bar:
        result = train(config, bar)
    if not result.main:
        return
    sad = "" if result.sad is None else f", validation SAD {result.sad:.2f}"
    print_result(as_json, {"model": result.model, "val_sad": result.sad}, f"{result.model}{sad}")


@click.command("evaluate")
@click.option("--checkpoint", type=EXISTING, help="A model.safetensors, or the folder of a run.")
@click.option("--shards", type=FOLDER, default="shards/test", show_default=True, help="What to score it on.")
@click.option("--pred-dir", type=EXISTING_FOLDER, help="Or anyone's predictions, matched by name.")
@click.option("--truth-dir", type=EXISTING_FOLDER, help="Their true alphas, by composite or foreground.")
@click.option("--trimap-dir", type=EXISTING_FOLDER, help="Trimaps; the official ones make scores comparable.")
@click.option(
    "--trimap-radius",
    type=click.IntRange(0, 254),
    default=10,
    show_default=True,
    help="Where there are none.",
)
@click.option(
    "--batch-size", type=click.IntRange(min=1), default=1, show_default=True, help="Images at a time."
)
@click.option(
    "--workers", type=click.IntRange(min=1), default=2, show_default=True, help="To read, and to score."
)
@click.option(
    "--out", type=FOLDER, default="evaluation", show_default=True, help="For scores.csv and the page."
)
@as_json
def evaluate_command(*, out: Path, workers: int, as_json: bool, **options: Any) -> None:
    """Score a model, or a folder of predictions, with the four official metrics.

    SAD, MSE, gradient and connectivity error over the unknown region, exactly as the official code defines
    them, beside the published scores. --out gets scores.csv and index.html, with the worst, median and best
    images.

    \b
    Examples:
      dimtool evaluate --checkpoint runs/dim --trimap-dir test/trimaps
      dimtool evaluate --pred-dir mine --truth-dir test/alpha --trimap-dir test/trimaps
    """
    from ..progress import EvaluateBar
    from .evaluation import evaluate, write_scores
    from .evaluation_page import write_page

    subject, title = _subject(workers=workers, **options)
    out.mkdir(parents=True, exist_ok=True)  # what is in the way should not show after an hour
    with EvaluateBar() as bar:
        evaluation = evaluate(subject, reporter=bar, workers=workers)
    scores = write_scores(out, evaluation)
    page = write_page(out, evaluation, subject, title)
    values = {**evaluation.means(), "images": len(evaluation.images), "trimaps": evaluation.trimaps}
    values |= {"full_test_set": evaluation.full, "csv": scores, "page": page}
    print_result(as_json, values, f"{evaluation.text()}\n{scores}\n{page}")


def _subject(
    *,
    checkpoint: Path | None,
    shards: Path,
    pred_dir: Path | None,
    truth_dir: Path | None,
    trimap_dir: Path | None,
    trimap_radius: int,
    batch_size: int,
    workers: int,
) -> tuple[Subject, str]:
    """What is to be scored, and its name."""
    from ..composer.folders import FolderIndex
    from .evaluation import FolderSubject, ModelSubject, TestImages, Trimaps

    if (checkpoint is None) == (pred_dir is None):
        raise click.UsageError("give --checkpoint, or --pred-dir with --truth-dir and --trimap-dir")
    if checkpoint is not None and truth_dir is not None:
        raise click.UsageError("--truth-dir goes with --pred-dir: the shards have the truth for --checkpoint")
    if checkpoint is None:
        if pred_dir is None or truth_dir is None or trimap_dir is None:
            raise click.UsageError("--pred-dir needs --truth-dir and --trimap-dir beside it")
        return FolderSubject(pred_dir, truth_dir, trimap_dir), str(pred_dir)
    from .inference import load

    trimaps = Trimaps(folder=FolderIndex(trimap_dir) if trimap_dir else None, radius=trimap_radius)
    model = ModelSubject(
        matter=load(checkpoint),
        images=TestImages(shards, trimaps),
        batch_size=batch_size,
        workers=workers,
    )
    return model, f"{checkpoint} on {shards}"


@click.command("predict")
@click.argument("image", type=EXISTING)
@click.argument("trimap", type=EXISTING)
@click.option(
    "--checkpoint", type=EXISTING, required=True, help="A model.safetensors, or the folder of a run."
)
@click.option(
    "--out", type=FOLDER, required=True, help="For alpha/, and foreground/, cutout/, composite/ if asked for."
)
@click.option(
    "--bits", type=click.Choice(["8", "16"]), default="8", show_default=True, help="Of a pixel of alpha."
)
@click.option("--foreground", is_flag=True, help="Write the foreground's own colours, too.")
@click.option("--cutout", is_flag=True, help="Write a cut-out (RGBA), too.")
@click.option("--onto", type=EXISTING, metavar="BACKGROUND", help="Write it before this picture, too.")
@click.option(
    "--threshold",
    is_flag=True,
    help="Take a trimap of other greys: under 26 background, over 229 foreground, unknown between.",
)
@click.option("--overwrite", is_flag=True, help="Make anew what is there from before.")
@click.option(
    "--max-memory",
    type=Bytes(),
    metavar="BYTES",
    help="As in 4GB.  [default: three quarters of what is free]",
)
@as_json
def predict_command(
    *,
    image: Path,
    trimap: Path,
    checkpoint: Path,
    threshold: bool,
    overwrite: bool,
    max_memory: int | None,
    as_json: bool,
    **outputs: Any,
) -> int:
    """Matte a photograph with its trimap, or a folder of them with a folder of trimaps of the same stems.

    A trimap is 0 where background, 255 where foreground, 128 where the alpha is sought. Photograph and trimap
    may have any size and mode; each is turned upright by its own EXIF tag. An image that does not fit the
    memory is matted in overlapping tiles, with the same result. Files that are there are kept, and what
    fails is listed at the end. Foreground colours need pymatting: pip install 'dimtool[predict]'; its first
    use takes a minute, to compile itself.

    \b
    Examples:
      dimtool predict --checkpoint runs/dim cat.jpg cat_trimap.png --out mattes --cutout
      dimtool predict --checkpoint runs/dim photos trimaps --out mattes --bits 16
    """
    from ..progress import PredictBar
    from .prediction import Outputs, predict

    wanted = Outputs(folder=outputs.pop("out"), bits=16 if outputs.pop("bits") == "16" else 8, **outputs)
    with PredictBar() as bar:
        summary = predict(
            checkpoint,
            image,
            trimap,
            wanted,
            reporter=bar,
            threshold=threshold,
            overwrite=overwrite,
            max_memory=max_memory,
        )
    print_result(as_json, asdict(summary), summary.text(wanted.folder))
    return 1 if summary.failures else 0


@click.command("export-onnx")
@click.option(
    "--checkpoint", type=EXISTING, required=True, help="A model.safetensors, or the folder of a run."
)
@click.option("--out", type=FILE, default="model.onnx", show_default=True, help="The file.")
@as_json
def export_onnx_command(*, checkpoint: Path, out: Path, as_json: bool) -> None:
    """Write the model as one ONNX file, which onnxruntime runs without dimtool.

    It takes RGB and a trimap as files hold them, uint8 of any size, and gives alpha in 0 to 1. It is compared
    with the PyTorch model on three sizes first, and not written where they differ. Needs pip install
    'dimtool[onnx]'.

    \b
    Example:
      dimtool export-onnx --checkpoint runs/dim --out model.onnx
    """
    from .onnx import export_onnx

    export = export_onnx(checkpoint, out)
    print_result(as_json, asdict(export), export.text())
