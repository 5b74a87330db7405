"""make-lists: seeded, disjoint, without repetition; what it leaves out and refuses; lists that build."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dimtool.composer.sources.lists import read_list
from dimtool.composer.sources.make_lists import ListsMade, ListsPlan, make_lists
from dimtool.errors import WrongUseError

Make = Callable[..., ListsMade]


@pytest.fixture
def folders(tmp_path: Path) -> Callable[..., Path]:
    """Folders of empty files; what lies in fg has a matte unless `mattes` says which have."""

    def fill(fg: list[str], bg: list[str] | int, mattes: list[str] | None = None) -> Path:
        backgrounds = [f"{i:012}.jpg" for i in range(bg)] if isinstance(bg, int) else bg
        for folder, names in (("fg", fg), ("alpha", fg if mattes is None else mattes), ("bg", backgrounds)):
            for name in names:
                path = tmp_path / folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
        return tmp_path

    return fill


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def call(out: str = "lists", **options: Any) -> ListsMade:
        plan = {"per_fg": 2, "validation": 0.0, "validation_per_fg": 2, "seed": 0} | options
        places = {f"{name}_dir": tmp_path / name for name in ("fg", "alpha", "bg")}
        return make_lists(ListsPlan(out=tmp_path / out, **places, **plan))

    return call


def names_in(folder: Path) -> dict[str, list[str]]:
    return {path.name: path.read_text(encoding="utf-8").split("\n") for path in sorted(folder.iterdir())}


# ---- what is drawn -----------------------------------------------------------------------------------------


def test_without_validation(folders: Any, make: Make) -> None:
    root = folders(["b.png", "A.jpg", "c.png"], 10)
    made = make()
    lists = names_in(root / "lists")
    assert made == ListsMade(lists={"train_fg.txt": 3, "train_bg.txt": 6}, left_out=())
    assert list(lists) == ["train_bg.txt", "train_fg.txt"]
    assert lists["train_fg.txt"] == ["A.jpg", "b.png", "c.png"]
    assert len(set(lists["train_bg.txt"])) == 6
    assert lists["train_bg.txt"] != sorted(lists["train_bg.txt"])


@settings(max_examples=40)
@given(
    st.tuples(st.integers(2, 30), st.integers(1, 4), st.integers(1, 4)),
    st.floats(0, 1),
    st.integers(0, 2**70),
    st.integers(0, 3),
)
def test_splits_are_disjoint_and_nothing_is_used_twice(
    counts: tuple[int, int, int], share: float, seed: int, spare: int
) -> None:
    with TemporaryDirectory() as name:
        root, (foregrounds, per_fg, val_per_fg) = Path(name), counts
        fg = [f"{i}.png" for i in range(foregrounds)]
        held = round(share * foregrounds)
        needed = (foregrounds - held) * per_fg + held * val_per_fg
        for folder, names in (("fg", fg), ("alpha", fg), ("bg", [f"{i}.jpg" for i in range(needed + spare)])):
            (root / folder).mkdir()
            for each in names:
                (root / folder / each).touch()
        plan = ListsPlan(
            fg_dir=root / "fg", alpha_dir=root / "alpha", bg_dir=root / "bg", out=root / "lists",
            per_fg=per_fg, validation=share, validation_per_fg=val_per_fg, seed=seed,
        )  # fmt: skip
        if share and not 0 < held < foregrounds:
            with pytest.raises(WrongUseError, match="leaves a split empty"):
                make_lists(plan)
            assert not (root / "lists").exists()
            return
        made = make_lists(plan)
        lists = names_in(root / "lists")
        assert {each: len(names) for each, names in lists.items()} == made.lists
        train, val = lists["train_fg.txt"], lists.get("val_fg.txt", [])
        assert sorted(train + val) == sorted(fg)
        assert len(val) == held
        used = lists["train_bg.txt"] + lists.get("val_bg.txt", [])
        assert len(set(used)) == len(used) == needed
        assert len(lists["train_bg.txt"]) == len(train) * per_fg


def test_the_seed_decides(folders: Any, make: Make) -> None:
    root = folders([f"{i}.png" for i in range(20)], 60)
    for out, seed in (("one", 5), ("same", 5), ("other", 6)):
        make(out, seed=seed, validation=0.3)
    one, same, other = (names_in(root / out) for out in ("one", "same", "other"))
    assert one == same
    for name in one:
        assert one[name] != other[name]


def test_the_order_of_the_disk_does_not(folders: Any, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    root = folders([f"{i}.png" for i in range(20)], 60)
    make("one", validation=0.3)
    scandir = os.scandir

    def backwards(folder: Any) -> Any:
        with scandir(folder) as entries:
            return nullcontext(list(entries)[::-1])

    monkeypatch.setattr(os, "scandir", backwards)
    make("other", validation=0.3)
    assert names_in(root / "one") == names_in(root / "other")


def test_a_known_draw(folders: Any, make: Make) -> None:
    """The same seed must give the same lists in the next release."""
    root = folders([f"f{i}.png" for i in range(6)], [f"b{i}.jpg" for i in range(8)])
    make(per_fg=1, validation=0.34, validation_per_fg=1, seed=1)
    assert names_in(root / "lists") == {
        "train_bg.txt": ["b1.jpg", "b2.jpg", "b0.jpg", "b4.jpg"],
        "train_fg.txt": ["f0.png", "f1.png", "f4.png", "f5.png"],
        "val_bg.txt": ["b5.jpg", "b3.jpg"],
        "val_fg.txt": ["f2.png", "f3.png"],
    }


# ---- what is left out --------------------------------------------------------------------------------------


def test_missing_mattes_are_named(folders: Any, make: Make) -> None:
    root = folders(["a.png", "b.png", "c.jpg"], 9, mattes=["a.png", "c.png"])
    made = make()
    assert names_in(root / "lists")["train_fg.txt"] == ["a.png", "c.jpg"]
    assert len(made.left_out) == 1
    assert made.left_out[0].startswith("b.png is not in ")
    assert "alpha" in made.left_out[0]


def test_two_of_one_stem_would_give_composites_of_one_name(folders: Any, make: Make) -> None:
    root = folders(["a.jpg", "a.png", "b.png"], 9)
    made = make()
    assert names_in(root / "lists")["train_fg.txt"] == ["a.jpg", "b.png"]
    assert len(made.left_out) == 1
    assert "a.png" in made.left_out[0]


def test_files_of_one_name_are_listed_with_their_folders(folders: Any, make: Make) -> None:
    root = folders(
        ["x/a.png", "y/a.png", "b.png"], ["x/1.jpg", "y/1.jpg", "2.jpg", "3.jpg", "4.jpg", "z/5.jpg"]
    )
    made = make()
    assert names_in(root / "lists")["train_fg.txt"] == ["b.png", "x/a.png", "y/a.png"]
    listed = ["2.jpg", "3.jpg", "4.jpg", "5.jpg", "x/1.jpg", "y/1.jpg"]
    assert sorted(names_in(root / "lists")["train_bg.txt"]) == listed
    assert not made.left_out


def test_cut_outs_need_no_mattes(folders: Any, make: Make) -> None:
    root = folders(["a.png", "b.png"], 4, mattes=[])
    assert not make(alpha_from="fg").left_out
    assert names_in(root / "lists")["train_fg.txt"] == ["a.png", "b.png"]


@pytest.mark.parametrize("name", [" a.png", "a\n.png", "a\u2028.png", "a\x85b.png", "a\r.png"])
def test_a_name_that_no_line_can_hold(folders: Any, make: Make, name: str) -> None:
    root = folders([name, "b.png"], [name.replace("png", "jpg"), "1.jpg", "2.jpg"])
    made = make()
    assert names_in(root / "lists")["train_fg.txt"] == ["b.png"]
    assert sorted(names_in(root / "lists")["train_bg.txt"]) == ["1.jpg", "2.jpg"]
    assert len(made.left_out) == 2
    assert all("no line of a list can hold" in each for each in made.left_out)


def test_odd_names_that_are_fine(folders: Any, make: Make) -> None:
    names = ["Käfer (1).png", "猫.png", "a b.png", "x'y\".png", "-o.png", "emoji 👩‍👦.png"]
    root = folders(names, 12)
    assert not make().left_out
    assert sorted(read_list(root / "lists" / "train_fg.txt")[0]) == sorted(names)


# ---- what is refused ---------------------------------------------------------------------------------------


def test_too_few_backgrounds(folders: Any, make: Make, tmp_path: Path) -> None:
    folders(["a.png", "b.png"], 3)
    with pytest.raises(WrongUseError, match=r"has 3 backgrounds and 4 are needed.*--per-fg"):
        make()
    assert not (tmp_path / "lists").exists()


@pytest.mark.parametrize("existing", ["train_fg.txt", "train_bg.txt", "val_fg.txt", "val_bg.txt"])
def test_lists_are_never_overwritten(folders: Any, make: Make, existing: str) -> None:
    root = folders(["a.png", "b.png"], 9)
    (root / "lists").mkdir()
    (root / "lists" / existing).write_text("mine")
    with pytest.raises(WrongUseError, match=existing):
        make(validation=0.5)
    assert names_in(root / "lists") == {existing: ["mine"]}


def test_no_foreground_has_a_matte(folders: Any, make: Make) -> None:
    folders(["a.png"], 3, mattes=["b.png"])
    with pytest.raises(WrongUseError, match="no foreground with a matte"):
        make()


@pytest.mark.parametrize("missing", ["fg", "alpha", "bg"])
def test_no_such_folder(folders: Any, make: Make, missing: str) -> None:
    root = folders(["a.png"], 3)
    (root / missing).rename(root / "elsewhere")
    with pytest.raises(WrongUseError, match=f"{missing} is no folder"):
        make()


# ---- the command, and a build from its lists ---------------------------------------------------------------


@pytest.fixture
def images(image_set: Any, tmp_path: Path) -> Path:
    root: Path = image_set(tmp_path / "set", foregrounds=5)
    for split in root.glob("*.txt"):
        split.unlink()
    return root


def test_lists_are_built_as_they_are(
    images: Path, tmp_path: Path, command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the defaults, in the folder where fg/, alpha/ and bg/ lie; verified, and nothing is shared."""
    (images / "alpha" / "f2.png").unlink()
    monkeypatch.chdir(images)
    outcome = command("make-lists", "--per-fg", 2, "--val", "25%", "--val-per-fg", 1, "--seed", 3)
    assert outcome.code == 0
    left_out, *lists, following = outcome.out.splitlines()
    assert left_out.startswith("left out: f2.png is not in alpha or below")
    assert following.startswith("next: dimtool build-dataset --fg-list train_fg.txt --fg-dir fg ")
    assert lists == [
        "train_fg.txt: 3 names", "train_bg.txt: 6 names", "val_fg.txt: 1 name", "val_bg.txt: 1 name"
    ]  # fmt: skip
    for split, per_fg in (("train", 2), ("val", 1)):
        built = command("build-dataset", "--fg-list", f"{split}_fg.txt", "--per-fg", per_fg, "--jobs", 1)
        assert built.code == 0
    verified = command("verify-composites", "--jobs", 1, "--json")
    assert json.loads(verified.out)["findings"] == []
    assert json.loads(verified.out)["composites"] == 7
    shards = {
        split: {path.name[5:] for path in Path("shards", split).glob("*.h5")} for split in ("train", "val")
    }
    assert len(shards["train"]) == 3
    assert not shards["train"] & shards["val"]


def test_as_json_and_refused(images: Path, tmp_path: Path, command: Any) -> None:
    places = [each for name in ("fg", "alpha", "bg") for each in (f"--{name}-dir", images / name)]
    arguments = ("make-lists", *places, "--out", tmp_path / "a" / "b", "--per-fg", 2, "--json")
    outcome = command(*arguments)
    assert outcome.code == 0
    lists = {"train_fg.txt": 5, "train_bg.txt": 10}
    assert json.loads(outcome.out) == {"lists": lists, "left_out": [], "notes": []}
    again = command(*arguments)
    assert again.code == 2
    assert "exists" in again.err
    assert not again.out


@pytest.mark.parametrize("share", ["x", "-5%", "120%"])
def test_a_share_that_is_none(images: Path, command: Any, share: str) -> None:
    assert command("make-lists", "--fg-dir", images / "fg", f"--val={share}").code == 2
