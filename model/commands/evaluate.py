"""evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...options import EXISTING, EXISTING_FOLDER, FOLDER, as_json, print_result

if TYPE_CHECKING:
    from ..evaluation.subjects import Subject


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
    from ...progress import CountingBar
    from ..evaluation.evaluate import evaluate, write_scores
    from ..evaluation.page import write_page

    subject, title = _subject(workers=workers, **options)
    out.mkdir(parents=True, exist_ok=True)  # what is in the way should not show after an hour
    with CountingBar("images") as bar:
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
    from ...composer.sources.folders import FolderIndex
    from ..evaluation.subjects import FolderSubject, ModelSubject, TestImages, Trimaps

    if (checkpoint is None) == (pred_dir is None):
        raise click.UsageError("give --checkpoint, or --pred-dir with --truth-dir and --trimap-dir")
    if checkpoint is not None and truth_dir is not None:
        raise click.UsageError("--truth-dir goes with --pred-dir: the shards have the truth for --checkpoint")
    if checkpoint is None:
        if pred_dir is None or truth_dir is None or trimap_dir is None:
            raise click.UsageError("--pred-dir needs --truth-dir and --trimap-dir beside it")
        return FolderSubject(pred_dir, truth_dir, trimap_dir), str(pred_dir)
    from ..inference.matter import load

    trimaps = Trimaps(folder=FolderIndex(trimap_dir) if trimap_dir else None, radius=trimap_radius)
    model = ModelSubject(
        matter=load(checkpoint),
        images=TestImages(shards, trimaps),
        batch_size=batch_size,
        workers=workers,
    )
    return model, f"{checkpoint} on {shards}"
