"""The exported file beside the PyTorch model, and used as its user does: without dimtool."""

from __future__ import annotations

import json
import logging
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from dimtool import cli
from dimtool.model.inference import onnx as exporting
from dimtool.model.network.checkpoint import load_model, save_model
from dimtool.model.network.dim import DeepImageMatting, ModelConfig

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
onnx = pytest.importorskip("onnx")

DOCUMENT = Path(__file__).parents[3] / "docs" / "onnx.md"


def save_random(path: Path, seed: int) -> Path:
    torch.manual_seed(seed)
    model = DeepImageMatting(ModelConfig(width=1 / 8, bottleneck="slim"))
    nn.init.normal_(model.refinement.prediction.weight, std=0.1)
    save_model(path, model)
    return path


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    return save_random(tmp_path_factory.mktemp("run") / "model.safetensors", 0)


@pytest.fixture(scope="module")
def exported(checkpoint, tmp_path_factory) -> tuple[Path, str]:
    """The file, and what the command printed. An export takes 15 s: one serves all tests."""
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    script = "import sys; from dimtool.cli import run; sys.exit(run(sys.argv[1:]))"
    command = ["export-onnx", "--checkpoint", checkpoint, "--out", path, "--json"]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, *map(str, command)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return path, done.stdout


@pytest.fixture(scope="module")
def session(exported):
    return onnxruntime.InferenceSession(exported[0], providers=["CPUExecutionProvider"])


def make_images(n: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(height * width)
    # Values that no trimap should have are unknown, too: 1 and 254 would be read as all but known.
    trimap = rng.choice(np.array([0, 1, 127, 128, 254, 255], np.uint8), (n, height, width))
    return rng.integers(0, 256, (n, height, width, 3), dtype=np.uint8), trimap


def by_pytorch(checkpoint: Path, image: np.ndarray, trimap: np.ndarray) -> np.ndarray:
    x = torch.tensor(np.moveaxis(image, -1, 1) / np.float32(255))
    three = np.where((trimap == 0) | (trimap == 255), trimap, 128).astype(np.uint8)
    with torch.no_grad():
        alpha = load_model(checkpoint)(x, torch.tensor(three[:, None] / np.float32(255))).alpha[:, 0].numpy()
    return np.where(three == 128, alpha, three // 255)


@pytest.mark.parametrize("size", [(1, 1, 1), (1, 64, 64), (2, 31, 33), (3, 200, 45), (1, 33, 300)])
def test_any_size_gives_pytorchs_alpha(checkpoint, session, size):
    image, trimap = make_images(*size)
    (alpha,) = session.run(None, {"image": image, "trimap": trimap})
    assert alpha.shape == size and alpha.dtype == np.float32
    np.testing.assert_allclose(alpha, by_pytorch(checkpoint, image, trimap), atol=1e-5)
    unknown = (trimap != 0) & (trimap != 255)
    assert len(np.unique(alpha[unknown])) > trimap.size / 10  # of a constant nothing could be learnt


def test_the_file_says_what_it_takes(exported, session):
    types = {each.name: (each.type, each.shape) for each in [*session.get_inputs(), *session.get_outputs()]}
    assert types == {
        "image": ("tensor(uint8)", ["batch", "height", "width", 3]),
        "trimap": ("tensor(uint8)", ["batch", "height", "width"]),
        "alpha": ("tensor(float)", ["batch", "height", "width"]),
    }
    model = onnx.load(exported[0])
    onnx.checker.check_model(model, full_check=True)
    assert "255 foreground, any other value unknown as 128 is" in model.doc_string
    config = {each.key: each.value for each in model.metadata_props}["config"]
    assert json.loads(config) == {"bottleneck": "slim", "width": 0.125, "refinement": True}
    assert [each.version for each in model.opset_import if not each.domain] == [exporting.OPSET]
    assert [path.name for path in exported[0].parent.iterdir()] == ["model.onnx"]  # all in one file


def test_the_command_prints_the_differences(exported):
    path, output = exported
    printed = json.loads(output)
    assert printed["path"] == str(path) and printed["bytes"] == path.stat().st_size
    assert set(printed["differences"]) == {"64 x 96", "37 x 53", "225 x 130"}
    assert all(0 <= value < exporting.MAX_DIFFERENCE for value in printed["differences"].values())
    text = exporting.Export(path=path, bytes=1_700_000, differences={"37 x 53": 4e-7}).text()
    assert text == f"{path}: 1.7 MB; largest difference of alpha from PyTorch's: 4.0e-07 at 37 x 53"


class Program:
    """In place of PyTorch's program: writes a file that is there already."""

    def __init__(self, source: Path) -> None:
        self.source = source

    def save(self, path: Path, *, external_data: bool) -> None:
        path.write_bytes(self.source.read_bytes())


def run_failing(arguments: list[object], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = cli.run([str(argument) for argument in arguments])
    return code, capsys.readouterr().err


def test_a_file_that_differs_is_not_written(exported, tmp_path, monkeypatch, capsys):
    other = save_random(tmp_path / "other.safetensors", 1)
    monkeypatch.setattr(exporting, "_program", lambda model: Program(exported[0]))
    before = set(tmp_path.iterdir())
    command = ["export-onnx", "--checkpoint", other, "--out", tmp_path / "m.onnx"]
    code, error = run_failing(command, capsys)
    assert code == 1 and set(tmp_path.iterdir()) == before
    assert re.fullmatch(
        r"dimtool: \S+/m\.onnx is not written: at \d+ x \d+ its alpha is 0\.\d+ off .*\n", error
    )


@pytest.mark.parametrize("wrong", [np.full((2, 37, 53), np.nan, np.float32), np.zeros((1, 1, 1), np.float32)])
def test_nan_and_another_shape_are_no_small_difference(checkpoint, wrong):
    class Session:
        def __init__(self, path: Path, providers: list[str]) -> None:
            pass

        def run(self, names: list[str], inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
            return [wrong]

    class Runtime:
        InferenceSession = Session

    model = exporting.PortableMatting(load_model(checkpoint))
    differences = exporting._differences(Runtime, Path("x"), model)
    assert differences["37 x 53"] == float("inf")
    with pytest.raises(exporting.OnnxError, match="is not written"):
        exporting._check(Path("x"), differences)


@pytest.mark.parametrize("missing", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_library_is_one_line(checkpoint, tmp_path, monkeypatch, capsys, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    command = ["export-onnx", "--checkpoint", checkpoint, "--out", tmp_path / "m.onnx"]
    code, error = run_failing(command, capsys)
    assert code == 2 and error.count("\n") == 1
    assert f"{missing} cannot be imported" in error and f"pip install {missing}\n" in error


def test_what_cannot_be_is_said_before_any_work(checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(exporting, "_program", lambda model: pytest.fail("it was exported"))
    command = ["export-onnx", "--checkpoint", checkpoint, "--out", tmp_path / "none" / "m.onnx"]
    assert run_failing(command, capsys) == (
        2,
        f"dimtool: {tmp_path}/none is no folder: make it, or write m.onnx elsewhere\n",
    )


def test_the_exporters_log_is_as_before():
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    with pytest.raises(KeyError), exporting._quiet():
        raise KeyError
    assert logger.level == level


ALONE = """
import runpy, sys
for name in ("dimtool", "torch"):
    sys.modules[name] = None                 # an import of it fails
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def example(tmp_path_factory) -> Path:
    """The document's script, as a file."""
    (text,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert len(text.splitlines()) <= 60
    path = tmp_path_factory.mktemp("script") / "matte.py"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("orientation", [1, 6])
def test_the_documents_example_runs_without_dimtool(checkpoint, exported, example, run_python, orientation):
    tmp_path = example.parent
    (image,), _ = make_images(1, 45, 70)
    trimap = np.random.default_rng(1).choice(np.array([0, 128, 255], np.uint8), (45, 70))
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(image).save(tmp_path / "image.png", exif=exif)
    Image.fromarray(trimap).save(tmp_path / "trimap.png", exif=exif)
    names = ["image.png", "trimap.png", "alpha.png"]
    run_python(ALONE, example, exported[0], *(tmp_path / name for name in names))
    if orientation == 6:
        image, trimap = np.rot90(image, -1), np.rot90(trimap, -1)
    expected = by_pytorch(checkpoint, image[None].copy(), trimap[None].copy())[0]
    alpha = np.asarray(Image.open(tmp_path / "alpha.png"))
    assert alpha.shape == expected.shape and alpha.dtype == np.uint8
    assert abs(alpha / 255 - expected).max() <= 0.51 / 255


@pytest.fixture(scope="module")
def read_trimap(example):
    """The script's own reading of a trimap."""
    return runpy.run_path(str(example))["read_trimap"]


BLOCKS = np.array([0, 128, 255], np.uint8).repeat(16)[None].repeat(32, axis=0)


@pytest.mark.parametrize("kind", ["L", "RGB", "RGBA", "LA", "P", "16 bits", "JPEG", "coloured JPEG"])
def test_the_examples_trimap_of_any_kind_is_right(read_trimap, tmp_path, kind):
    opaque = np.full_like(BLOCKS, 255)
    pixels = {
        "RGB": np.dstack([BLOCKS] * 3),
        "RGBA": np.dstack([BLOCKS] * 3 + [opaque]),
        "LA": np.dstack([BLOCKS, opaque]),
        "16 bits": BLOCKS.astype(np.uint16) * 257,
    }.get(kind.removeprefix("coloured "), BLOCKS)
    picture = Image.fromarray(pixels)
    path = tmp_path / ("trimap.jpg" if "JPEG" in kind else "trimap.png")
    if kind == "P":
        picture = picture.convert("RGB").quantize(3)
    options = {"quality": 60} if "JPEG" in kind else {}
    (picture.convert("RGB") if kind == "coloured JPEG" else picture).save(path, **options)
    assert np.array_equal(read_trimap(str(path)), BLOCKS)


@pytest.mark.parametrize(
    ("pixels", "told"),
    [
        (BLOCKS // 127, "make it 0 background, 128 unknown, 255 foreground"),  # labels 0, 1, 2
        (BLOCKS // 2, "make it 0 background"),
        (BLOCKS * np.uint8(BLOCKS != 128), "with some of it unknown"),
        (BLOCKS.astype(np.uint16), "make it 0 background"),  # 8-bit values in a 16-bit file
        (np.dstack([BLOCKS, BLOCKS.T[:32].repeat(2, 1)[:, :48], BLOCKS]), "coloured or see-through"),
        (np.dstack([BLOCKS * 0, BLOCKS * 0, BLOCKS * 0, BLOCKS]), "coloured or see-through"),
    ],
)
def test_the_example_refuses_what_it_would_have_to_guess(read_trimap, tmp_path, pixels, told):
    Image.fromarray(pixels).save(tmp_path / "trimap.png")
    with pytest.raises(SystemExit, match=told):
        read_trimap(str(tmp_path / "trimap.png"))
