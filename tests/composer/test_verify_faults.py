"""Every fault of a shard is planted, found, and named: in the file, its format, its pixels, its sources."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from dimtool.composer import check_shard as checks
from dimtool.composer import check_sources
from dimtool.composer.check_shard import ShardReport, check_shard
from dimtool.composer.engine import LocalProcesses
from dimtool.composer.findings import Finding
from dimtool.composer.images import Source
from dimtool.composer.index import ShardRecord, read_index
from dimtool.composer.manifest import Lists, read_manifest
from dimtool.composer.subject import ShardTask
from dimtool.composer.tiles import encode, stream_header
from dimtool.composer.verify import Scope, verify_composites

NAME = "0000-f0.h5"
STACKS = ("composite", "background")
SHARED = ("foreground", "alpha", "distance")
# What neither digests nor rules speak of: only the SHA-256 of the file, the lists and the sources do.
UNPROVED = {"background_name", "background_size", "background_source"}

Streams = dict[tuple[int, ...], bytes]


# ---- a shard to damage -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
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
    return shutil.copytree(pristine[1], tmp_path / "shards")


@pytest.fixture
def sources(pristine: tuple[Path, Path], tmp_path: Path) -> Path:
    return shutil.copytree(pristine[0], tmp_path / "set")


def check(folder: Path, root: Path | None = None, **options: Any) -> ShardReport:
    """Check the first shard, whose size and SHA-256 are taken for right; with sources, against those."""
    data = (folder / NAME).read_bytes()
    record = replace(first(folder), bytes=len(data), sha256=sha256(data).hexdigest())
    entry = None
    if root is not None:
        entry = read_manifest(Lists(fg_list=root / "train_fg.txt", per_fg=2)).entries[0]
    return check_shard(ShardTask(folder=folder, split="train", record=record, entry=entry, **options))


def first(folder: Path) -> ShardRecord:
    return read_index(folder).shards[0]


def kinds(report: ShardReport) -> set[str]:
    assert all((each.folder, each.shard) == (str(report.folder), NAME) for each in report.tally.findings)
    return {each.check for each in report.tally.findings}


def only(report: ShardReport, kind: str) -> Finding:
    assert kinds(report) == {kind}, report.tally.findings
    return report.tally.findings[0]


@contextmanager
def opened(folder: Path) -> Iterator[h5py.File]:
    with h5py.File(folder / NAME, "r+", libver=("v110", "v110")) as file:
        yield file


def streams_of(data: h5py.Dataset) -> Streams:
    offsets = [data.id.get_chunk_info(k).chunk_offset for k in range(data.id.get_num_chunks())]
    return {tuple(each): data.id.read_direct_chunk(each)[1] for each in offsets}


def rewrite(file: h5py.File, name: str, pixels: NDArray[Any]) -> None:
    """Other values in a dataset, with the codec and the digests that belong to them."""
    if name not in STACKS:
        file[name][...] = pixels
        if name in ("foreground", "alpha"):
            both = file.attrs[f"{name}_source"]
            both[1] = np.frombuffer(sha256(pixels.tobytes()).digest(), np.uint8)
            file.attrs[f"{name}_source"] = both
        return
    data, (_, rows, columns, _) = file[name], file[name].chunks
    padded = np.pad(pixels, [(0, 0), *((0, -side % 128) for side in pixels.shape[1:3]), (0, 0)])
    for i, y, x, _ in streams_of(data):
        tile = padded[i, y : y + rows, x : x + columns]
        data.id.write_direct_chunk((i, y, x, 0), encode(tile))
    digest = file["digest"][...]
    for i, image in enumerate(pixels):
        digest[i, STACKS.index(name)] = np.frombuffer(sha256(image.tobytes()).digest(), np.uint8)
    file["digest"][...] = digest


def place(folder: Path, low: int, high: int) -> tuple[int, int]:
    """A pixel whose alpha is within the bounds and whose background is kept, where it has one to keep."""
    with h5py.File(folder / NAME) as file:
        alpha, distance = file["alpha"][...].astype(int), file["distance"][...]
    y, x = np.argwhere((alpha >= low) & (alpha <= high) & ((alpha == 0) | (distance <= 64)))[7].tolist()
    return y, x


def test_an_untouched_shard_has_no_finding(pristine: tuple[Path, Path]) -> None:
    root, out = pristine
    report = check(out, root)
    assert not report.tally.findings
    assert report.tally.tried == {
        "files": 1, "format": 1, "maps": 1, "pixels": 2, "composition": 2, "source": 4, "decoder": 4
    }  # fmt: skip


def test_the_set_has_what_the_tests_need(pristine: tuple[Path, Path]) -> None:
    """Several tiles an image, some of the backgrounds' not kept; pixels of every kind."""
    with h5py.File(pristine[1] / NAME) as file:
        assert len(streams_of(file["composite"])) == 8
        assert 0 < len(streams_of(file["background"])) < 8
        alpha = file["alpha"][...]
    for values in (alpha == 0, alpha == 255, (alpha > 0) & (alpha < 255)):
        assert values.sum() > 100


# ---- the file ----------------------------------------------------------------------------------------------


def test_wrong_size_and_wrong_sha256(pristine: tuple[Path, Path]) -> None:
    _, out = pristine
    record = first(out)
    for wrong, words in (
        (replace(record, bytes=record.bytes + 1), "size"),
        (replace(record, sha256="0" * 64), "SHA-256"),
    ):
        report = check_shard(ShardTask(folder=out, split="train", record=wrong))
        finding = only(report, "files")
        assert words in finding.what
        assert finding.expected != finding.found
    unhashed = ShardTask(folder=out, split="train", record=wrong, hash_file=False)
    assert not check_shard(unhashed).tally.findings


def test_a_file_that_the_disk_cannot_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Path) -> str:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(checks, "file_sha256", broken)
    assert "Input/output error" in only(check(folder), "files").what


@pytest.mark.parametrize("left", [0, 1, 100, 5_000, -100_000, -4_000, -1])
def test_a_truncated_shard(folder: Path, left: int) -> None:
    whole = (folder / NAME).read_bytes()
    (folder / NAME).write_bytes(whole[:left])
    report = check_shard(ShardTask(folder=folder, split="train", record=first(folder)))
    assert kinds(report) == {"files", "format"}
    assert report.tally.findings[0].found == str(len(whole[:left]))
    assert report.facts is None


def test_what_is_no_hdf5_at_all(folder: Path) -> None:
    (folder / NAME).write_bytes(bytes(10_000))
    assert "cannot be opened" in only(check(folder), "format").what


# ---- the format --------------------------------------------------------------------------------------------

DATASETS = [*STACKS, *SHARED, "centers", "background_name", "background_size", "background_source", "digest"]


@pytest.mark.parametrize("name", DATASETS)
def test_a_missing_dataset(folder: Path, name: str) -> None:
    with opened(folder) as file:
        del file[name]
    assert name in only(check(folder), "format").what


@pytest.mark.parametrize("name", [name for name in DATASETS if name != "background_name"])
@pytest.mark.parametrize("other", ["group", "nowhere", "empty", "longer", "wider type", "float"])
def test_something_else_in_place_of_a_dataset(folder: Path, name: str, other: str) -> None:
    with opened(folder) as file:
        values = file[name][...]
        del file[name]
        if other == "group":
            file.create_group(name)
        elif other == "nowhere":
            file[name] = h5py.SoftLink("/there/is/nothing")
        elif other == "empty":
            file[name] = h5py.Empty("u1")
        elif other == "longer":
            file[name] = np.concatenate([values, values[:, :1]], axis=1)
        else:
            file[name] = values.astype(">u2" if other == "wider type" else "f4")
    assert name in only(check(folder), "format").what


@pytest.mark.parametrize(
    ("name", "value"),
    [("version", 2), ("format", "dimtool-index"), ("split", "test"), ("index", 1), ("foreground", "f1.png"),
     ("foreground_source", np.zeros((2, 3), "u1")), ("alpha_source", 0), ("versions", "{")],
)  # fmt: skip
def test_a_wrong_attribute(folder: Path, name: str, value: object) -> None:
    with opened(folder) as file:
        file.attrs[name] = value
    only(check(folder), "format")


@pytest.mark.parametrize("name", ["background_radius", "foreground_source", "versions", "format"])
def test_a_missing_attribute(folder: Path, name: str) -> None:
    with opened(folder) as file:
        del file.attrs[name]
    assert "run `dimtool verify" not in only(check(folder), "format").what


def test_another_radius_asks_for_other_tiles(folder: Path) -> None:
    with opened(folder) as file:
        file.attrs["background_radius"] = 255
        file["alpha"][...] = 255
    assert "background has another number of tiles" in only(check(folder, maps=False), "format").what


def test_a_shard_of_fewer_composites(folder: Path) -> None:
    report = check_shard(
        ShardTask(folder=folder, split="train", record=replace(first(folder), composites=3), hash_file=False)
    )
    assert "not the shard that the index names" in only(report, "format").what


def replace_stack(file: h5py.File, name: str, streams: Streams, **layout: Any) -> None:
    shape, chunks = file[name].shape, layout.pop("chunks", file[name].chunks)
    del file[name]
    data = file.create_dataset(
        name, shape=shape, dtype="u1", chunks=chunks, **{"compression": 32033, **layout}
    )
    for offset, stream in streams.items():
        data.id.write_direct_chunk(offset, stream)


@pytest.mark.parametrize("name", STACKS)
def test_a_missing_tile(folder: Path, name: str) -> None:
    with opened(folder) as file:
        streams = streams_of(file[name])
        streams.popitem()
        replace_stack(file, name, streams)
    finding = only(check(folder), "format")
    assert int(finding.expected) == int(finding.found) + 1


def test_a_tile_too_many_where_another_is_missing(folder: Path) -> None:
    """The number is right; a tile that is not to be kept has taken the place of one that is."""
    with opened(folder) as file:
        streams = streams_of(file["background"])
        free = ({(0, y, x, 0) for y in (0, 128) for x in (0, 128)} - streams.keys()).pop()
        streams[free] = streams.pop((1, 0, 0, 0))
        replace_stack(file, "background", streams)
    report = check(folder)
    assert kinds(report) == {"pixels"}
    assert [each.composite for each in report.tally.findings] == [0, 1]


@pytest.mark.parametrize(
    "layout",
    [{"chunks": None, "compression": None}, {"compression": "gzip"}, {"chunks": (1, 64, 64, 3)},
     {**hdf5plugin.Zstd()}],
    ids=["contiguous", "gzip", "64", "zstd"],
)  # fmt: skip
def test_another_layout(folder: Path, layout: dict[str, Any]) -> None:
    with opened(folder) as file:
        pixels = file["composite"][...]
        replace_stack(file, "composite", {}, **layout)
        if layout.get("chunks", ()) != (1, 64, 64, 3):  # the filter's own encoder is not at hand here
            file["composite"][...] = pixels
    assert "not cut into HTJ2K tiles" in only(check(folder), "format").what


def test_no_text_lies_where_damage_hangs_hdf5(pristine: tuple[Path, Path]) -> None:
    """A flipped bit in a size on the global heap, which has no checksum, sends HDF5 into an endless loop."""
    assert b"GCOL" not in (pristine[1] / NAME).read_bytes()


# ---- pixels ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STACKS)
@pytest.mark.parametrize("kind", [(1, 254), (255, 255)], ids=["between", "opaque"])
def test_one_wrong_value_in_a_tile_that_decodes_well(folder: Path, name: str, kind: tuple[int, int]) -> None:
    y, x = place(folder, *kind)
    with opened(folder) as file:
        digest, pixels = file["digest"][...], file[name][...]
        pixels[1, y, x, 2] ^= 1
        rewrite(file, name, pixels)
        file["digest"][...] = digest
    finding = only(check(folder), "pixels")
    assert finding.composite == 1
    assert name in finding.what


def test_a_wrong_digest(folder: Path) -> None:
    with opened(folder) as file:
        digest = file["digest"][...]
        digest[0, 1, 31] ^= 128
        file["digest"][...] = digest
    assert only(check(folder), "pixels").composite == 0


@pytest.mark.parametrize("kind", [(1, 254), (255, 255)], ids=["between", "opaque"])
def test_a_composite_that_is_not_the_composition_though_its_digest_is_right(
    folder: Path, kind: tuple[int, int]
) -> None:
    y, x = place(folder, *kind)
    with opened(folder) as file:
        pixels = file["composite"][...]
        pixels[1, y, x] ^= 1
        rewrite(file, "composite", pixels)
    finding = only(check(folder), "composition")
    assert finding.composite == 1
    assert finding.what.endswith("in 1 pixel")


def test_a_background_that_does_not_give_the_composite(folder: Path) -> None:
    y, x = place(folder, 1, 200)
    with opened(folder) as file:
        pixels = file["background"][...]
        pixels[0, y, x] ^= 128
        rewrite(file, "background", pixels)
    finding = only(check(folder), "composition")
    assert finding.composite == 0
    assert finding.what.endswith("in 1 pixel")


@pytest.mark.parametrize(
    ("name", "kind"), [("composite", (0, 0)), ("background", (255, 255))], ids=["outside", "under opaque"]
)
def test_only_the_sources_tell_what_no_rule_of_the_shard_does(
    folder: Path, sources: Path, name: str, kind: tuple[int, int]
) -> None:
    """Where alpha is 0 the composite is the background, and where it is 255 the background shows nowhere."""
    y, x = place(folder, *kind)
    with opened(folder) as file:
        pixels = file[name][...]
        pixels[1, y, x, 1] ^= 1
        rewrite(file, name, pixels)
    assert not check(folder).tally.findings
    finding = only(check(folder, sources), "composition")
    assert finding.composite == 1
    assert finding.what.endswith("in 1 pixel")
    assert "source" in finding.what


def test_a_tile_that_is_no_code_stream(folder: Path) -> None:
    with opened(folder) as file:
        file["background"].id.write_direct_chunk((1, 0, 0, 0), b"no code stream at all")
    finding = only(check(folder), "pixels")
    assert finding.composite == 1
    assert "row 0, column 0" in finding.what


def test_a_tile_cut_off_inside_its_header_or_body(folder: Path) -> None:
    with h5py.File(folder / NAME) as file:
        whole = file["composite"].id.read_direct_chunk((0, 0, 0, 0))[1]
    for left in (0, 20, 96, 130, 5_000, len(whole) // 2):
        with opened(folder) as file:
            file["composite"].id.write_direct_chunk((0, 0, 0, 0), whole[:left] or b"\0")
        assert only(check(folder), "pixels").composite == 0


def test_a_tile_that_says_that_its_codec_was_not_used(folder: Path) -> None:
    """HDF5 would hand out the code stream itself as pixels."""
    with opened(folder) as file:
        streams = streams_of(file["composite"])
        skipped = streams.pop((0, 0, 0, 0))
        replace_stack(file, "composite", streams)
        file["composite"].id.write_direct_chunk((0, 0, 0, 0), skipped, filter_mask=1)
    assert only(check(folder), "pixels").composite == 0


def test_other_composites_are_still_looked_at(folder: Path) -> None:
    """After one that cannot be decoded, and with the tiles that are as they were in the one before."""
    with opened(folder) as file:
        file["composite"].id.write_direct_chunk((0, 128, 0, 0), b"no code stream at all")
    report = check(folder)
    assert [each.composite for each in report.tally.findings] == [0]
    assert report.tally.tried["composition"] == 1


def test_every_stream_begins_as_the_header_says() -> None:
    """The encoder's settings are part of the format; a release with others must not go unnoticed."""
    for rows, columns in ((1, 1), (1, 128), (5, 7), (64, 100), (128, 128)):
        tile = np.random.default_rng(rows).integers(0, 256, (rows, columns, 3), dtype=np.uint8)
        header = stream_header(rows, columns)
        assert encode(tile).startswith(header + b"\xff\x64")  # where the encoder's name follows


HOSTILE = """
import sys
from pathlib import Path
from dimtool.composer.check_shard import check_shard
from dimtool.composer.subject import ShardTask
from dimtool.composer.index import read_index
folder = Path(sys.argv[1])
task = ShardTask(folder=folder, split="train", record=read_index(folder).shards[0], hash_file=False)
print(*(finding.check for finding in check_shard(task).tally.findings))
"""


@pytest.mark.parametrize(("byte", "bit"), [(16, 0), (9, 5), (78, 4)], ids=["offset", "width", "guard bits"])
def test_headers_that_the_decoder_does_not_survive(folder: Path, byte: int, bit: int) -> None:
    """OpenJPH never ends, takes gigabytes, or crashes on these: it must not see them."""
    with opened(folder) as file:
        stream = bytearray(file["composite"].id.read_direct_chunk((0, 0, 0, 0))[1])
        stream[byte] ^= 1 << bit
        file["composite"].id.write_direct_chunk((0, 0, 0, 0), bytes(stream))
    done = subprocess.run(
        [sys.executable, "-c", HOSTILE, str(folder)], capture_output=True, text=True, timeout=60, check=True
    )
    assert set(done.stdout.split()) - {"files"} == {"pixels"}


# ---- what all composites share -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", SHARED)
def test_a_wrong_shared_array(folder: Path, name: str) -> None:
    y, x = place(folder, 255, 255)
    with opened(folder) as file:
        pixels = file[name][...]
        pixels[y, x] ^= 1
        file[name][...] = pixels
    report = check(folder)
    assert "maps" in kinds(report)
    assert kinds(report) <= {"maps", "composition"}
    assert name in report.tally.findings[0].what


@pytest.mark.parametrize("how", ["moved", "another order", "one less"])
def test_wrong_centers(folder: Path, how: str) -> None:
    with opened(folder) as file:
        centers = file["centers"][...]
        del file["centers"]
        changed = {"moved": centers + (centers == centers[0]), "another order": centers[::-1]}
        file["centers"] = changed.get(how, centers[1:]).astype(np.uint16)
    assert "centers" in only(check(folder), "maps").what


def test_a_foreground_with_its_digest(folder: Path) -> None:
    """Wrong in itself: the composites were made from another."""
    y, x = place(folder, 255, 255)
    with opened(folder) as file:
        pixels = file["foreground"][...]
        pixels[y, x] ^= 1
        rewrite(file, "foreground", pixels)
    assert only(check(folder), "composition").what.endswith("in 1 pixel")


# ---- sources -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["fg/f0.png", "alpha/f0.png", "bg/b1.jpg"])
def test_a_source_that_was_saved_again(folder: Path, sources: Path, name: str) -> None:
    """Other bytes, the same pixels: told, and not taken for a wrong composite."""
    path = sources / name
    pixels = np.asarray(Image.open(path))
    Image.fromarray(pixels).save(path, format="PNG", compress_level=1)
    finding = only(check(folder, sources), "source")
    assert finding.what.endswith("has changed since the build, its pixels are the same")
    assert str(path) in finding.what
    assert finding.composite == (1 if "bg" in name else None)


@pytest.mark.parametrize("name", ["fg/f0.png", "alpha/f0.png", "bg/b1.jpg"])
def test_a_source_with_other_pixels(folder: Path, sources: Path, name: str) -> None:
    path = sources / name
    pixels = np.asarray(Image.open(path)).copy()
    pixels[3, 3] ^= 255
    Image.fromarray(pixels).save(path, format="PNG")
    finding = only(check(folder, sources), "source")
    assert finding.what.endswith("has changed since the build, its pixels too")


@pytest.mark.parametrize("damage", [b"", b"no image"])
def test_a_source_that_is_damaged(folder: Path, sources: Path, damage: bytes) -> None:
    (sources / "bg" / "b0.jpg").write_bytes(damage)
    finding = only(check(folder, sources), "source")
    assert finding.composite == 0
    assert str(sources / "bg" / "b0.jpg") in finding.what


@pytest.mark.parametrize(("name", "i"), [("foreground", None), ("alpha", None), ("background", 1)])
def test_a_decoder_of_another_version(
    folder: Path, sources: Path, monkeypatch: pytest.MonkeyPatch, name: str, i: int | None
) -> None:
    """The file is the same and decodes to other pixels: that is neither its fault nor the composite's."""
    read = getattr(check_sources, f"read_{name}")

    def off_by_one(path: Path) -> Source:
        source = read(path)
        wrong = source.pixels ^ 1 if path.name != "b0.jpg" else source.pixels
        return Source(path, wrong, source.file_sha256)

    monkeypatch.setattr(check_sources, f"read_{name}", off_by_one)
    finding = only(check(folder, sources), "decoder")
    assert finding.composite == i
    assert "the same file" in finding.what
    assert "pillow" in finding.expected
    assert "pillow" in finding.found


def test_a_stored_digest_of_other_pixels(folder: Path, sources: Path) -> None:
    """As another decoder would have left it."""
    with opened(folder) as file:
        digests = file["background_source"][...]
        digests[0, 1] ^= 255
        file["background_source"][...] = digests
    assert only(check(folder, sources), "decoder").composite == 0


def test_a_source_that_changed_hides_no_wrong_composite_of_another(folder: Path, sources: Path) -> None:
    y, x = place(folder, 0, 0)
    with opened(folder) as file:
        pixels = file["composite"][...]
        pixels[1, y, x] ^= 1
        rewrite(file, "composite", pixels)
    (sources / "bg" / "b0.jpg").write_bytes(b"")
    report = check(folder, sources)
    assert [(each.check, each.composite) for each in report.tally.findings] == [
        ("source", 0), ("composition", 1)
    ]  # fmt: skip


# ---- single bits, and chunks -------------------------------------------------------------------------------


def content(path: Path) -> dict[str, object]:
    """Everything in a shard, read by plain h5py."""
    with h5py.File(path, locking=False) as file:
        attributes = {f"@{name}": np.asarray(value).tolist() for name, value in file.attrs.items()}
        return attributes | {
            name: (data.shape, data.dtype.str, data[...].tobytes()) for name, data in file.items()
        }


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

    def owner(byte: int) -> str:
        return next((name for start, size, name in spans if start <= byte < start + size), "")

    return owner


def test_200_flipped_bits(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], record_property: Callable[..., None]
) -> None:
    """The file's SHA-256 finds each. Without it, decoding finds each that changes anything at all."""
    whole, expected, record = (folder / NAME).read_bytes(), content(folder / NAME), first(folder)
    owner, rng, figures = owners(folder / NAME), random.Random(200), Counter[str]()
    for _ in range(200):
        byte, bit = rng.randrange(len(whole)), rng.randrange(8)
        damaged = bytearray(whole)
        damaged[byte] ^= 1 << bit
        (folder / NAME).write_bytes(damaged)
        report = check_shard(ShardTask(folder=folder, split="train", record=record))
        assert "files" in kinds(report)
        found = kinds(report) - {"files"}
        figures["+".join(sorted(found)) if found else "only by SHA-256"] += 1
        if not found:
            after = content(folder / NAME)
            assert {name for name in expected if expected[name] != after[name]} <= UNPROVED, (byte, bit)
        elif byte % 10 == 0:
            unhashed = ShardTask(folder=folder, split="train", record=record, hash_file=False)
            assert kinds(check_shard(unhashed)) == found
        assert found or owner(byte) in (*STACKS, *SHARED, *UNPROVED, "")
    record_property("flipped bits", dict(figures))
    assert figures["only by SHA-256"] < 50


def test_flipped_bits_in_every_structure_of_hdf5(folder: Path) -> None:
    """Outside of the datasets' values: checksums, or nothing that matters; never an exception."""
    whole, expected, record = (folder / NAME).read_bytes(), content(folder / NAME), first(folder)
    owner, rng = owners(folder / NAME), random.Random(1)
    structure = [byte for byte in range(len(whole)) if not owner(byte)]
    task = ShardTask(folder=folder, split="train", record=record, hash_file=False)
    for byte in rng.sample(structure, 100):
        damaged = bytearray(whole)
        damaged[byte] ^= 1 << rng.randrange(8)
        (folder / NAME).write_bytes(damaged)
        if found := kinds(check_shard(task)):
            assert found == {"format"}
        else:
            assert content(folder / NAME) == expected


def zero(path: Path, name: str, rng: random.Random) -> int:
    """Overwrite a chunk with zeros, as a lost sector would."""
    with h5py.File(path) as file:
        info = file[name].id.get_chunk_info(rng.randrange(file[name].id.get_num_chunks()))
    with path.open("r+b") as stream:
        stream.seek(info.byte_offset)
        stream.write(bytes(info.size))
    return int(info.chunk_offset[0])


def swap(path: Path, name: str, rng: random.Random) -> int:
    """Let two chunks change places."""
    with h5py.File(path, "r+", libver=("v110", "v110")) as file:
        streams = streams_of(file[name])
        (first_place, first_one), (other_place, other) = rng.sample(sorted(streams.items()), 2)
        while first_one == other:
            (first_place, first_one), (other_place, other) = rng.sample(sorted(streams.items()), 2)
        file[name].id.write_direct_chunk(first_place, other)
        file[name].id.write_direct_chunk(other_place, first_one)
    return first_place[0]


def remove(path: Path, name: str, rng: random.Random) -> int:
    """Leave a chunk out: it reads as zeros."""
    with h5py.File(path, "r+", libver=("v110", "v110")) as file:
        streams = streams_of(file[name])
        offset = rng.choice(sorted(streams))
        del streams[offset]
        if name in STACKS:
            replace_stack(file, name, streams)
        else:
            replace_stack(file, name, streams, **hdf5plugin.Zstd(clevel=9))
    return offset[0]


class _Nobody:
    def planned(self, composites: int) -> None:
        pass

    def checked(self, report: object) -> None:
        pass


def test_50_zeroed_swapped_or_removed_chunks(
    pristine: tuple[Path, Path], tmp_path: Path, record_property: Callable[..., None]
) -> None:
    """Each is found, in its shard and in no other; in a stack, the composite is named too."""
    rng, figures = random.Random(50), Counter[str]()
    spoilers = [partial(each) for each in (zero, swap, remove)]
    for number in range(50):
        folder = shutil.copytree(pristine[1], tmp_path / str(number))
        (folder / ".build" / "lists.json").unlink()
        bad, name = rng.choice(["0000-f0.h5", "0001-f1.h5"]), rng.choice([*STACKS, *STACKS, *SHARED])
        spoil = spoilers[number % 3]
        layer = spoil(folder / bad, name, rng)
        findings = verify_composites(
            [folder], Scope(), engine=LocalProcesses(workers=1), reporter=_Nobody()
        ).findings
        assert {finding.shard for finding in findings} == {bad}
        inside = {finding.check for finding in findings} - {"files"}
        assert inside, (spoil, bad, name)
        figures["+".join(sorted(inside))] += 1
        if name in STACKS and "pixels" in inside:
            assert layer in {finding.composite for finding in findings}
        shutil.rmtree(folder)
    record_property("chunks", dict(figures))
