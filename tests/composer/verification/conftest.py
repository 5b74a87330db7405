"""Shards to damage, the tools to do it with, and the command with its outcome as values."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from blake3 import blake3
from numpy.typing import NDArray
from PIL import Image

from dimtool.composer.shards.index import ShardRecord, read_index
from dimtool.composer.shards.tiles import encode
from dimtool.composer.sources.lists import Lists
from dimtool.composer.sources.manifest import read_manifest
from dimtool.composer.verification.check_shard import ShardReport, check_shard
from dimtool.composer.verification.findings import Finding
from dimtool.composer.verification.subject import ShardTask

NAME = "0000-f0.h5"
STACKS = ("composite", "background")

Streams = dict[tuple[int, ...], bytes]


# ---- one shard ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def pristine(
    image_set: Callable[..., Path], build: Any, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """Sources and shards of two foregrounds of 240 x 240 and 247 x 253 over two backgrounds: 2 x 2 tiles."""
    root = image_set(tmp_path_factory.mktemp("sources"), foregrounds=2, side=240)
    # Opaque in the middle, with a hard edge to the right, and empty from there on.
    for path in (root / "alpha").iterdir():
        alpha = np.asarray(Image.open(path)).copy()
        alpha[:, 120:] = 0
        Image.fromarray(alpha).save(path)
    out = tmp_path_factory.mktemp("shards") / "train"
    assert build(root, out).code == 0
    return root, out


@pytest.fixture
def folder(pristine: tuple[Path, Path], tmp_path: Path) -> Path:
    """A copy of the shards, to be damaged."""
    return shutil.copytree(pristine[1], tmp_path / "shards")


@pytest.fixture
def root(pristine: tuple[Path, Path], tmp_path: Path) -> Path:
    """A copy of their sources."""
    return shutil.copytree(pristine[0], tmp_path / "set")


class Bench:
    """What the tests do to the first shard of a folder, and how they look at it."""

    @staticmethod
    def first(folder: Path) -> ShardRecord:
        return read_index(folder).shards[0]

    def check(self, folder: Path, root: Path | None = None, **options: Any) -> ShardReport:
        """Check the shard, whose size and SHA-256 are taken for right; with sources, against those."""
        data = (folder / NAME).read_bytes()
        record = replace(self.first(folder), bytes=len(data), sha256=sha256(data).hexdigest())
        entry = None
        if root is not None:
            entry = read_manifest(Lists(fg_list=root / "train_fg.txt", per_fg=2)).entries[0]
        return check_shard(ShardTask(folder=folder, split="train", record=record, entry=entry, **options))

    @staticmethod
    def kinds(report: ShardReport) -> set[str]:
        """The checks that found something."""
        assert all((each.folder, each.shard) == (str(report.folder), NAME) for each in report.tally.findings)
        return {each.check for each in report.tally.findings}

    def only(self, report: ShardReport, kind: str) -> Finding:
        """The first finding, where all are of one check."""
        assert self.kinds(report) == {kind}, report.tally.findings
        return report.tally.findings[0]

    @staticmethod
    @contextmanager
    def opened(folder: Path) -> Iterator[h5py.File]:
        with h5py.File(folder / NAME, "r+", libver=("v110", "v110")) as file:
            yield file

    @staticmethod
    def streams_of(data: h5py.Dataset) -> Streams:
        """Each chunk as it is stored, by its place."""
        offsets = [data.id.get_chunk_info(k).chunk_offset for k in range(data.id.get_num_chunks())]
        return {tuple(each): data.id.read_direct_chunk(each)[1] for each in offsets}

    @staticmethod
    def replace_streams(file: h5py.File, name: str, streams: Streams) -> None:
        """The same dataset with other chunks, or fewer: HDF5 has no way to remove one."""
        old = file[name].id
        parts = old.get_type(), old.get_space(), old.get_create_plist()
        del file[name]
        data = h5py.h5d.create(file.id, name.encode(), *parts)
        for offset, stream in streams.items():
            data.write_direct_chunk(offset, stream)

    def rewrite(self, file: h5py.File, name: str, pixels: NDArray[Any]) -> None:
        """Other values in a stack, with the codec and the digests that belong to them."""
        data, (_, rows, columns, _) = file[name], file[name].chunks
        over = (0, -pixels.shape[1] % rows), (0, -pixels.shape[2] % columns)
        padded = np.pad(pixels, [(0, 0), *over, (0, 0)])
        for i, y, x, _ in self.streams_of(data):
            tile = padded[i, y : y + rows, x : x + columns]
            data.id.write_direct_chunk((i, y, x, 0), encode(tile))
        digest = file["digest"][...]
        for i, image in enumerate(pixels):
            digest[i, STACKS.index(name)] = np.frombuffer(blake3(image.tobytes()).digest(), np.uint8)
        file["digest"][...] = digest

    @staticmethod
    def place(folder: Path, low: int, high: int) -> tuple[int, int]:
        """A pixel whose alpha is within the bounds, and whose background is kept where it has one to keep."""
        with h5py.File(folder / NAME) as file:
            alpha, distance = file["alpha"][...].astype(int), file["distance"][...]
        inside = (alpha >= low) & (alpha <= high) & ((alpha == 0) | (distance <= 64))
        y, x = np.argwhere(inside)[7].tolist()
        return y, x

    @staticmethod
    def content(path: Path) -> dict[str, object]:
        """Everything in a shard, read by plain h5py."""
        with h5py.File(path, locking=False) as file:
            attributes = {f"@{name}": np.asarray(value).tolist() for name, value in file.attrs.items()}
            return attributes | {
                name: (data.shape, data.dtype.str, data[...].tobytes()) for name, data in file.items()
            }

    @staticmethod
    def owners(path: Path) -> Callable[[int], str]:
        """Which dataset's values a byte of the file holds; empty for HDF5's own structures."""
        spans = []
        with h5py.File(path) as file:
            for name, data in file.items():
                if data.chunks is None:
                    spans.append((data.id.get_offset(), data.id.get_storage_size(), name))
                    continue
                for k in range(data.id.get_num_chunks()):
                    info = data.id.get_chunk_info(k)
                    spans.append((info.byte_offset, info.size, name))
        return lambda byte: next((name for at, size, name in spans if at <= byte < at + size), "")


@pytest.fixture(scope="session")
def bench() -> Bench:
    return Bench()


# ---- a whole set -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Verdict:
    """The outcome of the command as it prints it for programs."""

    code: int
    lines: list[str]
    values: dict[str, Any]

    @property
    def found(self) -> list[tuple[str, str, int | None]]:
        """Check, shard and composite of each finding."""
        return [(each["check"], each["shard"], each["composite"]) for each in self.values["findings"]]

    @property
    def tried(self) -> dict[str, int]:
        return {name: check["tried"] for name, check in self.values["checks"].items() if check["tried"]}


@pytest.fixture(scope="session")
def judge(command: Any) -> Callable[..., Verdict]:
    """Verify, in this process if nothing else is said."""

    def call(*arguments: object, jobs: int = 1) -> Verdict:
        outcome = command("verify-composites", *arguments, "--jobs", jobs, "--json")
        values: dict[str, Any] = json.loads(outcome.out)
        assert outcome.code == (1 if values["findings"] else 0)
        assert sum(check["wrong"] for check in values["checks"].values()) == len(values["findings"])
        return Verdict(outcome.code, outcome.lines, values)

    return call


@pytest.fixture(scope="session")
def damage() -> Callable[[Path, int], None]:
    """Make a composite impossible to decode; the file keeps its size."""

    def spoil(shard: Path, i: int) -> None:
        with h5py.File(shard) as file:
            info = file["composite"].id.get_chunk_info_by_coord((i, 0, 0, 0))
        with shard.open("r+b") as stream:
            stream.seek(info.byte_offset)
            stream.write(bytes(50))

    return spoil


@pytest.fixture(scope="session")
def edit_index() -> Callable[[Path, Callable[[dict[str, Any]], object]], None]:
    """Change what an index.json says."""

    def edit(out: Path, change: Callable[[dict[str, Any]], object]) -> None:
        content = json.loads((out / "index.json").read_text())
        change(content)
        (out / "index.json").write_text(json.dumps(content))

    return edit


@pytest.fixture
def mend(command: Any) -> Callable[..., tuple[int, dict[str, Any]]]:
    """Verify and repair; the exit code, and the repair as JSON (empty where there was nothing to repair)."""

    def call(*arguments: object) -> tuple[int, dict[str, Any]]:
        outcome = command("verify-composites", *arguments, "--repair", "--jobs", 1, "--json")
        return outcome.code, json.loads(outcome.out).get("repair", {})

    return call
