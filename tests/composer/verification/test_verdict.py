"""A check that was skipped never reads as passed; what was sealed anew; verifications that were cut short."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from blake3 import blake3
from PIL import Image

from dimtool.composer.shards.index import read_index
from dimtool.composer.shards.tiles import encode
from dimtool.composer.verification.check_shard import check_shard
from dimtool.composer.verification.resume import Notebook
from dimtool.composer.verification.subject import ShardTask

# ---- the verdict -------------------------------------------------------------------------------------------


def test_a_list_that_is_a_link_is_a_list_where_the_link_is(
    sources: Path, tmp_path: Path, build: Any, judge: Any
) -> None:
    """What lies beside it is beside the link, not beside what it leads to."""
    root = tmp_path / "set"
    root.mkdir()
    for name in ("fg", "alpha", "bg"):
        (root / name).symlink_to(sources / name)
    lists = tmp_path / "elsewhere"
    lists.mkdir()
    for name in ("train_fg.txt", "train_bg.txt"):
        shutil.copy(sources / name, lists / name)
        (root / name).symlink_to(lists / name)
    assert build(root, tmp_path / "out").code == 0
    values = judge(tmp_path / "out")
    assert values.values["verdict"] == "good"
    assert values.values["skipped"] == []
    assert values.tried["source"] == 16


def test_what_is_not_looked_at_is_said_everywhere(own: Any, judge: Any, command: Any, tmp_path: Path) -> None:
    (own[1] / ".build" / "lists.json").unlink()
    assert judge(own[1]).values["verdict"] == "incomplete"
    outcome = command("verify-composites", own[1], "--jobs", 1, "--report", tmp_path / "report")
    assert outcome.code == 0
    assert f"not looked at: the sources of {own[1]}: where they lie is not known" in outcome.out
    assert ": no finding in what was looked at, and that was not all\n" in outcome.out
    page = (tmp_path / "report" / "index.html").read_text()
    assert "No finding in what was looked at, and that was not all" in page
    assert "where they lie is not known" in page
    assert "All is as it should be" not in page


def test_all_that_was_looked_at(own: Any, judge: Any, command: Any) -> None:
    assert judge(own[1], "--sources", own[0]).values["verdict"] == "good"
    said = command("verify-composites", own[1], "--sources", own[0], "--jobs", 1).out
    assert ": no finding: all is as it should be\nnext: dimtool " in said


@pytest.mark.parametrize(
    ("options", "skipped"),
    [
        (["--quick"], ["the sources", "the files' hashes and the maps", "all but 200 composites"]),
        (["--sample", "50%"], ["the other composites"]),
    ],
)
def test_less_than_all_is_no_whole_verdict(
    own: Any, judge: Any, options: list[str], skipped: list[str]
) -> None:
    values = judge(own[1], "--sources", own[0], *options).values
    assert values["verdict"] == "incomplete"
    assert [each["what"] for each in values["skipped"]] == skipped


@pytest.mark.parametrize("options", [[], ["--quick"]])
def test_sources_can_be_required(own: Any, judge: Any, options: list[str]) -> None:
    assert judge(own[1], "--sources", own[0], "--require", "sources").code == 0
    (own[1] / ".build" / "lists.json").unlink()
    values = judge(own[1], "--require", "sources", *options)
    assert values.found == [("source", "", None)]


# ---- sealed anew -------------------------------------------------------------------------------------------


def seal(out: Path) -> None:
    """Make the index agree with the files, as whoever changed them would."""
    content = json.loads((out / "index.json").read_text())
    for record in content["shards"]:
        data = (out / record["file"]).read_bytes()
        record |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    content["composites"] = sum(record["composites"] for record in content["shards"])
    (out / "index.json").write_text(json.dumps(content))


def in_shard(change: Callable[[h5py.File], object]) -> Callable[[Path], None]:
    def apply(out: Path) -> None:
        with h5py.File(out / "0001-f1.h5", "r+", libver=("v110", "v110")) as file:
            change(file)
        seal(out)

    return apply


def in_index(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def apply(out: Path) -> None:
        content = json.loads((out / "index.json").read_text())
        change(content)
        (out / "index.json").write_text(json.dumps(content))

    return apply


def swap_backgrounds(file: h5py.File) -> None:
    file["background_name"][...] = file["background_name"][...][::-1]


def recolour(file: h5py.File) -> None:
    """Other colours where the matte hides them, under digests that agree."""
    pixels = file["foreground"][...]
    pixels[file["alpha"][...] == 0] = 9
    assert (pixels != file["foreground"][...]).any()
    file["foreground"][...] = pixels
    digests = file.attrs["foreground_source"]
    digests[1] = np.frombuffer(blake3(pixels.tobytes()).digest(), np.uint8)
    file.attrs["foreground_source"] = digests


def repaint(file: h5py.File) -> None:
    """A composite of another background where there is no foreground, under a digest that agrees."""
    pixels, alpha = file["composite"][0], file["alpha"][...]
    pixels[alpha == 0] ^= 1
    rows, columns = file["composite"].chunks[1:3]
    whole = np.pad(pixels, [(0, -pixels.shape[0] % rows), (0, -pixels.shape[1] % columns), (0, 0)])
    for y in range(0, pixels.shape[0], rows):
        for x in range(0, pixels.shape[1], columns):
            stream = encode(whole[y : y + rows, x : x + columns])
            file["composite"].id.write_direct_chunk((0, y, x, 0), stream)
    file["digest"][0, 0] = np.frombuffer(blake3(pixels.tobytes()).digest(), np.uint8)


def remove_the_last(out: Path) -> None:
    (out / "0003-f3.h5").unlink()
    in_index(lambda index: index["shards"].pop() and index.update(asked=6, composites=6))(out)


def empty(out: Path) -> None:
    for path in out.glob("*.h5"):
        path.unlink()
    in_index(lambda index: index.update(shards=[], asked=0, composites=0))(out)


def swap_names(index: dict[str, Any]) -> None:
    first, second = index["shards"][:2]
    first["foreground"], second["foreground"] = second["foreground"], first["foreground"]


def append(out: Path) -> None:
    with (out / "0001-f1.h5").open("ab") as file:
        file.write(b"more")
    seal(out)


TAMPERED: dict[str, Callable[[Path], None]] = {
    "background_size": in_shard(lambda file: file["background_size"].write_direct(np.ones((2, 2), "u2"))),
    "versions": in_shard(lambda file: file.attrs.update(versions=np.bytes_('{"dimtool": "7"}'))),
    "extra member": in_shard(lambda file: file.create_dataset("more", data=[1])),
    "extra attribute": in_shard(lambda file: file.attrs.update(more=1)),
    "trailing bytes": append,
    "background_radius": in_shard(lambda file: file.attrs.update(background_radius=63)),
    "names of backgrounds": in_shard(swap_backgrounds),
    "hidden colours": in_shard(recolour),
    "repainted": in_shard(repaint),
    "total": in_index(lambda index: index.update(composites=7)),
    "asked": in_index(lambda index: index.update(asked=80)),
    "per_fg": in_index(lambda index: index.update(per_fg=4)),
    "swapped names": in_index(swap_names),
    "a shard less": remove_the_last,
    "empty": empty,
}


@pytest.mark.parametrize("name", TAMPERED)
def test_with_the_sources_it_is_found(own: Any, judge: Any, name: str) -> None:
    TAMPERED[name](own[1])
    assert judge(own[1], "--sources", own[0]).values["findings"]


@pytest.mark.parametrize("name", TAMPERED)
def test_without_them_the_fingerprint_tells(own: Any, built: Path, judge: Any, name: str) -> None:
    known = read_index(built).fingerprint
    (own[1] / ".build" / "lists.json").unlink()
    assert judge(own[1], "--quick", "--expect", known).code == 0
    TAMPERED[name](own[1])
    assert read_index(own[1]).fingerprint != known or name == "total"
    assert judge(own[1], "--expect", known, "--quick").code == 1


def test_the_fingerprint_is_told_by_build_and_verify(own: Any, build: Any, command: Any, judge: Any) -> None:
    told = build(own[0], own[1]).out
    known = read_index(own[1]).fingerprint
    assert f"fingerprint: {known}\n" in told
    assert judge(own[1]).values["fingerprints"] == {str(own[1]): known}
    assert f"fingerprint of {own[1]}: {known}\n" in command("verify-composites", own[1], "--jobs", 1).out
    assert command("verify-composites", own[1], "--expect", "abc").code == 2


# ---- cut short ---------------------------------------------------------------------------------------------


@pytest.fixture
def notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """The lines of the one notebook that there is."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def lines() -> list[str]:
        return [line for path in tmp_path.glob("cache/dimtool/*") for line in path.read_text().splitlines()]

    return lines


def test_a_killed_verification_goes_on(
    tmp_path: Path, image_set: Any, build: Any, judge: Any, *, start: Any, notebook: Callable[[], list[str]]
) -> None:
    root, out = image_set(tmp_path / "set", foregrounds=12), tmp_path / "out"
    assert build(root, out).code == 0
    with h5py.File(out / "0000-f0.h5", "r+") as file:
        file["composite"].id.write_direct_chunk((1, 0, 0, 0), b"nothing")
    whole = judge(out).values
    assert not notebook()
    process = start("verify-composites", out, "--jobs", 1)
    end = time.monotonic() + 60
    while len(notebook()) < 3 and time.monotonic() < end:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert 3 <= len(notebook()) < 12
    again = judge(out).values
    (note,) = again["notes"]
    assert "were verified by a run that was cut short" in note
    for values in (whole, again):
        values |= {"seconds": 0, "notes": []}
    assert again == whole
    assert not notebook()
    assert judge(out).values["notes"] == []


@pytest.mark.parametrize("change", ["the shard", "a source", "the sample", "a line"])
def test_only_what_is_as_it_was_is_taken_over(
    own: Any, judge: Any, notebook: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """Reports are kept of all; what one of them was of is changed, so that this one is not believed."""
    with monkeypatch.context() as patch:
        patch.setattr(Notebook, "discard", lambda _: None)
        judge(own[1], "--sources", own[0])
    assert len(notebook()) == 4
    options = []
    if change == "the shard":
        os.utime(own[1] / "0001-f1.h5")
    elif change == "a source":
        Image.new("RGB", (9, 9)).save(own[0] / "bg" / "b3.jpg")
    elif change == "the sample":
        options = ["--sample", "50%"]
    else:
        path = next(Path(os.environ["XDG_CACHE_HOME"]).glob("dimtool/*"))
        lines = notebook()
        lines[1] = lines[1][:100]
        path.write_text("\n".join([*lines, "[[", '["x", 3]', "null"]))
    values = judge(own[1], "--sources", own[0], *options).values
    expected = [] if change == "the sample" else ["3 shards were verified by a run that was cut short"]
    assert [note.partition(";")[0] for note in values["notes"]] == expected
    assert bool(values["findings"]) == (change == "a source")


def test_reports_come_back_whole(own: Any, notebook: Callable[[], list[str]]) -> None:
    task = ShardTask(folder=own[1], split="test", record=read_index(own[1]).shards[0])
    report, book = check_shard(task), Notebook([own[1]])
    assert report.tally.findings
    task = ShardTask(folder=own[1], split="train", record=read_index(own[1]).shards[0])
    report = check_shard(task)
    assert report.facts is not None
    book.add(task, report)
    (again,) = book.known([task])
    assert again.facts is not None
    there, back = asdict(report.facts), asdict(again.facts)
    assert np.array_equal(there.pop("alpha_histogram"), back.pop("alpha_histogram"))
    assert there == back
    assert again.tally == report.tally
