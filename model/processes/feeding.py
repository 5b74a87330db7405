"""The batches of one process, in their order, read ahead by worker processes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch.utils.data import DataLoader

from ...errors import DimtoolError
from ..crops.batches import CropBatches, Position, collate
from ..crops.dataset import TrainingCrops
from ..crops.readable import Collated, Readable
from ..crops.reading import Crop
from .memory import Handed, no_shared_memory, try_shared_memory
from .signals import begin_worker, signals_held
from .workers import Workers

_LOOK_EVERY = 2  # seconds: how soon a signal is heard while no batch comes


class WorkerError(DimtoolError):
    """A process that reads crops was killed."""

    def __init__(self) -> None:
        super().__init__(
            "a worker process was killed, perhaps for want of memory: try fewer --workers; "
            "the same command goes on from the last checkpoint"
        )


class Feed:
    """What a process is fed with in a stage: its share, of `rank` in `world`, of each batch.

    batch_size: of all processes together. workers: how many processes read ahead. pinned: whether batches lie
    where a GPU fetches them by itself. note: told what a user should know. waited: seconds that `next` took
    so far.
    """

    def __init__(
        self,
        crops: TrainingCrops,
        *,
        batch_size: int,
        rank: int = 0,
        world: int = 1,
        workers: Workers,
        pinned: bool = False,
        note: Callable[[str], object],
    ) -> None:
        self.crops = crops
        self.waited = 0.0
        self.batch_size, self._rank, self._world = batch_size, rank, world
        self._workers, self._pinned, self._note = workers, pinned, note
        self._first, self._steps = 0, 0  # of what is still to come
        self._iterator: Iterator[Crop | DimtoolError] = iter(())

    def begin(self, first: int, steps: int) -> None:
        """Start the workers, on `steps` batches from the sample of number `first` on.

        Raises SharedMemoryError.
        """
        self._first, self._steps = first, steps
        batches = CropBatches(
            len(self.crops),
            batch_size=self.batch_size,
            seed=self.crops.seed,
            first=first,
            steps=steps,
            rank=self._rank,
            world=self._world,
        )
        self._iterator = iter(())  # and those from before end
        if steps:
            try_shared_memory(self._workers.count)
            with signals_held():
                self._iterator = iter(self._loader(batches))

    def _loader(self, batches: CropBatches) -> DataLoader[Crop]:
        workers = self._workers.count
        return DataLoader(
            Readable(self.crops),
            batch_sampler=batches,
            num_workers=workers,
            collate_fn=Handed(Collated(collate)),
            pin_memory=self._pinned,
            timeout=_LOOK_EVERY if workers else 0,
            worker_init_fn=partial(begin_worker, os.getpid()),
            # Not fork: this process has threads, and perhaps a GPU.
            multiprocessing_context="spawn" if workers else None,
            # Its own: the training's random states must not depend on how often it was started.
            generator=torch.Generator(),
        )

    def next(self, asked: Sequence[int] = ()) -> Crop | None:
        """The next batch; None where none has come and a stop signal has (which `asked` then holds).

        Raises ShardError where a batch cannot be read, WorkerError, SharedMemoryError.
        """
        started = time.perf_counter()
        batch = self._fetch(asked)
        waited = time.perf_counter() - started
        self.waited += waited
        if isinstance(batch, DimtoolError):
            raise batch
        if batch is None:
            return None
        self._first, self._steps = self._first + self.batch_size, self._steps - 1
        if self._workers.learn(waited, left=self._steps, note=self._note):
            self.begin(self._first, self._steps)
        return batch

    def _fetch(self, asked: Sequence[int]) -> Crop | DimtoolError | None:
        while True:
            try:
                return next(self._iterator)
            except (ConnectionError, EOFError) as failure:  # it was killed while it handed tensors over
                raise WorkerError from failure
            except RuntimeError as error:
                if "Bus error" in str(error):
                    raise no_shared_memory("Bus error") from error
                if not str(error).startswith("DataLoader timed out"):
                    raise
            if asked:
                return None

    def positions(self, first: int) -> list[Position]:
        """(epoch, index) of every crop of the batch from that sample on, whichever processes have it."""
        whole = CropBatches(
            len(self.crops), batch_size=self.batch_size, seed=self.crops.seed, first=first, steps=1
        )
        return next(iter(whole))
