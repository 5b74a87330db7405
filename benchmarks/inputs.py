"""Inputs of the benchmarks: foregrounds of a wanted size over photographs, with lists in Adobe's format."""

import math
import os
from pathlib import Path

from PIL import Image

from dimtool.composer.sources.images import read_foreground
from dimtool.composer.sources.lists import Lists
from dimtool.composer.sources.manifest import ForegroundEntry, Manifest, read_manifest
from dimtool.composer.sources.mattes import read_alpha

FG_LIST, BG_LIST = "train_fg.txt", "train_bg.txt"
REAL = Path(__file__).resolve().parents[2] / "shared" / "data"


def find_data(asked: Path | None, scratch: Path) -> Path:
    """The folder to take images from: the one asked for, the real images, or else procedural ones."""
    if asked is not None:
        return asked
    if (REAL / FG_LIST).exists():
        return REAL
    from dimtool.composer.demo import make_demo  # noqa: PLC0415 - drawn only where it is needed

    folder = scratch / "demo"
    make_demo(folder, seed=0, size=640, train=8, test=1, backgrounds_per_train=5, backgrounds_per_test=1)
    return folder


def prepare(data: Path, folder: Path, megapixels: float, count: int) -> Path:
    """Write `count` foregrounds of about that size into `folder` and give the path of their list.

    megapixels 0 keeps each image's own size. Foregrounds and alphas are scaled with Pillow's bicubic filter
    and saved as PNG; where `data` has fewer than `count`, they come again under other names. Backgrounds are
    linked, not scaled: a larger foreground lies over an enlarged photograph, as in Composition-1k.
    """
    entries = read_manifest(Lists(fg_list=data / FG_LIST, per_fg=1, reuse_bg=True)).entries
    for part in ("fg", "alpha"):
        (folder / part).mkdir(parents=True)
    names = [f"{k:03d}-{entries[k % len(entries)].foreground.stem}.png" for k in range(count)]
    for name, entry in zip(names, entries, strict=False):
        _save_scaled(entry, folder, name, megapixels)
    for k in range(len(entries), count):
        for part in ("fg", "alpha"):
            os.link(folder / part / names[k % len(entries)], folder / part / names[k])
    (folder / "bg").symlink_to((data / "bg").resolve())
    (folder / BG_LIST).write_bytes((data / BG_LIST).read_bytes())
    (folder / FG_LIST).write_text("\n".join(names), encoding="utf-8")
    return folder / FG_LIST


def manifest_of(fg_list: Path, per_fg: int) -> Manifest:
    """The list's foregrounds over `per_fg` backgrounds each; the background list starts again at its end."""
    return read_manifest(Lists(fg_list=fg_list, per_fg=per_fg, reuse_bg=True))


def _save_scaled(entry: ForegroundEntry, folder: Path, name: str, megapixels: float) -> None:
    for part, pixels in (
        ("fg", read_foreground(entry.foreground).pixels),
        ("alpha", read_alpha(entry.alpha).pixels),
    ):
        image = Image.fromarray(pixels)
        if megapixels:
            scale = math.sqrt(megapixels * 1e6 / (image.width * image.height))
            size = round(image.width * scale), round(image.height * scale)
            image = image.resize(size, Image.Resampling.BICUBIC)
        image.save(folder / part / name, compress_level=1)
