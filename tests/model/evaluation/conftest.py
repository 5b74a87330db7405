"""A small test set, a model to evaluate on it, and predictions of another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dimtool.cli import run
from dimtool.composer.building.build import build_dataset
from dimtool.composer.engines.local import LocalProcesses
from dimtool.composer.sources.lists import Lists
from dimtool.composer.sources.manifest import read_manifest
from dimtool.model.evaluation.evaluate import evaluate
from dimtool.model.evaluation.images import FolderImages
from dimtool.model.evaluation.journal import Journal
from dimtool.model.evaluation.pairing import Files
from dimtool.model.evaluation.predictors import predictions_of
from dimtool.model.evaluation.table import Evaluation
from dimtool.model.network.dim import DeepImageMatting, ModelConfig
from dimtool.progress import Silent


class Quiet:
    """A reporter that remembers what it was told."""

    def __init__(self) -> None:
        self.total, self.kept, self.names, self.notes = 0, 0, [], []

    def planned(self, total: int, kept: int = 0) -> None:
        self.total, self.kept = total, kept

    def finished(self, done: str) -> None:
        self.names.append(done)

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture(scope="session")
def quiet() -> type[Quiet]:
    """The reporter to give to an evaluation."""
    return Quiet


@pytest.fixture(scope="session")
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


@pytest.fixture(scope="session")
def model() -> DeepImageMatting:
    """A random model. Not to be changed."""
    torch.manual_seed(0)
    return DeepImageMatting(ModelConfig(bottleneck="slim", width=0.125)).eval()


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


@pytest.fixture(scope="session")
def score_folders() -> Callable[..., Evaluation]:
    """Evaluate the predictions in these folders; the scores are kept in `out`."""
    return _score_folders


def _score_folders(folders: dict[str, Path], out: Path, reporter: Quiet | None = None) -> Evaluation:
    images = FolderImages(Files(folders["pred"]), truths=folders["truth"], trimaps=folders["trimap"])
    predictor = predictions_of(folders["pred"], images)
    images.pictures = False
    return evaluate(
        images, [predictor], journal=Journal(out), reporter=reporter or Quiet(), batch_size=1, workers=0
    )


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[[list[object]], str]:
    """The last line of the refusal of a command."""

    def call(arguments: list[object]) -> str:
        assert run([*map(str, arguments)]) == 1
        error = capsys.readouterr().err
        assert "Traceback" not in error
        return error.splitlines()[-1]

    return call
