"""Single bits and whole chunks: what a disk does to a shard is found, and the shard named."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py

from dimtool.composer.engines.local import LocalProcesses
from dimtool.composer.verification.check_shard import check_shard
from dimtool.composer.verification.subject import ShardTask
from dimtool.composer.verification.verify import Scope, verify_composites
from dimtool.progress import Silent

NAME = "0000-f0.h5"
STACKS = ("composite", "background")
SHARED = ("foreground", "alpha", "distance")
# What neither digests nor rules speak of: only the SHA-256 of the file, the lists and the sources do.
UNPROVED = {"background_name", "background_size", "background_source"}


# ---- single bits, and chunks -------------------------------------------------------------------------------


def test_200_flipped_bits(folder: Path, record_property: Callable[..., None], bench: Any) -> None:
    """The file's SHA-256 finds each. Without it, decoding finds each that changes anything at all."""
    whole, expected, record = (folder / NAME).read_bytes(), bench.content(folder / NAME), bench.first(folder)
    owner, rng, figures = bench.owners(folder / NAME), random.Random(200), Counter[str]()
    for _ in range(200):
        byte, bit = rng.randrange(len(whole)), rng.randrange(8)
        damaged = bytearray(whole)
        damaged[byte] ^= 1 << bit
        (folder / NAME).write_bytes(damaged)
        report = check_shard(ShardTask(folder=folder, split="train", record=record))
        assert "files" in bench.kinds(report)
        found = bench.kinds(report) - {"files"}
        figures["+".join(sorted(found)) if found else "only by SHA-256"] += 1
        if not found:
            after = bench.content(folder / NAME)
            assert {name for name in expected if expected[name] != after[name]} <= UNPROVED, (byte, bit)
        elif byte % 10 == 0:
            unhashed = ShardTask(folder=folder, split="train", record=record, hash_file=False)
            assert bench.kinds(check_shard(unhashed)) == found
        assert found or owner(byte) in (*STACKS, *SHARED, *UNPROVED, "")
    record_property("flipped bits", dict(figures))
    assert figures["only by SHA-256"] < 20


def test_flipped_bits_in_every_structure_of_hdf5(folder: Path, bench: Any) -> None:
    """Outside of the datasets' values: checksums, or nothing that matters; never an exception."""
    whole, expected, record = (folder / NAME).read_bytes(), bench.content(folder / NAME), bench.first(folder)
    owner, rng = bench.owners(folder / NAME), random.Random(1)
    structure = [byte for byte in range(len(whole)) if not owner(byte)]
    task = ShardTask(folder=folder, split="train", record=record, hash_file=False)
    for byte in rng.sample(structure, 100):
        damaged = bytearray(whole)
        damaged[byte] ^= 1 << rng.randrange(8)
        (folder / NAME).write_bytes(damaged)
        if found := bench.kinds(check_shard(task)):
            assert found == {"format"}
        else:
            assert bench.content(folder / NAME) == expected


def zero(_: Any, path: Path, name: str, rng: random.Random) -> int:
    """Overwrite a chunk with zeros, as a lost sector would."""
    with h5py.File(path) as file:
        info = file[name].id.get_chunk_info(rng.randrange(file[name].id.get_num_chunks()))
    with path.open("r+b") as stream:
        stream.seek(info.byte_offset)
        stream.write(bytes(info.size))
    return int(info.chunk_offset[0])


def swap(bench: Any, path: Path, name: str, rng: random.Random) -> int:
    """Let two chunks change places."""
    with h5py.File(path, "r+", libver=("v110", "v110")) as file:
        streams = bench.streams_of(file[name])
        (first_place, first_one), (other_place, other) = rng.sample(sorted(streams.items()), 2)
        while first_one == other:
            (first_place, first_one), (other_place, other) = rng.sample(sorted(streams.items()), 2)
        file[name].id.write_direct_chunk(first_place, other)
        file[name].id.write_direct_chunk(other_place, first_one)
    return first_place[0]


def remove(bench: Any, path: Path, name: str, rng: random.Random) -> int:
    """Leave a chunk out: it reads as zeros."""
    with h5py.File(path, "r+", libver=("v110", "v110")) as file:
        streams = bench.streams_of(file[name])
        offset = rng.choice(sorted(streams))
        del streams[offset]
        bench.replace_streams(file, name, streams)
    return offset[0]


def test_50_zeroed_swapped_or_removed_chunks(
    pristine: tuple[Path, Path], tmp_path: Path, record_property: Callable[..., None], bench: Any
) -> None:
    """Each is found, in its shard and in no other; in a stack, the composite is named too."""
    rng, figures = random.Random(50), Counter[str]()
    for number in range(50):
        folder = shutil.copytree(pristine[1], tmp_path / str(number))
        (folder / ".build" / "lists.json").unlink()
        bad, name = rng.choice(["0000-f0.h5", "0001-f1.h5"]), rng.choice([*STACKS, *STACKS, *SHARED])
        spoil = (zero, swap, remove)[number % 3]
        layer = spoil(bench, folder / bad, name, rng)
        findings = verify_composites(
            [folder], Scope(), engine=LocalProcesses(workers=1), reporter=Silent()
        ).findings
        assert {finding.shard for finding in findings} == {bad}
        inside = {finding.check for finding in findings} - {"files"}
        assert inside, (spoil, bad, name)
        figures["+".join(sorted(inside))] += 1
        if name in STACKS and "pixels" in inside:
            assert layer in {finding.composite for finding in findings}
        shutil.rmtree(folder)
    record_property("chunks", dict(figures))
