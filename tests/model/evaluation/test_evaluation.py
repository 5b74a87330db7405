"""Evaluation: names matched, scores in order, the table, the CSV and the page."""

from __future__ import annotations

import csv
import io
import json
import shutil
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from dimtool.cli import run
from dimtool.composer.building.build import build_dataset
from dimtool.composer.engines.local import LocalProcesses
from dimtool.composer.pixels.trimap import trimap_of
from dimtool.composer.shards.dataset import CompositeDataset
from dimtool.composer.sources.manifest import Lists, read_manifest
from dimtool.metrics import Scores, matting_scores
from dimtool.model.evaluation import subjects as subjects_module
from dimtool.model.evaluation.evaluate import Evaluation, ImageScores, evaluate
from dimtool.model.evaluation.page import pick_images
from dimtool.model.evaluation.subjects import (
    EvaluationError,
    FolderSubject,
    ModelSubject,
    TestImages,
    Trimaps,
)
from dimtool.model.inference.matter import Matter
from dimtool.model.network.checkpoint import save_model
from dimtool.model.network.dim import DeepImageMatting, ModelConfig
from dimtool.progress import Silent

# The head of the first table, as far as it is seen.
HEADS = """
return [...document.querySelectorAll('#scores thead th')].filter(
    each => each.getClientRects().length && each.getBoundingClientRect().right <= window.innerWidth
).map(each => each.innerText)
"""


class Quiet:
    """A reporter that remembers what it was told."""

    def __init__(self) -> None:
        self.total, self.names = 0, []

    def planned(self, total: int, kept: int = 0) -> None:
        self.total = total

    def finished(self, done: ImageScores) -> None:
        self.names.append(done.name)

    def note(self, *_: object) -> None: ...


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two test foregrounds of different sizes over three backgrounds each."""
    root, rng = tmp_path_factory.mktemp("evaluation"), np.random.default_rng(1)
    for name in ("fg", "alpha", "bg"):
        (root / name).mkdir()
    for i, (height, width) in enumerate([(70, 50), (64, 97)]):
        y, x = np.mgrid[:height, :width]
        alpha = np.clip(255 * (1.5 - 1.5 * np.hypot(2 * y / height - 1, 2 * x / width - 1)), 0, 255)
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(root / f"fg/t{i}.png")
        Image.fromarray(alpha.astype(np.uint8)).save(root / f"alpha/t{i}.png")
    for i in range(6):
        Image.fromarray(rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)).save(root / f"bg/b{i}.png")
    (root / "test_fg.txt").write_text("t0.png\nt1.png")
    (root / "test_bg.txt").write_text("\n".join(f"b{i}.png" for i in range(6)))
    manifest = read_manifest(Lists(fg_list=root / "test_fg.txt", per_fg=3))
    build_dataset(manifest, root / "shards", engine=LocalProcesses(workers=1), reporter=Silent())
    return root / "shards"


@pytest.fixture(scope="module")
def model() -> DeepImageMatting:
    torch.manual_seed(0)
    return DeepImageMatting(ModelConfig(bottleneck="slim", width=0.125)).eval()


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


@pytest.mark.parametrize(("loading", "memory"), [((1, 0), 2**40), ((2, 1), 2**40), ((2, 0), 0)])
def test_scores_each_composite_of_the_shards(
    model: DeepImageMatting,
    shards: Path,
    loading: tuple[int, int],
    memory: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also where the images do not fit the memory together: then they are matted one by one."""
    monkeypatch.setattr(subjects_module, "free_memory", lambda device: memory)
    images = TestImages(shards, Trimaps(radius=6))
    matter = Matter(model=model, device=torch.device("cpu"))
    subject = ModelSubject(matter=matter, images=images, batch_size=loading[0], workers=loading[1])
    reporter = Quiet()
    evaluation = evaluate(subject, reporter=reporter, workers=1)
    expected = expected_scores(model, shards, 6)
    assert [image.name for image in evaluation.images] == reporter.names == [name for name, _ in expected]
    assert [image.scores.sad for image in evaluation.images] == pytest.approx(
        [sad for _, sad in expected], abs=2e-5
    )
    assert evaluation.means()["sad"] == pytest.approx(np.mean([sad for _, sad in expected]), abs=2e-5)
    assert not evaluation.full
    assert "not the official" in evaluation.caveat()


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    """Two predictions of one foreground, its truth and a trimap for each."""
    rng = np.random.default_rng(2)
    paths = {name: tmp_path / name for name in ("pred", "truth", "trimap")}
    for path in paths.values():
        path.mkdir()
    truth = rng.integers(0, 256, (40, 30), dtype=np.uint8)
    Image.fromarray(truth).save(paths["truth"] / "cat.png")
    trimap = np.full((40, 30), 128, np.uint8)
    trimap[:5], trimap[-5:] = 0, 255
    for i in range(2):
        prediction = np.clip(truth.astype(int) + 10 * (i + 1), 0, 255).astype(np.uint8)
        Image.fromarray(prediction).save(paths["pred"] / f"cat_{i}.png")
        Image.fromarray(trimap).save(paths["trimap"] / f"cat_{i}.png")
    return paths


def test_scores_a_folder_of_predictions(folders: dict[str, Path]) -> None:
    subject = FolderSubject(folders["pred"], folders["truth"], folders["trimap"])
    evaluation = evaluate(subject, reporter=Quiet(), workers=1)
    for image in evaluation.images:
        read = [np.array(Image.open(folders[name] / f"{image.name}.png")) for name in ("pred", "trimap")]
        truth = np.array(Image.open(folders["truth"] / "cat.png"))
        assert astuple(image.scores)[:4] == astuple(matting_scores(read[0], truth, read[1]))[:4]
    rows = list(csv.DictReader(io.StringIO(evaluation.csv())))
    assert [row["image"] for row in rows] == ["cat_0", "cat_1"]
    assert float(rows[1]["sad"]) > float(rows[0]["sad"]) > 0


def test_what_is_missing_is_named_before_anything_is_scored(folders: dict[str, Path]) -> None:
    (folders["trimap"] / "cat_1.png").unlink()
    with pytest.raises(EvaluationError, match=r"cat_1\.png.*trimap"):
        FolderSubject(folders["pred"], folders["truth"], folders["trimap"])


def test_a_prediction_that_is_missing_is_an_error(folders: dict[str, Path]) -> None:
    """Those that one cannot make are often the hard ones."""
    (folders["pred"] / "cat_1.png").unlink()
    with pytest.raises(EvaluationError, match=r"no prediction for 1 trimap of .*cat_1\.png"):
        FolderSubject(folders["pred"], folders["truth"], folders["trimap"])


@pytest.mark.parametrize(("name", "other"), [("pred", "truth/cat.png 30 x 40"), ("trimap", "31 x 40: give")])
def test_sizes_are_checked_before_anything_is_scored(folders: dict[str, Path], name: str, other: str) -> None:
    Image.new("L", (31, 40)).save(folders[name] / "cat_0.png")
    with pytest.raises(EvaluationError, match=rf"cat_0\.png is 3. x 40 .*{other}"):
        FolderSubject(folders["pred"], folders["truth"], folders["trimap"])


def test_trimap_values_are_checked(folders: dict[str, Path]) -> None:
    Image.fromarray(np.full((40, 30), 100, np.uint8)).save(folders["trimap"] / "cat_1.png")
    subject = FolderSubject(folders["pred"], folders["truth"], folders["trimap"])
    with pytest.raises(EvaluationError, match=r"cat_1\.png is no trimap .*\[100\]"):
        subject.view(1)


def test_no_unknown_pixel_names_the_image(folders: dict[str, Path]) -> None:
    Image.new("L", (30, 40), 255).save(folders["trimap"] / "cat_0.png")
    subject = FolderSubject(folders["pred"], folders["truth"], folders["trimap"])
    with pytest.raises(EvaluationError, match="cat_0 cannot be scored"):
        evaluate(subject, reporter=Quiet(), workers=1)


def scores(sad: float) -> Scores:
    return Scores(sad=sad, mse=0, grad=0, conn=0, whole_image_sad=0, whole_image_mse=0)


def test_the_full_test_set_is_told_from_others() -> None:
    images = tuple(ImageScores(name=str(i), number=i, scores=scores(i)) for i in range(1000))
    full = Evaluation(images=images, trimaps="trimaps of x", full=True)
    assert "comparable where those are the official trimaps" in full.caveat()
    assert full.means()["sad"] == 499.5
    assert "this one" in full.text()
    assert "50.4" in full.text()  # the paper's
    part = Evaluation(images=images[:9], trimaps="trimaps of x", full=False)
    assert "not comparable" in part.caveat()


def test_gallery_picks_the_worst_the_median_and_the_best() -> None:
    sads = np.random.default_rng(0).permutation(101)
    groups = pick_images([ImageScores(name=str(i), number=i, scores=scores(s)) for i, s in enumerate(sads)])
    assert [image.scores.sad for image in groups["Worst"]] == [100, 99, 98, 97]
    assert [image.scores.sad for image in groups["Best"]] == [3, 2, 1, 0]
    assert 50 in [image.scores.sad for image in groups["Median"]]


def test_command_writes_csv_page_and_json(
    model: DeepImageMatting, shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_model(tmp_path / "model.safetensors", model)
    out = tmp_path / "out"
    arguments = [
        "--checkpoint",
        str(tmp_path / "model.safetensors"),
        "--shards",
        str(shards),
        "--out",
        str(out),
    ]
    assert run(["evaluate", *arguments, "--workers", "1", "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert {"sad", "mse", "grad", "conn"} <= values.keys()
    assert values["images"] == 6
    html = (out / "index.html").read_text()
    sources = [part.split('"')[0] for part in html.split('<img src="')[1:]]
    assert len(sources) == 6 * 5  # image, trimap, prediction, truth, error
    for source in sources:
        Image.open(out / source).load()
    worst = max(
        csv.DictReader(io.StringIO((out / "scores.csv").read_text())), key=lambda row: float(row["sad"])
    )
    assert html.index(f"<h4>{worst['image']}</h4>") == html.index("<h4>")


def test_command_refuses_half_of_what_it_needs(
    folders: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["evaluate"]) == 2
    assert run(["evaluate", "--pred-dir", str(folders["pred"])]) == 2
    assert "--truth-dir" in capsys.readouterr().err


def test_a_browser_shows_the_whole_page(folders: dict[str, Path], tmp_path: Path, browser: Any) -> None:
    arguments = [f"--{name}-dir={folder}" for name, folder in folders.items()]
    assert run(["evaluate", *arguments, "--out", str(tmp_path / "out"), "--workers", "1"]) == 0
    for width, columns in ((1280, 5), (400, 2)):
        found = browser.look(tmp_path / "out" / "index.html", width, "light")
        assert (found["console"], found["broken"], found["outside"], found["sideways"]) == ([], [], [], 0)
        assert found["images"] == 2 * 4  # no photograph: trimap, prediction, truth, error
        assert found["columns"] == min(columns, 4)
        heads = browser("execute/sync", script=HEADS, args=[])
        assert heads == ["Model", "SAD", "MSE", "GRAD", "CONN"]


# ---- what is wrong is one line -----------------------------------------------------------------------------


def refused(arguments: list[object], capsys: pytest.CaptureFixture[str]) -> str:
    assert run([*map(str, arguments)]) == 1
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return error.splitlines()[-1]


def test_a_missing_trimap_is_told_before_anything_is_scored(
    model: DeepImageMatting, shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_model(tmp_path / "model.safetensors", model)
    (tmp_path / "trimaps").mkdir()
    last = CompositeDataset(shards)[-1].name
    for sample in CompositeDataset(shards):
        if sample.name != last:
            Image.fromarray(np.full(sample.alpha.shape, 128, np.uint8)).save(
                tmp_path / "trimaps" / f"{sample.name}.png"
            )
    arguments = ["evaluate", "--checkpoint", tmp_path / "model.safetensors", "--shards", shards]
    line = refused([*arguments, "--trimap-dir", tmp_path / "trimaps", "--out", tmp_path / "out"], capsys)
    assert line.startswith(f"dimtool: for {last}: ")
    assert not (tmp_path / "out").exists()


def test_what_a_reading_process_meets_is_one_line(
    model: DeepImageMatting, shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_model(tmp_path / "model.safetensors", model)
    copy = shutil.copytree(shards, tmp_path / "shards")
    broken = sorted(copy.glob("*.h5"))[-1]
    broken.write_bytes(broken.read_bytes()[:1000])
    arguments = ["evaluate", "--checkpoint", tmp_path / "model.safetensors", "--shards", copy]
    line = refused([*arguments, "--workers", 1, "--out", tmp_path / "out"], capsys)
    assert line.startswith(f"dimtool: {broken} cannot be opened")


def test_mmagics_figures_take_known_pixels_as_known(folders: dict[str, Path]) -> None:
    """And the official ones take the prediction as it is."""
    subject = FolderSubject(folders["pred"], folders["truth"], folders["trimap"])
    evaluation = evaluate(subject, reporter=Quiet(), workers=1)
    for image in evaluation.images:
        item, prediction = subject.view(image.number)
        known = item.trimap != 128
        assert (prediction[known] != item.trimap[known]).any()
        right = np.where(known, item.trimap, prediction).astype(float)
        errors = np.abs(right - item.truth) / 255
        assert image.scores.whole_image_sad == pytest.approx(errors.sum() / 1000)
        assert image.scores.whole_image_mse == pytest.approx((errors**2).sum() / (~known).sum())
        official = matting_scores(prediction, item.truth, item.trimap)
        assert (image.scores.sad, image.scores.grad) == (official.sad, official.grad)
