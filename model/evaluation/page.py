"""An evaluation as a page to look at: tables, how errors spread, and the worst, median and best images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...arrays import UInt8Mask
from ...composer.pixels.trimap import UNKNOWN
from ...files import write_text
from ...manifests.published import PUBLISHED
from ...pages.assets import Assets, Picture
from ...pages.environment import environment
from ...version import __version__
from .images import Images
from .predictors import Predictor, alpha_of
from .scoring import Item
from .table import METRICS, Evaluation, ImageScores, by_foreground, means_of

PAGE_NAME = "index.html"
_SHOWN = 4  # images of each kind
_BINS = 24

# No error is black, the greatest nearly white; evenly spaced, so that a page can draw the same scale.
SCALE = ((0, 0, 0), (75, 22, 105), (179, 54, 87), (246, 127, 36), (252, 238, 158))
NOT_MEASURED = (68, 80, 98)


@dataclass(frozen=True, kw_only=True)
class Exhibit:
    """An image of the gallery: its scores by each title, and its pictures."""

    name: str
    scores: dict[str, dict[str, float]]
    pictures: tuple[Picture, ...]


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A bar of a histogram: how many images have a SAD from `low` to `high`."""

    low: float
    high: float
    images: int


def write_page(folder: Path, evaluation: Evaluation, images: Images, predictors: Sequence[Predictor]) -> Path:
    """Write `folder`/index.html with its pictures, the page last; returns it. It opens from a disk."""
    folder.mkdir(parents=True, exist_ok=True)
    assets = Assets(folder=folder)
    images.pictures = True
    every = [
        replace(each, title=title) for each, title in zip(evaluation.all(), _short(evaluation), strict=True)
    ]
    groups = {
        kind: [_exhibit(each, every, images, predictors, assets) for each in picked]
        for kind, picked in pick_images(evaluation.images).items()
    }
    html = (
        environment(Path(__file__))
        .get_template("evaluation.html.j2")
        .render(
            title=f"{evaluation.title} on {images.where}",
            caveats=evaluation.caveats(),
            comparable=evaluation.comparable,
            metrics=METRICS,
            rows=[{"model": each.title, **each.means()} for each in every],
            published=[each._asdict() for each in PUBLISHED] if evaluation.comparable else [],
            histograms={each.title: bars for each, bars in zip(every, histograms(every), strict=True)},
            foregrounds=_foregrounds(every),
            groups=groups,
            images=[
                {"name": row[0].name, "scores": [vars(each.scores) for each in row]} for row in _rows(every)
            ],
            titles=[each.title for each in every],
            scale=", ".join(f"rgb{colour}" for colour in SCALE),
            not_measured=f"rgb{NOT_MEASURED}",
            version=__version__,
        )
    )
    write_text(folder / PAGE_NAME, html)
    assets.prune()
    return folder / PAGE_NAME


def _short(evaluation: Evaluation) -> list[str]:
    """Titles that leave room on a narrow page: of paths the end, where that still tells them apart."""
    whole = [each.title for each in evaluation.all()]
    ends = ["/".join(Path(title).parts[-2:]) for title in whole]
    return ends if len(set(ends)) == len(ends) else whole


def pick_images(images: Sequence[ImageScores]) -> dict[str, list[ImageScores]]:
    """The images with the greatest, the middling and the least SAD, a few each, none twice.

    In each group a foreground is there but once: its composites err alike.
    """
    ordered = sorted(images, key=lambda image: image.scores.sad, reverse=True)
    if len(ordered) <= 3 * _SHOWN:
        return {"All images, the worst first": ordered}
    middle = (len(ordered) - 1) / 2
    central = sorted(ordered, key=lambda image: abs(ordered.index(image) - middle))
    picked: dict[str, list[ImageScores]] = {}
    for kind, candidates in (("Worst", ordered), ("Best", ordered[::-1]), ("Median", central)):
        used = {each.number for group in picked.values() for each in group}
        picked[kind] = _one_a_foreground(each for each in candidates if each.number not in used)
    return {kind: sorted(picked[kind], key=ordered.index) for kind in ("Worst", "Median", "Best")}


def _one_a_foreground(candidates: Iterable[ImageScores]) -> list[ImageScores]:
    found: dict[str, ImageScores] = {}
    for each in candidates:
        if len(found) < _SHOWN:
            found.setdefault(each.foreground, each)
    return list(found.values())


def histograms(every: Sequence[Evaluation]) -> list[list[Bar]]:
    """How the SAD of images spreads, for each evaluation, over the same bins."""
    values = [[image.scores.sad for image in each.images] for each in every]
    edges = np.linspace(0, max(max(each) for each in values) or 1, _BINS + 1)
    counts = [np.histogram(each, edges)[0].tolist() for each in values]
    return [
        [Bar(low=low, high=high, images=n) for (low, high), n in zip(pairwise(edges), each, strict=True)]
        for each in counts
    ]


def _foregrounds(every: Sequence[Evaluation]) -> list[dict[str, object]]:
    """A row a foreground, that with the greatest mean SAD first."""
    rows = []
    others = [by_foreground(each.images) for each in every[1:]]
    for name, group in by_foreground(every[0].images).items():
        worst = max(group, key=lambda image: image.scores.sad)
        beside = [means_of(each[name])["sad"] for each in others]
        rows.append(
            {
                "name": name,
                "images": len(group),
                "means": means_of(group),
                "beside": beside,
                "worst": worst.name,
            }
        )
    return rows


def _rows(every: Sequence[Evaluation]) -> list[tuple[ImageScores, ...]]:
    """Each image's scores by all evaluations."""
    return list(zip(*(each.images for each in every), strict=True))


def _exhibit(
    image: ImageScores,
    every: Sequence[Evaluation],
    images: Images,
    predictors: Sequence[Predictor],
    assets: Assets,
) -> Exhibit:
    item = images[image.number]
    at = every[0].images.index(image)
    alphas = {
        each.title: alpha_of(predictor, item) for each, predictor in zip(every, predictors, strict=True)
    }
    pictures = [
        assets.linked(picture, caption, f"{caption} of {image.name}")
        for caption, picture in _pictures(item, alphas).items()
    ]
    scores = {each.title: asdict(each.images[at].scores) for each in every}
    return Exhibit(name=image.name, scores=scores, pictures=tuple(pictures))


def _pictures(item: Item, alphas: dict[str, UInt8Mask]) -> dict[str, Image.Image]:
    """By caption; what is of one predictor of several has its title."""
    pictures = {} if item.image is None else {"image": Image.fromarray(item.image)}
    pictures |= {"trimap": Image.fromarray(item.trimap), "truth": Image.fromarray(item.truth)}
    for title, alpha in alphas.items():
        of = f", {title}" if len(alphas) > 1 else ""
        pictures[f"alpha{of}"] = Image.fromarray(alpha)
        pictures[f"error{of}"] = error_picture(alpha, item)
    return pictures


def error_picture(alpha: UInt8Mask, item: Item) -> Image.Image:
    """How far an alpha is off, in the colours of SCALE, where it is measured; elsewhere NOT_MEASURED."""
    error = np.abs(alpha.astype(np.int32) - item.truth)
    indices = np.where(item.trimap == UNKNOWN, (error * 254 + 127) // 255, 255)
    picture = Image.fromarray(indices.astype(np.uint8), "P")
    picture.putpalette(np.vstack([_colours(255), NOT_MEASURED]).astype(np.uint8).tobytes())
    return picture


def _colours(count: int) -> NDArray[np.float64]:
    """(count, 3) along SCALE."""
    at, stops = np.linspace(0, 1, count), np.linspace(0, 1, len(SCALE))
    return np.stack([np.interp(at, stops, channel) for channel in zip(*SCALE, strict=True)], axis=1).round()
