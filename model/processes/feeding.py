"""The batches of one process, in their order, read ahead by worker processes."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from functools import partial

import torch
from torch.utils.data import DataLoader

from ...errors import DimtoolError
from ..crops.batches import CropBatches, Position, collate
from ..crops.dataset import TrainingCrops
from ..crops.readable import Collated, Readable
from ..crops.reading import Crop
from .signals import begin_worker, signals_held


class WorkerError(DimtoolError):
    """A process that reads crops was killed."""

    def __init__(self) -> None:
        super().__init__(
            "a worker process was killed, perhaps for want of memory: try fewer --workers; "
            "the same command goes on from the last checkpoint"
        )


class Feed:
    """What a process is fed with in a stage: its share, of `rank` in `world`, of each batch.

    batch_size: of all processes together. workers: processes that read ahead; 0 reads in this one.
    pinned: whether batches lie where a GPU fetches them by itself. waited: seconds that `next` took so far.
    """

    def __init__(
        self,
        crops: TrainingCrops,
        *,
        batch_size: int,
        rank: int = 0,
        world: int = 1,
        workers: int = 0,
        pinned: bool = False,
    ) -> None:
        self.crops = crops
        self.waited = 0.0
        self.batch_size, self._rank, self._world = batch_size, rank, world
        self._workers, self._pinned = workers, pinned
        self._iterator: Iterator[Crop | DimtoolError] = iter(())

    def begin(self, first: int, steps: int) -> None:
        """Start the workers, on as many batches from the sample of that number on."""
        batches = CropBatches(
            len(self.crops),
            batch_size=self.batch_size,
            seed=self.crops.seed,
            first=first,
            steps=steps,
            rank=self._rank,
            world=self._world,
        )
        with signals_held():
            self._iterator = iter(self._loader(batches)) if steps else iter(())

    def _loader(self, batches: CropBatches) -> DataLoader[Crop]:
        return DataLoader(
            Readable(self.crops),
            batch_sampler=batches,
            num_workers=self._workers,
            collate_fn=Collated(collate),
            pin_memory=self._pinned,
            worker_init_fn=partial(begin_worker, os.getpid()),
            # Not fork: this process has threads, and perhaps a GPU.
            multiprocessing_context="spawn" if self._workers else None,
            # Its own: the training's random states must not depend on how often it was started.
            generator=torch.Generator(),
        )

    def next(self) -> Crop:
        """The next batch. Raises ShardError where one cannot be read, WorkerError."""
        started = time.perf_counter()
        try:
            batch = next(self._iterator)
        except (ConnectionError, EOFError) as failure:  # it was killed while it handed tensors over
            raise WorkerError from failure
        self.waited += time.perf_counter() - started
        if isinstance(batch, DimtoolError):
            raise batch
        return batch

    def positions(self, first: int) -> list[Position]:
        """(epoch, index) of every crop of the batch from that sample on, whichever processes have it."""
        whole = CropBatches(
            len(self.crops), batch_size=self.batch_size, seed=self.crops.seed, first=first, steps=1
        )
        return next(iter(whole))
