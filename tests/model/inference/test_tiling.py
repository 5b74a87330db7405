"""A plan of tiles: each pixel is kept once, far from the cuts, with the least work."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dimtool.model.inference.tiling import frugal_pixels, padded_pixels, plan_tiles, smallest_tile


def naive_count(length: int, side: int, margin: int) -> int:
    """Tiles laid from one end to the other, each as far on as the margins let it."""
    tiles, reached = 1, side
    while reached < length:
        tiles, reached = tiles + 1, reached + side - 2 * margin
    return tiles


@settings(max_examples=150)
@given(
    height=st.integers(1, 1500),
    width=st.integers(1, 1500),
    budget=st.integers(1, 600),
    margin=st.sampled_from([0, 32, 96, 192]),
)
def test_a_plan_keeps_each_pixel_once_far_from_the_cuts_with_the_least_work(height, width, budget, margin):
    pixels = budget * 32 * 32 * 4
    tiles = plan_tiles(height, width, pixels=pixels, margin=margin)
    tall, wide = -(-height // 32) * 32, -(-width // 32) * 32
    sides = [
        (h, w)
        for h in range(min(2 * margin + 32, tall), tall + 1, 32)
        for w in range(min(2 * margin + 32, wide), wide + 1, 32)
        if h * w <= pixels
    ]
    assert bool(tiles) == bool(sides) == (pixels >= smallest_tile(height, width, margin=margin))
    if not tiles:
        return
    assert (len(tiles) == 1) == (tall * wide <= pixels)
    kept = np.zeros((height, width), np.uint8)
    work = 0
    for tile in tiles:
        kept[tile.rows.kept, tile.columns.kept] += 1
        for (seen, keep), length in zip(tile, (height, width), strict=True):
            assert seen.start % 32 == 0 and (seen.stop % 32 == 0 or seen.stop == length)
            assert seen.start == 0 or keep.start - seen.start >= margin
            assert seen.stop == length or seen.stop - keep.stop >= margin
        area = [-(-(seen.stop - seen.start) // 32) * 32 for seen, _ in tile]
        assert area[0] * area[1] <= pixels
        work += area[0] * area[1]
    assert (kept == 1).all()
    assert work <= min(h * w * naive_count(tall, h, margin) * naive_count(wide, w, margin) for h, w in sides)


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 10**8))
def test_less_memory_is_taken_where_it_costs_little(height: int, width: int, pixels: int) -> None:
    frugal = frugal_pixels(height, width, pixels=pixels, margin=192)
    assert frugal <= pixels
    tiles = plan_tiles(height, width, pixels=frugal, margin=192)
    assert bool(tiles) == bool(plan_tiles(height, width, pixels=pixels, margin=192))
    if frugal < pixels:
        assert sum(tile.pixels for tile in tiles) <= 9 * padded_pixels(height, width) / 8


def test_a_large_photograph_takes_half_the_memory() -> None:
    assert frugal_pixels(3000, 4000, pixels=10**9, margin=192) == 3008 * 2208
    assert frugal_pixels(600, 800, pixels=10**9, margin=192) == 608 * 800
