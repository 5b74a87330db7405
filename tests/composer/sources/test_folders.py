from __future__ import annotations

import difflib
import os
from pathlib import Path

import pytest

from dimtool.composer.sources.folders import FolderIndex, ManifestError


def _folder(root: Path, *names: str) -> FolderIndex:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return FolderIndex(root)


def test_an_exact_name_comes_before_a_file_of_the_same_stem(tmp_path: Path) -> None:
    folder = _folder(tmp_path, "cat.jpg", "cat.png", "dog.jpg")
    assert folder.find("cat.png") == tmp_path / "cat.png"
    assert folder.find("cat.jpg") == tmp_path / "cat.jpg"


def test_adobes_lists_name_png_where_the_files_are_jpg_in_two_subfolders(tmp_path: Path) -> None:
    folder = _folder(tmp_path, "Adobe-licensed images/boy-1518482_1920.jpg", "Other/1-1252426161dfXY.jpg")
    assert folder.find("boy-1518482_1920.png") == tmp_path / "Adobe-licensed images/boy-1518482_1920.jpg"
    assert folder.find("1-1252426161dfXY.jpg") == tmp_path / "Other/1-1252426161dfXY.jpg"


@pytest.mark.parametrize("listed", ["COCO_train2014_000000000009.jpg", "000000000009.jpg"])
@pytest.mark.parametrize("file", ["COCO_train2014_000000000009.jpg", "000000000009.jpg", "000000000009.png"])
def test_coco_names_of_either_year_find_each_other(tmp_path: Path, listed: str, file: str) -> None:
    assert _folder(tmp_path, file).find(listed) == tmp_path / file


def test_only_cocos_own_prefix_is_dropped(tmp_path: Path) -> None:
    folder = _folder(tmp_path, "9.jpg", "000000000009_small.jpg")
    for name in ("COCO_train2014_9.jpg", "COCO_train2014_000000000009.jpg"):
        with pytest.raises(ManifestError):
            folder.find(name)


def test_a_name_listed_with_folders_is_found_by_its_last_part(tmp_path: Path) -> None:
    assert _folder(tmp_path, "other/cat.png").find("/data/fg/cat.png") == tmp_path / "other/cat.png"


def test_what_follows_a_dot_is_part_of_a_name_listed_without_its_suffix(tmp_path: Path) -> None:
    folder = _folder(tmp_path, "cat.png", "cat.v2.png", "img.0001.png", "img.0002.png")
    assert folder.find("cat.v2") == tmp_path / "cat.v2.png"
    assert folder.find("img.0002") == tmp_path / "img.0002.png"
    with pytest.raises(ManifestError, match=r"cat\.v3 is not in"):
        folder.find("cat.v3")


def test_two_files_that_a_name_could_mean_are_both_named(tmp_path: Path) -> None:
    folder = _folder(tmp_path, "a/cat.png", "b/cat.png", "c/dog.jpg", "c/dog.tif")
    with pytest.raises(ManifestError, match=r"cat\.png could be a/cat\.png and b/cat\.png in .*: rename"):
        folder.find("cat.png")
    with pytest.raises(ManifestError, match=r"dog\.png could be c/dog\.jpg and c/dog\.tif"):
        folder.find("dog.png")


def test_a_missing_file_is_named_with_what_it_may_be(tmp_path: Path) -> None:
    folder = _folder(tmp_path, "elephant_01.png")
    with pytest.raises(ManifestError, match=r"elefant_01\.png is not in .* \(is it elephant_01\.png\?\)"):
        folder.find("elefant_01.png")
    with pytest.raises(ManifestError, match=r"^cat\.png is not in \S+ or below: bring the file$"):
        folder.find("cat.png")


def test_many_missing_files_do_not_take_hours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the wrong folder 43,100 names are missing, and comparing one with 80,000 takes half a second."""
    calls = []
    monkeypatch.setattr(difflib, "get_close_matches", lambda *given, **_: calls.append(given) or [])
    folder = _folder(tmp_path, "a.png")
    for i in range(500):
        with pytest.raises(ManifestError):
            folder.find(f"missing{i}.png")
    assert 0 < len(calls) <= 20


def test_hidden_files_and_other_files_are_passed_over(tmp_path: Path) -> None:
    folder = _folder(tmp_path, "._cat.png", ".cache/dog.png", "list.txt", "bird.PNG", "Thumbs.db", "x.JPeG")
    assert sorted(folder.names) == ["bird.PNG", "x.JPeG"]


def test_links_are_followed_once_and_a_link_to_nothing_is_said_to_be_one(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    _folder(elsewhere, "cat.png")
    root = tmp_path / "fg"
    root.mkdir()
    (root / "linked").symlink_to(elsewhere)
    (root / "loop").symlink_to(root)
    (root / "gone.png").symlink_to(tmp_path / "nowhere.png")
    folder = FolderIndex(root)
    assert folder.find("cat.png") == root / "linked/cat.png"
    with pytest.raises(ManifestError, match=r"fg/gone\.png is a link to a file that is not there"):
        folder.find("gone.png")


def test_a_name_that_is_not_utf8_cannot_be_listed_and_is_never_drawn(tmp_path: Path) -> None:
    folder = _folder(tmp_path, "cat.png", os.fsdecode(b"caf\xe9.png"))
    assert folder.names == ["cat.png"]


@pytest.mark.parametrize("what", ["nowhere", "file.png"])
def test_a_folder_that_is_not_there_is_named(tmp_path: Path, what: str) -> None:
    (tmp_path / "file.png").touch()
    with pytest.raises(ManifestError, match=rf"{what} is no folder: bring it, or say where it is"):
        FolderIndex(tmp_path / what)
