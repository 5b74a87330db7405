"""The small set, and one case after the other: a copy of it with one file changed, and all that reads it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import shutil
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from PIL import Image

from damage import (
    bytes_changed,
    image_changed,
    json_changed,
    lines_changed,
    stream_changed,
    structure_changed,
)
from dimtool.cli import run
from dimtool.composer.shards.dataset import CompositeDataset
from dimtool.errors import DimtoolError
from dimtool.model.network.checkpoint import load_model, save_model
from dimtool.model.network.dim import DeepImageMatting, ModelConfig

# ---- the set -----------------------------------------------------------------------------------------------


def make_set(root: Path) -> None:
    """Three foregrounds over two backgrounds each, their shards, a checkpoint, and what lies outside."""
    rng = np.random.default_rng(0)
    for name in ("fg", "alpha", "bg"):
        (root / "set" / name).mkdir(parents=True)
    y, x = np.mgrid[:150, :140]
    soft = np.clip((60 - np.hypot(y - 75, x - 70)) * 20 + 128, 0, 255).astype(np.uint8)
    for i in range(3):
        Image.fromarray(rng.integers(0, 256, (150, 140, 3), np.uint8)).save(root / f"set/fg/f{i}.png")
        Image.fromarray(np.roll(soft, i, 0)).save(root / f"set/alpha/f{i}.png")
    for i in range(6):
        Image.fromarray(rng.integers(0, 256, (90, 120, 3), np.uint8)).save(root / f"set/bg/b{i}.jpg")
    (root / "set/train_fg.txt").write_text("".join(f"f{i}.png\n" for i in range(3)))
    (root / "set/train_bg.txt").write_text("".join(f"b{i}.jpg\n" for i in range(6)))
    if run([*build(root / "set"), "--out", str(root / "shards")]):
        raise SystemExit("the set could not be built")
    save_model(root / "model.safetensors", DeepImageMatting(ModelConfig(width=0.0625, bottleneck="slim")))


def build(folder: Path) -> list[str]:
    return ["build-dataset", "--fg-list", str(folder / "train_fg.txt"), "--per-fg", "2", "--jobs", "1"]


# ---- one case ----------------------------------------------------------------------------------------------


def prepare(kind: str, case: Path, root: Path, draw: random.Random) -> list[Callable[[], object]]:
    """The damaged copy, and what reads it."""

    def command(*arguments: object) -> Callable[[], object]:
        return lambda: run([str(each) for each in arguments])

    if kind in ("list", "image"):
        shutil.copytree(root / "set", case / "set")
        if kind == "list":
            lines_changed(case / "set" / draw.choice(["train_fg.txt", "train_bg.txt"]), draw)
        else:
            image_changed(draw.choice(sorted((case / "set").glob("*/*"))), draw)
        arguments = [*build(case / "set"), "--out", case / "out"]
        return [command(*arguments), command(*arguments, "--dry-run")]
    if kind == "checkpoint":
        path = case / "model.safetensors"
        shutil.copy(root / "model.safetensors", path)
        bytes_changed(path, draw)

        def load() -> None:
            with contextlib.suppress(DimtoolError):
                load_model(path)

        return [load]
    shards = shutil.copytree(root / "shards", case / "shards")
    shard, lists = shards / "0001-f1.h5", shards / ".build" / "lists.json"
    if kind == "index":
        change = draw.choice([json_changed, json_changed, bytes_changed])
        change(shards / "index.json", draw) if draw.random() < 0.8 else bytes_changed(lists, draw)
    else:
        every = [bytes_changed, stream_changed, stream_changed, structure_changed, structure_changed]
        draw.choice(every)(shard, draw)

    def sample() -> None:
        with contextlib.suppress(DimtoolError):
            dataset = CompositeDataset(shards)
            for i in range(min(len(dataset), 6)):
                with contextlib.suppress(DimtoolError):
                    dataset.sample(i, (slice(20, 140), slice(0, 100)))

    return [
        command("verify-composites", shards, "--jobs", 1, "--json"),
        command("inspect", shard),
        command("inspect", shards),
        command("inspect", shard, "--image", 1, "--out", case / "picture.png"),
        command("export-images", shards, case / "png", "--jobs", 1),
        sample,
    ]


def serve(connection: Connection, root: Path, place: Path) -> None:
    """Run the cases that come; a word before each command, and the case's faults after all of them."""
    os.chdir(place)
    os.environ["XDG_CACHE_HOME"] = str(place / "cache")
    connection.send("ready")
    while True:
        kind, seed = connection.recv()
        case = place / "case"
        shutil.rmtree(case, ignore_errors=True)
        case.mkdir()
        faults: list[str] = []
        draw = random.Random(f"{kind} {seed}")
        for number, call in enumerate(prepare(kind, case, root, draw)):
            connection.send(("command", number))
            out = io.StringIO()
            try:
                with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
                    call()
                if kind in ("shard", "index") and number == 0 and out.getvalue():
                    json.loads(out.getvalue())
            except BaseException:  # noqa: BLE001 - whatever it is, it is what is looked for
                faults.append(traceback.format_exc(limit=-4))
        beside = {each.name for each in place.iterdir()} - {"case", "cache", "numba"}
        faults += [f"written outside: {beside}"] if beside else []
        connection.send(("done", faults))


def quietly(connection: Connection, root: Path, place: Path) -> None:
    """`serve`, until there is nobody to serve any more."""
    with contextlib.suppress(EOFError):
        serve(connection, root, place)
