"""The distributions of a data set, as SVG in two colour themes."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ...pages.assets import Assets
from ..shards.index import ShardRecord
from ..verification.check_set import FolderReport
from ..verification.check_shard import UNKNOWN_RADIUS, ShardFacts
from .gallery import coverage

_BINS = 24
_INCHES = (4.0, 2.3)

Values = Mapping[str, NDArray[np.float64]]  # by split


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A plot on the page: `light` and `dark` are its two files; `lines` say in words what it shows."""

    title: str
    light: str
    dark: str
    lines: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Theme:
    ink: str
    grid: str
    splits: Mapping[str, str]


_LIGHT = _Theme(
    ink="#4b5565", grid="#e3e7ee", splits={"train": "#3563e9", "val": "#12946f", "test": "#e8710a"}
)
_DARK = _Theme(
    ink="#a4afc0", grid="#2b3341", splits={"train": "#7ea2ff", "val": "#4fd1a5", "test": "#ffab57"}
)


@dataclass(frozen=True)
class _Histogram:
    """Shares of values in bins. unit: of the axis; each: what has one; form: of a value in a sentence."""

    title: str
    unit: str
    each: str
    values: Values
    edges: NDArray[np.float64]
    form: str

    def draw(self, axes: Axes, colours: Sequence[str]) -> None:
        """Bars of each split, side by side."""
        weights = [np.full(each.size, 100 / each.size) for each in self.values.values()]
        axes.hist(
            list(self.values.values()),
            bins=self.edges.tolist(),
            weights=weights,
            color=list(colours),
            label=list(self.values),
            rwidth=0.86,
        )
        axes.set_xlabel(self.unit)
        axes.set_ylabel(f"% of the {self.each}")

    def lines(self) -> list[str]:
        """Median and range of each split."""
        texts = []
        for split, values in self.values.items():
            low, middle, high = (self.form.format(each) for each in np.percentile(values, [0, 50, 100]))
            texts.append(f"{split}: median {middle}, from {low} to {high}")
        return texts


@dataclass(frozen=True)
class _AlphaHistogram:
    """Share of the pixels at each alpha, (256,) for each split, on a logarithmic scale."""

    title: str
    values: Values

    def draw(self, axes: Axes, colours: Sequence[str]) -> None:
        """A filled outline of each split."""
        for (split, shares), colour in zip(self.values.items(), colours, strict=True):
            edges = np.arange(257) - 0.5
            axes.stairs(100 * shares, edges, baseline=None, color=colour, label=split, linewidth=1.4)
        axes.set_yscale("log")
        axes.set_ylim(top=100)
        axes.yaxis.set_major_formatter("{x:g}")
        axes.set_xlim(-3, 258)
        axes.set_xticks([0, 64, 128, 192, 255])
        axes.set_xlabel("alpha")
        axes.set_ylabel("% of the pixels")

    def lines(self) -> list[str]:
        """What of each split is empty, and what is opaque."""
        return [
            f"{split}: {100 * shares[0]:.1f} % at 0, {100 * shares[255]:.1f} % at 255"
            for split, shares in self.values.items()
        ]


def plot_distributions(folders: Sequence[FolderReport], assets: Assets) -> list[Plot]:
    """Sizes, coverage, unknown fraction, alpha, enlargement of the backgrounds, bytes: of what is readable.

    Folders of one split count as one. An empty list where no shard can be read.
    """
    shards: dict[str, list[_Readable]] = defaultdict(list)
    for folder in folders:
        seen = set[int]()
        for shard in folder.shards:
            if shard.facts is not None and shard.facts.backgrounds:
                own = shard.record.index not in seen
                shards[folder.index.split].append(_Readable(shard.facts, shard.record, own))
                seen.add(shard.record.index)
    return [_plot(each, assets) for each in _distributions(shards)] if shards else []


class _Readable(NamedTuple):
    """A shard; `own`: whether what it shares with the other pieces of its foreground is counted here."""

    facts: ShardFacts
    record: ShardRecord
    own: bool

    @property
    def megapixels(self) -> float:
        return self.facts.height * self.facts.width / 1e6

    @property
    def bytes_a_pixel(self) -> float:
        return self.record.bytes / (1e6 * self.megapixels * len(self.facts.backgrounds))


def _distributions(shards: Mapping[str, Sequence[_Readable]]) -> Iterator[_Histogram | _AlphaHistogram]:
    def gather(measure: Callable[[_Readable], Iterable[float]]) -> Values:
        return {
            split: np.array([value for each in of for value in measure(each)]) for split, of in shards.items()
        }

    sizes = gather(lambda each: [each.megapixels] * each.own)
    yield _Histogram("Image size", "megapixels", "foregrounds", sizes, _edges(sizes, 0), "{:.2f} MP")
    percent = np.linspace(0, 100, 21)
    covered = gather(lambda each: [100 * coverage(each.facts)] * each.own)
    yield _Histogram("Foreground coverage", "% of the image", "foregrounds", covered, percent, "{:.1f} %")
    unknown = gather(lambda each: [100 * each.facts.unknown] * each.own)
    unit = f"% of the image, at radius {UNKNOWN_RADIUS}"
    yield _Histogram("Unknown region", unit, "foregrounds", unknown, percent, "{:.1f} %")
    alphas = {
        split: np.sum([each.facts.alpha_histogram for each in of if each.own], axis=0)
        for split, of in shards.items()
    }
    yield _AlphaHistogram("Alpha", {split: each / each.sum() for split, each in alphas.items()})
    enlarged = gather(lambda each: each.facts.enlarged)
    yield _Histogram(
        "Enlargement of the backgrounds", "times", "backgrounds", enlarged, _edges(enlarged, 1), "×{:.2f}"
    )
    stored = gather(lambda each: [each.bytes_a_pixel])
    yield _Histogram(
        "Stored size", "bytes a composite pixel", "shards", stored, _edges(stored, 0), "{:.2f} bytes"
    )


def _edges(values: Values, least: float) -> NDArray[np.float64]:
    """Equal bins from `least` to the greatest value, and never of no width."""
    greatest = max(float(each.max()) for each in values.values())
    return np.linspace(least, max(greatest, least + 0.5), _BINS + 1)


def _plot(distribution: _Histogram | _AlphaHistogram, assets: Assets) -> Plot:
    light, dark = (assets.add(_svg(distribution, theme), ".svg") for theme in (_LIGHT, _DARK))
    return Plot(title=distribution.title, light=light, dark=dark, lines=tuple(distribution.lines()))


def _svg(distribution: _Histogram | _AlphaHistogram, theme: _Theme) -> bytes:
    # Text as outlines looks the same everywhere; the salt gives the same bytes for the same data.
    settings = {
        "svg.fonttype": "path",
        "svg.hashsalt": "dimtool",
        "font.size": 9.5,
        "text.color": theme.ink,
        "axes.labelcolor": theme.ink,
        "axes.edgecolor": theme.grid,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.spines.left": False,
        "axes.grid": True,
        "axes.grid.axis": "y",
        "axes.axisbelow": True,
        "grid.color": theme.grid,
        "xtick.color": theme.ink,
        "ytick.color": theme.ink,
        "ytick.left": False,
        "ytick.minor.left": False,
        "legend.frameon": False,
    }
    with style.context(settings):
        figure = Figure(figsize=_INCHES, layout="constrained")
        axes = figure.add_subplot()
        distribution.draw(axes, [theme.splits.get(split, theme.ink) for split in distribution.values])
        if len(distribution.values) > 1:
            figure.legend(loc="outside upper right", ncols=3, fontsize=9)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return buffer.getvalue()
