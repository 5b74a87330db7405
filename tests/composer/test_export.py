"""Exported PNGs are the official composition of the sources, under the official names; an export goes on."""

from __future__ import annotations

import json
import math
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from filelock import FileLock
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

UInt8 = NDArray[np.uint8]
RADIUS = 4


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


# ---- a set with everything in it, and its export -----------------------------------------------------------


@pytest.fixture(scope="module")
def pictures(
    image_set: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, tuple[UInt8, UInt8]]]:
    """Names with dots, spaces and umlauts; a hard edge, an RGBA foreground, several tiles, deep parts."""
    root = image_set(tmp_path_factory.mktemp("set"), foregrounds=3, side=110)
    names = ["f0.png", "Käfer (1).v2.png", "wide one.png"]
    mattes = {}
    for old, name in zip(["f0.png", "f1.png", "f2.png"], names, strict=True):
        for folder in ("fg", "alpha"):
            (root / folder / old).rename(root / folder / name)
        mattes[name] = (
            np.asarray(Image.open(root / "fg" / name)),
            np.asarray(Image.open(root / "alpha" / name)),
        )
    rng = np.random.default_rng(5)
    wide = rng.integers(0, 256, (100, 400, 3), dtype=np.uint8)
    alpha = np.zeros((100, 400), np.uint8)
    alpha[:, 20:380] = 255
    alpha[:, :20] = np.linspace(0, 255, 20).astype(np.uint8)
    Image.fromarray(np.dstack([wide, 255 - alpha])).save(root / "fg" / names[2])
    Image.fromarray(alpha).save(root / "alpha" / names[2])
    mattes[names[2]] = (wide, alpha)
    (root / "train_fg.txt").write_text("\r\n".join(names))
    return root, mattes


@pytest.fixture(scope="module")
def shards(pictures: tuple[Path, Any], build: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("shards") / "train"
    assert build(pictures[0], out).code == 0
    return out


@pytest.fixture(scope="module")
def exported(shards: Path, command: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("exported") / "below" / "train"
    outcome = command("export-images", shards, out, "--trimap-radius", RADIUS, "--jobs", 1, "--json")
    assert outcome.code == 0
    values = json.loads(outcome.out)
    assert values == {
        "out": str(out), "composites": 6, "written": 24, "kept": 0, "missing": 0, "errors": []
    }  # fmt: skip
    return out


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


def test_bg_is_the_fitted_background_wherever_it_is_kept(pictures: Any, exported: Path) -> None:
    """Everywhere but deep inside the opaque part, where it is black."""
    depths = []
    for stem, i, _, alpha, background in each_composite(pictures):
        written = pixels_of(exported / "bg" / f"{stem}_{i}.png")
        known = (alpha == 0) | (ndimage.distance_transform_edt(~transition(alpha)) <= 64)
        assert np.array_equal(written[known], background[known])
        assert not written[~known].any()
        depths.append((~known).sum())
    assert max(depths) > 1000


def test_what_is_exported_composes_to_what_is_exported(pictures: Any, exported: Path) -> None:
    for stem, i, *_ in each_composite(pictures):
        foreground, alpha = (
            pixels_of(exported / "fg" / f"{stem}.png"),
            pixels_of(exported / "alpha" / f"{stem}.png", "L"),
        )
        background = pixels_of(exported / "bg" / f"{stem}_{i}.png")
        merged = pixels_of(exported / "merged" / f"{stem}_{i}.png")
        assert np.array_equal(official_composite(foreground, alpha, background), merged)


def test_trimaps_reach_as_far_as_the_radius(pictures: Any, exported: Path) -> None:
    for stem, i, _, alpha, _ in each_composite(pictures):
        unknown = ndimage.distance_transform_edt(~transition(alpha)) <= RADIUS
        expected = np.where(unknown, 128, alpha)
        assert np.array_equal(pixels_of(exported / "trimaps" / f"{stem}_{i}.png", "L"), expected)
        assert set(np.unique(expected)) <= {0, 128, 255}


def test_nothing_else_is_there(pictures: Any, exported: Path) -> None:
    stems = [name.removesuffix(".png") for name in pictures[1]]
    expected = {"annotations.json", "export.json", ".lock"}
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
    assert [Path(row["merged"]).stem for row in rows] == [
        f"{stem}_{i}" for stem, i, *_ in each_composite(pictures)
    ]
    for row in rows:
        assert set(row) == {"alpha", "merged", "fg", "bg", "trimap"}
        sizes = set()
        for path in row.values():
            with Image.open(exported / path) as image:
                sizes.add(image.size)
        assert len(sizes) == 1
        stem, _, i = Path(row["merged"]).stem.rpartition("_")
        assert row["alpha"] == f"alpha/{stem}.png"
        assert row["bg"] == f"bg/{stem}_{i}.png"


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


# ---- once more, and after a kill ---------------------------------------------------------------------------


@pytest.fixture
def copy(exported: Path, tmp_path: Path) -> Path:
    return shutil.copytree(exported, tmp_path / "copy")


def test_a_finished_export_is_left_as_it_is(shards: Path, copy: Path, command: Any) -> None:
    before = {path: path.stat().st_mtime_ns for path in copy.rglob("*.png")}
    outcome = command("export-images", shards, copy, "--trimap-radius", RADIUS, "--jobs", 1)
    assert outcome.code == 0
    assert "0 pictures written, 24 there from before" in outcome.out
    assert {path: path.stat().st_mtime_ns for path in copy.rglob("*.png")} == before


def test_what_is_missing_is_written(
    shards: Path, copy: Path, exported: Path, command: Any, contents: Any
) -> None:
    for name in ("merged/f0_1.png", "bg/wide one_0.png", "fg/f0.png", "annotations.json"):
        (copy / name).unlink()
    outcome = command("export-images", shards, copy, "--trimap-radius", RADIUS, "--jobs", 1, "--json")
    values = json.loads(outcome.out)
    assert (values["written"], values["kept"]) == (3, 21)
    assert contents(copy) == contents(exported)


def test_worker_processes_write_the_same(
    shards: Path, exported: Path, tmp_path: Path, command: Any, contents: Any
) -> None:
    assert (
        command("export-images", shards, tmp_path / "out", "--trimap-radius", RADIUS, "--jobs", 2).code == 0
    )
    assert contents(tmp_path / "out") == contents(exported)


def test_two_exports_into_one_folder(shards: Path, copy: Path, command: Any, contents: Any) -> None:
    """The second would take the first one's unfinished files for what a kill has left."""
    (copy / "merged" / ".f0_0.png.part").write_bytes(b"under way")
    with FileLock(copy / ".lock"):
        line = refused(command, contents, shards, copy, "--trimap-radius", RADIUS)
    assert "another export is at work" in line


def test_killed_at_any_moment(
    shards: Path, exported: Path, tmp_path: Path, *, start: Any, command: Any, contents: Any
) -> None:
    """Whatever stands under its final name is whole; the same command goes on, and nothing else is left."""
    out, rng = tmp_path / "out", random.Random(9)
    expected = contents(exported)
    arguments = ("export-images", shards, out, "--trimap-radius", RADIUS, "--jobs", 1)
    kills = 0
    while kills < 6:
        process = start(*arguments)
        goal = len(list(out.rglob("*.png"))) + rng.randrange(6)
        while process.poll() is None and len(list(out.rglob("*.png"))) < goal:
            time.sleep(0.002)
        time.sleep(rng.random() * 0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
        there = contents(out) if out.exists() else {}
        finished = {name: value for name, value in there.items() if not name.endswith(".part")}
        assert finished.items() <= expected.items()
        if finished.keys() == expected.keys():
            break
    assert command(*arguments).code == 0
    assert contents(out) == expected


@pytest.mark.parametrize("left", [".export.json.a1b2.part", "merged/.f0_0.png.a1b2.part"])
def test_what_a_kill_left_is_swept_away(
    shards: Path, exported: Path, tmp_path: Path, *, command: Any, contents: Any, left: str
) -> None:
    out = tmp_path / "out"
    if left.startswith("merged"):
        shutil.copytree(exported, out)
    else:
        out.mkdir()
    (out / left).write_bytes(b"half")
    assert command("export-images", shards, out, "--trimap-radius", RADIUS, "--jobs", 1).code == 0
    assert contents(out) == contents(exported)


# ---- refused -----------------------------------------------------------------------------------------------


def refused(command: Any, contents: Any, shards: Path, out: Path, *more: object) -> str:
    before = contents(out)
    outcome = command("export-images", shards, out, "--jobs", 1, *more)
    assert outcome.code == 2
    assert contents(out) == before
    assert len(outcome.lines) == 1
    return str(outcome.lines[0])


def test_a_folder_of_something_else(shards: Path, tmp_path: Path, command: Any, contents: Any) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    assert "no export of ours" in refused(command, contents, shards, tmp_path / "mine")


@pytest.mark.parametrize("mark", [b"", b"{}", b"\xff\xfe", b"[1]"])
def test_an_export_json_of_something_else(
    shards: Path, tmp_path: Path, command: Any, contents: Any, mark: bytes
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "export.json").write_bytes(mark)
    assert "choose another OUT" in refused(command, contents, shards, tmp_path / "mine")


def test_an_export_of_another_radius_or_of_other_shards(
    shards: Path, built: Path, copy: Path, command: Any, contents: Any
) -> None:
    assert "another radius" in refused(command, contents, shards, copy, "--trimap-radius", RADIUS + 1)
    assert "other shards" in refused(command, contents, built, copy, "--trimap-radius", RADIUS)


def test_no_shards_there(tmp_path: Path, command: Any) -> None:
    (tmp_path / "empty").mkdir()
    outcome = command("export-images", tmp_path / "empty", tmp_path / "out")
    assert outcome.code == 1
    assert "index.json" in outcome.err
    assert not (tmp_path / "out").exists()
    assert command("export-images", tmp_path / "nowhere", tmp_path / "out").code == 2


@pytest.mark.parametrize("radius", [-1, 255])
def test_a_radius_that_no_trimap_has(shards: Path, tmp_path: Path, command: Any, radius: int) -> None:
    assert command("export-images", shards, tmp_path / "out", "--trimap-radius", radius).code == 2
    assert not (tmp_path / "out").exists()


def cut_off(shard: Path) -> None:
    shard.write_bytes(shard.read_bytes()[:-500])


def spoil_a_tile(shard: Path) -> None:
    with h5py.File(shard, "r+") as file:
        file["composite"].id.write_direct_chunk((1, 0, 0, 0), b"no stream of ours")


def other_pixels(shard: Path) -> None:
    """They decode; nothing but their digest knows better."""
    with h5py.File(shard, "r+") as file:
        stack = file["composite"].id
        stack.write_direct_chunk((1, 0, 0, 0), stack.read_direct_chunk((0, 0, 0, 0))[1])


def other_alpha(shard: Path) -> None:
    with h5py.File(shard, "r+") as file:
        file["alpha"][3, 3] ^= 1


def another_name(shard: Path) -> None:
    """It would be written outside of the folder."""
    with h5py.File(shard, "r+") as file:
        file.attrs["label"] = np.bytes_("../../f1")


def a_link_into_another_file(shard: Path) -> None:
    with h5py.File(shard, "r+") as file:
        del file["composite"]
        file["composite"] = h5py.ExternalLink("0000-f0.h5", "composite")


@pytest.mark.parametrize("damage", [cut_off, spoil_a_tile, other_pixels, other_alpha, another_name,
                                    a_link_into_another_file, Path.unlink])  # fmt: skip
def test_a_broken_shard_is_named_and_ends_nothing_else(
    shards: Path, tmp_path: Path, command: Any, damage: Callable[[Path], None]
) -> None:
    own = shutil.copytree(shards, tmp_path / "shards")
    broken = sorted(own.glob("*.h5"))[1]
    damage(broken)
    outcome = command("export-images", own, tmp_path / "out", "--jobs", 1, "--json")
    values = json.loads(outcome.out)
    assert outcome.code == 1
    (error,) = values["errors"]
    assert str(broken) in error
    assert values["composites"] == 4
    rows = json.loads((tmp_path / "out" / "annotations.json").read_text())
    assert len(rows) == 4
    assert all((tmp_path / "out" / path).is_file() for row in rows for path in row.values())
    assert {path.name for path in tmp_path.iterdir()} == {"shards", "out"}


def test_an_incomplete_set_is_told(shards: Path, tmp_path: Path, command: Any) -> None:
    own = shutil.copytree(shards, tmp_path / "shards")
    content = json.loads((own / "index.json").read_text())
    content["shards"].pop()
    (own / "index.json").write_text(json.dumps(content))
    outcome = command("export-images", own, tmp_path / "out", "--jobs", 1)
    assert outcome.code == 0
    assert "The set is not complete: 2 composites of the lists are not in the shards" in outcome.out
