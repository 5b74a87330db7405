"""Scores as tables: an image a line, the means, and what they may be compared with."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ...files import write_text
from ...manifests.presets import PRESETS
from ...manifests.published import PUBLISHED
from ...text import count, table
from ..metrics import MeanScores, Scores

METRICS = ("sad", "mse", "grad", "conn")
HEADER = ["model", *map(str.upper, METRICS)]
_NAMED = 5


@dataclass(frozen=True, kw_only=True)
class ImageScores:
    """An image's scores, and its number in the sequence that was scored.

    instead: whether they are of the trivial answer, where a method could not do this image.
    """

    name: str
    foreground: str
    number: int
    scores: Scores
    instead: bool = False


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Scores of every image, in order, of what `title` names; and of others on the same images.

    trimaps: which were used. comparable: whether it is all 1,000 with given trimaps. left_out: images without
    an unknown pixel, of which no error is defined. beside: the same of other predictors.
    """

    title: str
    images: tuple[ImageScores, ...]
    trimaps: str
    comparable: bool
    left_out: tuple[str, ...] = ()
    beside: tuple[Evaluation, ...] = ()

    def means(self) -> dict[str, float]:
        """The mean of each metric over the images, as tables report it."""
        return means_of(self.images)

    def csv(self) -> str:
        """A line for each image; the values as they are, to the last bit."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        names = list(asdict(self.images[0].scores))
        writer.writerow(["image", *names])
        for image in self.images:
            writer.writerow([image.name, *(repr(value) for value in asdict(image.scores).values())])
        return stream.getvalue()

    def text(self) -> str:
        """The means of all that was scored, published ones where they compare, and what all that is worth."""
        rows = [[each.title, *(f"{each.means()[name]:.4g}" for name in METRICS)] for each in self.all()]
        if self.comparable:
            rows += [[each.model, *(f"{value:g}" for value in each[1:])] for each in PUBLISHED]
        return "\n".join([table(HEADER, rows), "", *self.caveats()])

    def all(self) -> tuple[Evaluation, ...]:
        """The one to be known, and those beside it."""
        return (self, *self.beside)

    def caveats(self) -> list[str]:
        """What these scores are of, and what they can be compared with."""
        lines = [f"{count(len(self.images), 'image')}, {self.trimaps}: {self._comparison()}"]
        if self.left_out:
            lines.append(
                f"{count(len(self.left_out), 'image')} left out, without an unknown pixel in the trimap: "
                f"{named(self.left_out)}"
            )
        return lines + [each.replaced() for each in self.all() if each.replaced()]

    def replaced(self) -> str:
        """Which images a method could not do, in a sentence; empty where there are none."""
        instead = [image.name for image in self.images if image.instead]
        if not instead:
            return ""
        return (
            f"{self.title} cannot do {count(len(instead), 'image')} whose trimap lacks all foreground or "
            f"background; the trimap's own scores stand there: {named(instead)}"
        )

    def _comparison(self) -> str:
        if self.comparable:
            return "comparable where those are the official trimaps."
        full = PRESETS["test"].paper
        if len(self.images) == full:
            return "those are not the official trimaps, so not comparable with published scores."
        return f"not the {full:,} of Composition-1k, so not comparable with published scores."


def means_of(images: Sequence[ImageScores]) -> dict[str, float]:
    """The mean of each metric over images."""
    return asdict(MeanScores(image.scores for image in images).mean())


def by_foreground(images: Sequence[ImageScores]) -> dict[str, list[ImageScores]]:
    """Images of each foreground, those with the greatest mean SAD first."""
    groups: dict[str, list[ImageScores]] = {}
    for image in images:
        groups.setdefault(image.foreground, []).append(image)
    return dict(sorted(groups.items(), key=lambda each: -means_of(each[1])["sad"]))


def named(names: Sequence[str]) -> str:
    """The first few."""
    return ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")


def write_scores(folder: Path, evaluation: Evaluation) -> list[Path]:
    """Write `folder`/scores.csv, and scores-2.csv and so on for those beside it; returns them."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, each in enumerate(evaluation.all(), 1):
        paths.append(folder / ("scores.csv" if number == 1 else f"scores-{number}.csv"))
        write_text(paths[-1], each.csv())
    return paths
