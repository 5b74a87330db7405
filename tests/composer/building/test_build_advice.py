"""What a message says to do, done to the letter: the build finishes, and nothing is built twice."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dimtool.composer.shards.index import read_index


@pytest.fixture
def root(sources: Path, tmp_path: Path) -> Path:
    """Four foregrounds, two backgrounds each, and one too many."""
    root = shutil.copytree(sources, tmp_path / "set")
    shutil.copy(root / "bg/b0.jpg", root / "bg/spare.jpg")
    with Image.open(root / "bg/b1.jpg") as image:
        image.rotate(180).save(root / "bg/spare.jpg")
    with (root / "train_bg.txt").open("a") as stream:
        stream.write("\nspare.jpg")
    return root


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def _edit(path: Path, change: Callable[[list[str]], list[str]]) -> None:
    path.write_text("\n".join(change(_lines(path))))


def _without(name: str) -> Callable[[list[str]], list[str]]:
    return lambda names: [each for each in names if each != name]


def _instead(name: str, other: str) -> Callable[[list[str]], list[str]]:
    return lambda names: [other if each == name else each for each in names]


def _spoil(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:900])


def _mask(path: Path, high: int) -> None:
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("L"))
    Image.fromarray(np.where(pixels > 127, high, 0).astype(np.uint8)).save(path)


def _turn(path: Path) -> None:
    with Image.open(path) as image:
        exif = Image.Exif()
        exif[0x0112] = 6
        image.convert("L" if "alpha" in str(path) else "RGB").save(path, exif=exif)


Harm = Callable[[Path], object]
Cure = Callable[[Path], object]
# What is wrong, what the message says, what is done then, and the options that it names.
ADVICE: dict[str, tuple[Harm, str, Cure, list[str]]] = {
    "a background is taken off the list": (
        lambda root: _spoil(root / "bg/b2.jpg"),
        "b2.jpg is damaged",
        lambda root: _edit(root / "train_bg.txt", _without("b2.jpg")),
        [],
    ),
    "a background's line is -": (
        lambda root: _spoil(root / "bg/b2.jpg"),
        "b2.jpg is damaged",
        lambda root: _edit(root / "train_bg.txt", _instead("b2.jpg", "-")),
        [],
    ),
    "a background is replaced": (
        lambda root: (root / "bg/b2.jpg").unlink(),
        "b2.jpg is not in .*: bring the file",
        lambda root: _edit(root / "train_bg.txt", _instead("b2.jpg", "spare.jpg")),
        [],
    ),
    "a background that is too large is left out": (
        lambda root: Image.new("RGB", (9500, 9500)).save(root / "bg/b3.jpg"),
        "scale it down or leave it out",
        lambda root: _edit(root / "train_bg.txt", _without("b3.jpg")),
        [],
    ),
    "a foreground is taken off the list": (
        lambda root: Image.new("L", (73, 67), 255).save(root / "alpha/f1.png"),
        "is 255 everywhere.* or take it off the list",
        lambda root: _edit(root / "train_fg.txt", _without("f1.png")),
        [],
    ),
    "a foreground's line is -": (
        lambda root: (root / "alpha/f1.png").unlink(),
        "f1.png is not in",
        lambda root: _edit(root / "train_fg.txt", _instead("f1.png", "-")),
        [],
    ),
    "a second line of a name is removed": (
        lambda root: _edit(root / "train_fg.txt", _instead("f1.png", "f0.png")),
        r"lists f0.png twice \(entries 1 and 2\): remove the second",
        lambda root: _edit(root / "train_fg.txt", lambda names: [names[0], *names[2:]]),
        [],
    ),
    "the orientation is passed over": (
        lambda root: _turn(root / "fg/f1.png"),
        "pass --exif-transpose to turn all sources upright, or --no-exif-transpose",
        lambda root: None,
        ["--no-exif-transpose"],
    ),
    "all is turned upright": (
        lambda root: (_turn(root / "fg/f1.png"), _turn(root / "alpha/f1.png")),
        "pass --exif-transpose",
        lambda root: None,
        ["--exif-transpose"],
    ),
    "a faint matte is taken": (
        lambda root: _mask(root / "alpha/f1.png", 90),
        "if this is a faint one --alpha-max 65535",
        lambda root: None,
        ["--alpha-max", "65535"],
    ),
    "a mask is saved from 0 to 255": (
        lambda root: _mask(root / "alpha/f1.png", 1),
        "else save it from 0 to 255",
        lambda root: _mask_again(root / "alpha/f1.png"),
        [],
    ),
}


def _mask_again(path: Path) -> None:
    with Image.open(path) as image:
        Image.fromarray(np.asarray(image) * np.uint8(255)).save(path)


@pytest.mark.parametrize("case", ADVICE)
def test_advice_followed_to_the_letter(
    *, root: Path, build: Any, command: Any, stamps: Any, tmp_path: Path, case: str
) -> None:
    harm, said, cure, options = ADVICE[case]
    out = tmp_path / "shards"
    harm(root)
    first = build(root, out)
    assert first.code == 1
    assert any(re.search(said, line) for line in first.starting("error:")), first.err
    before = {name: stamp for name, stamp in stamps(out).items() if name.endswith(".h5")}
    assert before.keys() == {"0000-f0.h5", "0002-f2.h5", "0003-f3.h5"}
    cure(root)
    again = build(root, out, *options)
    assert again.code == 0, again.err
    after = stamps(out)
    assert {name: after[name] for name in before} == before
    left_out = "f1.png" not in _lines(root / "train_fg.txt")
    assert len(read_index(out).shards) == (3 if left_out else 4)
    assert build(root, out, *options).code == 0
    assert {name: stamps(out)[name] for name in before} == before
    verified = command("verify-composites", out, "--jobs", 1)
    assert verified.code == 0, verified.out


def test_a_background_too_few_is_added_at_the_end(
    root: Path, build: Any, stamps: Any, tmp_path: Path
) -> None:
    out = tmp_path / "shards"
    _spoil(root / "bg/b2.jpg")
    _edit(root / "train_bg.txt", lambda names: names[:8])
    assert build(root, out).code == 1
    before = stamps(out)
    _edit(root / "train_bg.txt", _without("b2.jpg"))
    few = build(root, out)
    assert few.code == 1
    assert "write another background there, or add one at the end" in few.err
    _edit(root / "train_bg.txt", lambda names: [*names, "spare.jpg"])
    again = build(root, out)
    assert again.code == 0
    assert any("taken by others (entry 3 by spare.jpg)" in note for note in again.starting("note"))
    assert {name: stamp for name, stamp in stamps(out).items() if name in before and name.endswith("h5")} == {
        name: stamp for name, stamp in before.items() if name.endswith("h5")
    }


# ---- drawn from a folder -----------------------------------------------------------------------------------


@pytest.fixture
def drawn(root: Path) -> Path:
    (root / "train_bg.txt").unlink()
    return root


def _names(out: Path) -> dict[int, tuple[str, ...]]:
    from dimtool.composer.shards.reader import Shard  # noqa: PLC0415

    found = {}
    for path in sorted(out.glob("*.h5")):
        with Shard(path) as shard:
            found[shard.header.index] = shard.header.backgrounds
    return found


def test_a_draw_loses_one_file_and_changes_one_pick(
    drawn: Path, build: Any, stamps: Any, tmp_path: Path
) -> None:
    assert build(drawn, tmp_path / "whole").code == 0
    whole = _names(tmp_path / "whole")
    out, lost = tmp_path / "shards", whole[1][0]
    _spoil(drawn / "bg" / lost)
    assert build(drawn, out).code == 1
    before = stamps(out)
    (drawn / "bg" / lost).unlink()
    assert build(drawn, out).code == 0
    spare = ({f"b{i}.jpg" for i in range(8)} | {"spare.jpg"}) - {
        name for names in whole.values() for name in names
    }
    assert _names(out) == {**whole, 1: (spare.pop(), whole[1][1])}
    kept = [name for name in before if name.endswith("h5")]
    assert [stamps(out)[name] for name in kept] == [before[name] for name in kept]


def test_a_draw_goes_on_where_a_file_more_lies_in_the_folder(
    drawn: Path, build: Any, command: Any, stamps: Any, tmp_path: Path
) -> None:
    out = tmp_path / "shards"
    assert build(drawn, out).code == 0
    before, names = stamps(out), _names(out)
    shutil.copy(drawn / "bg/b0.jpg", drawn / "bg/a new one.jpg")
    assert build(drawn, out).code == 0
    assert (stamps(out), _names(out)) == (before, names)
    assert command("verify-composites", out, "--jobs", 1).code == 0


def test_what_was_built_with_a_file_that_is_gone_stays(
    drawn: Path, build: Any, stamps: Any, tmp_path: Path
) -> None:
    out = tmp_path / "shards"
    assert build(drawn, out).code == 0
    before, gone = stamps(out), _names(out)[2][1]
    (drawn / "bg" / gone).unlink()
    outcome = build(drawn, out)
    assert outcome.code == 1
    assert [gone in line for line in outcome.starting("error:")] == [True]
    shards = [name for name in before if name.endswith("h5")]
    assert [stamps(out)[name] for name in shards] == [before[name] for name in shards]


@pytest.mark.parametrize(
    "nonsense",
    ["", "[]", "{}", '{"foregrounds": 1}', '{"foregrounds": [1], "backgrounds": [], "per_fg": 2, "seed": 0}'],
)
def test_a_record_of_places_that_makes_no_sense_is_none(
    own: tuple[Path, Path], build: Any, stamps: Any, nonsense: str
) -> None:
    root, out = own
    before = stamps(out)
    (out / ".build/places.json").write_text(nonsense)
    assert build(root, out).code == 0
    assert stamps(out) == before
