from __future__ import annotations

import pytest

from dimtool.manifests.presets import PER_FG, PRESETS, explain_count


def test_adobes_431_foregrounds_are_all_that_there_is() -> None:
    assert explain_count("train", 431, 43_100, asked=43_100) == (
        "43,100 of the paper's 49,300 composites: all 431 foregrounds that Adobe gives out are there; "
        "the paper's 493 held duplicates (455 are unique), and 24 of those cannot be released."
    )


@pytest.mark.parametrize(
    ("split", "foregrounds", "composites"), [("train", 493, 49_300), ("test", 50, 1_000)]
)
def test_the_papers_own_counts_are_the_full_set(split: str, foregrounds: int, composites: int) -> None:
    said = explain_count(split, foregrounds, composites, asked=composites)
    assert said == f"{composites:,} of the paper's {composites:,} composites: the full set."


def test_a_part_of_the_training_set_is_said_to_be_one() -> None:
    said = explain_count("train", 430, 43_000, asked=43_100)
    assert said == "43,000 of the paper's 49,300 composites, of 430 foregrounds where Adobe gives out 431."


@pytest.mark.parametrize(
    ("split", "foregrounds", "composites"), [("train", 12, 120), ("train", 431, 4_310), ("test", 4, 20)]
)
def test_of_another_set_the_paper_says_nothing(split: str, foregrounds: int, composites: int) -> None:
    assert explain_count(split, foregrounds, composites, asked=composites) == ""


def test_scores_on_a_part_of_the_test_set_cannot_be_compared() -> None:
    said = explain_count("test", 49, 980, asked=1_000)
    assert said.startswith("980 of the paper's 1,000 composites, of 49 foregrounds where Adobe gives out 50")
    assert said.endswith("scores on it cannot be compared with published ones.")


@pytest.mark.parametrize("split", ["val", "other"])
def test_of_other_splits_nothing_was_published(split: str) -> None:
    assert explain_count(split, 50, 1_000, asked=1_000) == ""


def test_the_counts_belong_together() -> None:
    for split, preset in PRESETS.items():
        assert preset.paper == preset.paper_foregrounds * preset.per_fg
        assert PER_FG[split] == preset.per_fg
        assert preset.foregrounds <= preset.paper_foregrounds
