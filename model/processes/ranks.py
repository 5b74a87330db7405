"""The processes that share each batch: what they must agree on, and what one decides for all."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, distributed

from ...errors import DimtoolError
from .failures import SharedError

Found = TypeVar("Found")

# The main process may load, download or write while the others wait, for longer than the usual ten minutes.
PATIENCE = timedelta(days=1)


class _Failure(NamedTuple):
    message: str
    exit_code: int


class Ranks:
    """A process among `count`, number `index`; every method must be called by all of them alike.

    What they tell each other goes over the CPU, so that it never waits for a GPU's work.
    """

    def __init__(self) -> None:
        several = distributed.is_available() and distributed.is_initialized()
        self.count = distributed.get_world_size() if several else 1
        self.index = distributed.get_rank() if several else 0
        self._group = distributed.new_group(backend="gloo", timeout=PATIENCE) if several else None

    @property
    def main(self) -> bool:
        """Whether this process speaks, writes and decides for all."""
        return self.index == 0

    @property
    def here(self) -> int:
        """How many of the processes are on this machine."""
        return int(os.environ.get("LOCAL_WORLD_SIZE", self.count))

    def each(self, work: Callable[[], Found]) -> Found:
        """What `work` gives here, where it fails nowhere.

        Raises this process's own DimtoolError, or SharedError with the first of the others'.
        """
        failure: DimtoolError | None = None
        try:
            result = work()
        except DimtoolError as error:
            failure = error
        failures = self.gather(failure and _Failure(str(failure), failure.exit_code))
        first = next((rank for rank, each in enumerate(failures) if each is not None), None)
        if failure is not None and (self.main or first == self.index):
            raise failure
        if first is not None:
            message, code = failures[first]
            raise SharedError(message if first == 0 else f"process {first}: {message}", code)
        return result

    def main_finds(self, work: Callable[[], Found]) -> Found:
        """What `work` gives in the main process, which alone does it; all fail where it does."""
        found = self.each(work if self.main else lambda: None)
        return self.gather(found)[0]  # type: ignore[no-any-return]

    def main_does(self, work: Callable[[], object]) -> None:
        """Have the main process alone do something, while the others wait; all fail where it does."""
        self.each(work if self.main else lambda: None)

    def agree(self, what: Mapping[str, Any]) -> None:
        """Raise SharedError where a value is not the same in all processes."""
        theirs = self.gather(dict(what))
        for key, value in theirs[0].items():
            for rank, each in enumerate(theirs):
                if each.get(key) != value:
                    raise SharedError(
                        f"the processes of this training do not agree: {key} is {value} for process 0 and "
                        f"{each.get(key)} for process {rank}; give them all the same",
                        exit_code=2,
                    )

    def most(self, numbers: Sequence[int]) -> list[int]:
        """The greatest that any process has of each number."""
        if self.count == 1:
            return list(numbers)
        found = torch.tensor(numbers, dtype=torch.int64)
        distributed.all_reduce(found, distributed.ReduceOp.MAX, group=self._group)
        return found.tolist()

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Make each of these tensors, in place, the mean of those of all processes."""
        if self.count == 1:
            return
        for each in tensors:
            mean = each.detach().to("cpu", torch.float64)
            distributed.all_reduce(mean, group=self._group)
            each.copy_(mean / self.count)

    def share(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The main process's tensors, by name, in every process; on the CPU."""
        if self.count == 1:
            return dict(tensors)
        shapes = self.main_finds(
            lambda: {name: (tuple(each.shape), each.dtype) for name, each in tensors.items()}
        )
        shared = {}
        for name, (shape, dtype) in shapes.items():
            here = tensors[name].detach().cpu().contiguous() if self.main else torch.empty(shape, dtype=dtype)
            distributed.broadcast(here, 0, group=self._group)
            shared[name] = here
        return shared

    def gather(self, value: Any) -> list[Any]:
        """Each process's value, in their order."""
        if self.count == 1:
            return [value]
        values: list[Any] = [None] * self.count
        distributed.all_gather_object(values, value, group=self._group)
        return values
