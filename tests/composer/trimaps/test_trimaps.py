"""Trimaps of masks: the pixels beside SciPy's erosion and dilation by a disc, and the command's files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from dimtool.composer.trimaps import Radii, make_trimap

Pixels = NDArray[np.uint8]


def disc(radius: int) -> NDArray[np.bool_]:
    """All whole offsets no farther than the radius."""
    reach = np.arange(-radius, radius + 1)
    return np.asarray(reach[:, None] ** 2 + reach**2 <= radius**2)


def by_scipy(alpha: Pixels, erode: int, dilate: int) -> Pixels:
    """Erosion of the foreground and dilation out of it, as morphology defines them."""
    empty, opaque = alpha == 0, alpha == 255
    soft, cross = ~empty & ~opaque, ndimage.generate_binary_structure(2, 1)
    edge = (ndimage.binary_dilation(empty, cross) & opaque) | (ndimage.binary_dilation(opaque, cross) & empty)
    reach = [ndimage.binary_dilation(edge | soft, disc(radius)) for radius in (erode, dilate)]
    unknown = soft | (opaque & reach[0]) | (empty & reach[1])
    return np.where(unknown, 128, alpha).astype(np.uint8)


@given(seed=st.integers(0, 999), erode=st.integers(0, 12), dilate=st.integers(0, 12), hard=st.booleans())
def test_it_is_erosion_and_dilation_by_discs(
    *, draw_alpha: Callable[..., Pixels], seed: int, erode: int, dilate: int, hard: bool
) -> None:
    alpha = draw_alpha(seed, 32, 48)
    mask = np.where(alpha > 127, 255, 0).astype(np.uint8) if hard else alpha
    assert np.array_equal(make_trimap(mask, Radii(erode, dilate)), by_scipy(mask, erode, dilate))


def test_the_two_radii_are_not_each_others() -> None:
    mask = np.zeros((9, 40), np.uint8)
    mask[:, 20:] = 255
    (row,) = {tuple(row) for row in make_trimap(mask, Radii(erode=2, dilate=5)).tolist()}
    # 19 and 20 are the edge itself: five pixels more of background are open, and two of foreground.
    assert row == (0,) * 14 + (128,) * 9 + (255,) * 17


@pytest.mark.parametrize("radius", [-1, 255])
def test_a_radius_that_no_distance_reaches_is_refused(radius: int) -> None:
    with pytest.raises(ValueError, match="is not in 0 to 254"):
        make_trimap(np.eye(4, dtype=np.uint8) * 255, Radii(radius, 1))


# ---- the command -------------------------------------------------------------------------------------------


@pytest.fixture
def masks(tmp_path: Path, draw_alpha: Callable[..., Pixels]) -> dict[str, Pixels]:
    """Four mattes in tmp_path/masks, two of one name, by what their trimaps are called."""
    places = {"a": "a.png", "b": "b.bmp", "clip1-c": "clip1/c.png", "clip2-c": "clip2/c.png"}
    found = {name: draw_alpha(seed, 32, 48) for seed, name in enumerate(places)}
    for name, place in places.items():
        (tmp_path / "masks" / place).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(found[name]).save(tmp_path / "masks" / place)
    return found


def trimap(path: Path) -> Pixels:
    with Image.open(path) as image:
        assert image.mode == "L"
        return np.asarray(image)


def test_a_folder_of_masks(masks: dict[str, Pixels], command: Any, tmp_path: Path) -> None:
    words = ("trimap", tmp_path / "masks", "--out", tmp_path / "out", "--erode", 3, "--dilate", 6)
    done = command(*words)
    assert done.code == 0, done.err
    assert {path.stem for path in (tmp_path / "out").iterdir()} == masks.keys()
    expected = {name: by_scipy(mask, 3, 6) for name, mask in masks.items()}
    for name, pixels in expected.items():
        assert np.array_equal(trimap(tmp_path / f"out/{name}.png"), pixels)
    share = np.mean([pixels == 128 for pixels in expected.values()])
    assert done.out == f"4 trimaps written; {share:.1%} of the pixels are unknown\n"
    again = command(*words)
    assert (again.code, again.out.partition(";")[0]) == (0, "0 trimaps written, 4 there from before")


def test_a_mask_and_where_its_trimap_goes(
    masks: dict[str, Pixels], command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert command("trimap", "masks/a.png").code == 0
    assert np.array_equal(trimap(tmp_path / "a_trimap.png"), by_scipy(masks["a"], 10, 10))
    (tmp_path / "there").mkdir()
    done = command("trimap", "masks/a.png", "--out", "there", "--json")
    assert json.loads(done.out)["written"] == ["there/a.png"]


def test_a_cut_out_s_own_a_and_a_mask_of_0_and_1(
    masks: dict[str, Pixels], command: Any, tmp_path: Path
) -> None:
    mask = np.where(masks["a"] > 127, 255, 0).astype(np.uint8)
    Image.fromarray(np.dstack([masks["b"]] * 3 + [mask])).save(tmp_path / "cutout.png")
    Image.fromarray(mask // 255).save(tmp_path / "bits.png")
    refused = command("trimap", tmp_path / "cutout.png", "--out", tmp_path / "1.png")
    assert refused.code == 1
    assert "--alpha-from alpha-a" in refused.out
    assert (
        command(
            "trimap", tmp_path / "cutout.png", "--out", tmp_path / "1.png", "--alpha-from", "alpha-a"
        ).code
        == 0
    )
    refused = command("trimap", tmp_path / "bits.png", "--out", tmp_path / "2.png")
    assert "pass --alpha-max 1" in refused.out
    assert command("trimap", tmp_path / "bits.png", "--out", tmp_path / "2.png", "--alpha-max", 1).code == 0
    for name in ("1", "2"):
        assert np.array_equal(trimap(tmp_path / f"{name}.png"), by_scipy(mask, 10, 10))


def test_a_mask_is_turned_as_predict_turns_photographs(
    masks: dict[str, Pixels], command: Any, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(masks["a"]).save(tmp_path / "turned.png", exif=exif)
    assert command("trimap", tmp_path / "turned.png", "--out", tmp_path / "t.png").code == 0
    assert np.array_equal(trimap(tmp_path / "t.png"), np.rot90(by_scipy(masks["a"], 10, 10), -1))


def test_what_is_there_is_kept_and_the_rest_goes_on(
    masks: dict[str, Pixels], command: Any, tmp_path: Path
) -> None:
    words = ("trimap", tmp_path / "masks", "--out", tmp_path / "out")
    assert command(*words).code == 0
    Image.new("L", (48, 32), 7).save(tmp_path / "out/b.png")
    (tmp_path / "out/a.png").write_text("no picture")
    (tmp_path / "masks/clip1/c.png").write_text("spoilt")
    done = command(*words)
    assert done.code == 1
    assert [line.partition(" is ")[0] for line in done.out.splitlines()[:3]] == [
        f"error: {tmp_path}/out/a.png",
        f"error: {tmp_path}/out/b.png",
        f"error: {tmp_path}/masks/clip1/c.png",
    ]
    assert "0 trimaps written, 1 there from before" in done.out
    done = command(*words, "--overwrite")
    assert "3 trimaps written" in done.out
    assert np.array_equal(trimap(tmp_path / "out/b.png"), by_scipy(masks["b"], 10, 10))


def test_other_folders_are_left_alone(masks: dict[str, Pixels], command: Any, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/holiday.jpg").touch()
    words = ("trimap", tmp_path / "masks", "--out")
    for place, complaint in (
        (tmp_path / "photos", "photos holds holiday.jpg and no trimap of "),
        (tmp_path / "masks", "masks would be read and written: name another folder with --out"),
        (tmp_path / "photos/holiday.jpg", "name a folder for the trimaps with --out"),
    ):
        done = command(*words, place)
        assert (done.code, done.out) == (2, "")
        assert complaint in done.err
    done = command("trimap", tmp_path / "masks/a.png", "--out", tmp_path / "t.jpg")
    assert "t.jpg: a trimap is a PNG" in done.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["masks", "photos"]
