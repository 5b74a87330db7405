"""A batch that does not fit the memory at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from torch import Tensor

from ...errors import WrongUseError
from ..crops.reading import Crop


def refuse_unequal_parts(batch_size: int, *, processes: int, count: int) -> None:
    """Raise WrongUseError where a batch cannot be shared equally, or a share does not make `count` parts."""
    if batch_size % processes:
        raise WrongUseError(
            f"a batch of {batch_size} cannot be shared equally by {processes} processes: choose a "
            f"--batch-size, which is of all of them together, that {processes} divides"
        )
    if count > 1 and batch_size % (processes * count):
        raise WrongUseError(
            f"a batch of {batch_size} does not make {count} equal parts for each of {processes} processes: "
            f"choose a --batch-size that {processes * count} divides, or a lesser --accumulate"
        )


def parts(batch: Crop, count: int) -> Iterator[Crop]:
    """A batch in `count` equal parts, in order: their mean gradient is the batch's, in a part of its memory.

    What is no tensor goes with each part. Raises ValueError where the samples do not divide equally.
    """
    samples = len(batch["image"])
    if samples % count:
        raise ValueError(f"{samples} samples do not make {count} equal parts")
    size = samples // count
    for start in range(0, samples, size):
        part = {
            name: each[start : start + size] if isinstance(each, Tensor) else each
            for name, each in batch.items()
        }
        yield cast(Crop, part)
