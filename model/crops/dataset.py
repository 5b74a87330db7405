"""Training crops from a folder of shards: a public Dataset, deterministic in (seed, epoch, index).

Nothing is drawn from a global state and nothing depends on the process: any epoch can be repeated, a run
resumed in the middle of one, and every epoch is new.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from torch.utils.data import Dataset

from ...composer.shards.dataset import CompositeDataset
from ...composer.shards.layout import ShardError
from ...composer.shards.reader import Shard
from ...errors import WrongUseError
from ...names import composite_name
from ...storage.remote import Place
from .backgrounds import BackgroundFinder
from .batches import CROP, OTHER, VARY, Position
from .layers import filter_reach
from .reading import Crop, CropConfig, Cut, draw_cut, reach_of, read_crop
from .variation import PLAIN
from .varied import read_varied


class TrainingCrops(Dataset[Crop]):
    """Crops of the composites under a folder with index.json: one for each composite and epoch.

    An item is asked for by (epoch, index), as CropBatches gives them; a bare index is of epoch 0. Shards
    are opened in whatever process reads them, and at most `max_open` stay open, of 1 to 2 MB each: it works
    with workers under fork, forkserver and spawn. `shards`: numbers of those to use, all by default (a
    validation split holds some out). Foregrounds without a transition pixel have nothing to be cropped
    around: they are left out, and `left_out` names them. With `skip_bad`, shards that cannot be opened are
    left out as well (`unreadable`), and a composite that cannot be read later is replaced by another one and
    named in the crop's `skipped`; without, ShardError is raised.
    """

    def __init__(
        self,
        folder: Place | str,
        config: CropConfig | None = None,
        *,
        seed: int = 0,
        shards: Sequence[int] | None = None,
        skip_bad: bool = False,
        max_open: int = 128,
    ) -> None:
        self.config = config or CropConfig()
        self.seed = seed
        self.skip_bad = skip_bad
        self.composites = CompositeDataset(folder, max_open=max_open)
        records = self.composites.index.shards
        self.left_out: list[str] = []
        self.unreadable: list[str] = []
        self._items: list[tuple[int, int]] = []  # (number of the shard, number of the composite in it)
        for number in range(len(records)) if shards is None else shards:
            self._items += [(number, i) for i in range(self._count(number, records[number].file))]
        self._finder = BackgroundFinder(self._any, self.config)
        self.composites.close()

    def _count(self, number: int, file: str) -> int:
        """How many composites of a shard there are to be cropped."""
        try:
            with self.composites.head(number) as shard:
                if shard.center_count == 0:
                    self.left_out.append(file)
                    return 0
                _check_reach(self.config, shard)
        except ShardError:
            if not self.skip_bad:
                raise
            self.unreadable.append(file)
            return 0
        return self.composites.record(number).composites

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, position: Position | int) -> Crop:
        """The crop of an epoch's composite. Raises ShardError if it cannot be read, or IndexError."""
        epoch, index = position if isinstance(position, tuple) else (0, position)
        if not 0 <= index < len(self):
            raise IndexError(f"crop {index} of {len(self)} in {self.composites.folder}")
        crop = self._read(index, epoch, index)
        if isinstance(crop, str):
            return self._another(epoch, index, crop)
        return crop

    def _read(self, item: int, epoch: int, index: int) -> Crop | str:
        """The crop of an item as it is drawn for (epoch, index), or with `skip_bad` why it cannot be read."""
        number, i = self._items[item]
        try:
            if self.config.variation == PLAIN:
                shard = self.composites.shard(number)
                return read_crop(shard, i, self.draw(shard, epoch, index), self.config)
            # One in the place of another draws anew: the same partners might be what cannot be read.
            draw = np.random.default_rng([VARY, self.seed, epoch, index, item])
            return read_varied(partial(self.composites.shard, number), i, self.config, self._finder, draw)
        except ShardError as error:
            if not self.skip_bad:
                raise
            return str(error)

    def draw(self, shard: Shard, epoch: int, index: int) -> Cut:
        """What is drawn for the position (epoch, index) in a shard. Raises ShardError."""
        return draw_cut(shard, self.config, np.random.default_rng([CROP, self.seed, epoch, index]))

    def _any(self, draw: np.random.Generator) -> tuple[Shard, int]:
        """Any composite: its shard, and its number there. Raises ShardError."""
        number, i = self._items[draw.integers(len(self))]
        return self.composites.shard(number), i

    def _another(self, epoch: int, index: int, error: str) -> Crop:
        """In the place of one that cannot be read, another one, drawn from the same numbers."""
        skipped = [error]
        for item in np.random.default_rng([OTHER, self.seed, epoch, index]).permutation(len(self)):
            crop = self._read(int(item), epoch, index)
            if not isinstance(crop, str):
                return Crop(**{**crop, "skipped": skipped})
            skipped.append(crop)
        raise ShardError(f"{self.composites.folder}: no composite can be read; {error}")

    def name(self, index: int) -> str:
        """The official name of a composite, to tell what a batch held."""
        number, i = self._items[index]
        record = self.composites.record(number)
        return composite_name(record.foreground, record.first + i, record.label)


def _check_reach(config: CropConfig, shard: Shard) -> None:
    """The background is kept within a radius: the widest unknown region must not leave it.

    Varied crops need it where alpha is below 255: what no composite shows may have any colour in them.
    """
    kept = shard.background_radius
    if config.variation != PLAIN:
        if filter_reach(config.scale) > kept:
            raise WrongUseError(
                f"crops scaled by {config.scale:g} mix in more than the {kept} pixels of background that "
                f"{shard.path} keeps: choose smaller cuts or a lesser zoom"
            )
    elif config.colours and reach_of(config.radii[1], config.scale) > kept:
        raise WrongUseError(
            f"a trimap radius of {config.radii[1]} in crops scaled by {config.scale:g} reaches beyond the "
            f"{kept} pixels of background that {shard.path} keeps: choose a lesser radius or smaller cuts, "
            "or draw radii by log, for crops that need no more"
        )
