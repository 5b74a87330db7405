"""Which file belongs to which image: never a guess between two."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dimtool.model.evaluation.images import FolderImages
from dimtool.model.evaluation.pairing import (
    EvaluationError,
    Files,
    Named,
    guess_foreground,
    match,
    match_own,
)


def folder_of(root: Path, *names: str) -> Files:
    root.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new("L", (3, 2)).save(root / (name if "." in name[-5:] else f"{name}.png"))
    return Files(root)


def composites(*foregrounds: str, per_fg: int = 2) -> list[Named]:
    return [Named(f"{name}_{i}", name) for name in foregrounds for i in range(per_fg)]


def matched(files: Files, images: list[Named], *, known: bool = True) -> list[str]:
    return [path.name.removesuffix(".png") for path in match(files, images, known=known)]


TWO = composites("dog", "dog_1")
OWN = [image.name for image in TWO]


def test_with_known_foregrounds_all_names_together_decide(tmp_path: Path) -> None:
    assert matched(folder_of(tmp_path / "fg", "dog", "dog_1"), TWO) == ["dog", "dog", "dog_1", "dog_1"]
    assert matched(folder_of(tmp_path / "own", *OWN), TWO) == OWN
    both = folder_of(tmp_path / "both", "dog", *OWN)
    with pytest.raises(
        EvaluationError, match=r"dog_1 could be a composite of dog or a foreground of its own"
    ):
        matched(both, TWO)


def test_a_special_file_of_one_composite_goes_before_its_foregrounds(tmp_path: Path) -> None:
    files = folder_of(tmp_path, "cat", "dog", "cat_1")
    assert matched(files, composites("cat", "dog")) == ["cat", "cat_1", "dog", "dog"]


def test_dotted_stems_are_whole(tmp_path: Path) -> None:
    images = composites("cup", "cup.v2")
    assert matched(folder_of(tmp_path / "fg", "cup.png", "cup.v2.png"), images) == [
        "cup",
        "cup",
        "cup.v2",
        "cup.v2",
    ]
    own = [image.name for image in images]
    assert matched(folder_of(tmp_path / "own", *(f"{name}.png" for name in own)), images) == own


def guessed(*names: str) -> list[Named]:
    return [Named(name, guess_foreground(name)) for name in names]


def test_one_file_an_image_is_no_question_of_numbers(tmp_path: Path) -> None:
    files = folder_of(tmp_path, "dog", "dog_1")
    assert matched(files, guessed("dog", "dog_1"), known=False) == ["dog", "dog_1"]


@pytest.mark.parametrize(
    ("there", "names"),
    [
        (("dog", "dog_1"), OWN),
        (("dog", "dog_1"), ("dog_1",)),
        (("img", "img_1"), ("img_1", "img_2")),  # or has img_2's been lost?
    ],
)
def test_in_folders_what_has_both_readings_is_refused(
    tmp_path: Path, there: tuple[str, ...], names: tuple[str, ...]
) -> None:
    with pytest.raises(EvaluationError, match=r"could be a composite of .*--shards, without --truth-dir"):
        matched(folder_of(tmp_path, *there), guessed(*names), known=False)


def test_the_advice_for_both_readings_works(tmp_path: Path) -> None:
    assert matched(folder_of(tmp_path / "own", *OWN), guessed(*OWN), known=False) == OWN
    assert matched(folder_of(tmp_path / "fg", "dog", "dog_1"), TWO) == ["dog", "dog", "dog_1", "dog_1"]


@pytest.mark.parametrize("known", [True, False])
def test_one_file_is_not_an_images_own_and_anothers_foreground(tmp_path: Path, known: bool) -> None:
    files = folder_of(tmp_path, "photo", "cat_1")
    images = [Named("photo", "photo"), Named("photo_2", "photo")]
    with pytest.raises(EvaluationError, match=r"photo\.png could be of photo alone or of the foreground"):
        matched(files, images, known=known)


@given(st.sets(st.from_regex(r"[ab](_[01]){0,2}(\.v2)?", fullmatch=True), min_size=1, max_size=4), st.data())
def test_whatever_the_names_a_composite_gets_its_own_foregrounds_file_or_none(
    tmp_path_factory: pytest.TempPathFactory, foregrounds: set[str], data: st.DataObject
) -> None:
    """Where all files are a foreground's each, or all a composite's each, any other would be wrong."""
    images = composites(*sorted(foregrounds))
    shared = data.draw(st.booleans())
    names = sorted(foregrounds) if shared else [image.name for image in images]
    files = folder_of(tmp_path_factory.mktemp("names"), *(f"{name}.png" for name in names))
    try:
        found = matched(files, images)
    except EvaluationError as error:
        assert "could be" in str(error)
    else:
        assert found == [image.foreground if shared else image.name for image in images]


def test_the_same_stem_twice_is_refused_where_it_is_asked_for(tmp_path: Path) -> None:
    files = folder_of(tmp_path, "b.png", "b.jpg", "c.png")
    assert matched(files, guessed("c"), known=False) == ["c"]
    for find in (lambda: match(files, guessed("b"), known=False), lambda: match_own(files, guessed("b"))):
        with pytest.raises(EvaluationError, match=r"b\.jpg and b\.png in .* have the same stem: rename"):
            find()


def test_a_prediction_twice_is_never_counted_twice(tmp_path: Path) -> None:
    for name in ("pred", "truth", "trimap"):
        (tmp_path / name).mkdir()
        Image.fromarray(np.full((3, 2), 128, np.uint8)).save(tmp_path / name / "b.png")
    Image.new("L", (2, 3)).save(tmp_path / "pred/b.jpg")
    files = Files(tmp_path / "pred")
    images = FolderImages(files, truths=tmp_path / "truth", trimaps=tmp_path / "trimap")
    with pytest.raises(EvaluationError, match="same stem"):
        match_own(files, images.names)


def test_predictions_that_are_missing_are_counted(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match=r"no file for 3 images of 4 \(dog_1, …\).* add them"):
        match_own(folder_of(tmp_path, "dog_0"), TWO)
