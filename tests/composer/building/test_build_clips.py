"""Foregrounds and backgrounds in folders of clips or classes, whose frames have the same names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from dimtool.composer.shards.dataset import CompositeDataset

CLIPS, FRAMES = ("clip1", "clip2"), ("0000.png", "0001.png")


@pytest.fixture
def clips(tmp_path: Path, noise: Any, draw_alpha: Any) -> Path:
    """Two clips of two frames, backgrounds in two classes with the same names."""
    listed = [f"{clip}/{frame}" for clip in CLIPS for frame in FRAMES]
    for k, name in enumerate(listed):
        _save(noise(k, 40, 50, 3), tmp_path / "fg" / name)
        _save(draw_alpha(k, 40, 50), tmp_path / "alpha" / name)
        _save(noise(100 + k, 60, 70, 3), tmp_path / "bg" / name.replace("clip", "class"))
    (tmp_path / "train_fg.txt").write_text("\n".join(listed))
    (tmp_path / "train_bg.txt").write_text("\n".join(listed).replace("clip", "class"))
    return tmp_path


def _save(pixels: NDArray[np.uint8], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def _files(folder: Path, pattern: str = "*") -> list[str]:
    return sorted(path.name for path in folder.glob(pattern))


def test_each_listed_path_is_that_file_and_all_have_names_of_their_own(
    clips: Path, build: Any, command: Any, noise: Any, tmp_path: Path
) -> None:
    out = tmp_path / "shards"
    outcome = build(clips, out, "--per-fg", 1)
    assert (outcome.code, outcome.starting("note")) == (0, [])
    stems = [f"{clip}-{frame[:4]}" for clip in CLIPS for frame in FRAMES]
    assert sorted(path.name for path in out.glob("*.h5")) == [
        f"{k:04}-{each}.h5" for k, each in enumerate(stems)
    ]
    dataset = CompositeDataset(out)
    assert [dataset.name(k) for k in range(4)] == [f"{each}_0" for each in stems]
    for k in range(4):
        sample = dataset[k]
        assert np.array_equal(sample.foreground, noise(k, 40, 50, 3))
        behind = sample.alpha == 0
        assert np.array_equal(sample.composite[behind], noise(100 + k, 60, 70, 3)[:40, :50][behind])
    assert [record["label"] for record in json.loads((out / "index.json").read_text())["shards"]] == stems
    assert command("verify-composites", out, "--jobs", 1).code == 0
    assert command("export-images", out, tmp_path / "png", "--jobs", 1).code == 0
    assert sorted(path.name for path in (tmp_path / "png/fg").iterdir()) == [f"{each}.png" for each in stems]
    assert sorted(path.name for path in (tmp_path / "png/bg").iterdir()) == [
        f"{each}_0.png" for each in stems
    ]
    rows = json.loads((tmp_path / "png/annotations.json").read_text())
    assert all((tmp_path / "png" / path).exists() for row in rows for path in row.values())


def test_backgrounds_drawn_from_classes_are_told_apart(clips: Path, build: Any, tmp_path: Path) -> None:
    (clips / "train_bg.txt").unlink()
    outcome = build(clips, tmp_path / "shards", "--per-fg", 1)
    assert outcome.code == 0
    names = [entry for k in range(4) for entry in _backgrounds(tmp_path / "shards", k)]
    assert sorted(names) == sorted(f"class{c}/{frame}" for c in (1, 2) for frame in FRAMES)


def _backgrounds(out: Path, k: int) -> tuple[str, ...]:
    dataset = CompositeDataset(out)
    return dataset.shard(k).header.backgrounds


def test_a_set_without_such_names_says_nothing_of_them(own: tuple[Path, Path]) -> None:
    """Shards and index stay, byte for byte, what they were before there were labels and readings."""
    index = json.loads((own[1] / "index.json").read_text())
    assert not any("label" in record for record in index["shards"])
    assert "reading" not in index
    attributes = CompositeDataset(own[1]).shard(0)._file.attrs
    assert not {"label", "reading"} & set(attributes)
