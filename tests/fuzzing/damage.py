"""How a file comes to be damaged or hostile: a change drawn at random, of its bytes or of what it says."""

from __future__ import annotations

import contextlib
import json
import os
import random
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
from PIL import Image

NASTY: list[Any] = [
    None, True, -1, 0, 2**31, 2**63, 10**40, 1.5, "", "x" * 5000, "../../outside", "/etc/passwd", "a\0b",
    "\x1b[2J", [], {}, [[[]]], {"a": 1},
]  # fmt: skip


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
