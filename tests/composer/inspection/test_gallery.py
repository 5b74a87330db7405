from __future__ import annotations

from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401 -- registers the filter that plain h5py reads the tiles with
import numpy as np
import pytest
from PIL import Image

from dimtool.composer.inspection.gallery import contact_sheet, write_composite, write_contact_sheet
from dimtool.composer.shards.layout import ShardError
from dimtool.errors import WrongUseError
from dimtool.pages.assets import thumbnail


def _pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def _stored(built: Path, shard: int, i: int) -> np.ndarray:
    with h5py.File(built / f"{shard:04}-f{shard}.h5") as file:
        return np.asarray(file["composite"][i])


def test_a_composite_is_written_as_it_is_stored(built: Path, tmp_path: Path) -> None:
    out = tmp_path / "picture.png"
    for i in range(2):
        assert write_composite(built / "0002-f2.h5", i, out) == out
        np.testing.assert_array_equal(_pixels(out), _stored(built, 2, i))
    for i in range(8):
        write_composite(built, i, out)
        np.testing.assert_array_equal(_pixels(out), _stored(built, i // 2, i % 2))
    assert [path.name for path in tmp_path.iterdir()] == ["picture.png"]


def test_its_name_is_the_official_one(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert write_composite(built / "0002-f2.h5", 1, None) == Path("f2_1.png")
    assert write_composite(built, 7, None) == Path("f3_1.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f2_1.png", "f3_1.png"]


@pytest.mark.parametrize(
    ("name", "kind"), [("a.bmp", "BMP"), ("a.JPG", "JPEG"), ("a.xyz", "PNG"), ("a", "PNG")]
)
def test_the_suffix_says_the_format(built: Path, tmp_path: Path, name: str, kind: str) -> None:
    with Image.open(write_composite(built, 0, tmp_path / name)) as image:
        assert image.format == kind


def test_what_cannot_be_written_is_said_and_leaves_nothing(built: Path, tmp_path: Path) -> None:
    for out, complaint in (
        (tmp_path / "nowhere/a.png", "nowhere is no folder: make it"),
        (tmp_path / "a.psd", "Pillow reads PSD and does not write it"),
    ):
        with pytest.raises(WrongUseError, match=complaint):
            write_composite(built, 0, out)
        with pytest.raises(WrongUseError, match=complaint):
            write_contact_sheet(built, out)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "i", "count"), [("0001-f1.h5", 2, 2), (".", 8, 8)])
def test_a_number_past_the_end_is_wrong_use(
    built: Path, tmp_path: Path, name: str, i: int, count: int
) -> None:
    with pytest.raises(WrongUseError, match=rf"{i} of {count} in .*: --image counts from 0"):
        write_composite(built / name, i, tmp_path / "a.png")


def test_a_contact_sheet_shows_each_foreground_in_a_row(built: Path) -> None:
    sheet = contact_sheet(built)
    assert sheet.size == (8 + 6 * 208, 8 + 4 * 224)
    pixels = np.asarray(sheet)
    for row in range(4):
        with h5py.File(built / f"{row:04}-f{row}.h5") as shard:
            alpha = shard["alpha"][:]
        shown = [alpha, None, _stored(built, row, 0), _stored(built, row, 1)]
        for column, picture in enumerate(shown):
            if picture is not None:
                top, left = 8 + row * 224 + 16, 8 + column * 208
                assert _is_centred_in(picture, pixels[top : top + 200, left : left + 200])


def _is_centred_in(picture: np.ndarray, cell: np.ndarray) -> bool:
    """Smaller than a cell, a picture is shown as it is."""
    height, width = picture.shape[:2]
    top, left = (200 - height) // 2, (200 - width) // 2
    inside = cell[top : top + height, left : left + width]
    expected = picture if picture.ndim == 3 else picture[..., None].repeat(3, axis=2)
    return bool((inside == expected).all())


def test_the_trimap_on_the_sheet_is_grey_where_the_matte_is_soft(built: Path) -> None:
    with h5py.File(built / "0000-f0.h5") as shard:
        alpha = shard["alpha"][:]
    height, width = alpha.shape
    cell = np.asarray(contact_sheet(built))[24:224, 216:416, 0]
    trimap = cell[(200 - height) // 2 :, (200 - width) // 2 :][:height, :width]
    assert (trimap[(alpha > 0) & (alpha < 255)] == 128).all()
    assert set(np.unique(trimap)) <= {0, 128, 255}


def test_a_long_list_is_shown_by_foregrounds_spread_over_it(built: Path) -> None:
    sheet = np.asarray(contact_sheet(built, rows=2))
    assert sheet.shape[0] == 8 + 2 * 224
    for row, shard in enumerate((0, 2)):
        cell = sheet[8 + row * 224 + 16 :, 8 + 2 * 208 :][:200, :200]
        assert _is_centred_in(_stored(built, shard, 0), cell)


def test_a_sheet_needs_a_finished_folder(built: Path, tmp_path: Path) -> None:
    for path in (tmp_path, built / "0000-f0.h5"):
        with pytest.raises(ShardError, match="holds no shards: run"):
            write_contact_sheet(path, tmp_path / "sheet.png")


@pytest.mark.parametrize("shape", [(1, 900), (900, 1), (300, 200, 3), (50, 60, 3)])
def test_thumbnails_fit_and_never_grow(shape: tuple[int, ...]) -> None:
    picture = thumbnail(np.zeros(shape, np.uint8), 100)
    assert picture.mode == "RGB"
    assert max(picture.size) == min(100, max(shape))
    assert min(picture.size) >= 1
