"""README.md from top to bottom: its commands and snippets as they stand, on a drawn set laid out as Adobe's.

What would take long, or serves until it is stopped, is left out: `LONG` names it, and what it would have left
is put there.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dimtool import cli
from dimtool.composer.demo import make_demo
from dimtool.model.network.checkpoint import save_model
from dimtool.model.network.dim import DeepImageMatting, ModelConfig

README = (Path(__file__).parents[1] / "README.md").read_text()
BLOCKS = re.findall(r"^```(sh|python)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)

# Each by its beginning: trains for hours, draws for minutes, serves, wants others' files, or is tested apart.
LONG = (
    *("dimtool train", "dimtool demo", "dimtool draw-set", "dimtool export-onnx", "dimtool import-weights"),
    *("make ", "pip install"),
)


def commands(block: str) -> Iterator[str]:
    """The commands of a block, without what is said of them."""
    for line in block.replace("\\\n", " ").splitlines():
        command = re.split(r"\s+#\s", line)[0].strip()
        if command and not command.startswith("#"):
            yield command


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as one has it who follows the page: Adobe's lists and images, a run, and a photograph."""
    here = tmp_path_factory.mktemp("reader")
    counts = {"train": 1, "test": 1, "backgrounds_per_train": 1, "backgrounds_per_test": 1}
    make_demo(here, size=64, **counts)
    drawn = sorted((here / "bg").iterdir())
    for split, each, picture in (("train", 100, drawn[0]), ("test", 20, drawn[1])):  # as many as by default
        names = [f"{split}-{i}.jpg" for i in range(each)]
        for name in names:
            (here / "bg" / name).hardlink_to(picture)
        (here / f"{split}_bg.txt").write_text("\n".join(names))
    for folder, files in (("own/fg", 10), ("own/alpha", 10), ("coco", 920)):
        (here / folder).mkdir(parents=True)
        for i in range(files):
            (here / folder / f"{i}.jpg").hardlink_to(drawn[0])
    model = DeepImageMatting(ModelConfig(width=1 / 16, bottleneck="slim"))
    for name in ("dim", "other"):
        (here / "runs" / name).mkdir(parents=True)
        save_model(here / "runs" / name / "model.safetensors", model)
    rng = np.random.default_rng(0)
    trimap = np.full((40, 56), 128, np.uint8)
    trimap[:9], trimap[:, :12] = 0, 255
    for folder in ("photos", "trimaps"):
        (here / folder).mkdir()
    for name in ("photo.jpg", "beach.jpg", "photos/a.jpg"):
        Image.fromarray(rng.integers(0, 256, (40, 56, 3), dtype=np.uint8)).save(here / name)
    for name in ("trimap.png", "truth.png", "trimaps/a.png"):
        Image.fromarray(trimap).save(here / name)
    mask = np.zeros_like(trimap)
    mask[5:35, 8:48] = 255
    Image.fromarray(mask).save(here / "mask.png")
    return here


def give(line: str, here: Path) -> None:
    words = shlex.split(line)
    assert words[0] == "dimtool", line
    globbed = [sorted(map(str, here.glob(word)))[:1] if "*" in word else [word] for word in words[1:]]
    assert cli.run([word for each in globbed for word in each]) == 0, line


def test_the_page_runs_from_top_to_bottom(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    names: dict[str, Any] = {}
    ran = 0
    for kind, block in BLOCKS:
        if kind == "python":
            exec(compile(block, "README.md", "exec"), names)
            continue
        for line in commands(block):
            if not line.startswith(LONG):
                give(line, place)
                ran += 1
    assert ran >= 15 and names
    said = capsys.readouterr().out
    for split, use in (("train", "train"), ("test", "evaluate --checkpoint runs/dim")):
        following = f"dimtool {use} --shards shards/{split}\n"
        assert f"next: dimtool verify-composites shards/{split}\n      {following}" in said
