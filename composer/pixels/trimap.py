"""The transition region of a matte, the distance to it, and the trimap of any radius from that one map."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ...arrays import UInt8Mask

MAX_DISTANCE = 255
MAX_CENTERS = 65_536
UNKNOWN = 128

_ROWS = 64  # rows of squared distances at a time: int64 for a whole image would take eight bytes a pixel


def transition_region(alpha: UInt8Mask) -> NDArray[np.bool_]:
    """Where a matte is neither clearly background nor clearly foreground, (h, w) bool.

    0 < alpha < 255, and both sides of an edge where 255 meets 0 directly (4-neighbours), so that a hard
    silhouette has a transition region too.
    """
    region = (alpha > 0) & (alpha < 255)
    opaque, empty = alpha == 255, alpha == 0
    for first, second in ((np.s_[1:, :], np.s_[:-1, :]), (np.s_[:, 1:], np.s_[:, :-1])):
        meet = (opaque[first] & empty[second]) | (empty[first] & opaque[second])
        region[first] |= meet
        region[second] |= meet
    return region


def transition_distance(region: NDArray[np.bool_]) -> UInt8Mask:
    """Euclidean distance, in pixels, from each pixel to the nearest of `region`, (h, w), both.

    Rounded up, at most 255; 0 inside; 255 everywhere where the region is empty. `distance <= r` is then
    exactly the region dilated by a disc of radius r, for any whole r under 255.
    """
    distance = np.full(region.shape, MAX_DISTANCE, np.uint8)
    if not region.any():
        return distance
    nearest = ndimage.distance_transform_edt(~region, return_distances=False, return_indices=True)
    columns = np.arange(region.shape[1])
    for top in range(0, region.shape[0], _ROWS):
        rows = np.arange(top, min(top + _ROWS, region.shape[0]))
        dy = nearest[0, rows] - rows[:, None]
        dx = nearest[1, rows] - columns
        # float64 holds the squares exactly and its root of a square is exact, so ceil cannot slip.
        root = np.sqrt(dy * dy + dx * dx, dtype=np.float64)
        distance[rows] = np.minimum(np.ceil(root), MAX_DISTANCE)
    return distance


def trimap_of(
    alpha: UInt8Mask, distance: UInt8Mask, foreground_radius: int, background_radius: int
) -> UInt8Mask:
    """The trimap, (h, w) of 0, 128, 255, whose unknown region reaches the radii (pixels) to either side.

    128 is the transition region, widened by `foreground_radius` into alpha 255 (an erosion of the sure
    foreground by a disc) and by `background_radius` into alpha 0. Radii: 0 to 254; each is free, since
    `distance` is stored. Raises ValueError for a radius outside that range.
    """
    for radius in (foreground_radius, background_radius):
        if not 0 <= radius < MAX_DISTANCE:
            raise ValueError(f"a trimap radius of {radius} is not in 0 to {MAX_DISTANCE - 1}")
    result = np.full(alpha.shape, UNKNOWN, np.uint8)
    result[(alpha == 255) & (distance > foreground_radius)] = 255
    result[(alpha == 0) & (distance > background_radius)] = 0
    return result


def sample_centers(region: NDArray[np.bool_], seed: int) -> NDArray[np.uint16]:
    """Up to 65,536 pixels of `region`, drawn without repetition: (m, 2) uint16 rows y, x in raster order.

    Drawn with PCG64's raw output, which NumPy keeps the same in every release: the rest of its generators
    may change, and with it the bytes of a shard.
    """
    positions = np.flatnonzero(region)
    if positions.size > MAX_CENTERS:
        keys = np.random.PCG64(seed).random_raw(positions.size)
        positions = positions[np.sort(np.argpartition(keys, MAX_CENTERS)[:MAX_CENTERS])]
    return np.stack(np.divmod(positions, region.shape[1]), axis=1).astype(np.uint16)


def background_band(alpha: UInt8Mask, distance: UInt8Mask, radius: int) -> NDArray[np.bool_]:
    """Where a loss may need the background itself, (h, w) bool: alpha > 0 within `radius` pixels.

    Where alpha is 0 the composite is the background; deeper inside the foreground no unknown region of
    that radius reaches.
    """
    return (alpha > 0) & (distance <= radius)
