"""evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from ...options import EXISTING, EXISTING_FOLDER, FOLDER, PLACE, as_json, cache_option, print_result
from ...verbs import KEPT, Verb

if TYPE_CHECKING:
    from ...storage.remote import Place
    from ..evaluation.images import Images
    from ..evaluation.predictors import Predictor


@click.command("evaluate", cls=Verb, kept=KEPT)
@click.option("--checkpoint", type=EXISTING, help="A model.safetensors, or the folder of a run.")
@click.option("--pred-dir", type=EXISTING_FOLDER, help="Or anyone's predictions, matched by name.")
@click.option("--shards", type=PLACE, default="shards/test", show_default=True, help="What to score it on.")
@cache_option
@click.option("--truth-dir", type=EXISTING_FOLDER, help="Or true alphas, by composite or foreground.")
@click.option("--trimap-dir", type=EXISTING_FOLDER, help="Trimaps; the official ones make scores comparable.")
@click.option("--image-dir", type=EXISTING_FOLDER, help="With --truth-dir: the images that a model needs.")
@click.option(
    "--trimap-radius",
    type=click.IntRange(0, 254),
    default=10,
    show_default=True,
    help="Of shards, where no trimaps are given.",
)
@click.option(
    "--beside",
    multiple=True,
    metavar="WHAT,...",
    help="Score these, too: closed-form, knn, learning-based, trimap, another model, other predictions.",
)
@click.option(
    "--batch-size", type=click.IntRange(min=1), default=1, show_default=True, help="Images at a time."
)
@click.option(
    "--workers",
    type=click.IntRange(min=0),
    default=2,
    show_default=True,
    help="Processes that read and score.",
)
@click.option(
    "--out", type=FOLDER, default="evaluation", show_default=True, help="For scores.csv and the page."
)
@as_json
@click.pass_context
def evaluate_command(
    context: click.Context, /, *, out: Path, batch_size: int, workers: int, as_json: bool, **options: Any
) -> None:
    """Score a model, or a folder of predictions, with the four official metrics.

    SAD, MSE, gradient and connectivity error over the unknown region, exactly as the official code defines
    them; beside the published scores where those can be compared. --out gets scores.csv and index.html.
    Scores are kept there as they come: stopped, and given again, the command goes on where it was.

    \b
    Examples:
      dimtool evaluate --checkpoint runs/dim --trimap-dir test/trimaps
      dimtool evaluate --checkpoint runs/dim --beside closed-form,knn,trimap --beside runs/other
      dimtool evaluate --pred-dir mine --truth-dir test/alpha --trimap-dir test/trimaps
    """
    from ...progress import CountingBar
    from ..evaluation.evaluate import evaluate
    from ..evaluation.journal import Journal, claim_folder
    from ..evaluation.page import write_page
    from ..evaluation.table import write_scores

    options["shards_given"] = context.get_parameter_source("shards") is not ParameterSource.DEFAULT
    with CountingBar("images") as bar:
        images, predictors, notes = _subject(**options)
        bar.notes(notes)
        claim_folder(out)
        evaluation = evaluate(
            images,
            predictors,
            journal=Journal(out),
            reporter=bar,
            batch_size=batch_size,
            workers=workers,
        )
    scores = write_scores(out, evaluation)
    page = write_page(out, evaluation, images, predictors)
    values = {**evaluation.means(), "images": len(evaluation.images), "trimaps": evaluation.trimaps}
    values |= {"comparable": evaluation.comparable, "left_out": evaluation.left_out}
    values |= {"beside": {each.title: each.means() for each in evaluation.beside}}
    values |= {"csv": scores[0], "page": page}
    print_result(as_json, values, f"{evaluation.text()}\n{scores[0]}\n{page}")


def _subject(
    *, checkpoint: Path | None, pred_dir: Path | None, beside: tuple[str, ...], **where: Any
) -> tuple[Images, list[Predictor], list[str]]:
    """What is to be scored on what, and what to say of it."""
    from ..evaluation.methods import check_other
    from ..evaluation.predictors import model_of, predictions_of, predictor_of

    if (checkpoint is None) == (pred_dir is None):
        raise click.UsageError("give --checkpoint, or --pred-dir with --truth-dir and --trimap-dir")
    others = [each.strip() for some in beside for each in some.split(",")]
    notes = [note for each in others for note in check_other(each)]
    images = _images(pred_dir, **where)
    main = model_of(str(checkpoint)) if pred_dir is None else predictions_of(pred_dir, images)
    predictors = [main, *(predictor_of(each, images) for each in others)]
    images.pictures = any(each.needs_pictures for each in predictors)
    if images.pictures and where["truth_dir"] is not None and where["image_dir"] is None:
        raise click.UsageError("a model and all methods but trimap need the images: give --image-dir")
    return images, predictors, [*notes, *images.notes]


def _images(
    pred_dir: Path | None,
    *,
    shards: Place,
    shards_given: bool,
    truth_dir: Path | None,
    trimap_dir: Path | None,
    image_dir: Path | None,
    trimap_radius: int,
) -> Images:
    """The images: of folders where true alphas are given, else of shards."""
    from ..evaluation.images import FolderImages, ShardImages, Trimaps
    from ..evaluation.pairing import Files

    if truth_dir is None:
        if pred_dir is not None and not shards_given:
            raise click.UsageError("--pred-dir needs --truth-dir and --trimap-dir, or --shards, beside it")
        if image_dir is not None:
            raise click.UsageError("--image-dir goes with --truth-dir: shards have the images")
        return ShardImages(shards, Trimaps(folder=trimap_dir, radius=trimap_radius))
    named_by = pred_dir or image_dir
    if trimap_dir is None or named_by is None or shards_given:
        raise click.UsageError(
            "--truth-dir goes with --trimap-dir, and with --pred-dir or --image-dir, and without --shards"
        )
    return FolderImages(Files(named_by), truths=truth_dir, trimaps=trimap_dir, pictures=image_dir)
