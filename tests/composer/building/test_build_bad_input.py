"""Bad sources: one line names the file and says what to do, and the rest is built; mended, all is there."""

from __future__ import annotations

import json
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image


@pytest.fixture
def root(sources: Path, tmp_path: Path) -> Path:
    """A copy of the sources that a test may spoil."""
    return shutil.copytree(sources, tmp_path / "set")


def _huge_png(side: int) -> bytes:
    """A file of 100 bytes that says it is a picture of side x side."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(b"\0" * 99)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _constant(value: int) -> Callable[[Path], object]:
    def spoil(path: Path) -> None:
        with Image.open(path) as image:
            size = image.size
        Image.new("L", size, value).save(path)

    return spoil


Spoil = Callable[[Path], object]
# What happens to a file, which file, and what is said of it.
BAD: dict[str, tuple[Spoil, str, str]] = {
    "missing foreground": (Path.unlink, "fg/f1.png", "f1.png is not in {root}/fg or below: bring the file"),
    "missing matte": (Path.unlink, "alpha/f1.png", "f1.png is not in {root}/alpha or below: bring the file"),
    "missing background": (Path.unlink, "bg/b2.jpg", "b2.jpg is not in {root}/bg or below"),
    "truncated foreground": (
        lambda path: path.write_bytes(path.read_bytes()[:2000]),
        "fg/f1.png",
        "{file} is damaged (image file is truncated",
    ),
    "truncated background": (
        lambda path: path.write_bytes(path.read_bytes()[:1500]),
        "bg/b3.jpg",
        "{file} is damaged (image file is truncated",
    ),
    "empty": (
        lambda path: path.write_bytes(b""),
        "alpha/f1.png",
        "{file} is empty (0 bytes): bring the file",
    ),
    "no image": (
        lambda path: path.write_text("<html>404</html>"),
        "bg/b3.jpg",
        "{file} is a web page, not an image: bring the file again",
    ),
    "bomb": (
        lambda path: path.write_bytes(_huge_png(40_000)),
        "bg/b2.jpg",
        "{file} is too large to open",
    ),
    "small bomb": (
        lambda path: path.write_bytes(_huge_png(9_500)),
        "bg/b2.jpg",
        "{file} is 9500 x 9500 pixels; at most",
    ),
    "thin background": (
        lambda path: Image.new("RGB", (1, 3000)).save(path),
        "bg/b2.jpg",
        "{file}: a background of 1 x 3000 enlarged for",
    ),
    "matte of another size": (
        lambda path: Image.new("L", (50, 60)).save(path),
        "alpha/f1.png",
        "{root}/fg/f1.png is 73 x 67 and {file} 50 x 60: a foreground and its alpha must be of one size",
    ),
    **{
        f"matte that is {value}": (_constant(value), "alpha/f1.png", f"{{file}} is {value} everywhere")
        for value in (0, 128, 255)
    },
}


@pytest.mark.parametrize("case", BAD)
def test_the_rest_is_built_and_the_next_run_tries_only_what_failed(
    own: tuple[Path, Path], build: Any, visible: Any, stamps: Any, case: str
) -> None:
    spoil, name, message = BAD[case]
    root, complete = own
    out = complete.with_name("new")
    good = (root / name).read_bytes()
    spoil(root / name)
    expected = message.format(root=root, file=root / name)

    first = build(root, out)
    assert first.code == 1
    (line,) = first.starting("error:")
    assert line.startswith(f"error: {expected}")
    assert "1 foreground could not be built" in first.out
    assert line not in first.out  # once is enough
    failures = [json.loads(each) for each in (out / "failures.jsonl").read_text().splitlines()]
    assert failures == [{"index": 1, "foreground": "f1.png", "errors": [line.removeprefix("error: ")]}]
    kept = stamps(out)
    assert sorted(kept) == ["0000-f0.h5", "0002-f2.h5", "0003-f3.h5"]

    assert build(root, out).code == 1
    assert stamps(out) == kept

    (root / name).write_bytes(good)
    assert build(root, out).code == 0
    assert {each: stamps(out)[each] for each in kept} == kept
    assert visible(out) == visible(complete)  # failures.jsonl is gone as well


def test_every_bad_file_of_a_foreground_is_named_in_one_run(root: Path, build: Any, tmp_path: Path) -> None:
    for name in ("fg/f1.png", "bg/b2.jpg", "bg/b3.jpg"):
        (root / name).write_text("spoilt")
    (root / "alpha/f3.png").unlink()
    outcome = build(root, tmp_path / "shards", jobs=2)
    assert outcome.code == 1
    named = sorted(line.split()[1] for line in outcome.starting("error:"))
    assert named == [f"{root}/bg/b2.jpg", f"{root}/bg/b3.jpg", f"{root}/fg/f1.png", "f3.png"]
    failures = [json.loads(line) for line in (tmp_path / "shards/failures.jsonl").read_text().splitlines()]
    assert [failure["index"] for failure in failures] == [1, 3]


def test_other_backgrounds_are_not_shifted_by_a_failure(root: Path, build: Any, tmp_path: Path) -> None:
    """Foreground 2 has entries 4 and 5 whether or not foreground 1 can be built."""
    (root / "fg/f1.png").write_text("spoilt")
    (root / "alpha/f0.png").unlink()
    build(root, tmp_path / "shards")
    index = json.loads((tmp_path / "shards/index.json").read_text())
    assert [record["index"] for record in index["shards"]] == [2, 3]
    assert (index["asked"], index["composites"]) == (8, 4)


def test_names_with_spaces_and_parentheses_and_lists_from_windows(
    root: Path, build: Any, tmp_path: Path
) -> None:
    for folder in ("fg", "alpha"):
        (root / folder / "f1.png").rename(root / folder / "my cat (2) äöü.png")
    (root / "bg/b0.jpg").rename(root / "bg/a street (1).jpg")
    names = "f0.png\r\nmy cat (2) äöü.png\r\n\r\nf2.png\r\n"
    (root / "train_fg.txt").write_bytes(b"\xef\xbb\xbf" + names.encode())
    backgrounds = ["a street (1).jpg", *(f"b{i}.jpg" for i in range(1, 6))]
    (root / "train_bg.txt").write_bytes("\r\n".join(backgrounds).encode())
    outcome = build(root, tmp_path / "shards")
    assert outcome.code == 0
    assert outcome.starting("note") == [f"note: {root}/train_fg.txt: 1 blank line passed over"]
    assert (tmp_path / "shards/0001-my cat (2) äöü.h5").is_file()


@pytest.mark.parametrize("jobs", [1, 2])
def test_fail_fast_stops_at_the_first_failure(root: Path, build: Any, tmp_path: Path, jobs: int) -> None:
    out = tmp_path / "shards"
    for k in range(3):
        (root / f"alpha/f{k}.png").write_text("spoilt")
    outcome = build(root, out, "--fail-fast", jobs=jobs)
    assert outcome.code == 1
    assert len(outcome.starting("error:")) == 1
    assert len((out / "failures.jsonl").read_text().splitlines()) == 1
    assert list((out / ".build").rglob("*.part")) == []


def test_what_the_lists_show_to_fail_stops_a_fail_fast_build_at_once(
    root: Path, build: Any, tmp_path: Path
) -> None:
    (root / "fg/f3.png").unlink()
    outcome = build(root, tmp_path / "shards", "--fail-fast")
    assert outcome.code == 1
    assert list((tmp_path / "shards").glob("*.h5")) == []


def test_nothing_that_can_be_built_is_no_crash(root: Path, build: Any, tmp_path: Path) -> None:
    for path in (root / "alpha").iterdir():
        path.write_text("spoilt")
    outcome = build(root, tmp_path / "shards")
    assert outcome.code == 1
    assert outcome.out.startswith(f"{tmp_path}/shards: 0 shards, 0 composites")
    assert build(root, tmp_path / "shards", "--dry-run").code == 1


# ---- wrong use: nothing is built ---------------------------------------------------------------------------


def _write(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda root: (root / name).write_bytes(content)


WRONG: dict[str, tuple[Callable[[Path], object], list[str], str]] = {
    "too few backgrounds": (
        _write("train_bg.txt", b"b0.jpg\nb1.jpg"),
        [],
        "train_bg.txt has 2 backgrounds and 8 are needed: add some, lower --per-fg, or pass --reuse-bg",
    ),
    "empty list": (_write("train_fg.txt", b""), [], "train_fg.txt lists no foreground"),
    "not UTF-8": (_write("train_fg.txt", b"k\xe4fer.png"), [], "train_fg.txt cannot be read as a list"),
    "missing list": (lambda root: (root / "train_fg.txt").unlink(), [], "train_fg.txt does not exist"),
    "missing background list": (lambda _: None, ["--bg-list", "nowhere.txt"], "nowhere.txt does not exist"),
    "missing folder": (lambda root: shutil.rmtree(root / "bg"), [], "bg is no folder: bring it"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_lists_and_folders_are_refused_in_one_line(
    root: Path, build: Any, tmp_path: Path, case: str
) -> None:
    spoil, options, message = WRONG[case]
    spoil(root)
    outcome = build(root, tmp_path / "shards", *options)
    assert (outcome.code, outcome.out) == (2, "")
    (line,) = outcome.lines
    assert line.startswith("dimtool: ")
    assert message in line
    assert not (tmp_path / "shards").exists()


def test_reused_backgrounds_make_a_short_list_enough(root: Path, build: Any, tmp_path: Path) -> None:
    (root / "train_bg.txt").write_text("b0.jpg\nb1.jpg\nb2.jpg")
    assert build(root, tmp_path / "shards", "--reuse-bg").code == 0


@pytest.mark.parametrize("options", [["--fg-list", "{root}/fg"], ["--split", "training"], ["--per-fg", "0"]])
def test_wrong_options_are_refused(root: Path, build: Any, tmp_path: Path, options: list[str]) -> None:
    outcome = build(root, tmp_path / "shards", *(each.format(root=root) for each in options))
    assert outcome.code == 2
    assert "Error: Invalid value for" in outcome.err
    assert not (tmp_path / "shards").exists()


def test_an_output_that_cannot_be_a_folder_is_refused(root: Path, build: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert build(root, tmp_path / "file").code == 2
    outcome = build(root, tmp_path / "file/shards")
    assert outcome.code == 2
    assert "cannot be made, a file is in the way: choose another --out" in outcome.err
