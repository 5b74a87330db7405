"""The same command with a larger --per-fg: what is built stays, and what the set is then is said."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dimtool.composer.shards.index import read_index
from dimtool.composer.shards.reader import Shard


@pytest.fixture(scope="module")
def images(image_set: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three foregrounds, of which two are listed, and 21 backgrounds, all listed."""
    root: Path = image_set(tmp_path_factory.mktemp("images"), foregrounds=3, per_fg=7, side=32)
    (root / "train_fg.txt").write_text("f0.png\nf1.png")
    return root


@pytest.fixture(scope="module")
def begun(images: Path, build: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two backgrounds each."""
    out = tmp_path_factory.mktemp("begun") / "train"
    assert build(images, out).code == 0
    return out


@pytest.fixture(scope="module")
def grown(images: Path, begun: Path, build: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, then of five each."""
    out = shutil.copytree(begun, tmp_path_factory.mktemp("grown") / "train")
    assert build(images, out, per_fg=5).code == 0
    return out


@pytest.fixture
def own(images: Path, begun: Path, tmp_path: Path) -> tuple[Path, Path]:
    return shutil.copytree(images, tmp_path / "set"), shutil.copytree(begun, tmp_path / "shards")


def pairs(out: Path) -> dict[str, list[str]]:
    """The backgrounds of each foreground, by the shards themselves."""
    found: dict[str, list[str]] = {}
    for record in read_index(out).shards:
        with Shard(out / record.file) as shard:
            assert len(found.setdefault(record.foreground, [])) == record.first
            found[record.foreground] += shard.header.backgrounds
    return found


def names(*numbers: int) -> list[str]:
    return [f"b{number}.jpg" for number in numbers]


FIVE = {"f0.png": names(0, 1, 4, 5, 6), "f1.png": names(2, 3, 7, 8, 9)}


def test_what_is_built_stays_and_the_next_names_are_taken(
    own: tuple[Path, Path], grown: Path, build: Any, stamps: Any, visible: Any
) -> None:
    root, out = own
    before = stamps(out)
    outcome = build(root, out, per_fg=5)
    assert outcome.code == 0
    assert "6 built" in outcome.out
    assert any("4 of 10 composites are in" in note for note in outcome.starting("note"))
    assert before.items() <= stamps(out).items()
    assert sorted(path.name for path in out.glob("*.h5")) == [
        *("0000-f0.1.h5", "0000-f0.h5", "0001-f1.1.h5", "0001-f1.h5")
    ]
    assert pairs(out) == FIVE
    assert visible(out) == visible(grown)


def test_that_it_is_not_the_official_set_is_said_and_stays_visible(
    images: Path, own: tuple[Path, Path], build: Any, command: Any, tmp_path: Path
) -> None:
    root, out = own
    for _ in range(2):  # also when there is nothing left to do
        notes = build(root, out, per_fg=5).starting("note")
        assert any("begun with 2 backgrounds" in note and "not the official order" in note for note in notes)
    assert json.loads((out / "index.json").read_text())["grown"] == [[2, 2]]
    assert "not the official one: begun with 2" in command("inspect", out).out
    assert build(images, tmp_path / "once", per_fg=5).code == 0
    assert "grown" not in json.loads((tmp_path / "once/index.json").read_text())
    assert pairs(tmp_path / "once") == {"f0.png": names(0, 1, 2, 3, 4), "f1.png": names(5, 6, 7, 8, 9)}
    assert read_index(out).fingerprint != read_index(tmp_path / "once").fingerprint


def test_a_single_foreground_only_gets_more(own: tuple[Path, Path], build: Any, tmp_path: Path) -> None:
    """Its pairs are the official ones, whenever it got them: no note, nothing in the index."""
    root, _ = own
    (root / "train_fg.txt").write_text("f0.png")
    assert build(root, tmp_path / "one").code == 0
    outcome = build(root, tmp_path / "one", per_fg=5)
    assert not any("official" in note for note in outcome.starting("note"))
    assert pairs(tmp_path / "one") == {"f0.png": names(0, 1, 2, 3, 4)}
    assert "grown" not in json.loads((tmp_path / "one/index.json").read_text())


def test_it_grows_again_and_new_foregrounds_come_behind(own: tuple[Path, Path], build: Any) -> None:
    root, out = own
    assert build(root, out, per_fg=5).code == 0
    (root / "train_fg.txt").write_text("f0.png\nf1.png\nf2.png")
    assert build(root, out, per_fg=5).code == 0
    assert pairs(out) == {**FIVE, "f2.png": names(10, 11, 12, 13, 14)}
    assert build(root, out, "--per-shard", 1, per_fg=7).code == 0
    assert pairs(out) == {
        "f0.png": [*FIVE["f0.png"], *names(15, 16)],
        "f1.png": [*FIVE["f1.png"], *names(17, 18)],
        "f2.png": names(10, 11, 12, 13, 14, 19, 20),
    }
    assert json.loads((out / "index.json").read_text())["grown"] == [[2, 2], [3, 5]]
    assert [each.first for each in read_index(out).shards] == [0, 2, 5, 6] * 3


def test_a_verification_knows_the_order(
    images: Path, grown: Path, judge_set: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    """From what lies in .build, or from the index alone."""
    assert judge_set(grown)["verdict"] == "good"
    elsewhere = shutil.copytree(grown, tmp_path / "elsewhere")
    shutil.rmtree(elsewhere / ".build")
    assert judge_set(elsewhere, "--sources", images)["verdict"] == "good"
    content = json.loads((elsewhere / "index.json").read_text())
    del content["grown"]
    (elsewhere / "index.json").write_text(json.dumps(content))
    found = judge_set(elsewhere, "--sources", images)["findings"]
    assert any("backgrounds are not as the lists say" in each["what"] for each in found)
    (grown_too := tmp_path / "too").mkdir()
    shutil.copytree(grown, grown_too, dirs_exist_ok=True)
    shutil.copy(elsewhere / "index.json", grown_too / "index.json")
    assert any("grown" in each["what"] for each in judge_set(grown_too)["findings"])


@pytest.fixture
def judge_set(command: Any) -> Callable[..., dict[str, Any]]:
    def judge(*arguments: object) -> dict[str, Any]:
        values: dict[str, Any] = json.loads(
            command("verify-composites", *arguments, "--jobs", 1, "--json").out
        )
        return values

    return judge


def test_an_order_that_was_lost_with_build_is_read_from_the_index(
    images: Path, grown: Path, build: Any, tmp_path: Path, *, stamps: Any, visible: Any
) -> None:
    out = shutil.copytree(grown, tmp_path / "out")
    shutil.rmtree(out / ".build")
    (out / "0001-f1.1.h5").unlink()
    before = stamps(out)
    assert build(images, out, per_fg=5).code == 0
    assert before.items() <= stamps(out).items()
    assert visible(out) == visible(grown)


def test_one_that_is_killed_goes_on(
    own: tuple[Path, Path], grown: Path, *, build: Any, build_arguments: Any, start: Any, visible: Any
) -> None:
    root, out = own
    process = start(*build_arguments(root, out, per_fg=5))
    while process.poll() is None and not (out / "0000-f0.1.h5").exists():
        pass
    process.kill()
    process.wait()
    assert build(root, out, per_fg=5).code == 0
    assert visible(out) == visible(grown)


def test_one_of_which_nothing_was_built_is_taken_back(
    own: tuple[Path, Path], begun: Path, build: Any, visible: Any
) -> None:
    """Of what was only begun nothing is left: the same set as before, or another number."""
    root, out = own
    assert build(root, out, per_fg=5).code == 0
    for path in out.glob("*.1.h5"):
        path.unlink()
    assert build(root, out, per_fg=3).code == 0
    assert pairs(out) == {"f0.png": names(0, 1, 4), "f1.png": names(2, 3, 5)}
    for path in out.glob("*.1.h5"):
        path.unlink()
    assert build(root, out).code == 0
    assert visible(out) == visible(begun)


@pytest.mark.parametrize("taken", ["b4.jpg", "b12.jpg"])
def test_a_name_taken_off_the_list_moves_nothing(own: tuple[Path, Path], build: Any, taken: str) -> None:
    """One that was not used gives way to the next; one that was used has its place taken by another."""
    root, out = own
    listed = (root / "train_bg.txt").read_text().split("\n")
    listed.remove(taken)
    (root / "train_bg.txt").write_text("\n".join(listed))
    assert build(root, out, per_fg=5).code == 0
    left = [name for name in names(*range(4, 21)) if name != taken]
    assert pairs(out) == {"f0.png": [*names(0, 1), *left[:3]], "f1.png": [*names(2, 3), *left[3:6]]}


def test_another_order_is_refused(own: tuple[Path, Path], build: Any, stamps: Any) -> None:
    root, out = own
    (root / "train_bg.txt").write_text("\n".join(names(1, 0, *range(2, 21))))
    before = stamps(out)
    outcome = build(root, out, per_fg=5)
    assert outcome.code == 2
    assert "its background 0 is b0.jpg, now b1.jpg" in outcome.err
    assert stamps(out) == before


def test_too_few_names_are_told_before_anything_is_built(own: tuple[Path, Path], build: Any) -> None:
    root, out = own
    outcome = build(root, out, per_fg=11)
    assert outcome.code == 2
    assert "has 21 backgrounds and 22 are needed" in outcome.err


def test_backgrounds_that_are_used_again_stay_in_their_order(own: tuple[Path, Path], build: Any) -> None:
    root, _ = own
    (root / "train_bg.txt").write_text("\n".join(names(0, 1, 2)))
    out = root / "again"
    assert build(root, out, "--reuse-bg").code == 0
    assert build(root, out, "--reuse-bg", per_fg=4).code == 0
    assert pairs(out) == {"f0.png": names(0, 1, 1, 2), "f1.png": names(2, 0, 0, 1)}


@pytest.mark.parametrize("reuse", [False, True])
def test_drawn_backgrounds_stay_and_further_ones_are_others(
    own: tuple[Path, Path], build: Any, *, reuse: bool
) -> None:
    root, _ = own
    (root / "train_bg.txt").unlink()
    out, more = root / "drawn", ("--reuse-bg",) if reuse else ()
    assert build(root, out, *more).code == 0
    before = pairs(out)
    assert build(root, out, *more, per_fg=10).code == 0
    after = pairs(out)
    assert {name: each[:2] for name, each in after.items()} == before
    assert len({name for each in after.values() for name in each}) == 20
