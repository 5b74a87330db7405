"""`dimtool predict` on folders: what is matched, kept, made anew or refused; the sheet of all."""

from __future__ import annotations

import json
import os
import re

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from dimtool.model.inference.matter import Matter
from dimtool.model.inference.pairs import Pair
from dimtool.model.network.checkpoint import save_model
from dimtool.model.network.dim import DeepImageMatting, ModelConfig


def test_a_folder_is_matched_by_stem(pictures, matte, run, folders, tmp_path):
    photos, trimaps = folders
    pictures.save(pictures.open(photos / "b.png"), photos / "b.tif")
    (photos / "b.png").unlink()
    (photos / "notes.txt").write_text("no image")
    (photos / ".hidden.png").write_text("no image")
    code, output, _ = run(photos, trimaps, "--out", tmp_path / "out", "--json")
    assert code == 0
    assert json.loads(output)["written"] == [f"{tmp_path}/out/alpha/{name}.png" for name in "abc"]
    for image in (photos / "a.png", photos / "b.tif"):
        expected = matte(Pair(image, trimaps / f"{image.stem}.png"))
        written = pictures.open(tmp_path / "out/alpha" / f"{image.stem}.png")
        assert abs(written / 255 - expected).max() <= 0.50001 / 255


def test_one_bad_file_does_not_stop_a_folder(pictures, run, folders, tmp_path):
    photos, trimaps = folders
    (photos / "a.png").write_bytes(b"\x89PNG no more")
    pictures.save(pictures.trimap()[1:], trimaps / "b.png")
    pictures.save(pictures.image(5), photos / "d.jpg")
    pictures.save(pictures.image(6), photos / "e.jpg")
    for suffix in ("png", "bmp"):
        pictures.save(pictures.trimap(), trimaps / f"e.{suffix}")
    pictures.save(pictures.trimap(), trimaps / "z.png")
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


@pytest.mark.parametrize("what", ["image", "trimap", "bits", "threshold", "model"])
def test_a_result_is_made_anew_where_what_it_was_made_of_changed(pictures, run, folders, tmp_path, what):
    photos, trimaps = folders
    out, fresh = tmp_path / "out", tmp_path / "fresh"
    assert run(*folders, "--out", out)[0] == 0
    options = {"bits": ["--bits", 16], "threshold": ["--threshold"]}.get(what, [])
    if what == "image":
        pictures.save(pictures.image(77), photos / "a.png")
    elif what == "trimap":
        pictures.save(np.flipud(pictures.trimap()), trimaps / "a.png")
    elif what == "model":
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
def test_only_the_composition_depends_on_the_picture_behind_it(pictures, run, pair, tmp_path):
    behind, other = (pictures.save(pictures.image(seed), tmp_path / f"{seed}.png") for seed in (8, 9))
    arguments = (pair.image, pair.trimap, "--out", tmp_path / "out", "--onto")
    assert run(*arguments, behind)[0] == 0
    before = (tmp_path / "out/composite/cat.png").read_bytes()
    assert "made anew" in run(*arguments, other)[1]
    assert (tmp_path / "out/composite/cat.png").read_bytes() != before
    assert "1 image kept" in run(pair.image, pair.trimap, "--out", tmp_path / "out")[1]


@pytest.mark.parametrize("how", ["of another program", "painted over", "cut short"])
def test_what_is_not_as_it_was_written_is_neither_kept_nor_replaced(pictures, run, pair, tmp_path, how):
    result = tmp_path / "out/alpha/cat.png"
    assert run(pair.image, pair.trimap, "--out", tmp_path / "out")[0] == 0
    if how == "of another program":
        pictures.save(pictures.trimap(), result)
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


def test_a_trimap_without_unknown_pixels_is_told_of(pictures, run, pair, tmp_path):
    mask = np.where(pictures.trimap() == 0, 0, 255).astype(np.uint8)
    pictures.save(mask, pair.trimap)
    code, _, error = run(pair.image, pair.trimap, "--out", tmp_path / "out")
    assert code == 0 and f"note: {pair.trimap} has no unknown pixel (128): the alpha is the trimap" in error
    assert np.array_equal(pictures.open(tmp_path / "out/alpha/cat.png"), mask)


@pytest.mark.usefixtures("half_red")
def test_a_sheet_shows_photograph_trimap_alpha_and_cut_outs(pictures, run, folders, tmp_path):
    pictures.save(pictures.image(3, 300, 700), folders[0] / "c.png")
    pictures.save(pictures.trimap(300, 700), folders[1] / "c.png")
    arguments = (*folders, "--out", tmp_path / "out", "--bits", 16)
    assert run(*arguments)[0] == 0
    code, output, _ = run(*arguments, "--sheet")  # of what is there from before as well
    assert code == 0 and output.splitlines()[1] == f"{tmp_path}/out/sheet.png"
    sheet = pictures.open(tmp_path / "out/sheet.png")
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
