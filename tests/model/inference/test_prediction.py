"""`dimtool predict` on one photograph: what is written, at what depth, in what memory."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from dimtool.model.inference.foreground import cut_out, estimate_foreground, put_onto
from dimtool.model.inference.matter import Matter, MemoryTooLittleError, to_uint8, to_uint16
from dimtool.options import Bytes

UInt8 = NDArray[np.uint8]


# ---- what is written ---------------------------------------------------------------------------------------


def test_one_photograph_to_eight_bits(pictures, matte, run, pair, tmp_path):
    code, output, _ = run(pair.image, pair.trimap, "--out", tmp_path / "out")
    assert (code, output) == (0, f"{tmp_path}/out: 1 file written\n")
    assert [str(path.relative_to(tmp_path)) for path in (tmp_path / "out").rglob("*.*")] == [
        "out/alpha/cat.png"
    ]
    alpha, trimap = pictures.open(tmp_path / "out/alpha/cat.png"), pictures.trimap()
    assert alpha.dtype == np.uint8 and alpha.shape == pictures.SIZE
    assert abs(alpha / 255 - matte(pair)).max() <= 0.50001 / 255
    assert (alpha[trimap == 0] == 0).all() and (alpha[trimap == 255] == 255).all()


def test_sixteen_bits(matte, run, pair, tmp_path):
    assert run(pair.image, pair.trimap, "--out", tmp_path / "out", "--bits", 16)[0] == 0
    with Image.open(tmp_path / "out/alpha/cat.png") as image:
        assert image.mode == "I;16"
        alpha = np.asarray(image)
    assert abs(alpha / 65535 - matte(pair)).max() <= 0.50001 / 65535
    assert alpha.max() == 65535 and len(np.unique(alpha)) > 256


def test_halves_go_up_in_both_depths():
    alpha = np.array([[0, 0.5, 1, 127.4 / 255]], np.float32)
    assert to_uint8(alpha).tolist() == [[0, 128, 255, 127]]
    assert to_uint16(alpha).tolist() == [[0, 32768, 65535, round(127.4 * 257)]]


@pytest.mark.usefixtures("half_red")
def test_foreground_cut_out_and_composition(pictures, matte, run, pair, tmp_path):
    behind = pictures.save(pictures.image(9), tmp_path / "behind.png")
    options = ("--foreground", "--cutout", "--onto", behind)
    code, output, _ = run(pair.image, pair.trimap, "--out", tmp_path / "out", *options)
    assert code == 0 and "4 files written" in output
    alpha, image = matte(pair), pictures.open(pair.image)
    foreground = np.where(
        (alpha == 1)[..., None], image, np.dstack([np.full_like(image[..., 0], 128), image[..., 1:]])
    )
    assert np.array_equal(pictures.open(tmp_path / "out/foreground/cat.png"), foreground)
    cut = pictures.open(tmp_path / "out/cutout/cat.png")
    assert np.array_equal(cut[..., :3], foreground)
    assert np.array_equal(cut[..., 3], pictures.open(tmp_path / "out/alpha/cat.png"))
    a = alpha[..., None].astype(np.float64)
    composed = a * foreground + (1 - a) * pictures.open(behind)
    assert abs(pictures.open(tmp_path / "out/composite/cat.png") - composed).max() <= 0.501


@pytest.mark.usefixtures("half_red")
@pytest.mark.parametrize("size", [(10, 200), (300, 20), (1, 1)])
def test_a_background_of_another_size_covers_the_image(pictures, size):
    background = np.zeros((*size, 3), np.uint8)
    background[:, size[1] // 2 :] = 200
    composed = put_onto(pictures.image(), np.zeros(pictures.SIZE, np.float32), background)
    assert composed.shape == (*pictures.SIZE, 3)
    if size[1] > 1:  # its middle is the image's
        assert (composed[:, :10] == 0).all() and (composed[:, -10:] == 200).all()


def test_pymattings_estimate_is_the_foreground_without_the_background():
    pytest.importorskip("pymatting")
    alpha = np.tile(np.linspace(0, 1, 64, dtype=np.float32), (48, 1))
    red, blue = np.array([220, 30, 10]), np.array([0, 60, 240])
    image = np.rint(alpha[..., None] * red + (1 - alpha[..., None]) * blue).astype(np.uint8)
    found = estimate_foreground(image, alpha)
    assert found.dtype == np.uint8 and found.shape == image.shape
    assert abs(found - red)[:, 8:].max() < 12  # the image itself is up to 190 off there
    assert np.array_equal(found[alpha == 1], image[alpha == 1])
    assert np.array_equal(cut_out(found, alpha)[..., 3], np.floor(alpha * 255 + 0.5))


# As in a container: of the folders that numba tries, only one that it is told of can be written.
NOWHERE = """
import sys
from pathlib import Path
from numba.core import caching, config
caching.CacheImpl._locator_classes = [caching.UserProvidedCacheLocator]
from dimtool.model.inference import extras
sys.path.insert(0, sys.argv[1])
if len(sys.argv) > 2:
    extras.tempfile.tempdir = "/proc/none"
try:
    module, notes = extras.pymatting("half")
    print(module.half(3), *notes, any(Path(config.CACHE_DIR).rglob("*.nbi")))
    print(config.CACHE_DIR, file=sys.stderr)
except extras.MissingExtraError as error:
    print(error)
"""


@pytest.fixture
def jitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a package of pymatting's name: one function, compiled and cached as its own are."""
    pytest.importorskip("numba")
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    package = tmp_path / "packages" / "pymatting"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("from pymatting.half import half\n")
    (package / "half.py").write_text(
        "from numba import njit\n\n\n@njit('f8(f8)', cache=True)\ndef half(x):\n    return x / 2\n"
    )
    return package.parent


def test_numba_without_a_folder_compiles_for_now_and_says_so(run_python, jitted, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    output = run_python(NOWHERE, jitted)
    assert output.startswith("1.5 pymatting has no folder to keep what it compiles")
    assert "set NUMBA_CACHE_DIR" in output and output.endswith(" True\n")
    assert list(tmp_path.glob("dimtool-numba-*")) == []  # and leaves nothing


def test_numba_without_any_folder_is_one_line(run_python, jitted):
    output = run_python(NOWHERE, jitted, "nowhere")
    assert output.startswith("pymatting cannot keep what it compiles (No such file")
    assert output.count("\n") == 1


def test_with_the_folder_it_is_told_of_numba_needs_no_other(run_python, jitted, tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    assert run_python(NOWHERE, jitted) == "1.5 True\n"


@pytest.mark.usefixtures("half_red")
def test_a_single_pixel_is_its_own_foreground(pictures):
    image = pictures.image(0, 1, 1)
    assert np.array_equal(estimate_foreground(image, np.full((1, 1), 0.4, np.float32)), image)


@pytest.mark.parametrize("option", ["--foreground", "--cutout", "--onto"])
def test_without_pymatting_it_says_so_before_any_work(run, pair, tmp_path, monkeypatch, option):
    for name in ("pymatting", "pymatting.foreground", "pymatting.foreground.estimate_foreground_ml"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(Matter, "matte", lambda *_, **__: pytest.fail("it has begun"))
    value = [pair.image] if option == "--onto" else []
    code, _, error = run(pair.image, pair.trimap, "--out", tmp_path / "out", option, *value)
    assert code == 2 and error.count("\n") == 1
    assert "pymatting cannot be imported" in error and "pip install pymatting\n" in error


def test_a_write_that_fails_leaves_nothing(run, pair, tmp_path, monkeypatch):
    def fail(self: Image.Image, path: Path, kind: str, **_: object) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", fail)
    code, _, error = run(pair.image, pair.trimap, "--out", tmp_path / "out")
    assert code == 1 and "No space left" in error and "make room" in error
    assert list((tmp_path / "out/alpha").iterdir()) == []


# ---- the command -------------------------------------------------------------------------------------------


def test_the_memory_is_the_one_allowed(run, pair, tmp_path, monkeypatch):
    allowed = []

    def too_little(self: Matter, image: UInt8, trimap: UInt8, *, max_memory: int | None) -> None:
        allowed.append(max_memory)
        raise MemoryTooLittleError("the smallest tile needs more")

    monkeypatch.setattr(Matter, "matte", too_little)
    for option in ([], ["--max-memory", "1.5GB"]):
        code, output, _ = run(pair.image, pair.trimap, "--out", tmp_path / "out", *option)
        assert code == 1 and f"{pair.image} is not matted: the smallest tile needs more" in output
    assert allowed == [None, 1_500_000_000]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("7", 7),
        ("2kB", 2000),
        ("500 MB", 500_000_000),
        ("0.5TB", 500_000_000_000),
        ("4G", 4 * 10**9),
        ("4gb", 4 * 10**9),
        ("1.5GiB", 3 * 2**29),
    ],
)
def test_amounts_of_memory(text, expected):
    assert Bytes().convert(text, None, None) == expected


@pytest.mark.parametrize("text", ["4X", "lots", "-1GB", "4i", "1.GB", ""])
def test_what_is_no_amount_of_memory(run, pair, tmp_path, text):
    code, _, error = run(pair.image, pair.trimap, "--out", tmp_path / "out", "--max-memory", text)
    assert code == 2 and f"{text} is no amount of memory, as in 4G, 4GB, 3.5GiB or 500MB" in error


def test_a_trimap_taken_with_a_threshold(pictures, run, pair, tmp_path):
    pictures.save((pictures.trimap() // 2 + 60).clip(60, 255), pair.trimap)
    code, output, _ = run(pair.image, pair.trimap, "--out", tmp_path / "out")
    assert code == 1 and "beside 0, 128 and 255: 60, 124, 187" in output
    assert run(pair.image, pair.trimap, "--out", tmp_path / "out", "--threshold")[0] == 0


def test_real_photographs(pictures, run, real_data, tmp_path):
    natural = real_data / "natural"
    code, _, error = run(natural / "GT12.png", natural / "GT12.trimap1.png", "--out", tmp_path / "out")
    assert code == 0 and "1/1" in error
    trimap, alpha = (
        pictures.open(natural / "GT12.trimap1.png"),
        pictures.open(tmp_path / "out/alpha/GT12.png"),
    )
    known = trimap if trimap.ndim == 2 else trimap[..., 0]
    assert (alpha[known == 255] == 255).all() and (alpha[known == 0] == 0).all()
    assert 0 < alpha[known == 128].mean() < 255
