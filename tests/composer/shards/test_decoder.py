"""The decoder of stacks: what it skips, and what it says of damage."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401 - brings the filter
import numpy as np
import pytest

from dimtool.composer.shards.decoder import TileDecoder, TileError
from dimtool.composer.shards.tiles import TileEncoder, create_image_stack, tile_corners

SIZE = 150, 200  # 2 x 2 tiles of 75 x 100
CORNERS = tile_corners(*SIZE)
REPEATED = {CORNERS[1], CORNERS[2]}


@pytest.fixture
def images() -> np.ndarray:
    """Five, of which all but the fourth share two tiles."""
    drawn = np.random.default_rng(5).integers(0, 256, (5, *SIZE, 3), dtype=np.uint8)
    for y, x in REPEATED:
        shared = drawn[0, y : y + 75, x : x + 100]
        drawn[[1, 2, 4], y : y + 75, x : x + 100] = shared
    return drawn


@pytest.fixture
def stack(tmp_path: Path, images: np.ndarray) -> Iterator[h5py.Dataset]:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        data = create_image_stack(file, "composite", 5, *SIZE)
        encode = TileEncoder(*SIZE)
        for i, image in enumerate(images):
            for (y, x), stream in encode(image):
                data.id.write_direct_chunk((i, y, x, 0), stream)
        yield data


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4), (4, 3, 2, 2, 0), (3, 3, 1)])
def test_repeated_tiles_are_right_in_any_order(
    stack: h5py.Dataset, images: np.ndarray, order: tuple[int, ...]
) -> None:
    decode = TileDecoder(stack, constant=REPEATED)
    for i in order:
        assert np.array_equal(decode(i), images[i])


def test_only_the_named_tiles_are_read(stack: h5py.Dataset, images: np.ndarray) -> None:
    image = TileDecoder(stack, [CORNERS[3]])(1)
    assert np.array_equal(image[75:, 100:], images[1, 75:, 100:])
    assert not image[:75].any()
    assert not image[:, :100].any()


@pytest.mark.parametrize("damage", ["header", "body", "skipped filter"])
@pytest.mark.parametrize("corner", CORNERS)
def test_a_damaged_tile_is_named_and_spoils_no_other_image(
    stack: h5py.Dataset, images: np.ndarray, corner: tuple[int, int], damage: str
) -> None:
    place = (1, *corner, 0)
    stream = bytearray(stack.id.read_direct_chunk(place)[1])
    damaged = {
        "header": b"\0" + stream[1:],
        "body": stream[: len(stream) // 4],
        "skipped filter": stream + b"\0",
    }
    stack.id.write_direct_chunk(place, bytes(damaged[damage]), filter_mask=int(damage == "skipped filter"))
    decode = TileDecoder(stack, constant=REPEATED)
    assert np.array_equal(decode(3), images[3])  # whose tiles are others: all of 1 must be decoded
    found = None
    try:
        found = decode(1).copy()
    except TileError as error:
        assert str(error).startswith(f"the tile at row {corner[0]}, column {corner[1]}: ")
    if found is not None:  # OpenJPH makes something of it: the digests are there for that
        assert damage == "body"
        assert not np.array_equal(found, images[1])
    for i in (2, 3, 4, 0):
        assert np.array_equal(decode(i), images[i])
