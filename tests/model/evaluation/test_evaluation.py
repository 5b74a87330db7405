"""Evaluation: names matched, each image's scores, and that what is scored is not scored again."""

from __future__ import annotations

import csv
import io
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from dimtool.cli import run
from dimtool.composer.pixels.trimap import trimap_of
from dimtool.composer.shards.dataset import CompositeDataset
from dimtool.errors import WrongUseError
from dimtool.metrics import matting_scores
from dimtool.model.evaluation import predictors as predictors_module
from dimtool.model.evaluation.evaluate import evaluate
from dimtool.model.evaluation.images import ShardImages, Trimaps, digest_of
from dimtool.model.evaluation.journal import JOURNAL_NAME, Journal
from dimtool.model.evaluation.pairing import EvaluationError
from dimtool.model.evaluation.predictors import ModelPredictor
from dimtool.model.evaluation.table import Evaluation
from dimtool.model.inference.matter import Matter
from dimtool.model.network.checkpoint import save_model
from dimtool.model.network.dim import DeepImageMatting, ModelConfig

pytestmark = pytest.mark.usefixtures("one_thread")


def expected_scores(model: DeepImageMatting, shards: Path, radius: int) -> list[tuple[str, float]]:
    """Name and SAD of each composite, one image at a time, straight from the definition."""
    found = []
    for sample in CompositeDataset(shards):
        trimap = trimap_of(sample.alpha, sample.distance, radius, radius)
        image = torch.from_numpy(sample.composite).permute(2, 0, 1)[None].float() / 255
        with torch.no_grad():
            alpha = model(image, torch.from_numpy(trimap)[None, None].float() / 255).alpha[0, 0].numpy()
        rounded = np.floor(alpha * 255 + 0.5)
        unknown = trimap == 128
        error = np.abs(rounded - sample.alpha)[unknown].sum() / 255 / 1000
        found.append((sample.name, float(error)))
    return found


@pytest.mark.parametrize("loading", [(1, 0, 2**40), (2, 1, 2**40), (2, 0, 0)])
def test_scores_each_composite_of_the_shards(
    quiet: Any,
    model: DeepImageMatting,
    shards: Path,
    loading: tuple[int, int, int],
    tmp_path: Path,
    *,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also where the images do not fit the memory together: then they are matted one by one."""
    monkeypatch.setattr(predictors_module, "free_memory", lambda device: loading[2])
    images = ShardImages(shards, Trimaps(radius=6))
    predictor = ModelPredictor(Matter(model=model, device=torch.device("cpu")), "mine")
    reporter = quiet()
    evaluation = evaluate(
        images,
        [predictor],
        journal=Journal(tmp_path),
        reporter=reporter,
        batch_size=loading[0],
        workers=loading[1],
    )
    expected = expected_scores(model, shards, 6)
    assert [image.name for image in evaluation.images] == reporter.names == [name for name, _ in expected]
    assert [image.scores.sad for image in evaluation.images] == pytest.approx(
        [sad for _, sad in expected], abs=2e-5
    )
    assert evaluation.means()["sad"] == pytest.approx(np.mean([sad for _, sad in expected]), abs=2e-5)
    assert not evaluation.comparable
    assert "not the official" in evaluation.caveats()[0]


def test_scores_a_folder_of_predictions(
    score_folders: Callable[..., Evaluation], folders: dict[str, Path], tmp_path: Path
) -> None:
    evaluation = score_folders(folders, tmp_path)
    for image in evaluation.images:
        read = [np.array(Image.open(folders[name] / f"{image.name}.png")) for name in ("pred", "trimap")]
        truth = np.array(Image.open(folders["truth"] / "cat.png"))
        assert astuple(image.scores)[:4] == astuple(matting_scores(read[0], truth, read[1]))[:4]
        assert image.foreground == "cat"
    rows = list(csv.DictReader(io.StringIO(evaluation.csv())))
    assert [row["image"] for row in rows] == ["cat_0", "cat_1"]
    for row, image in zip(rows, evaluation.images, strict=True):
        assert [float(row[name]) for name in ("sad", "mse", "grad", "conn")] == list(
            astuple(image.scores)[:4]
        )  # to the last bit
    assert float(rows[1]["sad"]) > float(rows[0]["sad"]) > 0


def test_what_is_missing_is_named_before_anything_is_scored(
    score_folders: Callable[..., Evaluation], folders: dict[str, Path], tmp_path: Path
) -> None:
    (folders["trimap"] / "cat_1.png").unlink()
    with pytest.raises(EvaluationError, match=r"for cat_1: there is no cat_1 or cat in .*trimap"):
        score_folders(folders, tmp_path)


def test_a_prediction_that_is_missing_is_an_error(
    score_folders: Callable[..., Evaluation], folders: dict[str, Path], tmp_path: Path
) -> None:
    """Those that one cannot make are often the hard ones."""
    (folders["pred"] / "cat_1.png").unlink()
    with pytest.raises(EvaluationError, match=r"no prediction for 1 trimap of .*cat_1"):
        score_folders(folders, tmp_path)


@pytest.mark.parametrize(
    ("name", "other"), [("pred", "truth/cat.png 30 x 40"), ("trimap", "truth/cat.png 30 x 40: give")]
)
def test_sizes_are_checked_before_anything_is_scored(
    score_folders: Callable[..., Evaluation], folders: dict[str, Path], tmp_path: Path, name: str, other: str
) -> None:
    Image.new("L", (31, 40)).save(folders[name] / "cat_0.png")
    with pytest.raises(EvaluationError, match=rf"cat_0\.png is 31 x 40 .*{other}"):
        score_folders(folders, tmp_path)
    assert not (tmp_path / JOURNAL_NAME).exists()


def test_trimap_values_are_checked_before_anything_is_scored(
    score_folders: Callable[..., Evaluation], folders: dict[str, Path], tmp_path: Path
) -> None:
    Image.fromarray(np.full((40, 30), 100, np.uint8)).save(folders["trimap"] / "cat_1.png")
    with pytest.raises(EvaluationError, match=r"cat_1\.png is no trimap .*\[100\]"):
        score_folders(folders, tmp_path)
    assert not (tmp_path / JOURNAL_NAME).exists()


def test_an_image_without_an_unknown_pixel_is_named_and_left_out(
    quiet: Any, score_folders: Callable[..., Evaluation], folders: dict[str, Path], tmp_path: Path
) -> None:
    Image.new("L", (30, 40), 255).save(folders["trimap"] / "cat_0.png")
    reporter = quiet()
    evaluation = score_folders(folders, tmp_path, reporter)
    assert reporter.notes == ["without an unknown pixel to be scored, left out: cat_0"]
    assert (reporter.total, reporter.names) == (1, ["cat_1"])
    assert [image.name for image in evaluation.images] == ["cat_1"]
    assert "1 image left out, without an unknown pixel in the trimap: cat_0" in evaluation.text()
    Image.new("L", (30, 40)).save(folders["trimap"] / "cat_1.png")
    with pytest.raises(WrongUseError, match="none of 2 images has an unknown pixel"):
        score_folders(folders, tmp_path)


def test_a_shard_without_a_transition_pixel_is_left_out(
    model: DeepImageMatting, write_plain: Any, tmp_path: Path
) -> None:
    alpha = np.zeros((40, 40), np.uint8)
    write_plain(tmp_path / "s", alpha, alpha + np.uint8(255), np.zeros((0, 2), np.uint16))
    alpha[10:20, 10:20] = 99
    region = np.argwhere(alpha == 99).astype(np.uint16)
    write_plain(tmp_path / "s", alpha, np.where(alpha, 0, 255).astype(np.uint8), region)
    images = ShardImages(tmp_path / "s", Trimaps(radius=3))
    assert [images.names[i].name for i in images.without_unknown()] == ["plain 0_0", "plain 0_1"]


# ---- scores survive ----------------------------------------------------------------------------------------


def test_what_is_scored_is_not_scored_again(
    score_folders: Callable[..., Evaluation], quiet: Any, folders: dict[str, Path], tmp_path: Path
) -> None:
    first = score_folders(folders, tmp_path)
    reporter = quiet()
    assert score_folders(folders, tmp_path, reporter) == first
    assert (reporter.total, reporter.kept, reporter.names) == (2, 2, [])
    lines = (tmp_path / JOURNAL_NAME).read_text().splitlines()
    (tmp_path / JOURNAL_NAME).write_text(lines[0] + "\n" + lines[1][:40])  # as a kill leaves it
    reporter = quiet()
    assert score_folders(folders, tmp_path, reporter) == first
    assert reporter.names == ["cat_1"]
    reporter = quiet()
    assert score_folders(folders, tmp_path, reporter) == first
    assert reporter.names == []


@pytest.mark.parametrize("what", ["pred", "trimap", "truth"])
def test_scores_of_something_else_are_never_taken(
    score_folders: Callable[..., Evaluation], quiet: Any, folders: dict[str, Path], tmp_path: Path, what: str
) -> None:
    score_folders(folders, tmp_path / "out")
    digest_of.cache_clear()
    path = folders[what] / ("cat.png" if what == "truth" else "cat_0.png")
    pixels = np.array(Image.open(path))
    pixels[20, 20] = 0 if what == "trimap" else 255 - pixels[20, 20]
    Image.fromarray(pixels).save(path)
    reporter = quiet()
    again = score_folders(folders, tmp_path / "out", reporter)
    assert reporter.names == (["cat_0", "cat_1"] if what == "truth" else ["cat_0"])
    assert again == score_folders(folders, tmp_path / "fresh")


def test_another_models_scores_are_never_taken(
    quiet: Any, model: DeepImageMatting, shards: Path, tmp_path: Path
) -> None:
    torch.manual_seed(9)
    other = DeepImageMatting(ModelConfig(bottleneck="slim", width=0.125)).eval()
    images, means = ShardImages(shards, Trimaps(radius=6)), []
    for each in (model, other, model):
        predictor = ModelPredictor(Matter(model=each, device=torch.device("cpu")), "m")
        found = evaluate(images, [predictor], journal=Journal(tmp_path), reporter=quiet(), workers=0)
        means.append(found.means()["sad"])
    assert means[0] == means[2] != means[1]


SLOWLY = """
import sys, time
from dimtool import cli
from dimtool.model.evaluation import journal
add = journal.Journal.add
def slow(self, key, name, entry):
    add(self, key, name, entry)
    print(name, file=sys.stderr, flush=True)
    time.sleep(30 if len(self._entries) == 3 else 0)
journal.Journal.add = slow
if __name__ == "__main__":
    sys.exit(cli.run(sys.argv[1:]))
"""


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGKILL])
def test_an_evaluation_that_was_stopped_goes_on(
    model: DeepImageMatting, shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], stop: int
) -> None:
    save_model(tmp_path / "m.safetensors", model)
    (tmp_path / "slowly.py").write_text(SLOWLY)
    arguments = ["evaluate", "--checkpoint", tmp_path / "m.safetensors", "--shards", shards, "--workers", 1]
    arguments = [*map(str, arguments), "--json", "--out"]
    here = [*arguments[:-4], "--workers", "0", *arguments[-2:]]
    command = [sys.executable, str(tmp_path / "slowly.py"), *arguments, str(tmp_path / "out")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        errors = []
        for line in process.stderr:
            errors.append(line)
            if "t0_2" in line:  # the third of six
                process.send_signal(stop)
                break
        errors += process.stderr.readlines()
        code = process.wait(60)
    if stop == signal.SIGINT:
        assert code == 130
        assert errors[-1].startswith("dimtool: interrupted; what is finished is kept")
    assert not (tmp_path / "out/index.html").exists()
    assert run([*here, str(tmp_path / "out")]) == 0
    captured = capsys.readouterr()
    assert "3/6" in captured.err
    assert run([*here, str(tmp_path / "fresh")]) == 0
    fresh = json.loads(capsys.readouterr().out)
    resumed = json.loads(captured.out)
    assert {**resumed, "csv": 0, "page": 0} == {**fresh, "csv": 0, "page": 0}


def test_the_processes_that_score_do_without_torch(run_python: Any) -> None:
    modules = "images, methods, workers"
    script = f"import sys; from dimtool.model.evaluation import {modules}; print('torch' in sys.modules)"
    assert run_python(script) == "False\n"


def test_mmagics_figures_take_known_pixels_as_known(
    score_folders: Callable[..., Evaluation], folders: dict[str, Path], tmp_path: Path
) -> None:
    """And the official ones take the prediction as it is."""
    truth = np.array(Image.open(folders["truth"] / "cat.png"))
    for each in score_folders(folders, tmp_path).images:
        prediction, trimap = (
            np.array(Image.open(folders[what] / f"{each.name}.png")) for what in ("pred", "trimap")
        )
        known = trimap != 128
        assert (prediction[known] != trimap[known]).any()
        right = np.where(known, trimap, prediction).astype(float)
        errors = np.abs(right - truth) / 255
        assert each.scores.whole_image_sad == pytest.approx(errors.sum() / 1000)
        assert each.scores.whole_image_mse == pytest.approx((errors**2).sum() / (~known).sum())
        official = matting_scores(prediction, truth, trimap)
        assert (each.scores.sad, each.scores.grad) == (official.sad, official.grad)
