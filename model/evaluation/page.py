"""An evaluation as a page to look at: the table, and the worst, median and best images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ...files import write_text
from ...manifests.published import PUBLISHED
from ...pages.assets import Assets, Picture
from ...pages.environment import environment
from ...version import __version__
from .images import Images
from .predictors import Predictor, alpha_of
from .scoring import Item
from .table import METRICS, Evaluation, ImageScores

PAGE_NAME = "index.html"
_SHOWN = 4  # images of each kind


@dataclass(frozen=True, kw_only=True)
class Exhibit:
    """An image of the gallery: its scores, and its pictures."""

    name: str
    scores: dict[str, float]
    pictures: tuple[Picture, ...]


def write_page(folder: Path, evaluation: Evaluation, images: Images, predictors: Sequence[Predictor]) -> Path:
    """Write `folder`/index.html with its pictures, the page last; returns it. It opens from a disk."""
    folder.mkdir(parents=True, exist_ok=True)
    assets = Assets(folder=folder)
    groups = {
        kind: [_exhibit(images, predictors, assets, image) for image in picked]
        for kind, picked in pick_images(evaluation.images).items()
    }
    means = evaluation.means()
    html = (
        environment(Path(__file__))
        .get_template("evaluation.html.j2")
        .render(
            title=f"{evaluation.title} on {images.where}",
            caveat=" ".join(evaluation.caveats()),
            comparable=evaluation.comparable,
            metrics=METRICS,
            means=means,
            published=[each._asdict() for each in PUBLISHED],
            groups=groups,
            images=[{"name": image.name, **asdict(image.scores)} for image in evaluation.images],
            version=__version__,
        )
    )
    write_text(folder / PAGE_NAME, html)
    assets.prune()
    return folder / PAGE_NAME


def pick_images(images: Sequence[ImageScores]) -> dict[str, list[ImageScores]]:
    """The images with the greatest, the middling and the least SAD, a few each, none twice."""
    ordered = sorted(images, key=lambda image: image.scores.sad, reverse=True)
    if len(ordered) <= 3 * _SHOWN:
        return {"All images, the worst first": ordered}
    middle = (len(ordered) - _SHOWN) // 2
    return {
        "Worst": ordered[:_SHOWN],
        "Median": ordered[middle : middle + _SHOWN],
        "Best": ordered[-_SHOWN:],
    }


def _exhibit(images: Images, predictors: Sequence[Predictor], assets: Assets, image: ImageScores) -> Exhibit:
    item = images[image.number]
    prediction = alpha_of(predictors[0], item)
    pictures = [
        assets.photo(pixels, caption, f"{caption} of {image.name}")
        for caption, pixels in _pictures(item, prediction).items()
    ]
    return Exhibit(name=image.name, scores=asdict(image.scores), pictures=tuple(pictures))


def _pictures(item: Item, prediction: np.ndarray) -> dict[str, np.ndarray]:
    error = np.abs(prediction.astype(np.int16) - item.truth)
    error = np.where(item.trimap == 128, error, 0).astype(np.uint8)
    pictures = {} if item.image is None else {"image": item.image}
    return pictures | {"trimap": item.trimap, "prediction": prediction, "truth": item.truth, "error": error}
