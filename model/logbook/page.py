"""A run as a page to look at: how far it is, its curves, what it makes of a few composites, its options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...files import write_text
from ...pages.assets import Assets
from ...pages.environment import environment
from ...version import __version__
from ..runs.config import TrainConfig
from ..runs.stages import read_stages
from .curves import CURVES_NAME, plot_curves
from .rows import TABLE_NAME, Row
from .samples import samples_of

PAGE_NAME = "index.html"
_SHOWN = 12  # validations in the table, the last ones


@dataclass(frozen=True, kw_only=True)
class State:
    """Where a run is: the set that it validates on, by its digest; whether all that was asked for is done."""

    digest: str | None
    done: bool
    commands: Sequence[str] = ()


def write_page(folder: Path, config: TrainConfig, rows: Sequence[Row], state: State) -> None:
    """Write index.html and its pictures, the page last. Raises OSError, MissingExtraError."""
    assets = Assets(folder=folder)
    last = (rows[-1]["stage"], rows[-1]["step"])
    validations = [row for row in rows if "val_sad" in row]
    text = (
        environment(Path(__file__))
        .get_template("run.html")
        .render(
            version=__version__,
            name=folder.resolve().name,
            state=state,
            stages=[
                {
                    "stage": stage,
                    "done": max(each.done, last[1] if stage == last[0] else 0),
                    "of": each.planned,
                }
                for stage, each in sorted(read_stages(folder).items())
            ],
            losses=[row for row in rows if "loss" in row][-1:],
            best=min(validations, key=lambda row: row["val_sad"], default=None),
            validations=validations[: -_SHOWN - 1 : -1],
            plots=plot_curves(rows, assets),
            curves=CURVES_NAME,
            table=TABLE_NAME,
            samples=[] if state.digest is None else samples_of(folder, state.digest, last),
            options=given(config),
        )
    )
    write_text(folder / PAGE_NAME, text)
    assets.prune()


def given(config: TrainConfig) -> Mapping[str, Any]:
    """The options that are not the defaults, by their names, as they are given."""
    usual = TrainConfig().values()
    changed = {key: value for key, value in config.values().items() if value != usual[key]}
    return {
        f"--{key.replace('_', '-')}": ",".join(map(str, value)) if isinstance(value, list) else value
        for key, value in changed.items()
        if key != "stages"
    }
