"""Tiles: how an image is cut, that nothing is lost, and that no stale tile is ever given out."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401 (registers the filters)
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dimtool.composer.shards import tiles
from dimtool.composer.shards.tiles import (
    TileEncoder,
    create_image_stack,
    decode,
    encode,
    tile_corners,
    tile_shape,
    used_tiles,
)

UInt8 = NDArray[np.uint8]
Noise = Callable[..., UInt8]
SIDES = st.one_of(st.integers(1, 12), st.integers(120, 140), st.integers(250, 270))


@given(st.integers(1, 700), st.integers(1, 700))
def test_tiles_cover_each_pixel_once(height: int, width: int) -> None:
    rows, columns = tile_shape(height, width)
    for side, tile in ((height, rows), (width, columns)):
        count = math.ceil(side / 128)  # as few as can be, and as even
        assert tile == math.ceil(side / count) <= 128
    times = np.zeros((height, width), int)
    corners = tile_corners(height, width)
    for y, x in corners:
        assert 0 <= y < height
        assert 0 <= x < width
        times[y : y + rows, x : x + columns] += 1
    assert (times == 1).all()
    assert corners == sorted(corners)


@pytest.mark.parametrize("shape", [(1, 1), (1, 128), (128, 1), (2, 3), (5, 127), (128, 128)])
@pytest.mark.parametrize("kind", ["noise", "black", "white", "ramp", "primaries"])
def test_a_tile_comes_back(noise: Noise, shape: tuple[int, int], kind: str) -> None:
    """Content that a lossy codec, or a colour transform that cannot be undone, would change."""
    tile = noise(5, *shape, 3)
    if kind in {"black", "white"}:
        tile[:] = 255 * (kind == "white")
    elif kind == "ramp":
        tile[:] = np.arange(tile.size).reshape(tile.shape) % 256
    elif kind == "primaries":
        tile = (tile > 127) * np.uint8(255)
    stream = encode(tile)
    assert type(stream) is bytes
    assert np.array_equal(decode(stream), tile)
    assert encode(np.asfortranarray(tile)) == stream


def test_colour_transform_is_on() -> None:
    """A photograph's bands agree: with the transform a grey image costs about a third, not three thirds."""
    y, x = np.mgrid[:128, :128]
    rng = np.random.default_rng(0)
    one = (y + x + rng.integers(0, 20, (128, 128))).astype(np.uint8)
    other = rng.permutation(one.ravel()).reshape(one.shape)
    assert len(encode(np.dstack([one, one, one]))) < 0.5 * len(encode(np.dstack([one, other, one.T])))


@settings(max_examples=25)
@given(SIDES, SIDES, st.integers(0, 10_000))
def test_a_stack_comes_back_through_the_hdf5_filter(noise: Noise, height: int, width: int, seed: int) -> None:
    """Direct chunks, read by HDF5 itself, in memory; tiles that were not written are zeros."""
    images = noise(seed, 2, height, width, 3)
    mask = np.zeros((height, width), np.bool_)
    mask[:: 1 + seed % 150, :: 1 + seed % 131] = True
    kept, (rows, columns) = used_tiles(mask), tile_shape(height, width)
    with h5py.File("in memory", "w", driver="core", backing_store=False) as file:
        whole = create_image_stack(file, "whole", 2, height, width)
        part = create_image_stack(file, "part", 2, height, width)
        for stack, encoder in (
            (whole, TileEncoder(height, width)),
            (part, TileEncoder(height, width, kept)),
        ):
            for i, image in enumerate(images):
                for (y, x), stream in encoder(image):
                    stack.id.write_direct_chunk((i, y, x, 0), stream)
        assert np.array_equal(whole[...], images)
        inside = np.zeros((height, width), np.bool_)
        for y, x in kept:
            inside[y : y + rows, x : x + columns] = True
        assert np.array_equal(part[...], images * inside[..., None])
        assert whole.id.get_num_chunks() == 2 * -(-height // 128) * -(-width // 128)
        assert part.id.get_num_chunks() == 2 * len(kept)


@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 1000))
def test_used_tiles(height: int, width: int, seed: int) -> None:
    """The tile of each pixel that is set, and no other."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((height, width), np.bool_)
    places = [(int(rng.integers(height)), int(rng.integers(width))) for _ in range(rng.integers(0, 4))]
    for place in places:
        mask[place] = True
    rows, columns = tile_shape(height, width)
    assert used_tiles(mask) == sorted({(y // rows * rows, x // columns * columns) for y, x in places})


def padded_tile(image: UInt8, y: int, x: int) -> UInt8:
    """The tile at a corner, filled up with the nearest pixels of the image."""
    rows, columns = tile_shape(*image.shape[:2])
    down = np.minimum(np.arange(y, y + rows), image.shape[0] - 1)
    across = np.minimum(np.arange(x, x + columns), image.shape[1] - 1)
    return image[down[:, None], across]


def images_that_share_tiles(noise: Noise, height: int, width: int) -> list[UInt8]:
    """Each differs from the one before in some tiles: by one pixel in a corner, by one band, not at all."""
    first = noise(0, height, width, 3)
    corner, band, back = first.copy(), first.copy(), first.copy()
    corner[-1, -1] ^= 1
    band[0, 0, 2] ^= 128
    return [first, corner, band, band.copy(), noise(1, height, width, 3), back, corner]


@pytest.mark.parametrize(
    ("height", "width"), [(300, 200), (128, 256), (129, 127), (1, 400), (400, 1), (1, 1)]
)
def test_shared_tiles_are_as_if_encoded_anew(noise: Noise, height: int, width: int) -> None:
    """A, B, A: what was encoded two images ago must not come back for the last one."""
    encoder = TileEncoder(height, width, constant=tile_corners(height, width))
    for image in images_that_share_tiles(noise, height, width):
        before = image.copy()
        encoded = list(encoder(image))
        assert [corner for corner, _ in encoded] == tile_corners(height, width)
        for (y, x), stream in encoded:
            assert stream == encode(padded_tile(image, y, x))
        assert np.array_equal(image, before)


def test_equal_tiles_are_encoded_once(noise: Noise, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what changed is encoded: for 6 tiles, 6, then 1 (corner), 2 (corner and band), 0, 6, 6, 1."""
    calls: list[UInt8] = []
    monkeypatch.setattr(tiles, "encode", lambda tile: calls.append(tile) or b"stream")
    encoder = TileEncoder(300, 200, constant=tile_corners(300, 200))
    times = []
    for image in images_that_share_tiles(noise, 300, 200):
        list(encoder(image))
        times.append(len(calls))
        calls.clear()
    assert times == [6, 1, 2, 0, 6, 6, 1]


def test_only_tiles_said_to_be_constant_are_looked_at_twice(
    noise: Noise, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[UInt8] = []
    monkeypatch.setattr(tiles, "encode", lambda tile: calls.append(tile) or b"stream")
    encoder = TileEncoder(300, 200, constant=[(0, 0), (100, 100)])
    image = noise(0, 300, 200, 3)
    encoder(image)
    calls.clear()
    encoder(image)
    assert len(calls) == 4


def test_an_image_changed_in_place_is_encoded_anew(noise: Noise) -> None:
    """A caller may fill the same array again and again."""
    image = noise(0, 128, 128, 3)
    encoder = TileEncoder(128, 128, constant=[(0, 0)])
    list(encoder(image))
    image[5, 5] ^= 1
    assert list(encoder(image)) == [((0, 0), encode(image))]


def test_tiles_left_unread_do_no_harm(noise: Noise) -> None:
    """Whoever stops in the middle of one image gets the next one right."""
    first, second = noise(0, 128, 256, 3), noise(1, 128, 256, 3)
    encoder = TileEncoder(128, 256, constant=[(0, 0), (0, 128)])
    list(encoder(first))
    next(iter(encoder(second)))
    assert dict(encoder(first)) == {(0, 0): encode(first[:, :128]), (0, 128): encode(first[:, 128:])}


def test_tiles_beside_the_kept_ones_are_not_encoded(noise: Noise) -> None:
    encoder = TileEncoder(301, 300, [(101, 200)])
    image = noise(0, 301, 300, 3)
    assert list(encoder(image)) == [((101, 200), encode(padded_tile(image, 101, 200)))]
    assert list(TileEncoder(301, 300, [])(image)) == []


@pytest.mark.parametrize("shape", [(129, 64, 3), (128, 63, 3), (64, 128, 3), (128, 64), (128, 64, 4)])
def test_image_of_another_size(noise: Noise, shape: tuple[int, ...]) -> None:
    """HDF5 would take the tiles of any of these, and read back something else."""
    with pytest.raises(ValueError, match=r"not \(128, 64, 3\)"):
        TileEncoder(128, 64)(noise(0, *shape))


def test_garbage_in_a_tile_is_an_error(tmp_path: Path) -> None:
    """Neither the reader nor the process may be harmed by it."""
    for garbage in (b"x", b"garbage", bytes(3000), encode(np.zeros((128, 128, 3), np.uint8))[:60]):
        with h5py.File(tmp_path / "a.h5", "w") as file:
            create_image_stack(file, "a", 1, 128, 128).id.write_direct_chunk((0, 0, 0, 0), garbage)
        with h5py.File(tmp_path / "a.h5") as file, pytest.raises(OSError, match="read data"):
            file["a"][:]
