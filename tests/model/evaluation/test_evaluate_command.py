"""`dimtool evaluate`: what it writes, and what is wrong in a line."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dimtool.cli import run
from dimtool.composer.shards.dataset import CompositeDataset
from dimtool.model.evaluation import workers
from dimtool.model.network.checkpoint import save_model
from dimtool.model.network.dim import DeepImageMatting

pytestmark = pytest.mark.usefixtures("one_thread")


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
    assert run(["evaluate", *arguments, "--workers", "0", "--json"]) == 0
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


def test_processes_that_cannot_start_are_one_line(
    refused: Callable[..., str],
    folders: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As without /dev/shm; and the advice works."""

    def fail(*_: object, **__: object) -> None:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(workers, "ProcessPoolExecutor", fail)
    arguments = ["evaluate", *(f"--{name}-dir={folder}" for name, folder in folders.items())]
    arguments += ["--out", str(tmp_path / "out")]
    assert "worker processes cannot start (No such file or directory): see that /dev/shm" in refused(
        [*arguments, "--workers", "1"]
    )
    assert run([*arguments, "--workers", "0"]) == 0


def test_a_missing_trimap_is_told_before_anything_is_scored(
    refused: Callable[..., str], model: DeepImageMatting, shards: Path, tmp_path: Path
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
    line = refused([*arguments, "--trimap-dir", tmp_path / "trimaps", "--out", tmp_path / "out"])
    assert line.startswith(f"dimtool: for {last}: there is no {last} or t1 in {tmp_path}/trimaps")
    assert not (tmp_path / "out").exists()


def test_what_a_reading_process_meets_is_one_line(
    refused: Callable[..., str], model: DeepImageMatting, shards: Path, tmp_path: Path
) -> None:
    save_model(tmp_path / "model.safetensors", model)
    copy = shutil.copytree(shards, tmp_path / "shards")
    broken = sorted(copy.glob("*.h5"))[-1]
    broken.write_bytes(broken.read_bytes()[:1000])
    arguments = ["evaluate", "--checkpoint", tmp_path / "model.safetensors", "--shards", copy]
    line = refused([*arguments, "--workers", 1, "--out", tmp_path / "out"])
    assert line.startswith(f"dimtool: {broken} cannot be opened")
