"""Wrong pixels are planted and found: tiles, digests, compositions, shared arrays; sources are told apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from blake3 import blake3
from PIL import Image

from dimtool.composer.shards.tiles import encode, stream_header
from dimtool.composer.sources.images import Source
from dimtool.composer.verification import originals

NAME = "0000-f0.h5"
STACKS = ("composite", "background")
SHARED = ("foreground", "alpha", "distance")


# ---- pixels ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STACKS)
@pytest.mark.parametrize("kind", [(1, 254), (255, 255)], ids=["between", "opaque"])
def test_one_wrong_value_in_a_tile_that_decodes_well(
    folder: Path, name: str, kind: tuple[int, int], bench: Any
) -> None:
    y, x = bench.place(folder, *kind)
    with bench.opened(folder) as file:
        digest, pixels = file["digest"][...], file[name][...]
        pixels[1, y, x, 2] ^= 1
        bench.rewrite(file, name, pixels)
        file["digest"][...] = digest
    finding = bench.only(bench.check(folder), "pixels")
    assert finding.composite == 1
    assert name in finding.what


def test_a_wrong_digest(folder: Path, bench: Any) -> None:
    with bench.opened(folder) as file:
        digest = file["digest"][...]
        digest[0, 1, 31] ^= 128
        file["digest"][...] = digest
    assert bench.only(bench.check(folder), "pixels").composite == 0


@pytest.mark.parametrize("kind", [(1, 254), (255, 255)], ids=["between", "opaque"])
def test_a_composite_that_is_not_the_composition_though_its_digest_is_right(
    folder: Path, kind: tuple[int, int], bench: Any
) -> None:
    y, x = bench.place(folder, *kind)
    with bench.opened(folder) as file:
        pixels = file["composite"][...]
        pixels[1, y, x] ^= 1
        bench.rewrite(file, "composite", pixels)
    finding = bench.only(bench.check(folder), "composition")
    assert finding.composite == 1
    assert finding.what.endswith("in 1 pixel")


def test_a_background_that_does_not_give_the_composite(folder: Path, bench: Any) -> None:
    y, x = bench.place(folder, 1, 200)
    with bench.opened(folder) as file:
        pixels = file["background"][...]
        pixels[0, y, x] ^= 128
        bench.rewrite(file, "background", pixels)
    finding = bench.only(bench.check(folder), "composition")
    assert finding.composite == 0
    assert finding.what.endswith("in 1 pixel")


@pytest.mark.parametrize(
    ("name", "kind"), [("composite", (0, 0)), ("background", (255, 255))], ids=["outside", "under opaque"]
)
def test_only_the_sources_tell_what_no_rule_of_the_shard_does(
    folder: Path, root: Path, name: str, kind: tuple[int, int], bench: Any
) -> None:
    """Where alpha is 0 the composite is the background, and where it is 255 the background shows nowhere."""
    y, x = bench.place(folder, *kind)
    with bench.opened(folder) as file:
        pixels = file[name][...]
        pixels[1, y, x, 1] ^= 1
        bench.rewrite(file, name, pixels)
    assert not bench.check(folder).tally.findings
    finding = bench.only(bench.check(folder, root), "composition")
    assert finding.composite == 1
    assert finding.what.endswith("in 1 pixel")
    assert "source" in finding.what


def test_a_tile_that_is_no_code_stream(folder: Path, bench: Any) -> None:
    with bench.opened(folder) as file:
        file["background"].id.write_direct_chunk((1, 0, 0, 0), b"no code stream at all")
    finding = bench.only(bench.check(folder), "pixels")
    assert finding.composite == 1
    assert "row 0, column 0" in finding.what


def test_a_tile_cut_off_inside_its_header_or_body(folder: Path, bench: Any) -> None:
    with h5py.File(folder / NAME) as file:
        whole = file["composite"].id.read_direct_chunk((0, 0, 0, 0))[1]
    for left in (0, 20, 96, 130, 5_000, len(whole) // 2):
        with bench.opened(folder) as file:
            file["composite"].id.write_direct_chunk((0, 0, 0, 0), whole[:left] or b"\0")
        assert bench.only(bench.check(folder), "pixels").composite == 0


def test_a_tile_that_says_that_its_codec_was_not_used(folder: Path, bench: Any) -> None:
    """HDF5 would hand out the code stream itself as pixels."""
    with bench.opened(folder) as file:
        streams = bench.streams_of(file["composite"])
        skipped = streams.pop((0, 0, 0, 0))
        bench.replace_streams(file, "composite", streams)
        file["composite"].id.write_direct_chunk((0, 0, 0, 0), skipped, filter_mask=1)
    finding = bench.only(bench.check(folder), "pixels")
    assert finding.composite == 0
    assert "does not begin as our code streams do" in finding.what


def test_other_composites_are_still_looked_at(folder: Path, bench: Any) -> None:
    """After one that cannot be decoded, and with the tiles that are as they were in the one before."""
    with bench.opened(folder) as file:
        middle = sorted(bench.streams_of(file["composite"]))[2]
        file["composite"].id.write_direct_chunk(middle, b"no code stream at all")
    report = bench.check(folder)
    assert [each.composite for each in report.tally.findings] == [0]
    assert report.tally.tried["composition"] == 1


def test_every_stream_begins_as_the_header_says() -> None:
    """The encoder's settings are part of the format; a release with others must not go unnoticed."""
    for rows, columns in ((1, 1), (1, 128), (5, 7), (64, 100), (128, 128)):
        tile = np.random.default_rng(rows).integers(0, 256, (rows, columns, 3), dtype=np.uint8)
        header = stream_header(rows, columns)
        assert encode(tile).startswith(header + b"\xff\x64")  # where the encoder's name follows


@pytest.mark.parametrize(("byte", "bit"), [(16, 0), (9, 5), (78, 4)], ids=["offset", "width", "guard bits"])
def test_headers_that_the_decoder_must_not_see(folder: Path, byte: int, bit: int, bench: Any) -> None:
    """On these OpenJPH never ends, takes gigabytes, or crashes, as who calls it checks less or more."""
    with bench.opened(folder) as file:
        stream = bytearray(file["composite"].id.read_direct_chunk((0, 0, 0, 0))[1])
        stream[byte] ^= 1 << bit
        file["composite"].id.write_direct_chunk((0, 0, 0, 0), bytes(stream))
    finding = bench.only(bench.check(folder), "pixels")
    assert finding.what.endswith("the tile at row 0, column 0: it does not begin as our code streams do")


# ---- what all composites share -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", SHARED)
def test_a_wrong_shared_array(folder: Path, name: str, bench: Any) -> None:
    y, x = bench.place(folder, 255, 255)
    with bench.opened(folder) as file:
        pixels = file[name][...]
        pixels[y, x] ^= 1
        file[name][...] = pixels
    report = bench.check(folder)
    assert "maps" in bench.kinds(report)
    assert bench.kinds(report) <= {"maps", "composition"}
    assert name in report.tally.findings[0].what


@pytest.mark.parametrize("how", ["moved", "another order", "one less"])
def test_wrong_centers(folder: Path, how: str, bench: Any) -> None:
    with bench.opened(folder) as file:
        centers = file["centers"][...]
        del file["centers"]
        changed = {"moved": centers + (centers == centers[0]), "another order": centers[::-1]}
        file["centers"] = changed.get(how, centers[1:]).astype(np.uint16)
    assert "centers" in bench.only(bench.check(folder), "maps").what


def test_a_foreground_with_its_digest(folder: Path, bench: Any) -> None:
    """Wrong in itself: the composites were made from another."""
    y, x = bench.place(folder, 255, 255)
    with bench.opened(folder) as file:
        pixels, digests = file["foreground"][...], file.attrs["foreground_source"]
        pixels[y, x] ^= 1
        file["foreground"][...] = pixels
        digests[1] = np.frombuffer(blake3(pixels.tobytes()).digest(), np.uint8)
        file.attrs["foreground_source"] = digests
    assert bench.only(bench.check(folder), "composition").what.endswith("in 1 pixel")


# ---- sources -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["fg/f0.png", "alpha/f0.png", "bg/b1.jpg"])
def test_a_source_that_was_saved_again(folder: Path, root: Path, name: str, bench: Any) -> None:
    """Other bytes, the same pixels: told, and not taken for a wrong composite."""
    path = root / name
    pixels = np.asarray(Image.open(path))
    Image.fromarray(pixels).save(path, format="PNG", compress_level=1)
    finding = bench.only(bench.check(folder, root), "source")
    assert finding.what.endswith("has changed since the build, its pixels are the same")
    assert str(path) in finding.what
    assert finding.composite == (1 if "bg" in name else None)


@pytest.mark.parametrize("name", ["fg/f0.png", "alpha/f0.png", "bg/b1.jpg"])
def test_a_source_with_other_pixels(folder: Path, root: Path, name: str, bench: Any) -> None:
    path = root / name
    pixels = np.asarray(Image.open(path)).copy()
    pixels[3, 3] ^= 255
    Image.fromarray(pixels).save(path, format="PNG")
    finding = bench.only(bench.check(folder, root), "source")
    assert finding.what.endswith("has changed since the build, its pixels too")


@pytest.mark.parametrize("damage", [b"", b"no image"])
def test_a_source_that_is_damaged(folder: Path, root: Path, damage: bytes, bench: Any) -> None:
    (root / "bg" / "b0.jpg").write_bytes(damage)
    finding = bench.only(bench.check(folder, root), "source")
    assert finding.composite == 0
    assert str(root / "bg" / "b0.jpg") in finding.what


@pytest.mark.parametrize(("name", "i"), [("foreground", None), ("alpha", None), ("background", 1)])
def test_a_decoder_of_another_version(
    folder: Path, root: Path, monkeypatch: pytest.MonkeyPatch, *, name: str, i: int | None, bench: Any
) -> None:
    """The file is the same and decodes to other pixels: that is neither its fault nor the composite's."""
    read = getattr(originals, f"read_{name}")

    def off_by_one(path: Path, *more: Any) -> Source:
        source = read(path, *more)
        wrong = source.pixels ^ 1 if path.name != "b0.jpg" else source.pixels
        return Source(path, wrong, source.file_sha256)

    monkeypatch.setattr(originals, f"read_{name}", off_by_one)
    finding = bench.only(bench.check(folder, root), "decoder")
    assert finding.composite == i
    assert "the same file" in finding.what
    assert "pillow" in finding.expected
    assert "pillow" in finding.found


def test_a_stored_digest_of_other_pixels(folder: Path, root: Path, bench: Any) -> None:
    """As another decoder would have left it."""
    with bench.opened(folder) as file:
        digests = file["background_source"][...]
        digests[0, 1] ^= 255
        file["background_source"][...] = digests
    assert bench.only(bench.check(folder, root), "decoder").composite == 0


def test_a_source_that_changed_hides_no_wrong_composite_of_another(
    folder: Path, root: Path, bench: Any
) -> None:
    y, x = bench.place(folder, 0, 0)
    with bench.opened(folder) as file:
        pixels = file["composite"][...]
        pixels[1, y, x] ^= 1
        bench.rewrite(file, "composite", pixels)
    (root / "bg" / "b0.jpg").write_bytes(b"")
    report = bench.check(folder, root)
    assert [(each.check, each.composite) for each in report.tally.findings] == [
        ("source", 0), ("composition", 1)
    ]  # fmt: skip
