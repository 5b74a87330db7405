"""Exported PNGs are the official composition of the sources, under the official names."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

UInt8 = NDArray[np.uint8]


# ---- the rules, written down once more ---------------------------------------------------------------------


def official_background(path: Path, height: int, width: int) -> UInt8:
    """As Adobe's script does: never smaller, Pillow's bicubic, the top left corner."""
    with Image.open(path) as image:
        background = image.convert("RGB")
    ratio = max(width / background.width, height / background.height)
    if ratio > 1:
        size = (math.ceil(background.width * ratio), math.ceil(background.height * ratio))
        background = background.resize(size, Image.BICUBIC)
    return np.asarray(background.crop((0, 0, width, height)))


def official_composite(foreground: UInt8, alpha: UInt8, background: UInt8) -> UInt8:
    """In double precision, truncated."""
    a = (alpha / 255.0)[..., None]
    return (a * foreground + (1.0 - a) * background).astype(np.uint8)


def transition(alpha: UInt8) -> NDArray[np.bool_]:
    """Between 0 and 255, and where these two meet."""
    cross = ndimage.generate_binary_structure(2, 1)
    low, high = (ndimage.binary_dilation(alpha == value, cross) for value in (0, 255))
    meets = ((alpha == 255) & low) | ((alpha == 0) & high)
    return (alpha > 0) & (alpha < 255) | meets


def pixels_of(path: Path, mode: str = "RGB") -> UInt8:
    with Image.open(path) as image:
        assert image.mode == mode
        assert image.format == "PNG"
        return np.asarray(image)


def each_composite(pictures: tuple[Path, Any]) -> Iterator[tuple[str, int, UInt8, UInt8, UInt8]]:
    """Name without suffix, number, foreground, alpha and fitted background."""
    root, mattes = pictures
    backgrounds = iter((root / "train_bg.txt").read_text().split())
    for name, (foreground, alpha) in mattes.items():
        for i in range(2):
            background = official_background(root / "bg" / next(backgrounds), *alpha.shape)
            yield name.removesuffix(".png"), i, foreground, alpha, background


# ---- the pictures ------------------------------------------------------------------------------------------


def test_merged_is_the_official_composition_of_the_sources(pictures: Any, exported: Path) -> None:
    for stem, i, foreground, alpha, background in each_composite(pictures):
        expected = official_composite(foreground, alpha, background)
        assert np.array_equal(pixels_of(exported / "merged" / f"{stem}_{i}.png"), expected)


def test_fg_and_alpha_are_the_sources(pictures: Any, exported: Path) -> None:
    for name, (foreground, alpha) in pictures[1].items():
        stem = name.removesuffix(".png")
        assert np.array_equal(pixels_of(exported / "fg" / f"{stem}.png"), foreground)
        assert np.array_equal(pixels_of(exported / "alpha" / f"{stem}.png", "L"), alpha)


def test_bg_is_the_whole_fitted_background_where_the_sources_are_at_hand(
    pictures: Any, exported: Path
) -> None:
    for stem, i, _, _, background in each_composite(pictures):
        assert np.array_equal(pixels_of(exported / "bg" / f"{stem}_{i}.png"), background)
    assert "The backgrounds are whole." in (exported / "README.md").read_text()


def test_bg_without_the_sources_is_black_deep_inside_which_is_told(
    pictures: Any, shards: Path, tmp_path: Path, command: Any
) -> None:
    """On the screen, in the page and in the picture; the same command with the sources makes them whole."""
    own = shutil.copytree(shards, tmp_path / "shards", ignore=shutil.ignore_patterns(".build"))
    arguments = ("export-images", own, tmp_path / "out", "--jobs", 1)
    outcome = command(*arguments)
    assert outcome.code == 0
    assert "note: 2 backgrounds black deep inside" in outcome.out
    assert "name their folder with --sources" in outcome.out
    depths = []
    for stem, i, _, alpha, background in each_composite(pictures):
        written = tmp_path / "out" / "bg" / f"{stem}_{i}.png"
        known = (alpha == 0) | (ndimage.distance_transform_edt(~transition(alpha)) <= 64)
        assert np.array_equal(pixels_of(written)[known], background[known])
        assert not pixels_of(written)[~known].any()
        with Image.open(written) as image:
            assert ("not known" in image.info.get("Comment", "")) == bool((~known).any())
        depths.append((~known).sum())
    assert max(depths) > 1000
    assert "2 of 6 backgrounds are black" in (tmp_path / "out" / "README.md").read_text()
    again = json.loads(command(*arguments, "--json").out)
    assert (again["written"], again["kept"], again["holes"]) == (0, 24, 2)
    mended = json.loads(command(*arguments, "--sources", pictures[0], "--json").out)
    assert (mended["written"], mended["kept"], mended["holes"]) == (2, 22, 0)
    for stem, i, _, _, background in each_composite(pictures):
        assert np.array_equal(pixels_of(tmp_path / "out" / "bg" / f"{stem}_{i}.png"), background)


def test_a_source_that_changed_is_not_taken(
    pictures: Any, shards: Path, tmp_path: Path, command: Any
) -> None:
    root = shutil.copytree(pictures[0], tmp_path / "set")
    for path in (root / "bg").iterdir():
        with Image.open(path) as image:
            image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(path)
    arguments = ("export-images", shards, tmp_path / "out", "--jobs", 1, "--sources", root, "--json")
    values = json.loads(command(*arguments).out)
    assert values["holes"] == 2
    assert "have changed" in values["why"]


def test_what_is_exported_composes_to_what_is_exported(pictures: Any, exported: Path) -> None:
    for stem, i, *_ in each_composite(pictures):
        foreground, alpha = (
            pixels_of(exported / "fg" / f"{stem}.png"),
            pixels_of(exported / "alpha" / f"{stem}.png", "L"),
        )
        background = pixels_of(exported / "bg" / f"{stem}_{i}.png")
        merged = pixels_of(exported / "merged" / f"{stem}_{i}.png")
        assert np.array_equal(official_composite(foreground, alpha, background), merged)


def test_trimaps_reach_as_far_as_the_radius(pictures: Any, exported: Path, trimap_radius: int) -> None:
    for stem, i, _, alpha, _ in each_composite(pictures):
        unknown = ndimage.distance_transform_edt(~transition(alpha)) <= trimap_radius
        expected = np.where(unknown, 128, alpha)
        assert np.array_equal(pixels_of(exported / "trimaps" / f"{stem}_{i}.png", "L"), expected)
        assert set(np.unique(expected)) <= {0, 128, 255}


def test_nothing_else_is_there(pictures: Any, exported: Path) -> None:
    stems = [name.removesuffix(".png") for name in pictures[1]]
    expected = {"annotations.json", "export.json", "README.md", ".lock"}
    expected |= {f"{folder}/{stem}.png" for folder in ("fg", "alpha") for stem in stems}
    expected |= {
        f"{folder}/{stem}_{i}.png"
        for folder in ("merged", "bg", "trimaps")
        for stem in stems
        for i in range(2)
    }
    assert {str(path.relative_to(exported)) for path in exported.rglob("*") if path.is_file()} == expected


def test_annotations_are_what_mmagic_reads(pictures: Any, exported: Path) -> None:
    """A list of objects with paths relative to the folder, in the order of the lists."""
    rows = json.loads((exported / "annotations.json").read_text(encoding="utf-8"))
    assert [Path(row["merged_path"]).stem for row in rows] == [
        f"{stem}_{i}" for stem, i, *_ in each_composite(pictures)
    ]
    for row in rows:
        assert set(row) == {f"{key}_path" for key in ("alpha", "merged", "fg", "bg", "trimap")}
        sizes = set()
        for path in row.values():
            with Image.open(exported / path) as image:
                sizes.add(image.size)
        assert len(sizes) == 1
        stem, _, i = Path(row["merged_path"]).stem.rpartition("_")
        assert row["alpha_path"] == f"alpha/{stem}.png"
        assert row["bg_path"] == f"bg/{stem}_{i}.png"


def test_real_images(real_data: Path, tmp_path: Path, command: Any) -> None:
    """Two foregrounds with hair over photographs, of which one must grow."""
    names = [path.name for path in sorted((real_data / "fg").glob("*.png"))[:2]]
    (tmp_path / "test_fg.txt").write_text("\n".join(names))
    photographs = (real_data / "test_bg.txt").read_text().split()[:4]
    (tmp_path / "test_bg.txt").write_text("\n".join(photographs))
    for folder in ("fg", "alpha", "bg"):
        (tmp_path / folder).symlink_to(real_data / folder)
    arguments = (
        "--fg-list",
        tmp_path / "test_fg.txt",
        "--per-fg",
        2,
        "--jobs",
        1,
        "--out",
        tmp_path / "shards",
    )
    assert command("build-dataset", *arguments).code == 0
    assert command("export-images", tmp_path / "shards", tmp_path / "out", "--jobs", 1).code == 0
    backgrounds = iter(photographs)
    for name in names:
        with Image.open(real_data / "fg" / name) as image, Image.open(real_data / "alpha" / name) as matte:
            foreground, alpha = np.asarray(image)[..., :3], np.asarray(matte.getchannel(0))
        for i in range(2):
            background = official_background(real_data / "bg" / next(backgrounds), *alpha.shape)
            merged = pixels_of(tmp_path / "out" / "merged" / f"{Path(name).stem}_{i}.png")
            assert np.array_equal(merged, official_composite(foreground, alpha, background))
