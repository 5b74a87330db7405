"""Errors that reach a user from a data loader's worker as they are, in one line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from torch.utils.data import Dataset

from ...errors import DimtoolError

Item = TypeVar("Item")
Batch = TypeVar("Batch")


class Readable(Dataset[Any], Generic[Item]):
    """The items of a dataset, or why one cannot be read: what a worker raises arrives as a traceback."""

    def __init__(self, items: Dataset[Item]) -> None:
        self.items = items

    def __getitem__(self, index: Any) -> Item | DimtoolError:
        try:
            return self.items[index]
        except DimtoolError as error:
            return error


@dataclass(frozen=True)
class Collated(Generic[Item, Batch]):
    """A collate function for `Readable`: what `collate` makes of the items, or the first of their errors."""

    collate: Callable[[Sequence[Item]], Batch]

    def __call__(self, items: Sequence[Item | DimtoolError]) -> Batch | DimtoolError:
        readable: list[Item] = []
        for item in items:
            if isinstance(item, DimtoolError):
                return item
            readable.append(item)
        return self.collate(readable)
