"""The files by which one looks at a run: what they say, when they are written, and what they never stop."""

from __future__ import annotations

import csv
import json
import random
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torch import Tensor

from dimtool.model.logbook import chronicle, curves
from dimtool.model.logbook.chronicle import Chronicle
from dimtool.model.logbook.curves import plot_curves
from dimtool.model.logbook.rows import last_trivial, read_rows
from dimtool.model.logbook.samples import keep_samples, samples_of
from dimtool.model.runs.config import TrainConfig
from dimtool.pages.assets import Assets

DIGEST = "0123456789abcdef"


@pytest.fixture
def notes() -> list[str]:
    return []


@pytest.fixture
def written(run_folder: Path, notes: list[str]) -> Chronicle:
    config = TrainConfig(shards=Path("shards & co/train"), out=run_folder, width=0.25, crop_cuts=(64, 96))
    return Chronicle(config, DIGEST, note=notes.append)


def test_steps_are_counted_over_all_stages(run_folder: Path, rows: list[dict[str, Any]]) -> None:
    found = read_rows(run_folder)
    assert [{k: v for k, v in row.items() if k != "steps"} for row in found] == rows
    assert [row["steps"] for row in found if "val_sad" in row] == [200, 400, 500]
    assert last_trivial(run_folder) == 30
    assert read_rows(run_folder.parent) == []


def test_a_finished_run(written: Chronicle, run_folder: Path, example: Any, notes: list[str]) -> None:
    for stage, step, alpha in ((1, 200, 90), (1, 400, 150), (2, 100, 190), (2, 200, 7)):
        written.validated(stage, step, [example(alpha), example(alpha + 1)])
    assert not (run_folder / "index.html").exists()  # so soon it would take a share of the time
    assert written.finished() == run_folder / "index.html"

    with (run_folder / "results.csv").open(newline="") as stream:
        table = list(csv.DictReader(stream))
    assert len(table) == len(read_rows(run_folder))
    assert [row["steps"] for row in table if row["val_sad"]] == ["200", "400", "500"]
    assert (table[0]["loss"], table[0]["trivial_sad"]) == ("0.1", "")

    page = (run_folder / "index.html").read_text()
    assert "<h1>dim &lt;1&gt;: all is done</h1>" in page
    assert (
        "Validation SAD 25 after step 100 of stage 2; the trimap itself, taken for an alpha, has 30." in page
    )
    assert "Stage 1: 400 of 400 steps" in page
    assert "Stage 2: 100 of 500 steps" in page
    assert "dimtool predict --checkpoint &#39;" in page
    assert "<code>--crop-cuts</code></th><td>64,96</td>" in page
    pictures = re.findall(r'(?:src|srcset|href)="([^":]+)"', page)
    assert len(pictures) == 6 + 2 * 6 + 3  # the step 200 of stage 2 is of before a restart
    for name in set(pictures) - {"config.json"}:
        assert (run_folder / name).is_file(), name
    with Image.open(run_folder / "curves.png") as picture:
        assert picture.size == (1200, 1080)
    before = set((run_folder / "images").iterdir())
    written.finished()
    assert set((run_folder / "images").iterdir()) == before  # the same bytes of the same rows
    assert notes == []
    assert not list(run_folder.rglob("*.part"))


def test_a_model_that_is_worse_than_nothing_is_told(
    written: Chronicle, run_folder: Path, rows: list[dict[str, Any]]
) -> None:
    rows[-1]["val_sad"] = 31.0
    (run_folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    written.finished()
    assert "has 30, which is better: nothing is learnt yet." in (run_folder / "index.html").read_text()


def test_it_is_written_where_that_costs_little(
    written: Chronicle, run_folder: Path, example: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a percent of the time; another second is taken for the first time."""
    now, times = [time.monotonic()], []
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def write(*_: object) -> None:
        times.append(round(now[0] - start))
        now[0] += 3

    monkeypatch.setattr(chronicle, "write_page", write)
    start = now[0]
    for _ in range(10):
        now[0] += 150
        written.validated(1, 200, [example(1)])
    assert times == [300, 1053]


def test_a_disk_that_refuses_ends_nothing(written: Chronicle, run_folder: Path, notes: list[str]) -> None:
    """And is told once."""
    for name in ("curves.png", "index.html"):
        (run_folder / name).mkdir()
    for _ in range(2):
        written.finished()
    assert notes == [
        f"the run's page cannot be written: Is a directory: {run_folder}/{name}"
        for name in ("curves.png", "index.html")
    ]
    assert (run_folder / "results.csv").exists()


def test_without_matplotlib_there_is_a_table(
    written: Chronicle, run_folder: Path, notes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.style", None)
    for _ in range(2):
        assert written.finished() is None
    (note,) = notes
    assert note.startswith("the run gets no page: matplotlib cannot be imported (")
    assert note.endswith("): pip install matplotlib")
    assert (run_folder / "results.csv").exists()


def test_no_page_where_none_is_wanted(run_folder: Path, example: Any) -> None:
    before = sorted(run_folder.iterdir())
    silent = Chronicle(TrainConfig(out=run_folder, page=False), DIGEST, note=print)
    silent.validated(1, 200, [example(1)])
    assert silent.finished() is None
    assert sorted(run_folder.iterdir()) == before


def test_drawing_draws_no_random_number(run_folder: Path) -> None:
    np.random.seed(3)  # noqa: NPY002  the global state is what must not move
    random.seed(3)
    expected = np.random.random(), random.random()  # noqa: NPY002
    np.random.seed(3)  # noqa: NPY002
    random.seed(3)
    plot_curves(read_rows(run_folder), Assets(folder=run_folder))
    assert (np.random.random(), random.random()) == expected  # noqa: NPY002


def test_curves_without_a_validation_or_of_very_many_steps(run_folder: Path) -> None:
    every = [{"stage": 1, "step": n, "steps": n, "loss": 2.0 + (n % 2)} for n in range(1, 10_001)]
    steps, losses = curves._points(every, "loss")
    assert len(steps) == 400
    assert set(losses) <= {2.48, 2.5, 2.52}
    assert len(plot_curves(every[:3], Assets(folder=run_folder))) == 3  # whose validation is none yet


def test_samples_of_another_set_are_not_shown(tmp_path: Path, example: Callable[..., Tensor]) -> None:
    keep_samples(tmp_path, "a" * 64, [example(9)], stage=1, step=5)
    keep_samples(tmp_path, "b" * 64, [example(9, 7), example(8, 7)], stage=1, step=10)
    assert len(samples_of(tmp_path, "b" * 64, (1, 10))) == 2
    ((image, trimap, alpha, truth),) = samples_of(tmp_path, "a" * 64, (1, 10))
    assert (alpha.caption, alpha.width, alpha.height) == ("stage 1, step 5", 48, 32)
    for shot, value in ((image, 60), (trimap, 128), (truth, 200), (alpha, 9)):
        with Image.open(tmp_path / shot.src) as picture:
            assert abs(int(np.asarray(picture).mean()) - value) <= 2


def test_of_many_validations_a_few_from_the_first_to_the_last(tmp_path: Path, example: Any) -> None:
    for step in range(1, 31):
        keep_samples(tmp_path, DIGEST, [example(step)], stage=1, step=step)
    (shots,) = samples_of(tmp_path, DIGEST, (1, 30))
    assert [shot.caption for shot in shots[2:-1]] == [f"stage 1, step {n}" for n in (1, 8, 15, 23, 30)]
