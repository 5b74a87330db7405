from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dimtool.composer.sources.folders import ManifestError
from dimtool.composer.sources.lists import Lists, read_list
from dimtool.composer.sources.manifest import Manifest, read_manifest


@pytest.fixture
def touch(tmp_path: Path) -> Callable[..., Path]:
    """Empty files fg/, alpha/ and bg/ (a manifest opens none of them), and lists of them."""

    def make(foregrounds: list[str], backgrounds: list[str], split: str = "train") -> Path:
        for folder, names in (("fg", foregrounds), ("alpha", foregrounds), ("bg", backgrounds)):
            (tmp_path / folder).mkdir(exist_ok=True)
            for name in names:
                (tmp_path / folder / name).touch()
        (tmp_path / f"{split}_fg.txt").write_text("\n".join(foregrounds))
        (tmp_path / f"{split}_bg.txt").write_text("\n".join(backgrounds))
        return tmp_path / f"{split}_fg.txt"

    return make


def _read(fg_list: Path, **given: Any) -> Manifest:
    return read_manifest(Lists(fg_list=fg_list, **given))


# ---- list files -------------------------------------------------------------------------------------------


@st.composite
def _saved_lists(draw: st.DrawFn) -> tuple[list[str], bytes]:
    """Names, and the bytes of a list of them as some editor may save it."""
    text = st.text("abcXYZ019 ()_-.äß猫", min_size=1, max_size=12).map(str.strip).filter(bool)
    names = draw(st.lists(text, max_size=6))
    lines = list(names)
    for place in draw(st.lists(st.integers(0, 6), max_size=3)):
        lines.insert(place, draw(st.sampled_from(["", "  ", "\t"])))
    newline = draw(st.sampled_from([b"\n", b"\r\n"]))
    data = newline.join(line.encode() for line in lines) + newline * draw(st.integers(0, 1))
    return names, b"\xef\xbb\xbf" * draw(st.integers(0, 1)) + data


@given(saved=_saved_lists())
def test_a_list_reads_the_same_however_it_was_saved(
    tmp_path_factory: pytest.TempPathFactory, saved: tuple[list[str], bytes]
) -> None:
    path = tmp_path_factory.mktemp("list") / "train_fg.txt"
    path.write_bytes(saved[1])
    assert read_list(path)[0] == saved[0]


def test_blank_lines_are_counted_in_a_note(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(b"a.png\r\n\r\nb.png\r\n   \r\nc (1).png")
    assert read_list(path) == (["a.png", "b.png", "c (1).png"], [f"{path}: 2 blank lines passed over"])


def test_a_list_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes("käfer.png".encode("latin-1"))
    (tmp_path / "utf16.txt").write_bytes("cat.png\n".encode("utf-16"))
    (tmp_path / "folder.txt").mkdir()
    for name in ("latin.txt", "utf16.txt"):
        with pytest.raises(ManifestError, match=rf"{name} cannot be read as a list of names in UTF-8"):
            read_list(tmp_path / name)
    with pytest.raises(ManifestError, match=r"folder\.txt cannot be read \(Is a directory\)"):
        read_list(tmp_path / "folder.txt")
    with pytest.raises(ManifestError, match=r"nowhere\.txt does not exist"):
        read_list(tmp_path / "nowhere.txt")


# ---- what is found beside the list ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "split", "per_fg"),
    [
        ("training_fg_names.txt", "train", 100),
        ("train_fg.txt", "train", 100),
        ("Test_fg_names.txt", "test", 20),
        ("val_fg.txt", "val", 20),
    ],
)
def test_the_split_is_in_the_lists_name(touch: Any, name: str, split: str, per_fg: int) -> None:
    fg_list = touch(["a.png"], [f"{i}.jpg" for i in range(per_fg)])
    fg_list = fg_list.rename(fg_list.with_name(name))
    (fg_list.parent / "train_bg.txt").rename(fg_list.with_name(name.replace("fg", "bg")))
    manifest = _read(fg_list)
    assert (manifest.split, manifest.per_fg, manifest.asked) == (split, per_fg, per_fg)
    assert manifest.entries[0].background_names == tuple(f"{i}.jpg" for i in range(per_fg))
    assert manifest.notes == ()


def test_a_split_that_the_name_does_not_say_is_asked_for(touch: Any) -> None:
    fg_list = touch(["a.png"], ["0.jpg"])
    odd = fg_list.rename(fg_list.with_name("names.txt"))
    with pytest.raises(ManifestError, match=r"names\.txt: .* train, val or test; say which .* --split"):
        _read(odd, per_fg=1)
    assert _read(odd, per_fg=1, split="test").split == "test"


def test_every_folder_and_list_can_be_elsewhere(touch: Any, tmp_path: Path) -> None:
    fg_list = touch(["a.png"], ["0.jpg"])
    for name in ("fg", "alpha", "bg"):
        (tmp_path / name).rename(tmp_path / f"my {name}")
    moved = fg_list.with_name("train_bg.txt").rename(tmp_path / "photographs.txt")
    manifest = _read(
        fg_list,
        fg_dir=tmp_path / "my fg",
        alpha_dir=tmp_path / "my alpha",
        bg_dir=tmp_path / "my bg",
        bg_list=moved,
        per_fg=1,
    )
    entry = manifest.entries[0]
    assert entry.foreground == tmp_path / "my fg/a.png"
    assert entry.alpha == tmp_path / "my alpha/a.png"
    assert entry.backgrounds == (tmp_path / "my bg/0.jpg",)


@pytest.mark.parametrize("folder", ["fg", "alpha", "bg"])
def test_a_missing_folder_stops_the_build(touch: Any, tmp_path: Path, folder: str) -> None:
    fg_list = touch(["a.png"], ["0.jpg"])
    (tmp_path / folder).rename(tmp_path / "elsewhere")
    with pytest.raises(ManifestError, match=rf"{folder} is no folder"):
        _read(fg_list, per_fg=1)


@pytest.mark.parametrize(("folder", "listed"), [("fg", "2 names"), ("alpha", "2 names"), ("bg", "4 names")])
def test_a_folder_with_none_of_the_files_is_one_error(
    touch: Any, tmp_path: Path, folder: str, listed: str
) -> None:
    fg_list = touch(["a.png", "b.png"], [f"{k}.jpg" for k in range(4)])
    (tmp_path / folder).rename(tmp_path / "elsewhere")
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "other.png").touch()
    with pytest.raises(ManifestError, match=rf"^none of the {listed} in .*train_fg\.txt is in .*{folder} or"):
        _read(fg_list, per_fg=2)


@pytest.mark.parametrize("content", ["", "\n\n \n"])
def test_a_list_without_names_stops_the_build(touch: Any, content: str) -> None:
    fg_list = touch(["a.png"], ["0.jpg"])
    fg_list.write_text(content)
    with pytest.raises(ManifestError, match=r"train_fg\.txt lists no foreground: write one file name a line"):
        _read(fg_list, per_fg=1)


@pytest.mark.parametrize("per_fg", [0, -3])
def test_no_backgrounds_each_is_refused(touch: Any, per_fg: int) -> None:
    with pytest.raises(ManifestError, match=f"^{per_fg} backgrounds a foreground: at least 1"):
        _read(touch(["a.png"], ["0.jpg"]), per_fg=per_fg)


# ---- which foreground goes over which backgrounds ----------------------------------------------------------


@given(per_fg=st.integers(1, 5), count=st.integers(1, 8), broken=st.sets(st.integers(0, 7)))
def test_composite_i_of_foreground_k_has_background_k_per_fg_plus_i(
    tmp_path_factory: pytest.TempPathFactory, per_fg: int, count: int, broken: set[int]
) -> None:
    """Also behind foregrounds that cannot be built: their place in the list stays taken."""
    root = tmp_path_factory.mktemp("set")
    for folder in ("fg", "alpha", "bg"):
        (root / folder).mkdir()
    listed = [f"background {j}.jpg" for j in range(count * per_fg)]
    for name in listed:
        (root / "bg" / name).touch()
    for k in range(count):
        (root / "fg" / f"{k}.png").touch()
        if k not in broken:
            (root / "alpha" / f"{k}.png").touch()
    (root / "train_fg.txt").write_text("\n".join(f"{k}.png" for k in range(count)))
    (root / "train_bg.txt").write_text("\n".join(listed))
    if count > 1 and broken >= set(range(count)):
        with pytest.raises(ManifestError, match=rf"none of the {count} names"):
            _read(root / "train_fg.txt", per_fg=per_fg)
        return
    manifest = _read(root / "train_fg.txt", per_fg=per_fg)
    assert {entry.index for entry in manifest.entries} == set(range(count)) - broken
    assert {failure.index for failure in manifest.failures} == set(range(count)) & broken
    assert (manifest.listed, manifest.asked) == (count, count * per_fg)
    for entry in manifest.entries:
        for i, (name, path) in enumerate(zip(entry.background_names, entry.backgrounds, strict=True)):
            assert name == f"background {entry.index * per_fg + i}.jpg"
            assert path == root / "bg" / name


def test_shards_are_named_by_place_and_stem(touch: Any) -> None:
    manifest = _read(touch(["my cat (1).png", "b.c.jpg"], ["0.jpg", "1.jpg"]), per_fg=1)
    assert [entry.shard_name for entry in manifest.entries] == ["0000-my cat (1).h5", "0001-b.c.h5"]


def test_more_backgrounds_than_needed_are_left_with_a_note(touch: Any) -> None:
    manifest = _read(touch(["a.png"], ["0.jpg", "1.jpg", "2.jpg"]), per_fg=2)
    assert manifest.entries[0].background_names == ("0.jpg", "1.jpg")
    assert [note.partition(": ")[2] for note in manifest.notes] == ["the first 2 of 3 backgrounds are used"]


def test_too_few_backgrounds_stop_the_build_unless_they_may_be_reused(touch: Any) -> None:
    fg_list = touch(["a.png", "b.png"], ["0.jpg", "1.jpg", "2.jpg"])
    with pytest.raises(ManifestError, match=r"train_bg\.txt has 3 backgrounds and 4 are needed.*--reuse-bg"):
        _read(fg_list, per_fg=2)
    manifest = _read(fg_list, per_fg=2, reuse_bg=True)
    assert [entry.background_names for entry in manifest.entries] == [("0.jpg", "1.jpg"), ("2.jpg", "0.jpg")]


def test_an_empty_background_list_cannot_be_reused(touch: Any) -> None:
    with pytest.raises(ManifestError, match="has 0 backgrounds and 1 are needed"):
        _read(touch(["a.png"], []), per_fg=1, reuse_bg=True)


def test_repeated_backgrounds_are_used_as_listed_with_a_note(touch: Any) -> None:
    manifest = _read(touch(["a.png"], ["0.jpg", "1.jpg", "0.jpg"]), per_fg=3)
    assert manifest.entries[0].background_names == ("0.jpg", "1.jpg", "0.jpg")
    assert ["0.jpg" in note and "more than once" in note for note in manifest.notes] == [True]


# ---- backgrounds drawn from the folder ---------------------------------------------------------------------


def _drawn(fg_list: Path, **given: Any) -> list[str]:
    manifest = _read(fg_list, **given)
    return [name for entry in manifest.entries for name in entry.background_names]


def test_backgrounds_are_drawn_without_repetition_and_the_same_on_every_run(touch: Any) -> None:
    fg_list = touch(["a.png", "b.png"], [f"{i}.jpg" for i in range(10)])
    fg_list.with_name("train_bg.txt").unlink()
    drawn = _drawn(fg_list, per_fg=5)
    # random.Random(0).shuffle of the sorted names: the same in every Python, or a set cannot be resumed.
    assert drawn == [f"{i}.jpg" for i in (7, 8, 1, 5, 3, 4, 2, 0, 9, 6)]
    assert _drawn(fg_list, per_fg=5, seed=1) != drawn
    assert sorted(_drawn(fg_list, per_fg=5, seed=1)) == sorted(drawn)
    assert _drawn(fg_list, per_fg=2) == drawn[:4]
    assert "backgrounds drawn from" in _read(fg_list, per_fg=5).notes[0]


def test_a_draw_repeats_itself_only_where_it_may(touch: Any) -> None:
    fg_list = touch(["a.png", "b.png"], ["0.jpg", "1.jpg", "2.jpg"])
    fg_list.with_name("train_bg.txt").unlink()
    with pytest.raises(ManifestError, match=r"folder \S+bg has 3 backgrounds and 4 are needed"):
        _read(fg_list, per_fg=2)
    drawn = _drawn(fg_list, per_fg=2, reuse_bg=True)
    assert sorted(drawn[:3]) == ["0.jpg", "1.jpg", "2.jpg"]
    assert drawn[3] == drawn[0]


def test_a_list_with_no_fg_in_its_name_has_no_background_list_beside_it(touch: Any) -> None:
    fg_list = touch(["a.png"], ["0.jpg"])
    odd = fg_list.rename(fg_list.with_name("train.txt"))
    manifest = _read(odd, per_fg=1)
    assert manifest.entries[0].background_names == ("0.jpg",)
    assert manifest.notes == (f"no background list: backgrounds drawn from {odd.parent / 'bg'}, seed 0",)


# ---- what concerns one foreground alone --------------------------------------------------------------------


def test_every_missing_file_of_a_foreground_is_told_at_once(touch: Any, tmp_path: Path) -> None:
    fg_list = touch(["a.png", "b.png"], ["0.jpg", "1.jpg", "2.jpg", "3.jpg"])
    for path in ("fg/b.png", "alpha/b.png", "bg/2.jpg", "bg/3.jpg"):
        (tmp_path / path).unlink()
    manifest = _read(fg_list, per_fg=2)
    assert [entry.name for entry in manifest.entries] == ["a.png"]
    (failure,) = manifest.failures
    assert (failure.index, failure.foreground, failure.shard_name) == (1, "b.png", "0001-b.h5")
    assert [error.split(" is not in ")[0] for error in failure.errors] == ["b.png", "b.png", "2.jpg", "3.jpg"]
    assert str(tmp_path / "alpha") in failure.errors[1]


def test_a_foreground_listed_twice_is_built_once(touch: Any) -> None:
    manifest = _read(touch(["a.png", "b.png", "a.png"], [f"{i}.jpg" for i in range(3)]), per_fg=1)
    assert [entry.name for entry in manifest.entries] == ["a.png", "b.png"]
    (failure,) = manifest.failures
    assert failure.index == 2
    assert failure.errors[0].endswith("train_fg.txt lists a.png twice (entries 1 and 3): remove the second")


def test_two_files_of_one_stem_would_share_their_composites_names(touch: Any) -> None:
    manifest = _read(touch(["a.png", "a.jpg"], ["0.jpg", "1.jpg"]), per_fg=1)
    (failure,) = manifest.failures
    assert failure.foreground == "a.jpg"
    assert "lists a.png and a.jpg, whose composites would both be called a_0.png" in failure.errors[0]


def test_a_name_too_long_for_its_shard_is_a_failure_of_it_alone(touch: Any) -> None:
    long = "ä" * 124 + "bcd.png"
    manifest = _read(touch(["a.png", long], ["0.jpg", "1.jpg"]), per_fg=1)
    assert [entry.name for entry in manifest.entries] == ["a.png"]
    assert "a name of 259 bytes" in manifest.failures[0].errors[0]


def test_a_name_too_long_for_its_last_composite_is_a_failure_too(touch: Any) -> None:
    fg_list = touch(["x" * 247 + ".png"], ["0.jpg"])
    assert not _read(fg_list, per_fg=1000, per_shard=1000, reuse_bg=True).failures
    (failure,) = _read(fg_list, per_fg=1001, per_shard=1001, reuse_bg=True).failures
    assert "_1000.png would have a name of 256 bytes" in failure.errors[0]
    first, *_ = _read(fg_list, per_fg=1000, per_shard=999, reuse_bg=True).failures
    assert ".1.h5 would have a name of 257 bytes" in first.errors[0]


def test_a_list_that_may_not_be_read_is_told_as_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not as a list of another encoding: saving it anew would not help."""

    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ManifestError, match=r"cannot be read \(Permission denied\): give a text file"):
        read_list(tmp_path / "train_fg.txt")
