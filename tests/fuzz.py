"""Damaged and hostile files against every command that reads them: no crash, no hang, no traceback.

    python tests/fuzz.py [--cases 2000] [--seed 0] [--jobs 2] [--limit 10]

Each case is a copy of a small set with one file changed: a shard, an index, a list, an image or a checkpoint.
The commands that read it run in a process of their own kind. A case is at fault if that process dies, if a
command takes more than 10 seconds, if it ends in anything but an exit code, if something lands outside of the
case's folder, or if what lies outside is read: a named pipe lies there, and to open it is to hang.
Not part of the test suite: it takes about a quarter of an hour. A fault is told with its seed.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
from PIL import Image

from dimtool.cli import run
from dimtool.composer.shards.dataset import CompositeDataset
from dimtool.errors import DimtoolError
from dimtool.model.network.checkpoint import load_model, save_model
from dimtool.model.network.dim import DeepImageMatting, ModelConfig

SHARE = {"shard": 0.5, "index": 0.15, "list": 0.12, "image": 0.15, "checkpoint": 0.08}
NASTY: list[Any] = [
    None, True, -1, 0, 2**31, 2**63, 10**40, 1.5, "", "x" * 5000, "../../outside", "/etc/passwd", "a\0b",
    "\x1b[2J", [], {}, [[[]]], {"a": 1},
]  # fmt: skip


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


# ---- damage ------------------------------------------------------------------------------------------------


def bytes_changed(path: Path, draw: random.Random) -> None:
    """Bits flipped, a piece cut out, zeroed, doubled or cut off."""
    data = bytearray(path.read_bytes())
    end = draw.choice([len(data), min(len(data), 3000)])
    a, b = sorted(draw.randrange(end) for _ in range(2)) if end else (0, 0)
    kind = draw.randrange(6)
    if kind <= 1:
        for _ in range(draw.choice([1, 1, 3, 30])):
            data[draw.randrange(end)] ^= 1 << draw.randrange(8)
    elif kind == 2:
        data[a:b] = bytes(b - a)
    elif kind == 3:
        data[a:b] = b""
    elif kind == 4:
        data[a:a] = draw.randbytes(draw.choice([1, 8, 1000]))
    else:
        data = data[:a]
    path.write_bytes(data)


def stream_changed(path: Path, draw: random.Random) -> None:
    """A tile's code stream, behind the header that every reader looks at."""
    with h5py.File(path, "r+") as file:
        name = draw.choice(["composite", "composite", "background", "alpha", "foreground", "distance"])
        data = file[name].id
        place = data.get_chunk_info(draw.randrange(data.get_num_chunks())).chunk_offset
        stream = bytearray(data.read_direct_chunk(place)[1])
        first = 98 if data.rank == 4 else draw.choice([0, 90])
        for _ in range(draw.choice([1, 2, 8, 60])):
            stream[draw.randrange(first, min(len(stream), draw.choice([first + 80, 10**9])))] = (
                draw.randrange(256)
            )
        if draw.random() < 0.3:
            stream = stream[: draw.randrange(first, len(stream))]
        data.write_direct_chunk(place, bytes(stream), filter_mask=draw.choice([0, 0, 0, 0, 1]))


def structure_changed(path: Path, draw: random.Random) -> None:
    """Members that lead elsewhere, of other types, sizes or codecs; attributes of any kind."""
    pipe = str(path.parents[3] / "outside" / "pipe")
    codecs = [hdf5plugin.Blosc(), hdf5plugin.Bitshuffle(), hdf5plugin.LZ4(), {"compression": "gzip"},
              {"compression": 32033, "chunks": (1, 5, 7, 3)}, {"external": [(pipe, 0, 10**6)]}]  # fmt: skip
    with h5py.File(path, "r+", libver=("v110", "v110")) as file:
        name = draw.choice(list(file))
        shape, kind = file[name].shape, file[name].dtype
        what = draw.randrange(7)
        if what == 0:
            attribute = draw.choice(list(file.attrs))
            value = draw.choice(
                [each for each in NASTY if isinstance(each, str | int) and each not in (2**63, 10**40)]
            )
            with contextlib.suppress(ValueError, TypeError, OverflowError, UnicodeError):
                file.attrs[attribute] = np.bytes_(value.encode()) if isinstance(value, str) else value
            return
        del file[name]
        if what == 1:
            links = [h5py.ExternalLink(pipe, "alpha"), h5py.SoftLink("/digest"), h5py.SoftLink("/nowhere")]
            file[name] = draw.choice(links)
        elif what == 2:
            layout = h5py.VirtualLayout(shape, kind)
            layout[...] = h5py.VirtualSource(pipe, "x", shape)
            file.create_virtual_dataset(name, layout)
        elif what == 3:
            file.create_dataset(name, (2**40, *shape[1:]), kind)
        elif what == 4:
            file.create_group(name)
        else:
            shape = (
                shape
                if draw.random() < 0.7
                else tuple(max(1, side + draw.randrange(-2, 3)) for side in shape)
            )
            with contextlib.suppress(ValueError, TypeError, OSError):
                file.create_dataset(name, shape, kind, **draw.choice(codecs))


def json_changed(path: Path, draw: random.Random) -> None:
    """One value of an index, anywhere in it, or its text."""
    if draw.random() < 0.3:
        bytes_changed(path, draw)
        return
    content = json.loads(path.read_text())
    where: Any = content
    if draw.random() < 0.7:
        where = draw.choice(content["shards"])
    where[draw.choice([*where, "more"])] = draw.choice(NASTY)
    path.write_text(json.dumps(content))


def lines_changed(path: Path, draw: random.Random) -> None:
    """A list whose lines lead elsewhere, are very long, or no text."""
    lines = path.read_bytes().split(b"\n")
    odd = [
        b"../outside/pipe", b"/dev/zero", b"x" * 5000, b"\xff\xfe.png", b"a\0b.png", b"\x1b]0;x\x07.png",
        b".", b"..", b"", b"-", b"#", b"f0.png/", b"FG\\f0.png", b"~root", b"f*.png", b"\xef\xbb\xbff0.png",
        lines[0],
    ]  # fmt: skip
    for _ in range(draw.randint(1, 3)):
        lines[draw.randrange(len(lines))] = draw.choice(odd)
    path.write_bytes(draw.choice([b"\n", b"\r\n", b"\n"]).join(lines))
    if draw.random() < 0.2:
        bytes_changed(path, draw)


def image_changed(path: Path, draw: random.Random) -> None:
    """Damage, another format under its name, or something that is no file."""
    if draw.random() < 0.8:
        bytes_changed(path, draw)
        return
    path.unlink()
    what = draw.randrange(4)
    if what == 0:
        os.mkfifo(path)
    elif what == 1:
        path.mkdir()
    elif what == 2:
        path.symlink_to("/dev/zero")
    else:
        modes = draw.choice(["1", "L", "LA", "P", "RGBA", "CMYK", "I;16", "F"])
        Image.new(modes, (draw.choice([1, 140, 3000]), 150)).save(path, draw.choice(["TIFF"]))


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


# ---- all of them -------------------------------------------------------------------------------------------


class Lane:
    """One process that runs cases, started anew where it dies or hangs."""

    def __init__(self, root: Path, place: Path, limit: float) -> None:
        self._root, self._place, self._limit = root, place, limit
        self._process: Any = None

    def run(self, kind: str, seed: int) -> list[str]:
        """The faults of a case."""
        if self._process is None:
            self._start()
        self._connection.send((kind, seed))
        last: object = "the preparation"
        started = time.monotonic()
        while True:
            try:
                if not self._connection.poll(self._limit):
                    return self._lost(f"hangs in {last} for over {time.monotonic() - started:.0f} s")
                word, value = self._connection.recv()
            except (EOFError, ConnectionError):
                return self._lost(f"dies in {last}")
            if word == "done":
                return list(value)
            last = f"command {value}"

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._place.mkdir(exist_ok=True)
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=quietly, args=(theirs, self._root, self._place), daemon=True)
        self._process.start()
        theirs.close()
        self._connection.recv()

    def _lost(self, what: str) -> list[str]:
        self._process.kill()
        self._process.join()
        what += f" (exit {self._process.exitcode})"
        self._process = None
        return [what]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0, help="of the first case")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--limit", type=float, default=10, help="seconds that a command may take")
    parser.add_argument("--only", choices=SHARE)
    options = parser.parse_args()
    kinds = [kind for kind, share in SHARE.items() for _ in range(round(share * options.cases))]
    orders = [(options.only or kind, options.seed + number) for number, kind in enumerate(kinds)]
    faulty, done, lock = [], Counter[str](), threading.Lock()
    with tempfile.TemporaryDirectory(prefix="dimtool-fuzz-") as name:
        root = Path(name)
        (root / "outside").mkdir()
        os.mkfifo(root / "outside" / "pipe")
        make_set(root)

        def work(lane: Lane) -> None:
            while True:
                with lock:
                    if not orders:
                        return
                    kind, seed = orders.pop()
                faults = lane.run(kind, seed)
                with lock:
                    done[kind] += 1
                    faulty.extend((kind, seed, fault) for fault in faults)
                    for fault in faults:
                        print(f"FAULT {kind} {seed}: {fault}", flush=True)
                    if done.total() % 100 == 0:
                        print(
                            f"{done.total()} of {len(kinds)}, {len(faulty)} faults",
                            file=sys.stderr,
                            flush=True,
                        )

        lanes = [Lane(root, root / f"lane{k}", options.limit) for k in range(options.jobs)]
        threads = [threading.Thread(target=work, args=(lane,)) for lane in lanes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for kind, number in done.items():
        print(f"{kind:12}{number:6} cases {sum(each[0] == kind for each in faulty):6} faults")
    return 1 if faulty else 0


if __name__ == "__main__":
    sys.exit(main())
