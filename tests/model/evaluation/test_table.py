"""The table of an evaluation: published scores beside it, and what stands below it."""

from __future__ import annotations

from typing import Any

from dimtool.metrics import Scores
from dimtool.model.evaluation.table import Evaluation, ImageScores


def scores(sad: float) -> Scores:
    return Scores(sad=sad, mse=0, grad=0, conn=0, mad=0, whole_image_sad=0, whole_image_mse=0)


def image(number: int, sad: float, foreground: str = "cat", *, instead: bool = False) -> ImageScores:
    return ImageScores(
        name=f"{foreground}_{number}",
        foreground=foreground,
        number=number,
        scores=scores(sad),
        instead=instead,
    )


def evaluation_of(count: int, **options: Any) -> Evaluation:
    images = tuple(image(i, i) for i in range(count))
    return Evaluation(
        title="mine", images=images, **{"trimaps": "trimaps of x", "comparable": False, **options}
    )


def test_published_scores_stand_only_beside_what_compares() -> None:
    full = evaluation_of(1000, comparable=True)
    assert "comparable where those are the official trimaps" in full.text()
    assert full.means()["sad"] == 499.5
    assert "50.4" in full.text()  # the paper's
    for other, why in (
        (evaluation_of(9), "not the 1,000 of Composition-1k, so not comparable"),
        (evaluation_of(1000, trimaps="trimaps of radius 10"), "not the official trimaps, so not comparable"),
    ):
        assert why in other.text()
        assert "50.4" not in other.text() and "paper" not in other.text()


def test_one_image_is_one_image() -> None:
    assert evaluation_of(1).caveats()[0].startswith("1 image, trimaps of x: ")


def test_what_a_method_could_not_do_is_told() -> None:
    method = Evaluation(
        title="knn", images=(image(0, 1), image(1, 2, instead=True)), trimaps="", comparable=False
    )
    text = evaluation_of(2, beside=(method,)).text()
    assert "knn cannot do 1 image whose trimap lacks" in text and text.endswith("cat_1")
    assert [line.split()[:2] for line in text.splitlines()[1:3]] == [["mine", "0.5"], ["knn", "1.5"]]
