"""What it costs to plan a set of any size, to build one again, and to look at one: time and memory.

    python benchmarks/planning.py --composites 10_000_000 --per-fg 10_000 --backgrounds 43_100
    python benchmarks/planning.py --stand-ins 431        # builds 43,100 tiny composites, then twice nothing

Each step runs in a process of its own, whose greatest memory is told. A plan opens no image, so its files
are empty; the stand-ins are of 24 x 32 pixels.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from dimtool.composer.building.build import build_dataset
from dimtool.composer.building.plan import make_plan
from dimtool.composer.building.scratch import read_begun, sole_builder, write_lists
from dimtool.composer.engines.engine import core_count
from dimtool.composer.engines.local import LocalProcesses
from dimtool.composer.inspection.describe import as_text, describe
from dimtool.composer.shards.dataset import CompositeDataset
from dimtool.composer.shards.index import Index, ShardRecord, write_index
from dimtool.composer.shards.layout import current_versions
from dimtool.composer.sources.lists import Lists
from dimtool.composer.sources.manifest import read_manifest, shard_name
from dimtool.progress import Silent


def make_files(folder: Path, foregrounds: int, per_fg: int, backgrounds: int) -> None:
    """Empty images, and lists as long as the set is."""
    for name in ("fg", "alpha", "bg"):
        (folder / name).mkdir()
    names = [f"foreground-{k:07}.png" for k in range(foregrounds)]
    for name in names:
        (folder / "fg" / name).touch()
        (folder / "alpha" / name).touch()
    (folder / "train_fg.txt").write_text("\n".join(names))
    photographs = [f"COCO_train2014_{i:012}.png" for i in range(backgrounds)]
    for name in photographs:
        (folder / "bg" / name).touch()
    with (folder / "train_bg.txt").open("w") as lines:
        for place in range(foregrounds * per_fg):
            lines.write(f"{photographs[place * 7919 % backgrounds]}\n")


def draw_stand_ins(folder: Path, foregrounds: int) -> None:
    """So many foregrounds, and a hundred backgrounds for each, as small as they may be."""
    make_files(folder, foregrounds, 100, foregrounds * 100)
    matte = Image.linear_gradient("L").resize((32, 24))
    for k, path in enumerate(sorted((folder / "fg").iterdir())):
        Image.new("RGB", (32, 24), (k % 256, k // 256, 5)).save(path)
        matte.save(folder / "alpha" / path.name)
    for i, path in enumerate((folder / "bg").iterdir()):
        Image.new("RGB", (8, 8), (i % 256, i // 256, 9)).save(path)
    for path in folder.glob("*/*.*g"):
        os.utime(path, (1e9, 1e9))  # not just now: see building/stamps.py


def build(folder: Path, touch: int = 0) -> dict[str, int]:
    """A whole build, or what is left of one; `touch`: as if all sources came from another disk."""
    for path in folder.glob("*/*.*g") if touch else ():
        os.utime(path, (1e9 + touch, 1e9 + touch))
    manifest = read_manifest(Lists(fg_list=folder / "train_fg.txt"), *read_begun(folder / "shards"))
    engine = LocalProcesses(workers=core_count())
    summary = build_dataset(manifest, folder / "shards", engine=engine, reporter=Silent())
    cache = folder / "shards/.build/sources.jsonl"
    hashed = len(cache.read_text().splitlines()) if cache.exists() else 0
    return {"composites": summary.composites, "built": summary.built, "files hashed so far": hashed}


def plan(folder: Path, per_fg: int) -> dict[str, int]:
    """All that a build does before its first shard."""
    out = folder / "shards"
    manifest = read_manifest(Lists(fg_list=folder / "train_fg.txt", per_fg=per_fg), *read_begun(out))
    with sole_builder(out) as hold:
        planned = make_plan(
            manifest,
            out,
            engine=LocalProcesses(workers=1),
            known=hold.journal.known(),
            scratch=hold.scratch,
            sources=hold.sources,
        )
        write_lists(out, manifest.lists, manifest.begun)
    return {"composites": manifest.asked, "jobs": len(planned.jobs)}


def make_index(folder: Path, shards: int, per_fg: int) -> None:
    """An index as a build of so many shards of 100 would write it."""
    pieces = per_fg // 100
    records = tuple(
        ShardRecord(
            file=shard_name(k // pieces, f"foreground-{k // pieces:07}.png", piece=k % pieces),
            index=k // pieces,
            foreground=f"foreground-{k // pieces:07}.png",
            composites=100,
            height=1000,
            width=1500 + k % 7,
            bytes=160_000_000 + k,
            sha256=f"{k:064x}",
            versions=current_versions(),
            first=k % pieces * 100,
        )
        for k in range(shards)
    )
    folder.mkdir(exist_ok=True)
    write_index(folder, Index(split="train", per_fg=per_fg, asked=100 * shards, shards=records))


def open_set(folder: Path) -> dict[str, int]:
    """As training and programs do."""
    return {"composites": len(CompositeDataset(folder))}


def inspect(folder: Path) -> dict[str, int]:
    """As `dimtool inspect DIR` does."""
    return {"characters": len(as_text(describe(folder)))}


STEPS: dict[str, Callable[..., dict[str, int]]] = {
    "build": build,
    "plan": plan,
    "open": open_set,
    "inspect": inspect,
}


def measured(step: str, *arguments: object) -> None:
    """A step in a process of its own, and what it took."""
    words = [sys.executable, __file__, "--step", step, *map(str, arguments)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    print(f"{step:8} {done.stdout.strip()}", flush=True)


def run_step(step: str, folder: Path, *numbers: int) -> None:
    started = time.perf_counter()
    found = STEPS[step](folder, *numbers)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{seconds:6.2f} s  {peak:5.2f} GB  {json.dumps(found)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--composites", type=int, default=10_000_000)
    parser.add_argument("--per-fg", type=int, default=10_000)
    parser.add_argument("--backgrounds", type=int, default=43_100)
    parser.add_argument("--shards", type=int, default=100_000)
    parser.add_argument("--stand-ins", type=int, help="foregrounds of a set to be built")
    parser.add_argument("--step", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        step, folder, *numbers = options.step
        run_step(step, Path(folder), *map(int, numbers))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.stand_ins:
            draw_stand_ins(folder, options.stand_ins)
            for touch in (0, 0, 1, 0, 0):
                measured("build", folder, touch)
            return
        make_files(folder, options.composites // options.per_fg, options.per_fg, options.backgrounds)
        measured("plan", folder, options.per_fg)
        measured("plan", folder, options.per_fg)
        make_index(folder / "set", options.shards, options.per_fg)
        measured("open", folder / "set")
        measured("inspect", folder / "set")


if __name__ == "__main__":
    main()
