"""The page of an evaluation: which images, which colours, and what a visitor can do with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dimtool.cli import run
from dimtool.metrics import Scores
from dimtool.model.evaluation.page import NOT_MEASURED, SCALE, error_picture, histograms, pick_images
from dimtool.model.evaluation.scoring import Item
from dimtool.model.evaluation.table import Evaluation, ImageScores

pytest.importorskip("jinja2")


def image(number: int, sad: float, foreground: str) -> ImageScores:
    scores = Scores(sad=sad, mse=0, grad=0, conn=0, mad=0, whole_image_sad=0, whole_image_mse=0)
    return ImageScores(name=f"{foreground}_{number}", foreground=foreground, number=number, scores=scores)


def sads(group: list[ImageScores]) -> list[float]:
    return [each.scores.sad for each in group]


def test_gallery_picks_the_worst_the_median_and_the_best_one_a_foreground() -> None:
    order = np.random.default_rng(0).permutation(101).tolist()
    groups = pick_images([image(i, sad, f"f{sad // 4}") for i, sad in enumerate(order)])
    assert list(groups) == ["Worst", "Median", "Best"]
    assert sads(groups["Worst"]) == [100, 99, 95, 91]
    assert sads(groups["Best"]) == [12, 8, 4, 0]
    assert 50 in sads(groups["Median"]) and sads(groups["Median"]) == sorted(sads(groups["Median"]))[::-1]
    for group in groups.values():
        assert len({each.foreground for each in group}) == len(group) == 4
    shown = [each.number for group in groups.values() for each in group]
    assert len(shown) == len(set(shown))


def test_of_one_foreground_there_is_one_of_each_kind_and_of_few_images_all() -> None:
    groups = pick_images([image(i, i, "cat") for i in range(21)])
    assert [sads(group) for group in groups.values()] == [[20], [10], [0]]
    few = pick_images([image(i, i, "cat") for i in range(12)])
    assert [len(group) for group in few.values()] == [12]


def test_a_histogram_counts_every_image_on_one_scale() -> None:
    every = [
        Evaluation(
            title="x",
            images=tuple(image(i, sad, "cat") for i, sad in enumerate(values)),
            trimaps="",
            comparable=False,
        )
        for values in ([0, 1, 2, 24], [0, 0], [12])
    ]
    found = histograms(every)
    assert [sum(bar.images for bar in bars) for bars in found] == [4, 2, 1]
    assert len({(bars[0].low, bars[-1].high) for bars in found}) == 1
    assert found[0][-1].images == 1 and found[1][0].images == 2
    assert histograms(every[1:2])[0][0].images == 2  # where all are perfect


def test_errors_have_the_colours_of_the_scale_where_they_are_measured() -> None:
    truth = np.array([[0, 0, 0, 128, 0]], np.uint8)
    alpha = np.array([[0, 255, 128, 127, 255]], np.uint8)
    trimap = np.array([[128, 128, 128, 128, 0]], np.uint8)
    colours = np.asarray(error_picture(alpha, Item(0, "x", None, trimap, truth)).convert("RGB"))[0]
    assert tuple(colours[0]) == SCALE[0] and tuple(colours[1]) == SCALE[-1]
    assert abs(colours[2].astype(int) - SCALE[2]).max() <= 2
    assert colours[3].any() and colours[3].max() < 10  # an error of 1 is not none
    assert tuple(colours[4]) == NOT_MEASURED


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of fourteen images of seven foregrounds with photographs, two folders of predictions and the trimap."""
    root, rng = tmp_path_factory.mktemp("page"), np.random.default_rng(3)
    y, x = np.mgrid[:60, :90]
    for name in ("mine", "other", "truth", "trimap", "image"):
        (root / name).mkdir()
    for i in range(14):
        truth = np.clip(255 * (1.4 - 2 * np.hypot(y / 60 - 0.5, x / 90 - 0.5) * (1 + i // 2 / 15)), 0, 255)
        trimap = np.select([truth == 255, truth == 0], [255, 0], 128)
        name = f"<b>{i // 2}&_{i % 2}.png"
        pixels = {
            "truth": truth,
            "trimap": trimap,
            "mine": np.where(
                trimap == 128, np.clip(truth + rng.normal(0, 3 * i, truth.shape), 0, 255), trimap
            ),
            "other": np.where(trimap == 128, 255 - truth, trimap),
            "image": rng.integers(0, 256, (60, 90, 3)),
        }
        for kind, values in pixels.items():
            own = f"<b>{i // 2}&.png" if kind == "truth" else name
            Image.fromarray(values.astype(np.uint8)).save(root / kind / own)
    arguments = [f"--{option}-dir={root / name}" for option, name in FOLDERS.items()]
    arguments += [f"--beside=trimap,{root}/other", "--workers=0", f"--out={root}/out"]
    assert run(["evaluate", *arguments]) == 0
    return root / "out/index.html"


FOLDERS = {"pred": "mine", "truth": "truth", "trimap": "trimap", "image": "image"}


def test_every_scored_thing_stands_in_the_tables_and_the_files(page: Path) -> None:
    html = page.read_text()
    assert "50.4" not in html  # nothing published beside what does not compare
    assert html.count("<b>") == 0
    assert html.count("SAD, trimap") == 2 and html.count("<figcaption>") >= 9 * 9
    every = sorted(path.name for path in page.parent.iterdir())
    assert every == ["images", "index.html", "scores-2.csv", "scores-3.csv", "scores.csv", "scores.jsonl"]
    lines = [json.loads(line) for line in (page.parent / "scores.jsonl").read_text().splitlines()]
    assert len(lines) == 3 * 14
    rows = html[html.index('id="foregrounds"') : html.index('id="gallery"')]
    assert rows.count('<th scope="row">') == 7


LOOK = """
return [...document.querySelectorAll('#scores thead th')].filter(
    each => each.getClientRects().length && each.getBoundingClientRect().right <= window.innerWidth
).map(each => each.innerText)
"""
VIEW = """
const done = arguments[0];
const figures = [...document.querySelector('.exhibit').querySelectorAll('figure')];
figures.find(each => each.innerText.trim().startsWith('alpha')).querySelector('a').click();
const viewer = document.getElementById('viewer');
let loaded = 0;
viewer.querySelectorAll('img').forEach(each => each.addEventListener('load', () => { loaded += 1; }));
const facts = () => {
    const box = viewer.getBoundingClientRect();
    return {
        open: viewer.open, inside: box.left >= 0 && box.right <= innerWidth && box.bottom <= innerHeight,
        chosen: ['left', 'right'].map(id => document.getElementById(id).selectedOptions[0].text),
        sizes: [...viewer.querySelectorAll('img')].map(each => [each.naturalWidth, each.naturalHeight]),
        clip: viewer.querySelectorAll('img')[1].style.clipPath,
    };
};
const cut = document.getElementById('cut');
const slide = to => { cut.value = to; cut.dispatchEvent(new Event('input')); };
setTimeout(() => {
    const first = facts(); slide(100); const last = facts();
    document.getElementById('close').click();
    done([first, last, viewer.open, loaded]);
}, 400);
"""


def test_a_browser_shows_the_whole_page(page: Path, browser: Any) -> None:
    for width, columns in ((1280, 5), (400, 2)):
        found = browser.look(page, width, "light")
        assert (found["console"], found["broken"], found["outside"], found["sideways"]) == ([], [], [], 0)
        assert found["columns"] == columns
        assert browser("execute/sync", script=LOOK, args=[]) == ["Model", "SAD", "MSE", "GRAD", "CONN"]


@pytest.mark.parametrize("width", [1280, 400])
def test_a_picture_opens_in_full_with_a_slider_between_two(page: Path, browser: Any, width: int) -> None:
    browser.look(page, width, "dark")
    first, last, still_open, loaded = browser("execute/async", script=VIEW, args=[])
    assert first["open"] and first["inside"] and not still_open
    assert first["chosen"][0].startswith("alpha, ") and first["chosen"][1] == "truth"
    assert first["sizes"] == [[90, 60], [90, 60]]  # pixel by pixel, not the thumbnail
    assert first["clip"] != last["clip"]
    assert loaded == 2  # once each: a page that loads its pictures again and again never comes to rest
