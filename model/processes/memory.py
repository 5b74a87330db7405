"""Batches that workers hand over lie in shared memory, in /dev/shm, of which containers may have little."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from torch import Tensor
from torch.utils.data import get_worker_info

from ...errors import DimtoolError
from ...text import first_line
from ..crops.reading import Crop

Item = TypeVar("Item")

_LOCKS = 8  # of a queue with its event, and some more


class SharedMemoryError(DimtoolError):
    """Worker processes have no shared memory to hand their batches over in."""


def no_shared_memory(error: BaseException | str) -> SharedMemoryError:
    """What to say where the system gave this error."""
    reason = error if isinstance(error, str) else first_line(error)
    return SharedMemoryError(
        f"worker processes cannot share memory ({reason}): /dev/shm is too small, or not there; start the "
        "container with a greater --shm-size, or train with --workers 0: the same command goes on"
    )


def try_shared_memory(workers: int) -> None:
    """Raise SharedMemoryError where there is none for what so many workers are told and asked over.

    PyTorch, half-way through making that, would add a traceback of its own.
    """
    context = multiprocessing.get_context("spawn")
    try:
        _ = [context.Lock() for _ in range(_LOCKS * (1 + workers))]
    except OSError as error:
        raise no_shared_memory(error) from error


@dataclass(frozen=True)
class Handed(Generic[Item]):
    """A collate function that, in a worker, puts the batch's tensors into shared memory by itself.

    Left to the queue, which does it in a thread of its own, a batch that does not fit would be dropped there
    without a word, and waited for for ever.
    """

    collate: Callable[[Sequence[Item | DimtoolError]], Crop | DimtoolError]

    def __call__(self, items: Sequence[Item | DimtoolError]) -> Crop | DimtoolError:
        batch = self.collate(items)
        if isinstance(batch, DimtoolError) or get_worker_info() is None:
            return batch
        try:
            for value in batch.values():
                if isinstance(value, Tensor) and value.numel():
                    value.share_memory_()  # type: ignore[no-untyped-call]
        except (RuntimeError, OSError) as error:
            return no_shared_memory(error)
        return batch
