"""Validation: the mean SAD of whole composites of foregrounds that the training never sees."""

from __future__ import annotations

import hashlib
import random
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ...arrays import UInt8Image, UInt8Mask
from ...composer.pixels.trimap import UNKNOWN, trimap_of
from ...composer.shards.dataset import Composite, CompositeDataset
from ...composer.shards.index import index_digest
from ...composer.shards.layout import ShardError
from ...errors import WrongUseError
from ..inference.matter import Matter, to_uint8
from ..metrics import sad
from ..processes.ranks import Ranks

EXAMPLES = 4
_AHEAD = 2  # composites, of some 20 MB each
_EXAMPLE_SIDE = 384  # pixels of an example's longer side, at most


class Validated(NamedTuple):
    """Mean SAD (thousands of pixels) over the set, a few samples to look at, and what could not be scored.

    trivial: the same of the answer that needs no model, half an alpha wherever it is sought.
    examples: (3, h, 4 w) uint8 each: image, trimap, prediction and truth beside each other.
    """

    sad: float
    trivial: float
    examples: list[Tensor]
    skipped: list[str]


@dataclass(frozen=True)
class ValidationSet:
    """Composites of a dataset, by number, with trimaps of one radius.

    skip_bad: whether composites that cannot be read are left out of the mean.
    """

    composites: CompositeDataset
    numbers: Sequence[int]
    radius: int
    skip_bad: bool = False

    @property
    def digest(self) -> str:
        """Tells one set from another: SHA-256 of the dataset's index, the numbers and the radius."""
        index = index_digest(self.composites.folder)
        return hashlib.sha256(f"{index} {list(self.numbers)} {self.radius}".encode()).hexdigest()


def split_foregrounds(count: int, share: float, seed: int) -> tuple[list[int], list[int]]:
    """Numbers of the foregrounds to train on and to validate on: a share of `count`, one at least.

    A foreground is in one of them with all its composites. Raises WrongUseError where nothing would be
    left to train on.
    """
    held = max(1, round(share * count)) if share else 0
    if held >= count:
        raise WrongUseError(
            f"{count} foregrounds cannot be split for validation: "
            "add some, or give --val-shards or --val-share 0"
        )
    validation = set(random.Random(seed).sample(range(count), held))
    return [i for i in range(count) if i not in validation], sorted(validation)


def one_matte(composites: CompositeDataset, *, skip_bad: bool) -> list[list[int]]:
    """Numbers of the shards, those of one matte together: Adobe's foregrounds hold some twice.

    So are the pieces of one foreground. With skip_bad, one of which no shard can be read is taken for one of
    its own.
    """
    digests = {composites.record(n).index: digest for n, digest in _mattes(composites, skip_bad=skip_bad)}
    groups: dict[bytes | int, list[int]] = {}
    for number, record in enumerate(composites.index.shards):
        groups.setdefault(digests.get(record.index, record.index), []).append(number)
    return list(groups.values())


def refuse_common_foregrounds(ours: CompositeDataset, theirs: CompositeDataset, *, skip_bad: bool) -> None:
    """Raise WrongUseError where two folders of shards have a matte in common, whatever its name."""
    known = {digest: number for number, digest in _mattes(ours, skip_bad=skip_bad)}
    for number, digest in _mattes(theirs, skip_bad=skip_bad):
        if digest in known:
            name, same = theirs.record(number).foreground, ours.record(known[digest]).foreground
            raise WrongUseError(
                f"{theirs.folder} has the matte {name}, which {ours.folder} has as {same}: a "
                "validation on what is trained on says nothing; give others, or --val-share"
            )


def _mattes(composites: CompositeDataset, *, skip_bad: bool) -> Iterator[tuple[int, bytes]]:
    """The number of a shard of each foreground, with the digest of the matte's pixels."""
    told = set[int]()
    for number, record in enumerate(composites.index.shards):
        if record.index in told:
            continue
        try:
            with composites.head(number) as shard:
                digest = shard.source_digests["alpha"][1].tobytes()
        except ShardError:
            if not skip_bad:
                raise
            continue
        told.add(record.index)
        yield number, digest


def pick(composites: CompositeDataset, shards: Sequence[int], count: int) -> list[int]:
    """Numbers of about `count` composites, spread evenly over the shards."""
    starts = np.cumsum([0] + [record.composites for record in composites.index.shards])
    every = [
        int(starts[number]) + i for number in shards for i in range(composites.record(number).composites)
    ]
    chosen = np.linspace(0, len(every) - 1, min(count, len(every))).round().astype(int)
    return [every[i] for i in dict.fromkeys(chosen.tolist())]


class _Looked(NamedTuple):
    """What came of one composite of the set, at its place in it."""

    place: int
    sads: tuple[float, float] = (0.0, 0.0)  # the model's, and of the trivial answer
    example: Tensor | None = None
    skipped: str | None = None


def validate(matter: Matter, data: ValidationSet, ranks: Ranks) -> Validated:
    """The model's mean SAD over the set, whole images; in tiles where one does not fit the memory.

    Every process of `ranks` scores its share, and all find the same. Raises ShardError, in each of them.
    """
    ours = range(ranks.index, len(data.numbers), ranks.count)
    looked = ranks.each(lambda: [_look(matter, data, each) for each in _read_ahead(data, ours)])
    every = sorted((each for share in ranks.gather(looked) for each in share), key=lambda each: each.place)
    scored = [each for each in every if each.skipped is None]
    skipped = [each.skipped for each in every if each.skipped is not None]
    if not scored:
        raise ShardError(f"{data.composites.folder}: there is no composite to validate on; {skipped[0]}")
    examples = [each.example for each in every if each.example is not None]
    mean, trivial = (sum(each) / len(scored) for each in zip(*(each.sads for each in scored), strict=True))
    return Validated(mean, trivial, examples, skipped)


class _Read(NamedTuple):
    """A composite of the set with its trimap, or why there is none."""

    place: int
    sample: Composite | None
    trimap: UInt8Mask | None = None
    skipped: str = ""


def _read_ahead(data: ValidationSet, places: Sequence[int]) -> Iterator[_Read]:
    """The composites at these places of the set, the next ones read while one is looked at."""
    with ThreadPoolExecutor(1) as reader:
        coming: deque[Future[_Read]] = deque()
        for place in places:
            coming.append(reader.submit(_read, data, place))
            if len(coming) > _AHEAD:
                yield coming.popleft().result()
        for each in coming:
            yield each.result()


def _read(data: ValidationSet, place: int) -> _Read:
    try:
        sample = data.composites.composite(data.numbers[place])
    except ShardError as error:
        if not data.skip_bad:
            raise
        return _Read(place, None, skipped=str(error))
    trimap = trimap_of(sample.alpha, sample.distance, data.radius, data.radius)
    if not (trimap == UNKNOWN).any():
        unscored = f"{data.composites.folder}: {sample.name} has no unknown pixel to be scored"
        return _Read(place, None, skipped=unscored)
    return _Read(place, sample, trimap)


def _look(matter: Matter, data: ValidationSet, read: _Read) -> _Looked:
    if read.sample is None or read.trimap is None:
        return _Looked(read.place, skipped=read.skipped)
    sample, trimap = read.sample, read.trimap
    prediction = to_uint8(matter.matte(sample.composite, trimap))
    shown = read.place % -(-len(data.numbers) // EXAMPLES) == 0
    example = side_by_side(sample.composite, trimap, prediction, sample.alpha) if shown else None
    sads = sad(prediction, sample.alpha, trimap), sad(trimap, sample.alpha, trimap)
    return _Looked(read.place, sads, example)


def side_by_side(image: UInt8Image, *masks: UInt8Mask) -> Tensor:
    """An image, (h, w, 3), and masks, (h, w), in a row, small enough to look at: (3, h, n w) uint8."""
    height, width = image.shape[:2]
    scale = min(1, _EXAMPLE_SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    pictures = [Image.fromarray(each).convert("RGB").resize(size) for each in (image, *masks)]
    return torch.from_numpy(np.concatenate([np.asarray(each) for each in pictures], 1)).permute(2, 0, 1)
