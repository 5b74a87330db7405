"""The connectivity error's sum: the largest component at each threshold, in integers."""

import math

import numpy as np
import numpy.typing as npt
from scipy import ndimage, sparse

from ...arrays import UInt8Mask

BoolMask = npt.NDArray[np.bool_]

# 10 * alpha >= 255 * k, in integers: float64 puts alpha 153 = 0.6 * 255 below the threshold 0.6.
CONNECTIVITY_THRESHOLDS = tuple(math.ceil(255 * k / 10) for k in range(1, 11))
CONNECTIVITY_MARGIN = math.ceil(0.15 * 2550)
GROW_AT_MOST = 1 / 16  # of the pixels; with more to add, labelling the whole image is faster


def connectivity_sum(prediction: UInt8Mask, truth: UInt8Mask, unknown: BoolMask) -> float:
    """Sum |phi_p - phi_t| over the unknown region, in whole multiples of 1 / 2550."""
    level = _connected_level(np.minimum(prediction, truth))[unknown].astype(np.int16)
    depth = _depth(prediction[unknown], level) - _depth(truth[unknown], level)
    return float(np.abs(depth).sum(dtype=np.int64)) / 2550


def _depth(alpha: UInt8Mask, level: npt.NDArray[np.int16]) -> npt.NDArray[np.int16]:
    """2550 (1 - phi): how far alpha lies above l = level / 10, 0 if less than 0.15."""
    depth = 10 * alpha.astype(np.int16) - 255 * level
    depth *= depth >= CONNECTIVITY_MARGIN
    return depth


def _connected_level(lowest: UInt8Mask) -> UInt8Mask:
    """10 l, (h, w), 0 to 10; `lowest` is the smaller of both alphas.

    From the highest threshold down: a pixel that Omega_k leaves out starts again from 0, and so ends with
    the number of thresholds before the first that leaves it out.
    """
    bordered = np.pad(lowest, 1)
    level = np.zeros(bordered.shape, np.uint8)
    component = np.zeros(bordered.shape, np.bool_)
    for threshold in reversed(CONNECTIVITY_THRESHOLDS):
        component = _largest_component(bordered >= threshold, component)
        level += 1
        level *= component.view(np.uint8)
    return level[1:-1, 1:-1]


def _largest_component(region: BoolMask, part: BoolMask) -> BoolMask:
    """The largest 4-connected component; of equals, the first column by column; of none, nothing.

    `part` is a connected part of the region, which has a border of False. If it holds over half of the
    region, it lies in the largest component, and is grown in place from the pixels that are left.
    """
    inside, pixels = np.count_nonzero(part), np.count_nonzero(region)
    if 2 * inside > pixels and pixels - inside < GROW_AT_MOST * region.size:
        _grow(part, np.flatnonzero(region > part))
        return part
    labels, count = ndimage.label(region)
    if count <= 1:
        return region
    # Sizes by horizontal runs, of which there are far fewer than pixels.
    edges = np.flatnonzero(np.diff(region.ravel()))
    starts, stops = edges[::2] + 1, edges[1::2] + 1
    label = labels.ravel()[starts]
    sizes = np.bincount(label, weights=stops - starts)
    equals = starts[sizes[label] == sizes.max()]
    by_column = equals % region.shape[1] * region.shape[0] + equals // region.shape[1]
    return np.asarray(labels == labels.ravel()[equals[by_column.argmin()]])


def _grow(part: BoolMask, others: npt.NDArray[np.intp]) -> None:
    """Add to `part`, in place, the 4-connected groups of `others` (ascending flat indices) that touch it.

    Those next to it join at once. Of the rest, horizontal runs are the nodes of a graph, whose edges join a
    run to the runs below it.
    """
    flat, width = part.reshape(-1), part.shape[1]
    near = _neighbours(flat, others, width)
    flat[others[near]] = True
    others = others[~near]
    near = _neighbours(flat, others, width)
    if not near.any():
        return
    run = np.cumsum(np.diff(others, prepend=-2) != 1) - 1
    below = np.searchsorted(others, others + width) % len(others)
    joined = others[below] == others + width
    edges = run[joined], run[below[joined]]
    graph = sparse.coo_array((np.ones(len(edges[0])), edges), shape=(run[-1] + 1, run[-1] + 1))
    groups, group_of_run = sparse.csgraph.connected_components(graph, directed=False)
    group = group_of_run[run]
    reached = np.zeros(groups, np.bool_)
    reached[group[near]] = True
    flat[others[reached[group]]] = True


def _neighbours(flat: BoolMask, indices: npt.NDArray[np.intp], width: int) -> BoolMask:
    """Whether any of the four neighbours is True."""
    return np.asarray(flat[indices - 1] | flat[indices + 1] | flat[indices - width] | flat[indices + width])
