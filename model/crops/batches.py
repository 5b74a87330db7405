"""Which crops make which batch: a function of the seed and the batch's number alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Sampler

from ...errors import WrongUseError
from .reading import Backgrounds, Crop

Position = tuple[int, int]  # (epoch, index)


ORDER, CROP, OTHER, VARY = 0, 1, 2, 3  # what numbers are drawn for: no two things are drawn alike


class CropBatches(Sampler[list[Position]]):
    """Batches of (epoch, index) positions, each epoch in an order of its own.

    Batch t holds samples t * batch_size and on of one endless sequence, epoch after epoch; so the number
    of a batch is all that a resumed run must know. batch_size: of all processes together; this one, `rank`
    of `world`, gets an equal share. start: the first batch. steps: how many. first: the sample that batch
    `start` begins with, where batches before it had another size.
    """

    def __init__(
        self,
        count: int,
        *,
        batch_size: int,
        seed: int,
        start: int = 0,
        steps: int,
        rank: int = 0,
        world: int = 1,
        first: int | None = None,
    ) -> None:
        if batch_size % world:
            raise WrongUseError(f"a batch of {batch_size} cannot be shared equally by {world} processes")
        if count < 1:
            raise WrongUseError("there is no composite to train on")
        self.count, self.seed = count, seed
        self.batch_size, self.start, self.steps = batch_size, start, steps
        self.rank, self.world = rank, world
        self.first = start * batch_size if first is None else first

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[list[Position]]:
        share = self.batch_size // self.world
        order: tuple[int, NDArray[np.intp]] | None = None
        for batch in range(self.steps):
            first = self.first + batch * self.batch_size + self.rank * share
            positions = []
            for sample in range(first, first + share):
                epoch, place = divmod(sample, self.count)
                if order is None or order[0] != epoch:
                    order = epoch, np.random.default_rng([ORDER, self.seed, epoch]).permutation(self.count)
                positions.append((epoch, int(order[1][place])))
            yield positions


def collate(crops: Sequence[Crop]) -> Crop:
    """Stack crops into one of (n, c, s, s) tensors in channels-last memory, with all that was skipped."""
    return Crop(
        image=_stack([crop["image"] for crop in crops]),
        trimap=_stack([crop["trimap"] for crop in crops]),
        alpha=_stack([crop["alpha"] for crop in crops]),
        foreground=_stack([crop["foreground"] for crop in crops]),
        background=_stack([crop["background"] for crop in crops]),
        composite=_stack([crop["composite"] for crop in crops]),
        skipped=[error for crop in crops for error in crop["skipped"]],
        backgrounds=Backgrounds(*map(sum, zip(*(crop["backgrounds"] for crop in crops), strict=True))),
    )


def _stack(tensors: list[Tensor]) -> Tensor:
    if not tensors[0].numel():
        return torch.stack(tensors)
    return torch.stack([tensor.permute(1, 2, 0) for tensor in tensors]).permute(0, 3, 1, 2)
