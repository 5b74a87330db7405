"""--repair builds exactly the bad shards anew, byte for byte as they were, and leaves what it must."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

from dimtool.composer.shards.index import read_index
from dimtool.composer.sources import images
from dimtool.composer.verification import repair

Damage = Callable[[Path], object]


@pytest.fixture
def clean(command: Any) -> Callable[..., bool]:
    """Whether a verification has no finding."""
    return lambda *arguments: command("verify-composites", *arguments, "--jobs", 1).code == 0


def cut_off(shard: Path) -> None:
    shard.write_bytes(shard.read_bytes()[:-1000])


def flip_a_bit(shard: Path) -> None:
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 4
    shard.write_bytes(data)


def zero_a_tile(shard: Path) -> None:
    with h5py.File(shard, "r+") as file:
        file["composite"].id.write_direct_chunk((1, 0, 0, 0), b"nothing")


def spoil_the_digests_of_the_sources(shard: Path) -> None:
    """The sources then look changed, though it is the shard that is."""
    with h5py.File(shard, "r+") as file:
        file["background_source"][...] = 0


def shift_the_distance(shard: Path) -> None:
    with h5py.File(shard, "r+") as file:
        file["distance"][...] = file["distance"][...] ^ 1


DAMAGES: list[Damage] = [
    Path.unlink, cut_off, flip_a_bit, zero_a_tile, spoil_the_digests_of_the_sources, shift_the_distance,
    lambda shard: shard.write_bytes(b""), lambda shard: shutil.copy(shard.with_name("0000-f0.h5"), shard),
]  # fmt: skip


# ---- what is mended ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda each: getattr(each, "__name__", "lambda"))
def test_one_bad_shard(
    own: Any, built: Path, mend: Any, *, clean: Any, contents: Any, stamps: Any, damage: Damage
) -> None:
    _, out = own
    damage(out / "0002-f2.h5")
    before = stamps(out)
    assert not clean(out)
    assert mend(out) == (0, {"rebuilt": [str(out / "0002-f2.h5")], "findings": [], "reasons": []})
    assert contents(out) == contents(built)
    after = stamps(out)
    assert {name for name in after if after[name] != before.get(name)} == {"0002-f2.h5"}
    assert clean(out)


def test_several_in_several_folders(own: Any, tmp_path: Path, built: Path, mend: Any, contents: Any) -> None:
    folders = [
        own[1],
        shutil.copytree(built, tmp_path / "second"),
        shutil.copytree(built, tmp_path / "third"),
    ]
    cut_off(folders[0] / "0000-f0.h5")
    (folders[0] / "0003-f3.h5").unlink()
    zero_a_tile(folders[2] / "0001-f1.h5")
    code, outcome = mend(*folders)
    assert outcome["rebuilt"] == [
        str(folders[0] / "0000-f0.h5"), str(folders[0] / "0003-f3.h5"), str(folders[2] / "0001-f1.h5")
    ]  # fmt: skip
    # Three copies of one set are what they are: each foreground is there three times.
    assert code == 1
    assert {finding["check"] for finding in outcome["findings"]} == {"duplicates"}
    assert contents(folders[0]) == contents(folders[1]) == contents(folders[2]) == contents(built)


def test_nothing_is_touched_where_nothing_is_wrong(own: Any, mend: Any, stamps: Any) -> None:
    before = stamps(own[1])
    assert mend(own[1]) == (0, {})
    assert stamps(own[1]) == before


def test_worker_processes_mend_as_well(own: Any, built: Path, command: Any, contents: Any) -> None:
    for name in ("0001-f1.h5", "0002-f2.h5"):
        cut_off(own[1] / name)
    outcome = command("verify-composites", own[1], "--repair", "--jobs", 2)
    assert outcome.code == 0
    assert f"built anew: {own[1] / '0001-f1.h5'}\nbuilt anew: {own[1] / '0002-f2.h5'}\n" in outcome.out
    assert outcome.out.endswith("2 shards built anew and verified: no finding left\n")
    assert contents(own[1]) == contents(built)


def test_from_sources_that_are_named(own: Any, built: Path, mend: Any, contents: Any) -> None:
    (own[1] / ".build" / "lists.json").unlink()
    cut_off(own[1] / "0001-f1.h5")
    code, outcome = mend(own[1], "--sources", own[0])
    assert (code, len(outcome["rebuilt"])) == (0, 1)
    (built_anew, expected) = (contents(own[1]), contents(built))
    expected.pop(".build/lists.json")
    assert built_anew == expected


def test_what_the_quick_look_found(own: Any, built: Path, mend: Any, contents: Any) -> None:
    cut_off(own[1] / "0001-f1.h5")
    assert mend(own[1], "--quick")[0] == 0
    assert contents(own[1]) == contents(built)


# ---- what is left ------------------------------------------------------------------------------------------


def recolour(path: Path) -> None:
    with Image.open(path) as image:
        pixels = np.asarray(image)
    Image.fromarray(255 - pixels).save(path)


def test_sources_that_are_gone(own: Any, mend: Any, command: Any, contents: Any) -> None:
    """It says so, and does nothing."""
    _, out = own
    text = (out / ".build" / "lists.json").read_text()
    (out / ".build" / "lists.json").write_text(text.replace("train_fg.txt", "gone_fg.txt"))
    cut_off(out / "0001-f1.h5")
    before = contents(out)
    code, outcome = mend(out)
    assert code == 1
    assert outcome["rebuilt"] == []
    assert {finding["shard"] for finding in outcome["findings"]} == {"0001-f1.h5"}
    said = command("verify-composites", out, "--repair", "--jobs", 1)
    assert f"not looked at: the sources of {out}" in said.out
    assert "0 shards built anew" in said.out
    assert "nothing can be built anew without the sources: name them with --sources" in said.out
    assert contents(out) == before


def test_a_changed_source_is_left_and_the_rest_mended(
    own: Any, built: Path, mend: Any, contents: Any
) -> None:
    """Building the shard of a changed source would make another data set of it."""
    root, out = own
    recolour(root / "bg" / "b0.jpg")
    cut_off(out / "0002-f2.h5")
    code, outcome = mend(out, "--sources", root)
    assert code == 1
    assert outcome["rebuilt"] == [str(out / "0002-f2.h5")]
    assert [(each["check"], each["shard"]) for each in outcome["findings"]] == [("source", "0000-f0.h5")]
    assert contents(out) == contents(built)


@pytest.mark.parametrize("damage", [cut_off, zero_a_tile, Path.unlink])
def test_a_bad_shard_of_a_changed_source_is_left(own: Any, mend: Any, contents: Any, damage: Damage) -> None:
    """Even where the shard cannot say any more what it was built from: its bytes would be others."""
    root, out = own
    recolour(root / "bg" / "b5.jpg")
    damage(out / "0002-f2.h5")
    before = contents(out)
    code, outcome = mend(out, "--sources", root)
    assert code == 1
    assert outcome["rebuilt"] == []
    assert "files" in {each["check"] for each in outcome["findings"]}
    assert any("cannot be built as it was" in each["what"] for each in outcome["findings"])
    assert contents(out) == before


def test_a_bad_shard_whose_source_is_damaged(own: Any, mend: Any, contents: Any) -> None:
    root, out = own
    (root / "fg" / "f1.png").write_bytes(b"no image")
    cut_off(out / "0001-f1.h5")
    cut_off(out / "0003-f3.h5")
    index = read_index(out)
    code, outcome = mend(out, "--sources", root)
    assert code == 1
    assert outcome["rebuilt"] == [str(out / "0003-f3.h5")]
    assert any(str(root / "fg" / "f1.png") in each["what"] for each in outcome["findings"])
    assert {each["shard"] for each in outcome["findings"]} == {"0001-f1.h5"}
    assert read_index(out) == index


def test_a_bad_shard_whose_source_is_missing(own: Any, mend: Any) -> None:
    root, out = own
    (root / "alpha" / "f1.png").unlink()
    cut_off(out / "0001-f1.h5")
    index = read_index(out)
    code, outcome = mend(out, "--sources", root)
    assert code == 1
    assert outcome["rebuilt"] == []
    assert {each["check"] for each in outcome["findings"]} == {"files", "format", "source"}
    assert read_index(out) == index


def test_a_stranger_is_left_and_the_rest_mended(own: Any, built: Path, mend: Any, contents: Any) -> None:
    _, out = own
    shutil.copy(out / "0000-f0.h5", out / "0009-stranger.h5")
    cut_off(out / "0001-f1.h5")
    code, outcome = mend(out)
    assert code == 1
    assert outcome["rebuilt"] == [str(out / "0001-f1.h5")]
    assert [(each["check"], each["shard"]) for each in outcome["findings"]] == [("files", "0009-stranger.h5")]
    assert contents(out).items() >= contents(built).items()


def test_a_broken_index_is_left(own: Any, mend: Any, contents: Any) -> None:
    (own[1] / "index.json").write_text("{")
    before = contents(own[1])
    code, outcome = mend(own[1])
    assert (code, outcome["rebuilt"]) == (1, [])
    assert contents(own[1]) == before


def test_an_incomplete_set_gets_no_new_shard(own: Any, mend: Any) -> None:
    root, out = own
    (out / "0003-f3.h5").unlink()
    content = json.loads((out / "index.json").read_text())
    content["shards"].pop()
    (out / "index.json").write_text(json.dumps(content))
    cut_off(out / "0000-f0.h5")
    code, outcome = mend(out, "--sources", root)
    assert (code, outcome["rebuilt"]) == (1, [str(out / "0000-f0.h5")])
    assert {each["check"] for each in outcome["findings"]} == {"set"}
    assert not (out / "0003-f3.h5").exists()


def test_duplicates_are_left(tmp_path: Path, image_set: Any, build: Any, mend: Any, stamps: Any) -> None:
    root, out = image_set(tmp_path / "set"), tmp_path / "out"
    for name in ("fg", "alpha"):
        shutil.copy(root / name / "f0.png", root / name / "f2.png")
    assert build(root, out).code == 0
    before = stamps(out)
    code, outcome = mend(out)
    assert (code, outcome["rebuilt"]) == (1, [])
    assert [each["check"] for each in outcome["findings"]] == ["duplicates"]
    assert stamps(out) == before


# ---- versions, and others at work --------------------------------------------------------------------------


@pytest.fixture
def upgraded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow has another version than when the shards were built."""
    versions = images.decoder_versions() | {"pillow": "99.0"}
    monkeypatch.setattr("dimtool.composer.shards.layout.decoder_versions", lambda: versions)


def test_other_versions_mend_what_their_decoders_agree_on(
    own: Any, built: Path, mend: Any, *, clean: Any, contents: Any, upgraded: None
) -> None:
    """The bytes are others, as a shard names its versions; the pixels are the same."""
    root, out = own
    cut_off(out / "0001-f1.h5")
    code, outcome = mend(out, "--sources", root)
    assert (code, outcome["rebuilt"], outcome["findings"]) == (0, [str(out / "0001-f1.h5")], [])
    assert clean(out, "--sources", root)
    after, before = contents(out), contents(built)
    assert {name for name in before if after[name] != before[name]} == {"0001-f1.h5", "index.json"}
    with h5py.File(out / "0001-f1.h5") as one, h5py.File(built / "0001-f1.h5") as other:
        for name in one:
            assert np.array_equal(one[name][...], other[name][...])
    # The others' records still say what they were built with, so that they can be mended byte for byte later.
    there, before = read_index(out).shards, read_index(built).shards
    assert [new.versions == old.versions for new, old in zip(there, before, strict=True)] == [1, 0, 1, 1]


def test_other_versions_leave_a_shard_whose_source_has_changed(
    own: Any, mend: Any, contents: Any, upgraded: None
) -> None:
    root, out = own
    recolour(root / "bg" / "b5.jpg")
    zero_a_tile(out / "0002-f2.h5")
    before = contents(out)
    code, outcome = mend(out, "--sources", root, "--quick")
    assert (code, outcome["rebuilt"]) == (1, [])
    assert any("b5.jpg has changed since" in each["what"] for each in outcome["findings"])
    assert contents(out) == before


def test_a_build_at_work_is_not_disturbed(own: Any, command: Any, contents: Any) -> None:
    cut_off(own[1] / "0001-f1.h5")
    with FileLock(own[1] / ".build" / "lock"):
        before = contents(own[1])
        outcome = command("verify-composites", own[1], "--repair", "--jobs", 1)
        assert outcome.code == 2
        assert "another build is at work" in outcome.err
        assert contents(own[1]) == before


def test_what_is_rebuilt_is_checked_again(own: Any, mend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of the disk that comes back is told."""
    build_shard = repair.build_shard

    def build_and_spoil(job: Any) -> Any:
        outcome = build_shard(job)
        flip_a_bit(job.path)
        return outcome

    monkeypatch.setattr(repair, "build_shard", build_and_spoil)
    cut_off(own[1] / "0001-f1.h5")
    code, outcome = mend(own[1])
    assert code == 1
    assert "files" in {each["check"] for each in outcome["findings"]}
