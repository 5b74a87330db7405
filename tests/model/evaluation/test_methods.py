"""What stands beside a model: the trimap, pymatting's methods, other folders; and on what all is scored."""

from __future__ import annotations

import csv
import json
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from dimtool.cli import run
from dimtool.composer.shards.dataset import CompositeDataset
from dimtool.errors import WrongUseError
from dimtool.metrics import matting_scores
from dimtool.model.evaluation.methods import Method
from dimtool.model.evaluation.scoring import Item

TRIMAP = np.array([[0, 128, 128, 255]], np.uint8)
IMAGE = np.arange(12, dtype=np.uint8).reshape(1, 4, 3) * 20


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """In pymatting's place, whose first use compiles for minutes: what its estimators were given."""
    calls = []

    def estimate(image: NDArray[np.float64], trimap: NDArray[np.float64]) -> NDArray[np.float64]:
        calls.append((image, trimap))
        return np.full(trimap.shape, 0.3) + trimap  # beyond 0 to 1, and off where it is known

    for name in ("pymatting", "pymatting.alpha"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    for name in ("estimate_alpha_cf", "estimate_alpha_knn", "estimate_alpha_lbdm"):
        module = types.ModuleType(f"pymatting.alpha.{name}")
        setattr(module, name, estimate)
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setenv("NUMBA_NUM_THREADS", "1")
    return calls


def item(trimap: NDArray[np.uint8], image: NDArray[np.uint8] | None = IMAGE) -> Item:
    return Item(0, "x", image, trimap, trimap)


@pytest.mark.parametrize("name", ["closed-form", "knn", "learning-based"])
def test_a_method_gets_what_pymatting_takes_and_known_pixels_stay_known(given, name):
    alpha = Method(name)(item(TRIMAP))
    assert alpha.pixels.tolist() == [[0, 204, 204, 255]] and not alpha.instead
    ((image, trimap),) = given
    assert np.array_equal(image, IMAGE / 255)
    assert trimap.tolist() == [[0, 0.5, 0.5, 1]]  # 128 / 255 would do, too; 1 and 0 must be exact


@pytest.mark.parametrize("missing", [0, 255])
def test_without_all_foreground_or_background_the_trivial_answer_stands_in_and_says_so(given, missing):
    trimap = np.where(missing == TRIMAP, 128, TRIMAP).astype(np.uint8)
    alpha = Method("knn")(item(trimap))
    assert alpha.instead and np.array_equal(alpha.pixels, trimap) and given == []


def test_the_trimap_alone_needs_no_image(given):
    alpha = Method("trimap")(item(TRIMAP, None))
    assert np.array_equal(alpha.pixels, TRIMAP) and not alpha.instead
    with pytest.raises(WrongUseError, match="closed-form needs the images"):
        Method("closed-form")(item(TRIMAP, None))


def test_predictions_are_scored_against_their_shards(test_shards: Path, tmp_path: Path, capsys) -> None:
    """Truths, trimaps and photographs are the shards'; other predictions and the trimap stand beside."""
    samples = list(CompositeDataset(test_shards))
    for kind, off in (("mine", 9), ("other", 40)):
        (tmp_path / kind).mkdir()
        for sample in samples:
            shifted = np.clip(sample.alpha.astype(int) + off, 0, 255).astype(np.uint8)
            Image.fromarray(shifted).save(tmp_path / kind / f"{sample.name}.png")
    arguments = [
        "evaluate",
        f"--pred-dir={tmp_path}/mine",
        f"--shards={test_shards}",
        "--workers=0",
        "--json",
    ]
    arguments += [f"--beside=trimap,{tmp_path}/other", f"--out={tmp_path}/out"]
    assert run(arguments) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["images"] == len(samples) == 6
    assert values["sad"] < values["beside"][f"{tmp_path}/other"]["sad"]
    assert list(values["beside"]) == ["trimap", f"{tmp_path}/other"]
    lines = (tmp_path / "out/scores.csv").read_text().splitlines()
    rows = {row["image"]: row for row in csv.DictReader(lines)}
    for sample in samples:
        trimap = np.where((sample.distance <= 10), 128, np.where(sample.alpha == 255, 255, 0))
        prediction = np.asarray(Image.open(tmp_path / "mine" / f"{sample.name}.png"))
        expected = matting_scores(prediction, sample.alpha, trimap.astype(np.uint8))
        assert float(rows[sample.name]["sad"]) == expected.sad
        assert float(rows[sample.name]["grad"]) == expected.grad
    (tmp_path / "mine" / f"{samples[0].name}.png").unlink()
    assert run(arguments) == 1
    assert "has no file for 1 image of 6" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ["--beside", "closedform"],
            "closedform is neither a file or folder nor one of closed-form, knn, learning-based, trimap",
        ),
        (["--image-dir", "."], "--image-dir goes with --truth-dir"),
        (["--truth-dir", "."], "--truth-dir goes with --trimap-dir"),
    ],
)
def test_what_cannot_be_meant_is_told(test_shards, tmp_path, capsys, arguments, told):
    (tmp_path / "p").mkdir()
    Image.new("L", (3, 2)).save(tmp_path / "p/a.png")
    assert run(["evaluate", f"--shards={test_shards}", "--pred-dir", str(tmp_path / "p"), *arguments]) == 2
    error = capsys.readouterr().err
    assert told in error and "Traceback" not in error
