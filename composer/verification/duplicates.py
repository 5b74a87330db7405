"""Foregrounds that are the same picture: exactly, or scaled, re-compressed or mirrored.

The paper's 493 training foregrounds held only 455 pictures; one that is in both train and test makes a
score worthless.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise
from typing import TypeVar

import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from ...arrays import UInt8Image, UInt8Mask

# The 256-bit hash of the picture, and of the picture mirrored.
PerceptualHash = tuple[int, int]

_SIDE = 16
_BITS = _SIDE**2
_AT_ONCE = 1 << 21  # pairs that are compared at once: some 200 MB
_GREY = 128
_ENOUGH = 128  # pixels a side
# Different bits under which two pictures are taken for one. Unrelated ones differ in about 128 of 256;
# docs/format.md has the measured distances.
NEAR = 40

Key = TypeVar("Key")


def perceptual_hash(foreground: UInt8Image, alpha: UInt8Mask) -> PerceptualHash:
    """The perceptual hashes (DCT of the grey picture) of a foreground over mid-grey."""
    # Averaged down first, which is fast; the hash looks at 64 x 64 pixels in the end.
    factor = max(1, min(alpha.shape) // _ENOUGH)
    picture, matte = (Image.fromarray(pixels).reduce(factor) for pixels in (foreground, alpha))
    grey = Image.new("L", picture.size, _GREY)
    picture = Image.composite(picture.convert("L"), grey, matte)
    return _hash(picture), _hash(ImageOps.mirror(picture))


def _hash(picture: Image.Image) -> int:
    bits = np.packbits(imagehash.phash(picture, hash_size=_SIDE).hash)
    return int.from_bytes(bits.tobytes(), "big")


def distance(first: PerceptualHash, second: PerceptualHash) -> int:
    """Different bits of two pictures' hashes, of 256; the lesser of as they are and one mirrored."""
    return min((first[0] ^ second[0]).bit_count(), (first[0] ^ second[1]).bit_count())


def near_pairs(hashes: Sequence[tuple[Key, PerceptualHash]]) -> Iterator[tuple[Key, Key, int]]:
    """Each pair of pictures nearer than NEAR, the earlier one first, with its distance.

    All of them, without a look at each pair: two hashes that differ in fewer than NEAR bits differ in few of
    some band of theirs (`_bands`), so only those that nearly agree in a band are compared. Time grows as the
    number of pictures for each of these bands' variations; docs/scale.md has figures.
    """
    if len(hashes) < 2:
        return
    own, mirrored = (_unpacked([each[side] for _, each in hashes]) for side in (0, 1))
    whole = np.packbits(np.stack([own, mirrored]), axis=2).view(np.uint64)
    found = set[int]()
    for start, stop, most in _bands(len(hashes)):
        keys, others = _numbers(own[:, start:stop]), _numbers(mirrored[:, start:stop])
        for later, earlier in _agreeing(keys, others, stop - start, most):
            side, other = np.divmod(earlier, len(hashes))
            apart = np.bitwise_count(whole[0, later] ^ whole[side, other]).sum(axis=1)
            near = (apart < NEAR) & (other < later)
            found.update((later[near] * len(hashes) + other[near]).tolist())
    for place in sorted(found):
        i, j = divmod(place, len(hashes))
        yield hashes[j][0], hashes[i][0], distance(hashes[i][1], hashes[j][1])


def _bands(count: int) -> Iterator[tuple[int, int, int]]:
    """Bands of the 256 bits, (from, to, most): any two hashes under NEAR apart differ in `most` of some band.

    If they differed in more than that in every one, they would differ in sum(most + 1) bits: NEAR, as chosen
    here. A band is about as wide as `count` hashes fill its values.
    """
    number = min(NEAR, _BITS // max(6, (2 * count).bit_length()))
    few, rest = divmod(NEAR, number)
    edges = [_BITS * band // number for band in range(number + 1)]
    for band, (start, stop) in enumerate(pairwise(edges)):
        yield start, stop, few if band < rest else few - 1


def _agreeing(
    own: NDArray[np.int64], mirrored: NDArray[np.int64], width: int, most: int
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Pairs whose band's values differ in at most `most` of its `width` bits, some at a time.

    The first is a number among `own`, the second one among `own` and then `mirrored`.
    """
    every = np.concatenate([own, mirrored])
    order = np.argsort(every, kind="stable")
    starts = np.searchsorted(every[order], np.arange((1 << width) + 1))
    for flipped in range(most + 1):
        for bits in combinations(range(width), flipped):
            wanted = own ^ sum(1 << bit for bit in bits)
            first, counts = starts[wanted], starts[wanted + 1] - starts[wanted]
            yield from _spread(order, first, counts)


def _spread(
    order: NDArray[np.intp], first: NDArray[np.intp], counts: NDArray[np.intp]
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """(i, order[first[i] + n]) for each n below counts[i], at most about _AT_ONCE at a time."""
    ends = np.cumsum(counts)
    rows = np.flatnonzero(counts)
    cuts = np.searchsorted(ends[rows], np.arange(_AT_ONCE, ends[-1] if len(ends) else 0, _AT_ONCE))
    for part in np.split(rows, np.unique(cuts)):
        if len(part):
            number = counts[part]
            within = np.arange(number.sum()) - np.repeat(np.cumsum(number) - number, number)
            yield np.repeat(part, number), order[np.repeat(first[part], number) + within]


def _unpacked(hashes: Sequence[int]) -> NDArray[np.uint8]:
    """(n, 256) bits."""
    data = b"".join(each.to_bytes(_BITS // 8, "big") for each in hashes)
    return np.unpackbits(np.frombuffer(data, np.uint8).reshape(-1, _BITS // 8), axis=1)


def _numbers(bits: NDArray[np.uint8]) -> NDArray[np.int64]:
    """(n, w) bits as n whole numbers."""
    return bits.astype(np.int64) @ (1 << np.arange(bits.shape[1], dtype=np.int64))
