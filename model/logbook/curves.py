"""Loss, validation and learning rate over the steps of all stages: in one picture, and as plots of a page."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...files import part_of
from ...pages.assets import Assets
from ..inference.extras import optional
from .rows import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CURVES_NAME = "curves.png"
_MOST = 400  # points of a curve: of more, means
_INCHES, _TOGETHER = (4.0, 2.5), (8.0, 7.2)


class Plot(NamedTuple):
    """A plot on the page: `light` and `dark` are its two files."""

    title: str
    light: str
    dark: str


class _Theme(NamedTuple):
    ink: str
    grid: str
    model: str
    trivial: str


_LIGHT = _Theme(ink="#4b5565", grid="#e3e7ee", model="#3563e9", trivial="#e8710a")
_DARK = _Theme(ink="#a4afc0", grid="#2b3341", model="#7ea2ff", trivial="#ffab57")


def write_curves(folder: Path, rows: Sequence[Row]) -> None:
    """Write curves.png. Raises MissingExtraError without matplotlib, OSError."""
    content = _drawn(_CURVES, rows, "png")
    with part_of(folder / CURVES_NAME) as part:
        part.write_bytes(content)


def plot_curves(rows: Sequence[Row], assets: Assets) -> list[Plot]:
    """Each curve as a picture in two colour themes. Raises MissingExtraError without matplotlib, OSError."""
    plots = []
    for title, draw in _CURVES.items():
        light = _drawn({title: draw}, rows, "svg")
        dark = light
        for colour, other in zip(_LIGHT, _DARK, strict=True):
            dark = dark.replace(colour.encode(), other.encode())  # which saves drawing it
        files = (assets.add(each, ".svg") for each in (light, dark))
        plots.append(Plot(title, *files))
    return plots


def _drawn(curves: Mapping[str, _Draw], rows: Sequence[Row], kind: str) -> bytes:
    """Curves one below the other, as a file of that kind."""
    style, figures = (optional(f"matplotlib.{name}") for name in ("style", "figure"))
    with style.context(_settings(kind)):
        figure = figures.Figure(figsize=_INCHES if len(curves) == 1 else _TOGETHER, layout="constrained")
        every = figure.subplots(len(curves), sharex=True, squeeze=False)[:, 0]
        for axes, (title, draw) in zip(every, curves.items(), strict=True):
            _mark_stages(axes, rows)
            draw(axes, rows)
            if len(curves) > 1:
                axes.set_ylabel(title)
        every[-1].set_xlabel("steps of all stages")
        buffer = io.BytesIO()
        metadata: dict[str, Any] = {"Date": None} if kind == "svg" else {"Software": None}
        figure.savefig(buffer, format=kind, dpi=150, metadata=metadata)
    return buffer.getvalue()


def _settings(kind: str) -> dict[str, object]:
    return {
        "svg.fonttype": "path",  # looks the same everywhere; the salt gives the same bytes for the same data
        "svg.hashsalt": "dimtool",
        "font.size": 9.5,
        "figure.facecolor": "white" if kind == "png" else "none",
        "axes.facecolor": "none",
        "text.color": _LIGHT.ink,
        "axes.labelcolor": _LIGHT.ink,
        "axes.edgecolor": _LIGHT.grid,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.grid.axis": "y",
        "axes.axisbelow": True,
        "axes.formatter.useoffset": False,
        "grid.color": _LIGHT.grid,
        "xtick.color": _LIGHT.ink,
        "ytick.color": _LIGHT.ink,
        "legend.frameon": False,
        "lines.linewidth": 1.4,
    }


def _draw_loss(axes: Axes, rows: Sequence[Row]) -> None:
    steps, losses = _points(rows, "loss")
    axes.plot(steps, losses, color=_LIGHT.model)
    if losses.size and losses.min() > 0 and losses.max() > 10 * losses.min():
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")


def _draw_validation(axes: Axes, rows: Sequence[Row]) -> None:
    if not any("val_sad" in row for row in rows):
        axes.text(0.5, 0.5, "none yet", transform=axes.transAxes, ha="center", va="center")
        return
    trivial = _points(rows, "trivial_sad")
    axes.plot(*trivial, color=_LIGHT.trivial, linestyle="--", marker="_", label="the trimap as alpha")
    axes.plot(*_points(rows, "val_sad"), color=_LIGHT.model, marker="o", markersize=3, label="the model")
    axes.legend(loc="best", fontsize=9)


def _draw_rate(axes: Axes, rows: Sequence[Row]) -> None:
    axes.plot(*_points(rows, "learning_rate"), color=_LIGHT.model)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter("{x:.2g}")


_Draw = Callable[["Axes", Sequence[Row]], None]
_CURVES: Mapping[str, _Draw] = {
    "Loss": _draw_loss,
    "Validation SAD": _draw_validation,
    "Learning rate": _draw_rate,
}


def _mark_stages(axes: Axes, rows: Sequence[Row]) -> None:
    """A line where a stage begins, and its number above."""
    before = 0
    for stage in sorted({row["stage"] for row in rows}):
        axes.axvline(before, color=_LIGHT.grid, linewidth=1)
        axes.annotate(f"stage {stage}", (before, 1.02), xycoords=("data", "axes fraction"), fontsize=8)
        before = max(row["steps"] for row in rows if row["stage"] == stage)


def _points(rows: Sequence[Row], name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Steps and values of what is so named; of very many the means of neighbours."""
    found = np.array([(row["steps"], row[name]) for row in rows if row.get(name) is not None], np.float64)
    found = found.reshape(-1, 2)
    if len(found) > _MOST:
        found = np.array([part.mean(0) for part in np.array_split(found, _MOST)])
    return found[:, 0], found[:, 1]
