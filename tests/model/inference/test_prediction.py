"""`dimtool predict`: files of every kind in, files out; what is missing, wrong or there already."""

from __future__ import annotations

import json
import os
import re
import sys
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import nn

import dimtool
from dimtool import cli
from dimtool.model.inference.foreground import cut_out, estimate_foreground, put_onto
from dimtool.model.inference.matter import Matter, MemoryTooLittleError, to_uint8, to_uint16
from dimtool.model.inference.pairs import Pair, PairError, read_pair
from dimtool.model.network.checkpoint import save_model
from dimtool.model.network.dim import DeepImageMatting, ModelConfig
from dimtool.options import Bytes

UInt8 = NDArray[np.uint8]
HEIGHT, WIDTH = 37, 50


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    model = DeepImageMatting(ModelConfig(width=1 / 8, bottleneck="slim"))
    nn.init.normal_(model.refinement.prediction.weight, std=0.1)
    path = tmp_path_factory.mktemp("run") / "model.safetensors"
    save_model(path, model)
    return path


@pytest.fixture
def run(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """`dimtool predict` with the model: its exit code, its output, its messages."""

    def command(*arguments: object) -> tuple[int, str, str]:
        code = cli.run(["predict", "--checkpoint", str(checkpoint), *map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return command


def make_image(seed: int = 0, height: int = HEIGHT, width: int = WIDTH) -> UInt8:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def make_trimap(height: int = HEIGHT, width: int = WIDTH) -> UInt8:
    """No two sides of it alike, so that a turn shows."""
    trimap = np.full((height, width), 128, np.uint8)
    trimap[: height // 3], trimap[:, : width // 4] = 0, 255
    return trimap


def save(pixels: NDArray[np.generic], path: Path, **options: object) -> Path:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def open_(path: Path) -> NDArray[np.generic]:
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(save(make_image(), tmp_path / "cat.png"), save(make_trimap(), tmp_path / "cat_trimap.png"))


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Photographs a, b, c and their trimaps."""
    for number, name in enumerate("abc"):
        save(make_image(number), tmp_path / "photos" / f"{name}.png")
        save(make_trimap(), tmp_path / "trimaps" / f"{name}.png")
    return tmp_path / "photos", tmp_path / "trimaps"


@pytest.fixture
def half_red(monkeypatch: pytest.MonkeyPatch) -> None:
    """In pymatting's place, whose first use compiles for a minute: the image, and a red of 0.5."""

    def estimate(image: NDArray[np.float32], alpha: NDArray[np.float32]) -> NDArray[np.float32]:
        assert image.shape == (*alpha.shape, 3) and image.max() <= 1
        return np.dstack([np.full_like(alpha, 0.5), image[..., 1:]])

    module = types.ModuleType("pymatting.foreground.estimate_foreground_ml")
    module.estimate_foreground_ml = estimate
    for name in ("pymatting", "pymatting.foreground"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, module.__name__, module)


# ---- what is read ------------------------------------------------------------------------------------------


def grey_of(mode: str) -> tuple[NDArray[np.generic], UInt8]:
    """Pixels as a file of that mode holds them, and the colours that they must become."""
    grey = make_image(7)[..., 0]
    colours = np.dstack([grey] * 3)
    if mode == "I;16":
        wide = np.random.default_rng(8).integers(0, 65536, grey.shape).astype(np.uint16)
        return wide, np.dstack([np.rint(wide / 257).astype(np.uint8)] * 3)
    if mode == "1":
        return grey > 99, np.where(colours > 99, 255, 0).astype(np.uint8)
    return {"L": grey, "LA": np.dstack([grey, 255 - grey])}[mode], colours


@pytest.mark.parametrize("mode", ["L", "LA", "1", "I;16"])
def test_grey_photographs_of_any_depth(pair, mode):
    pixels, expected = grey_of(mode)
    save(pixels, pair.image)
    with Image.open(pair.image) as image:
        assert image.mode == mode
    assert np.array_equal(read_pair(pair)[0], expected)


def test_colours_with_alpha_a_palette_and_cmyk(pair, tmp_path):
    colours = make_image(3) // 128 * 255  # of eight colours a palette loses none
    rgba = Pair(save(np.dstack([colours, make_image()[..., 0]]), tmp_path / "rgba.png"), pair.trimap)
    Image.fromarray(colours).quantize(8).save(tmp_path / "p.png")
    ink = Image.fromarray(np.dstack([255 - colours, 0 * colours[..., :1]]), "CMYK")
    ink.save(tmp_path / "cmyk.tif")
    for path, mode in ((rgba.image, "RGBA"), (tmp_path / "p.png", "P"), (tmp_path / "cmyk.tif", "CMYK")):
        with Image.open(path) as image:
            assert image.mode == mode
        assert np.array_equal(read_pair(Pair(path, pair.trimap))[0], colours)


@pytest.mark.parametrize("kind", ["RGB", "RGBA", "LA", "P", "I;16"])
def test_trimaps_of_any_mode(pair, tmp_path, kind):
    trimap = make_trimap()
    opaque = np.full_like(trimap, 255)
    pixels = {
        "RGB": np.dstack([trimap] * 3),
        "RGBA": np.dstack([trimap, trimap, trimap, opaque]),
        "LA": np.dstack([trimap, opaque]),
        "I;16": trimap.astype(np.uint16) * 257,
    }
    path = tmp_path / "trimap.png"
    if kind == "P":
        Image.fromarray(pixels["RGB"]).quantize(3).save(path)
    else:
        save(pixels[kind], path)
    with Image.open(path) as image:
        assert image.mode == kind
    assert np.array_equal(read_pair(Pair(pair.image, path))[1], trimap)


# Where each stored pixel is shown, by the EXIF standard: (what the 0th row is, what the 0th column is).
TURNED: dict[int, Callable[[UInt8], UInt8]] = {
    1: lambda x: x,  # top, left
    2: lambda x: x[:, ::-1],  # top, right
    3: lambda x: x[::-1, ::-1],  # bottom, right
    4: lambda x: x[::-1],  # bottom, left
    5: lambda x: x.swapaxes(0, 1),  # left, top
    6: lambda x: x.swapaxes(0, 1)[:, ::-1],  # right, top
    7: lambda x: x.swapaxes(0, 1)[::-1, ::-1],  # right, bottom
    8: lambda x: x.swapaxes(0, 1)[::-1],  # left, bottom
}


def tagged(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize("orientation", TURNED)
def test_photograph_and_trimap_are_turned_upright_each_by_its_own_tag(pair, orientation):
    image, trimap, turn = make_image(), make_trimap(), TURNED[orientation]
    save(image, pair.image, exif=tagged(orientation))
    save(trimap, pair.trimap, exif=tagged(orientation))
    read = read_pair(pair)
    assert np.array_equal(read[0], turn(image)) and np.array_equal(read[1], turn(trimap))
    save(np.ascontiguousarray(turn(trimap)), pair.trimap)  # upright already, as most programs write it
    assert np.array_equal(read_pair(pair)[1], turn(trimap))


def test_a_trimap_of_the_stored_photograph_does_not_fit_the_upright_one(pair):
    save(make_image(), pair.image, exif=tagged(6))
    message = (
        rf"^{pair.trimap} is 50 x 37 and {pair.image} 37 x 50 pixels, each turned by its own EXIF tag: "
        "make the trimap of the whole image, as viewers show it$"
    )
    with pytest.raises(PairError, match=message):
        read_pair(pair)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([127], r"has 1 value beside 0, 128 and 255: 127; save it without smoothing or JPEG, or give --thr"),
        ([1, 2, 3, 129, 200, 254], r"has 6 values beside 0, 128 and 255: 1, 2, 3, 129, 200 \.\.\.;"),
    ],
)
def test_a_trimap_of_other_values_is_refused_with_them(pair, values, message):
    trimap = make_trimap()
    trimap[0, : len(values)] = values
    save(trimap, pair.trimap)
    with pytest.raises(PairError, match=rf"^{pair.trimap} {message}"):
        read_pair(pair)


def test_with_a_threshold_it_is_taken(pair):
    ramp = np.arange(256, dtype=np.uint8).reshape(8, 32)
    save(make_image(0, 8, 32), pair.image)
    save(ramp, pair.trimap)
    expected = [0] * 26 + [128] * 204 + [255] * 26
    assert read_pair(pair, threshold=True)[1].ravel().tolist() == expected


def test_a_coloured_trimap_is_refused(pair):
    colours = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    colours[:9, :, 0], colours[9:, :, 1] = 255, 255
    save(colours, pair.trimap)
    with pytest.raises(
        dimtool.errors.DimtoolError, match=rf"^{pair.trimap}: it is coloured .*: save it in grey"
    ):
        read_pair(pair)


# ---- what is written ---------------------------------------------------------------------------------------


def matte(checkpoint: Path, pair: Pair) -> NDArray[np.float32]:
    return dimtool.load(checkpoint, "cpu").matte(open_(pair.image), open_(pair.trimap))


def test_one_photograph_to_eight_bits(run, checkpoint, pair, tmp_path):
    code, output, _ = run(pair.image, pair.trimap, "--out", tmp_path / "out")
    assert (code, output) == (0, f"{tmp_path}/out: 1 file written\n")
    assert [str(path.relative_to(tmp_path)) for path in (tmp_path / "out").rglob("*.*")] == [
        "out/alpha/cat.png"
    ]
    alpha, trimap = open_(tmp_path / "out/alpha/cat.png"), make_trimap()
    assert alpha.dtype == np.uint8 and alpha.shape == (HEIGHT, WIDTH)
    assert abs(alpha / 255 - matte(checkpoint, pair)).max() <= 0.50001 / 255
    assert (alpha[trimap == 0] == 0).all() and (alpha[trimap == 255] == 255).all()


def test_sixteen_bits(run, checkpoint, pair, tmp_path):
    assert run(pair.image, pair.trimap, "--out", tmp_path, "--bits", 16)[0] == 0
    with Image.open(tmp_path / "alpha/cat.png") as image:
        assert image.mode == "I;16"
        alpha = np.asarray(image)
    assert abs(alpha / 65535 - matte(checkpoint, pair)).max() <= 0.50001 / 65535
    assert alpha.max() == 65535 and len(np.unique(alpha)) > 256


def test_halves_go_up_in_both_depths():
    alpha = np.array([[0, 0.5, 1, 127.4 / 255]], np.float32)
    assert to_uint8(alpha).tolist() == [[0, 128, 255, 127]]
    assert to_uint16(alpha).tolist() == [[0, 32768, 65535, round(127.4 * 257)]]


@pytest.mark.usefixtures("half_red")
def test_foreground_cut_out_and_composition(run, checkpoint, pair, tmp_path):
    behind = save(make_image(9), tmp_path / "behind.png")
    options = ("--foreground", "--cutout", "--onto", behind)
    code, output, _ = run(pair.image, pair.trimap, "--out", tmp_path / "out", *options)
    assert code == 0 and "4 files written" in output
    alpha, image = matte(checkpoint, pair), open_(pair.image)
    foreground = np.where(
        (alpha == 1)[..., None], image, np.dstack([np.full_like(image[..., 0], 128), image[..., 1:]])
    )
    assert np.array_equal(open_(tmp_path / "out/foreground/cat.png"), foreground)
    cut = open_(tmp_path / "out/cutout/cat.png")
    assert np.array_equal(cut[..., :3], foreground)
    assert np.array_equal(cut[..., 3], open_(tmp_path / "out/alpha/cat.png"))
    a = alpha[..., None].astype(np.float64)
    composed = a * foreground + (1 - a) * open_(behind)
    assert abs(open_(tmp_path / "out/composite/cat.png") - composed).max() <= 0.501


@pytest.mark.usefixtures("half_red")
@pytest.mark.parametrize("size", [(10, 200), (300, 20), (1, 1)])
def test_a_background_of_another_size_covers_the_image(size):
    background = np.zeros((*size, 3), np.uint8)
    background[:, size[1] // 2 :] = 200
    composed = put_onto(make_image(), np.zeros((HEIGHT, WIDTH), np.float32), background)
    assert composed.shape == (HEIGHT, WIDTH, 3)
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
def test_a_single_pixel_is_its_own_foreground():
    image = make_image(0, 1, 1)
    assert np.array_equal(estimate_foreground(image, np.full((1, 1), 0.4, np.float32)), image)


@pytest.mark.parametrize("option", ["--foreground", "--cutout", "--onto"])
def test_without_pymatting_it_says_so_before_any_work(run, pair, tmp_path, monkeypatch, option):
    for name in ("pymatting", "pymatting.foreground", "pymatting.foreground.estimate_foreground_ml"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(Matter, "matte", lambda *_, **__: pytest.fail("it has begun"))
    value = [pair.image] if option == "--onto" else []
    code, _, error = run(pair.image, pair.trimap, "--out", tmp_path / "out", option, *value)
    assert code == 2 and error.count("\n") == 1
    assert "pymatting cannot be imported" in error and "pip install 'dimtool[predict]'" in error


def test_a_write_that_fails_leaves_nothing(run, pair, tmp_path, monkeypatch):
    def fail(self: Image.Image, path: Path, kind: str, **_: object) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", fail)
    code, _, error = run(pair.image, pair.trimap, "--out", tmp_path / "out")
    assert code == 1 and "No space left" in error and "make room" in error
    assert list((tmp_path / "out/alpha").iterdir()) == []


# ---- folders -----------------------------------------------------------------------------------------------


def test_a_folder_is_matched_by_stem(run, checkpoint, folders, tmp_path):
    photos, trimaps = folders
    save(open_(photos / "b.png"), photos / "b.tif")
    (photos / "b.png").unlink()
    (photos / "notes.txt").write_text("no image")
    (photos / ".hidden.png").write_text("no image")
    code, output, _ = run(photos, trimaps, "--out", tmp_path / "out", "--json")
    assert code == 0
    assert json.loads(output)["written"] == [f"{tmp_path}/out/alpha/{name}.png" for name in "abc"]
    for image in (photos / "a.png", photos / "b.tif"):
        expected = matte(checkpoint, Pair(image, trimaps / f"{image.stem}.png"))
        written = open_(tmp_path / "out/alpha" / f"{image.stem}.png")
        assert abs(written / 255 - expected).max() <= 0.50001 / 255


def test_one_bad_file_does_not_stop_a_folder(run, folders, tmp_path):
    photos, trimaps = folders
    (photos / "a.png").write_bytes(b"\x89PNG no more")
    save(make_trimap()[1:], trimaps / "b.png")
    save(make_image(5), photos / "d.jpg")
    save(make_image(6), photos / "e.jpg")
    for suffix in ("png", "bmp"):
        save(make_trimap(), trimaps / f"e.{suffix}")
    save(make_trimap(), trimaps / "z.png")
    code, output, error = run(photos, trimaps, "--out", tmp_path / "out")
    assert code == 1
    assert [path.name for path in (tmp_path / "out/alpha").iterdir()] == ["c.png"]
    lines = output.splitlines()
    assert lines[:2] == [f"{tmp_path}/out: 1 file written", "4 images failed:"]
    failed = sorted(line.strip() for line in lines[2:])
    assert failed[0].startswith(f"{photos}/a.png is ")
    assert failed[1] == f"{photos}/d.jpg has no trimap d.* in {trimaps}: bring it"
    assert failed[2].startswith(f"{trimaps}/b.png is 50 x 36 and {photos}/b.png 50 x 37 pixels")
    assert failed[3] == f"{trimaps}/e.bmp and e.png have the same stem: rename or remove one"
    assert f"note: 1 trimap of {trimaps} without an image: z" in error


def test_what_is_there_is_kept_unless_it_shall_be_overwritten(run, folders, tmp_path, monkeypatch):
    out = tmp_path / "out/alpha"
    assert run(*folders, "--out", out.parent)[0] == 0
    times = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    (out / "b.png").unlink()
    code, output, _ = run(*folders, "--out", out.parent)
    assert code == 0
    assert (
        output == f"{out.parent}: 1 file written, 2 images kept from before (--overwrite makes them anew)\n"
    )
    assert all((out / f"{name}.png").stat().st_mtime_ns == times[out / f"{name}.png"] for name in "ac")
    assert "3 files written\n" in run(*folders, "--out", out.parent, "--overwrite")[1]
    monkeypatch.setattr(Matter, "matte", lambda *_, **__: pytest.fail("it was matted again"))
    assert run(*folders, "--out", out.parent)[1].endswith(
        "0 files written, 3 images kept from before (--overwrite makes them anew)\n"
    )


# Whatever is another one now: what to change, and the options of the second run.
CHANGES: dict[str, tuple[Callable[[Path, Path], object], list[object]]] = {
    "image": (lambda photo, _: save(make_image(77), photo), []),
    "trimap": (lambda _, trimap: save(np.flipud(make_trimap()), trimap), []),
    "bits": (lambda *_: None, ["--bits", 16]),
    "threshold": (lambda *_: None, ["--threshold"]),
}


@pytest.mark.parametrize("what", [*CHANGES, "model"])
def test_a_result_is_made_anew_where_what_it_was_made_of_changed(run, folders, tmp_path, checkpoint, what):
    photos, trimaps = folders
    out, fresh = tmp_path / "out", tmp_path / "fresh"
    assert run(*folders, "--out", out)[0] == 0
    change, options = CHANGES.get(what, (lambda *_: None, []))
    change(photos / "a.png", trimaps / "a.png")
    if what == "model":
        torch.manual_seed(5)
        save_model(tmp_path / "m", DeepImageMatting(ModelConfig(width=1 / 8, bottleneck="slim")))
        options = ["--checkpoint", tmp_path / "m"]
    one_only = what in ("image", "trimap")
    code, output, _ = run(*folders, "--out", out, *options)
    assert code == 0
    assert f"{1 if one_only else 3} image{'s' * (not one_only)} made anew for what changed" in output
    assert ("2 images kept" in output) == one_only
    run(*folders, "--out", fresh, *options)
    for name in "abc":
        assert (out / f"alpha/{name}.png").read_bytes() == (fresh / f"alpha/{name}.png").read_bytes()
    assert "3 images kept" in run(*folders, "--out", out, *options)[1]


@pytest.mark.usefixtures("half_red")
def test_only_the_composition_depends_on_the_picture_behind_it(run, pair, tmp_path):
    behind, other = (save(make_image(seed), tmp_path / f"{seed}.png") for seed in (8, 9))
    arguments = (pair.image, pair.trimap, "--out", tmp_path / "out", "--onto")
    assert run(*arguments, behind)[0] == 0
    before = (tmp_path / "out/composite/cat.png").read_bytes()
    assert "made anew" in run(*arguments, other)[1]
    assert (tmp_path / "out/composite/cat.png").read_bytes() != before
    assert "1 image kept" in run(pair.image, pair.trimap, "--out", tmp_path / "out")[1]


@pytest.mark.parametrize("how", ["of another program", "painted over", "cut short"])
def test_what_is_not_as_it_was_written_is_neither_kept_nor_replaced(run, pair, tmp_path, how):
    result = tmp_path / "out/alpha/cat.png"
    assert run(pair.image, pair.trimap, "--out", tmp_path / "out")[0] == 0
    if how == "of another program":
        save(make_trimap(), result)
    elif how == "cut short":
        result.write_bytes(result.read_bytes()[:-900])
    else:
        with Image.open(result) as image:  # an editor that keeps the text
            pixels, text = np.array(image), PngInfo()
            text.add_text("dimtool", image.text["dimtool"])
        pixels[20, 30] ^= 1
        Image.fromarray(pixels).save(result, pnginfo=text)
    before = result.read_bytes()
    code, output, _ = run(pair.image, pair.trimap, "--out", tmp_path / "out")
    assert code == 1
    assert f"  {result} is not as dimtool predict wrote it" in output
    assert result.read_bytes() == before
    assert run(pair.image, pair.trimap, "--out", tmp_path / "out", "--overwrite")[0] == 0  # as it advises
    assert "1 image kept" in run(pair.image, pair.trimap, "--out", tmp_path / "out")[1]


def test_a_pipe_by_an_images_name_does_not_hold_a_folder_up(run, folders, tmp_path):
    photos, trimaps = folders
    os.mkfifo(photos / "d.png")
    (photos / "sub").mkdir()
    code, _, error = run(photos, trimaps, "--out", tmp_path / "out")
    assert code == 0
    assert f"note: {photos}: 2 entries passed over, no image files: d.png, sub" in error
    code, output, _ = run(photos / "d.png", trimaps / "a.png", "--out", tmp_path / "out")
    assert code == 1 and f"{photos}/d.png is no file: give a picture" in output


@pytest.mark.usefixtures("half_red")
def test_a_new_kind_of_output_is_made_of_what_has_the_others(run, folders, tmp_path):
    run(*folders, "--out", tmp_path / "out")
    assert "6 files written" in run(*folders, "--out", tmp_path / "out", "--cutout")[1]


def test_sources_are_never_overwritten(run, folders, tmp_path):
    photos, trimaps = folders
    alphas = trimaps.rename(tmp_path / "alpha")
    before = (alphas / "a.png").read_bytes()
    code, _, error = run(photos, alphas, "--out", tmp_path, "--overwrite")
    assert code == 2 and error == f"dimtool: {alphas}/a.png would be read and written: give another --out\n"
    assert (alphas / "a.png").read_bytes() == before


@pytest.mark.parametrize(
    ("image", "trimap", "message"),
    [
        ("photos", "trimaps/a.png", r"are a folder and a file: give two files or two folders"),
        ("photos/a.png", "trimaps", r"are a folder and a file: give two files or two folders"),
        ("photos", "photos", r"is the folder of the images and of the trimaps: put these into another"),
        ("empty", "trimaps", r"empty holds no image"),
        ("photos", "empty", r"no image of \S+ has a trimap: \S+/a\.png has no trimap a\.\* in \S+: bring it"),
    ],
)
def test_what_cannot_be_meant_is_said_at_once(run, folders, image, trimap, message):
    root = folders[0].parent
    (root / "empty").mkdir()
    code, output, error = run(root / image, root / trimap, "--out", root / "out")
    assert (code, output) == (2, "") and error.count("\n") == 1
    assert re.search(message, error)
    assert not (root / "out").exists()


def test_a_trimap_without_unknown_pixels_is_told_of(run, pair, tmp_path):
    mask = np.where(make_trimap() == 0, 0, 255).astype(np.uint8)
    save(mask, pair.trimap)
    code, _, error = run(pair.image, pair.trimap, "--out", tmp_path)
    assert code == 0 and f"note: {pair.trimap} has no unknown pixel (128): the alpha is the trimap" in error
    assert np.array_equal(open_(tmp_path / "alpha/cat.png"), mask)


@pytest.mark.usefixtures("half_red")
def test_a_sheet_shows_photograph_trimap_alpha_and_cut_outs(run, folders, tmp_path):
    save(make_image(3, 300, 700), folders[0] / "c.png")
    save(make_trimap(300, 700), folders[1] / "c.png")
    arguments = (*folders, "--out", tmp_path / "out", "--bits", 16)
    assert run(*arguments)[0] == 0
    code, output, _ = run(*arguments, "--sheet")  # of what is there from before as well
    assert code == 0 and output.splitlines()[1] == f"{tmp_path}/out/sheet.png"
    sheet = open_(tmp_path / "out/sheet.png")
    row = sheet.shape[0] - 2 * (178 + 34)  # 50 x 37 pixels fill 240 x 178, 700 x 300 fill 240 x 103
    assert sheet.shape[1:] == (7 * 248 + 8, 3) and row == 103 + 34

    def cell(column: int, y: int, x: int) -> list[int]:
        return sheet[26 + y, 8 + 248 * column + x].tolist()

    # In the left quarter, below its upper third, the trimap says foreground; in the upper third background.
    assert cell(1, 120, 20) == cell(2, 120, 20) == [255] * 3
    assert cell(1, 20, 200) == cell(2, 20, 200) == [0] * 3
    assert [cell(column, 20, 200) for column in (4, 5, 6)] == [[255] * 3, [0, 150, 70], [200, 30, 90]]
    assert {tuple(cell(3, y, 200)) for y in range(30)} == {(255, 255, 255), (190, 190, 190)}
    for column in (3, 4, 5, 6):  # the foreground's own colours, whatever is behind
        assert cell(column, 120, 20) == cell(0, 120, 20)


# ---- the command -------------------------------------------------------------------------------------------


def test_the_memory_is_the_one_allowed(run, pair, tmp_path, monkeypatch):
    allowed = []

    def too_little(self: Matter, image: UInt8, trimap: UInt8, *, max_memory: int | None) -> None:
        allowed.append(max_memory)
        raise MemoryTooLittleError("the smallest tile needs more")

    monkeypatch.setattr(Matter, "matte", too_little)
    for option in ([], ["--max-memory", "1.5GB"]):
        code, output, _ = run(pair.image, pair.trimap, "--out", tmp_path, *option)
        assert code == 1 and f"{pair.image} is not matted: the smallest tile needs more" in output
    assert allowed == [None, 1_500_000_000]


@pytest.mark.parametrize(
    ("text", "expected"), [("7", 7), ("2kB", 2000), ("500 MB", 500_000_000), ("0.5TB", 500_000_000_000)]
)
def test_amounts_of_memory(text, expected):
    assert Bytes().convert(text, None, None) == expected


@pytest.mark.parametrize("text", ["4G", "lots", "-1GB", "4gb", "1.GB", ""])
def test_what_is_no_amount_of_memory(run, pair, tmp_path, text):
    code, _, error = run(pair.image, pair.trimap, "--out", tmp_path, "--max-memory", text)
    assert code == 2 and f"{text} is no amount of memory, as in 4GB or 500MB" in error


def test_a_trimap_taken_with_a_threshold(run, pair, tmp_path):
    save((make_trimap() // 2 + 60).clip(60, 255), pair.trimap)
    code, output, _ = run(pair.image, pair.trimap, "--out", tmp_path)
    assert code == 1 and "beside 0, 128 and 255: 60, 124, 187" in output
    assert run(pair.image, pair.trimap, "--out", tmp_path, "--threshold")[0] == 0


def test_real_photographs(run, real_data, tmp_path):
    natural = real_data / "natural"
    code, _, error = run(natural / "GT12.png", natural / "GT12.trimap1.png", "--out", tmp_path)
    assert code == 0 and "1/1" in error
    trimap, alpha = open_(natural / "GT12.trimap1.png"), open_(tmp_path / "alpha/GT12.png")
    known = trimap if trimap.ndim == 2 else trimap[..., 0]
    assert (alpha[known == 255] == 255).all() and (alpha[known == 0] == 0).all()
    assert 0 < alpha[known == 128].mean() < 255
