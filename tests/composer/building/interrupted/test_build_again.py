"""What a build that is run again keeps, builds anew, and refuses."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from dimtool.composer.shards.index import read_index

# ---- run again: kept, or built anew ------------------------------------------------------------------------


def test_what_is_there_is_not_built_again(own: tuple[Path, Path], build: Any, stamps: Any) -> None:
    root, out = own
    before = stamps(out)
    assert build(root, out).code == 0
    assert stamps(out) == before


def test_only_what_is_missing_is_built(
    own: tuple[Path, Path], built: Path, build: Any, visible: Any, stamps: Any
) -> None:
    root, out = own
    (out / "0002-f2.h5").unlink()
    before = stamps(out)
    assert build(root, out).code == 0
    assert {name: stamps(out)[name] for name in before} == before
    assert visible(out) == visible(built)


def test_an_index_that_is_gone_or_broken_is_made_anew(
    own: tuple[Path, Path], built: Path, build: Any, visible: Any
) -> None:
    root, out = own
    for damage in (None, "", "{", "[]", '{"format": "other"}'):
        (out / "index.json").unlink()
        if damage is not None:
            (out / "index.json").write_text(damage)
        assert build(root, out).code == 0
        assert visible(out) == visible(built)


def test_a_shard_that_was_changed_in_place_is_built_anew_with_a_note(
    own: tuple[Path, Path], built: Path, build: Any, visible: Any
) -> None:
    """Its header and its sources are right and it opens: only the record from before knows better."""
    root, out = own
    path = out / "0001-f1.h5"
    with h5py.File(path, "r+", libver=("v110", "v110")) as file:
        digest = file["digest"]
        digest[0, 0, 0] ^= 1
    outcome = build(root, out)
    assert outcome.code == 0
    assert any(f"{path} has other bytes" in note for note in outcome.starting("note"))
    assert visible(out) == visible(built)


@pytest.mark.parametrize("left", [0, 7, 600, 20_000])
def test_a_shard_that_was_cut_off_is_built_anew_with_a_note(
    own: tuple[Path, Path], built: Path, build: Any, visible: Any, left: int
) -> None:
    root, out = own
    broken = out / "0001-f1.h5"
    broken.write_bytes(broken.read_bytes()[:left])
    outcome = build(root, out)
    assert outcome.code == 0
    assert any(str(broken) in note and "it is built anew now" in note for note in outcome.starting("note"))
    assert visible(out) == visible(built)


def test_a_shard_of_the_format_s_first_version_is_built_anew_with_a_note(
    own: tuple[Path, Path], built: Path, build: Any, visible: Any
) -> None:
    root, out = own
    with h5py.File(out / "0001-f1.h5", "r+") as shard:
        shard.attrs.modify("version", 1)
    outcome = build(root, out)
    assert outcome.code == 0
    [note] = [note for note in outcome.starting("note") if "0001-f1.h5" in note]
    assert "version 1; this release reads 'dimtool-shard', version 2): build it again" in note
    assert visible(out) == visible(built)


def test_a_shard_that_is_another_kind_of_file_is_built_anew(
    own: tuple[Path, Path], built: Path, build: Any, visible: Any
) -> None:
    root, out = own
    (out / "0001-f1.h5").unlink()
    with h5py.File(out / "0001-f1.h5", "w") as other:
        other["composite"] = np.zeros(3)
    assert build(root, out).code == 0
    assert visible(out) == visible(built)


def test_an_old_journal_is_not_believed_of_another_file(
    own: tuple[Path, Path], built: Path, build: Any, visible: Any
) -> None:
    root, out = own
    record = json.loads((out / "index.json").read_text())["shards"][1]
    (out / "index.json").unlink()
    lines = [json.dumps({**record, "bytes": 1, "sha256": "0" * 64}), "[]", '{"file": "0001-f1.h5"', ""]
    (out / ".build/journal.jsonl").write_text("\n".join(lines))
    assert build(root, out).code == 0
    assert visible(out) == visible(built)


def test_shards_of_other_versions_are_kept_with_a_note(
    own: tuple[Path, Path], build: Any, stamps: Any
) -> None:
    root, out = own
    with h5py.File(out / "0001-f1.h5", "r+") as shard:
        shard.attrs["versions"] = np.bytes_(json.dumps({"dimtool": "0.0.1", "pillow": "1"}))
    before = stamps(out)
    outcome = build(root, out)
    assert outcome.code == 0
    assert any("other versions" in note and "0.0.1" in note for note in outcome.starting("note"))
    assert stamps(out) == before


def test_shards_whose_sources_are_gone_stay(own: tuple[Path, Path], build: Any, stamps: Any) -> None:
    root, out = own
    before = stamps(out)
    (root / "fg/f1.png").unlink()
    (root / "bg/b6.jpg").unlink()
    (root / "bg/b6.jpg").symlink_to(root / "nowhere.jpg")
    outcome = build(root, out)
    assert outcome.code == 1
    assert len(outcome.starting("error")) == 2
    assert stamps(out) == before
    assert [record.index for record in read_index(out).shards] == [0, 1, 2, 3]
    failed = [json.loads(line) for line in (out / "failures.jsonl").read_text().splitlines()]
    assert [failure["index"] for failure in failed] == [1, 3]


def test_a_broken_shard_whose_sources_are_gone_is_left_out_of_the_index(
    own: tuple[Path, Path], build: Any
) -> None:
    root, out = own
    (root / "fg/f1.png").unlink()
    (out / "0001-f1.h5").write_bytes((out / "0001-f1.h5").read_bytes()[:5000])
    outcome = build(root, out)
    assert outcome.code == 1
    assert any("0001-f1.h5" in note and "sources are missing" in note for note in outcome.starting("note"))
    assert [record.index for record in read_index(out).shards] == [0, 2, 3]


# ---- run again with other input: refused -------------------------------------------------------------------


Alter = Callable[[Path], object]


def _appended(name: str) -> Alter:
    """Other bytes of the same pixels: what the shard was built from is not there any more."""
    return lambda root: (root / name).write_bytes((root / name).read_bytes() + b"\0")


def _listing(name: str, *numbers: int | str) -> Alter:
    kind, suffix = ("f", "png") if "fg" in name else ("b", "jpg")
    lines = [each if isinstance(each, str) else f"{kind}{each}.{suffix}" for each in numbers]
    return lambda root: (root / name).write_text("\n".join(lines))


def _nothing(_root: Path) -> None:
    """Only an option changes."""


# What changes, the options then, the shard that is named, and what is said of it.
CHANGES: dict[str, tuple[Alter, list[str], str, str]] = {
    "a foreground's bytes": (_appended("fg/f1.png"), [], "0001-f1.h5", "fg/f1.png has changed"),
    "a matte's bytes": (_appended("alpha/f2.png"), [], "0002-f2.h5", "alpha/f2.png has changed"),
    "a background's bytes": (_appended("bg/b7.jpg"), [], "0003-f3.h5", "bg/b7.jpg has changed"),
    "the order of backgrounds": (
        _listing("train_bg.txt", 0, 1, 3, 2, 4, 5, 6, 7),
        [],
        "0001-f1.h5",
        "its background 0 is b2.jpg, now b3.jpg",
    ),
    "a missing background in another's place": (
        _listing("train_bg.txt", 0, 1, "x.jpg", 3, 4, 5, 6, 7),
        [],
        "0001-f1.h5",
        "its background 0 is b2.jpg, now x.jpg",
    ),
    "no background list": (
        lambda root: (root / "train_bg.txt").unlink(),
        [],
        "0000-f0.h5",
        "its background 0 is b0.jpg",
    ),
    "the order of foregrounds": (_listing("train_fg.txt", 0, 2, 1, 3), [], "0001-f1.h5", "not of this list"),
    "a shorter list": (_listing("train_fg.txt", 0, 1, 2), [], "0003-f3.h5", "not of this list"),
    "a foreground's suffix": (
        _listing("train_fg.txt", 0, "f1.jpg", 2, 3),
        [],
        "0001-f1.h5",
        "its foreground is f1.png, now f1.jpg",
    ),
    "--per-fg": (_nothing, ["--per-fg", "1"], "0000-f0.h5", "has 2 backgrounds, now 1 are asked for"),
    "--split": (_nothing, ["--split", "val"], "0000-f0.h5", "its split is train, now val"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_other_input_is_not_mixed_with_what_is_there(
    own: tuple[Path, Path], build: Any, contents: Any, change: str, stamps: Any
) -> None:
    root, out = own
    alter, options, shard, why = CHANGES[change]
    alter(root)
    (out / ".build/.parts-0").mkdir()
    (out / ".build/.parts-0/0123.part").write_bytes(b"of a build that was killed")
    before = contents(out), stamps(out)
    outcome = build(root, out, *options)
    assert (outcome.code, outcome.out) == (2, "")
    (line,) = outcome.starting("dimtool:")
    assert str(out / shard) in line
    assert why in line
    assert "another --out" in line
    after = contents(out), stamps(out)
    after[0].pop(".build/sources.jsonl", None)  # that hashes were taken is no change
    del before[0][".build/.parts-0/0123.part"]
    assert after == before


def test_one_line_counts_the_other_shards_that_do_not_fit(own: tuple[Path, Path], build: Any) -> None:
    root, out = own
    assert "(and 3 other shards do not fit)" in build(root, out, "--per-fg", "1").err
    (root / "train_fg.txt").write_text("f0.png\nf1.png")
    assert f"{out}/0002-f2.h5 and 1 other are not of this list" in build(root, out).err


def test_a_longer_list_goes_on(
    own: tuple[Path, Path], build: Any, image_set: Any, tmp_path: Path, stamps: Any
) -> None:
    _, out = own
    before = stamps(out)
    longer = image_set(tmp_path / "longer", foregrounds=5)
    for folder in ("fg", "alpha", "bg"):
        shutil.copytree(tmp_path / "set" / folder, longer / folder, dirs_exist_ok=True)
    assert build(longer, out).code == 0
    assert {name: stamp for name, stamp in stamps(out).items() if name in before} == before
    assert len(read_index(out).shards) == 5


# ---- records ----------------------------------------------------------------------------------------------


def lines_of(out: Path) -> dict[str, tuple[dict[str, Any], list[int]]]:
    lines = (out / ".build/journal.jsonl").read_text().splitlines()
    return {record["file"]: (record, stamp) for record, stamp, _ in map(json.loads, lines)}


def test_a_record_is_of_the_very_file(own: tuple[Path, Path], build: Any, visible: Any, built: Path) -> None:
    """A file of the same name and size that came later is hashed: its record is not the old one's."""
    root, out = own
    (out / "index.json").unlink()
    assert build(root, out).code == 0  # the copies are other files than those that were built: hashed
    for record, stamp in lines_of(out).values():
        found = (out / record["file"]).stat()
        assert stamp == [found.st_size, found.st_mtime_ns, found.st_ino]
    shard, lines = out / "0001-f1.h5", lines_of(out)
    times = shard.stat()
    for change in (
        lambda: os.utime(shard, ns=(times.st_atime_ns, times.st_mtime_ns + 1)),
        lambda: shutil.copy2(shard, out / "x") and (out / "x").rename(shard),
    ):
        lines["0001-f1.h5"][0]["sha256"] = "0" * 64  # what nobody hashes again would stay
        text = "".join(json.dumps(line) + "\n" for line in lines.values())
        (out / ".build/journal.jsonl").write_text(text)
        (out / "index.json").unlink()
        change()
        assert build(root, out).code == 0
        assert visible(out) == visible(built)
        lines = lines_of(out)


def test_what_is_known_is_not_hashed_again(
    own: tuple[Path, Path], build: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, out = own
    assert build(root, out).code == 0
    monkeypatch.setattr("dimtool.composer.building.records.record_of", lambda path: pytest.fail(str(path)))
    assert build(root, out).code == 0


def test_versions_stay_with_their_shards(own: tuple[Path, Path], build: Any) -> None:
    """A build that has nothing to do after an upgrade does not call old shards new."""
    root, out = own
    with h5py.File(out / "0001-f1.h5", "r+") as shard:
        shard.attrs["versions"] = np.bytes_(json.dumps({"dimtool": "0.0.1"}))
    assert build(root, out).code == 0
    assert [each.versions == {"dimtool": "0.0.1"} for each in read_index(out).shards] == [0, 1, 0, 0]


def test_an_unreadable_source_stops_nothing(own: tuple[Path, Path], build: Any, stamps: Any) -> None:
    """Its shard stays as it is, and that it was not compared is said."""
    root, out = own
    (root / "bg" / "b2.jpg").unlink()
    os.mkfifo(root / "bg" / "b2.jpg")  # what cannot be read by root either; a pipe would be waited for
    (out / "0003-f3.h5").unlink()
    before = stamps(out)
    outcome = build(root, out)
    assert outcome.code in (0, 1)
    assert before.items() <= stamps(out).items()
    assert (out / "0003-f3.h5").exists()
    assert any("b2.jpg" in line for line in outcome.lines)
