from __future__ import annotations

import difflib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

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


def test_a_listed_path_means_that_file(tmp_path: Path) -> None:
    root = tmp_path / "bg"
    folder = _folder(root, "cats/0.png", "dogs/0.png", "0.png", "a/b/1.png", "b/1.jpg", "2.png")
    for listed, found in {
        "cats/0.png": "cats/0.png",
        "./dogs/0.png": "dogs/0.png",
        "0.png": "0.png",
        "bg/dogs/0.png": "dogs/0.png",  # the folder itself is part of the path
        f"{root}/cats/0.png": "cats/0.png",
        "b/1.png": "a/b/1.png",
    }.items():
        assert folder.find(listed) == root / found
    assert folder.notes() == []
    assert folder.find("/data/coco/2.png") == root / "2.png"
    assert folder.notes() == [
        f"{root}: 1 listed name found by the end of their path alone: /data/coco/2.png is 2.png"
    ]


@pytest.mark.parametrize(
    ("file", "listed"),
    [
        ("val2014/x.jpg", "train2014/x.jpg"),
        ("imagenet/1.jpg", "/data/coco/1.jpg"),
        ("other/GT01.jpg", "fg/GT01.png"),
        ("train/b/x.jpg", "train/a/x.jpg"),
    ],
)
def test_a_file_of_another_folder_than_is_listed_is_never_taken(
    tmp_path: Path, file: str, listed: str
) -> None:
    folder = _folder(tmp_path, file)
    with pytest.raises(
        ManifestError, match=rf"^{listed} is not in .* \(there is {file}, elsewhere than listed\)"
    ):
        folder.find(listed)


@given(
    paths=st.sets(
        st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map("/".join), min_size=1, max_size=8
    ),
    data=st.data(),
)
def test_every_name_that_an_index_gives_finds_its_own_file(
    tmp_path_factory: pytest.TempPathFactory, paths: set[str], data: st.DataObject
) -> None:
    """So a list made of them, or a draw, means what it was made from."""
    root = tmp_path_factory.mktemp("folder")
    suffix = {path: data.draw(st.sampled_from([".png", ".jpg", ".PNG"])) for path in sorted(paths)}
    folder = _folder(root, *(path + suffix[path] for path in paths))
    found = {folder.find(name) for name in folder.names}
    assert found == {root / (path + suffix[path]) for path in paths}
    assert folder.notes() == []


@pytest.mark.parametrize(
    ("listed", "file"),
    [
        ("cat.PNG", "Cat.png"),
        ("Ka\u0308fer.png", "K\u00e4fer.png"),
        ("K\u00e4fer.jpg", "Ka\u0308fer.png"),
        ("pets\\Cat.png", "pets/Cat.png"),
        ("C:\\data\\pets\\cat.png", "pets/cat.png"),
        ("Pets/cat.png", "pets/cat.png"),
    ],
)
def test_another_spelling_is_found_and_told(tmp_path: Path, listed: str, file: str) -> None:
    folder = _folder(tmp_path / "fg", file)
    assert folder.find(listed) == tmp_path / "fg" / file
    (note,) = folder.notes()
    assert "1 listed name found " in note
    assert note.endswith(f": {listed} is {file}")


def test_a_name_with_a_backslash_means_the_file_that_has_it(tmp_path: Path) -> None:
    folder = _folder(tmp_path, "a\\b.png", "a/b.png")
    assert folder.find("a\\b.png") == tmp_path / "a\\b.png"
    assert folder.notes() == []


def test_each_name_found_by_its_stem_is_counted_in_one_note(tmp_path: Path) -> None:
    folder = _folder(tmp_path, *(f"{i}.jpg" for i in range(5)), "exact.png")
    for name in [*(f"{i}.png" for i in range(5)), "exact.png", "0.png"]:
        folder.find(name)
    assert folder.notes() == [
        f"{tmp_path}: 5 listed names found by their stem: 0.png is 0.jpg, 1.png is 1.jpg, 2.png is 2.jpg, ..."
    ]
    assert folder.notes(stems=False) == []


@pytest.mark.parametrize("name", ["x.dat", "scan", ".hidden.png", "sub/y.txt"])
def test_a_listed_file_is_taken_whatever_its_suffix(tmp_path: Path, name: str) -> None:
    folder = _folder(tmp_path, name, "x.png")
    assert folder.find(name) == tmp_path / name
    assert folder.names == ["x.png"]


def test_what_is_passed_over_is_counted_and_named(tmp_path: Path) -> None:
    folder = _folder(
        tmp_path, "a.png", "b.txt", "c", "sub/d.heic", "e\n.png", os.fsdecode(b"caf\xe9.png"), ".f.png"
    )
    assert folder.names == ["a.png"]
    told = folder.passed_over
    assert len(told) == 3
    assert any(
        "3 files passed over, no images by their suffix: b.txt, c, sub/d.heic" in line for line in told
    )
    assert any("1 file passed over, their names are not UTF-8 (rename" in line for line in told)
    assert any("1 file passed over, no line of a list can hold their names" in line for line in told)


@pytest.mark.parametrize("suffix", ["jfif", "jpe", "avif", "jp2", "tga", "JPG", "mpo", "pnm", "ico"])
def test_what_pillow_reads_is_an_image(tmp_path: Path, suffix: str) -> None:
    assert _folder(tmp_path, f"a.{suffix}").names == [f"a.{suffix}"]


def test_what_follows_a_dot_is_part_of_a_name_listed_without_its_suffix(tmp_path: Path) -> None:
    folder = _folder(tmp_path, "cat.png", "cat.v2.png", "img.0001.png", "img.0002.png")
    assert folder.find("cat.v2") == tmp_path / "cat.v2.png"
    assert folder.find("img.0002") == tmp_path / "img.0002.png"
    with pytest.raises(ManifestError, match=r"cat\.v3 is not in"):
        folder.find("cat.v3")


def test_two_files_that_a_name_could_mean_are_both_named(tmp_path: Path) -> None:
    folder = _folder(tmp_path, "a/cat.png", "b/cat.png", "c/dog.jpg", "c/dog.tif")
    with pytest.raises(
        ManifestError, match=r"cat\.png could be a/cat\.png and b/cat\.png in .*: list the path"
    ):
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


def test_pipes_are_passed_over_and_links_are_not(tmp_path: Path) -> None:
    root = tmp_path / "bg"
    _folder(root, "a.png", "sub/b.png")
    os.mkfifo(root / "pipe.jpg")
    (root / "link.jpg").symlink_to(root / "pipe.jpg")
    (root / "good.jpg").symlink_to(root / "a.png")
    (root / "gone.jpg").symlink_to(root / "nowhere")
    folder = FolderIndex(root)
    assert sorted(folder.names) == ["a.png", "b.png", "gone.jpg", "good.jpg"]
    (told,) = folder.passed_over
    assert told.startswith(f"{root}: 2 files passed over, no files (pipes")
    assert told.endswith(": link.jpg, pipe.jpg")
