"""Foregrounds that are the same picture: exactly, or scaled, re-compressed or mirrored.

The paper's 493 training foregrounds held only 455 pictures; one that is in both train and test makes a
score worthless.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

import imagehash
import numpy as np
from PIL import Image, ImageOps

from ...arrays import UInt8Image, UInt8Mask

# The 256-bit hash of the picture, and of the picture mirrored.
PerceptualHash = tuple[int, int]

_SIDE = 16
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
    """Each pair of pictures nearer than NEAR, with its distance."""
    for i, (key, first) in enumerate(hashes):
        for other, second in hashes[:i]:
            bits = distance(first, second)
            if bits < NEAR:
                yield other, key, bits
