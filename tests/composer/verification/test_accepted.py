"""Known findings: accepted by their lines, always shown; lines that name none; Adobe's own pair."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image


@pytest.fixture(scope="module")
def twice(image_set: Any, build: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A foreground that is there a second time, mirrored and as it is; its shards."""
    root = image_set(tmp_path_factory.mktemp("twice"), foregrounds=3, side=140)
    for folder in ("fg", "alpha"):
        shutil.copy(root / folder / "f0.png", root / folder / "f1.png")
        with Image.open(root / folder / "f0.png") as image:
            image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(root / folder / "f2.png")
    out: Path = root / "shards"
    assert build(root, out).code == 0
    return out


def verify(command: Any, shards: Path, *more: object) -> Any:
    return command("verify-composites", shards, "--jobs", 1, *more)


def duplicates_in(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("duplicates:")]


def test_accepted_findings_are_shown_and_no_failure(twice: Path, tmp_path: Path, command: Any) -> None:
    found = duplicates_in(verify(command, twice).out)
    assert len(found) == 2
    accepted = tmp_path / "known.txt"
    accepted.write_text("# looked at in spring\n\n" + "\n".join(found) + "\n")
    outcome = verify(command, twice, "--accept", accepted)
    assert outcome.code == 0
    assert [f"accepted: {line}" in outcome.out for line in found] == [True, True]
    assert "no finding: all is as it should be; 2 accepted" in outcome.out
    values = json.loads(verify(command, twice, "--accept", accepted, "--json").out)
    assert (values["verdict"], len(values["findings"]), len(values["accepted"])) == ("good", 0, 2)


def test_what_is_not_accepted_is_a_finding_still(twice: Path, tmp_path: Path, command: Any) -> None:
    first, second = duplicates_in(verify(command, twice).out)
    (tmp_path / "known.txt").write_text(first)
    outcome = verify(command, twice, "--accept", tmp_path / "known.txt", "--report", tmp_path / "report")
    assert outcome.code == 1
    assert duplicates_in(outcome.out) == [second]
    assert "1 finding; 1 accepted" in outcome.out
    assert "accepted: duplicates" in (tmp_path / "report" / "index.html").read_text()


def test_a_line_that_is_found_no_more_is_told(twice: Path, tmp_path: Path, command: Any) -> None:
    found = duplicates_in(verify(command, twice).out)
    (tmp_path / "known.txt").write_text("\n".join([*found, "files: shards/0009.h5: gone"]))
    outcome = verify(command, twice, "--accept", tmp_path / "known.txt")
    assert outcome.code == 0
    assert "note: accepted, but not found: files: shards/0009.h5: gone: take it off the list" in outcome.err


@pytest.mark.parametrize(("content", "told"), [(b"# nothing\n", "no finding"), (b"\xff\xfe\x00", "read")])
def test_a_file_that_accepts_nothing(
    twice: Path, tmp_path: Path, command: Any, content: bytes, told: str
) -> None:
    (tmp_path / "known.txt").write_bytes(content)
    outcome = verify(command, twice, "--accept", tmp_path / "known.txt")
    assert outcome.code == 2
    assert told in outcome.err


@pytest.mark.parametrize(("name", "code"), [("beach-747750_1280", 0), ("another", 1)])
def test_the_pair_in_adobes_own_lists_is_a_note(
    image_set: Any, build: Any, tmp_path: Path, command: Any, *, name: str, code: int
) -> None:
    for split in ("train", "test"):
        root = image_set(tmp_path / split, foregrounds=1, side=60, split=split)
        for folder in ("fg", "alpha"):
            (root / folder / "f0.png").rename(root / folder / f"{name}.png")
        for path in (root / "bg").iterdir():  # the splits share none
            with Image.open(path) as image:
                image.rotate(90 if split == "test" else 0).save(path)
        (root / f"{split}_fg.txt").write_text(f"{name}.png")
        lists = ("--fg-list", root / f"{split}_fg.txt")
        assert build(root, tmp_path / "shards" / split, *lists).code == 0
    outcome = verify(command, tmp_path / "shards")
    assert outcome.code == code
    assert ("Adobe's own lists have beach-747750_1280 in train and in test" in outcome.err) == (code == 0)
    assert len(duplicates_in(outcome.out)) == code
