"""Training crops from a folder of shards: a public Dataset, deterministic in (seed, epoch, index).

Nothing is drawn from a global state and nothing depends on the process: any epoch can be repeated, a run
resumed in the middle of one, and every epoch is new. Only the tiles that a crop touches are decoded.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate
from torch.utils.data import Dataset, Sampler

from ..composer.dataset import CompositeDataset, known_background
from ..composer.images import UInt8Image, UInt8Mask
from ..composer.shard import Shard, ShardError
from ..composer.trimap import MAX_DISTANCE
from ..composer.windows import Mask, TileGrid, Window
from ..errors import WrongUseError

Position = tuple[int, int]  # (epoch, index)

_ORDER, _CROP, _OTHER = 0, 1, 2  # what numbers are drawn for: no two things are drawn alike


class Crop(TypedDict):
    """A training sample; all tensors are uint8, 0 to 255, to be divided by 255 on the device.

    image, foreground, background: (3, s, s) RGB; image is the composite. alpha, trimap: (1, s, s), the
    trimap of 0, 128 and 255. Foreground and background are there where `colours` asks for them; the
    background is right wherever the trimap is unknown. skipped: what could not be read in its place.
    """

    image: Tensor
    trimap: Tensor
    alpha: Tensor
    foreground: Tensor
    background: Tensor
    skipped: list[str]


@dataclass(frozen=True, kw_only=True)
class CropConfig:
    """How crops are drawn.

    size: the side of what comes out, pixels; a multiple of 32 spares the network its padding. cuts: sides
    of what is cut out, one drawn for each crop and scaled to `size`. flip: probability. radii: least and
    greatest radius of the trimap, in pixels of the result, drawn for the foreground's side and the
    background's independently; one value twice gives trimaps of that radius. colours: whether foreground
    and background are read, which only the compositional loss needs.
    """

    size: int = 320
    cuts: tuple[int, ...] = (320, 480, 640)
    flip: float = 0.5
    radii: tuple[int, ...] = (1, 20)
    colours: bool = True

    def __post_init__(self) -> None:
        if self.size < 1 or not self.cuts or min(self.cuts) < 1:
            raise WrongUseError(f"crops of {self.cuts} to {self.size} pixels: sides are at least 1")
        if len(self.radii) != 2 or not 0 <= self.radii[0] <= self.radii[1]:
            raise WrongUseError(f"trimap radii {self.radii}: give the least and the greatest, in pixels")
        if not 0 <= self.flip <= 1:
            raise WrongUseError(f"a crop cannot be mirrored with a probability of {self.flip:g}")
        if self.radii[1] * self.scale >= MAX_DISTANCE:
            raise WrongUseError(
                f"a trimap radius of {self.radii[1]} in crops scaled by {self.scale:g} is beyond the "
                f"{MAX_DISTANCE - 1} pixels that distances are stored for: choose a lesser radius or cut"
            )

    @property
    def scale(self) -> float:
        """How many pixels of the source a pixel of the result may have."""
        return max(self.cuts) / self.size


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
        folder: Path,
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
        self.composites.close()

    def _count(self, number: int, file: str) -> int:
        """How many composites of a shard there are to be cropped."""
        try:
            shard = self.composites.shard(number)
            if shard.center_count == 0:
                self.left_out.append(file)
                return 0
        except ShardError:
            if not self.skip_bad:
                raise
            self.unreadable.append(file)
            return 0
        _check_reach(self.config, shard)
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
            shard = self.composites.shard(number)
            return read_crop(shard, i, self.draw(shard, epoch, index), self.config)
        except ShardError as error:
            if not self.skip_bad:
                raise
            return str(error)

    def draw(self, shard: Shard, epoch: int, index: int) -> Cut:
        """What is drawn for the position (epoch, index) in a shard. Raises ShardError."""
        return draw_cut(shard, self.config, np.random.default_rng([_CROP, self.seed, epoch, index]))

    def _another(self, epoch: int, index: int, error: str) -> Crop:
        """In the place of one that cannot be read, another one, drawn from the same numbers."""
        skipped = [error]
        for item in np.random.default_rng([_OTHER, self.seed, epoch, index]).permutation(len(self)):
            crop = self._read(int(item), epoch, index)
            if not isinstance(crop, str):
                return Crop(**{**crop, "skipped": skipped})
            skipped.append(crop)
        raise ShardError(f"{self.composites.folder}: no composite can be read; {error}")

    def name(self, index: int) -> str:
        """The official name of a composite, to tell what a batch held."""
        number, i = self._items[index]
        return f"{Path(self.composites.record(number).foreground).stem}_{i}"


def _check_reach(config: CropConfig, shard: Shard) -> None:
    """The background is kept within a radius: the widest unknown region must not leave it."""
    kept = shard.background_radius
    if config.colours and _reach(config.radii[1], config.scale) > kept:
        raise WrongUseError(
            f"a trimap radius of {config.radii[1]} in crops scaled by {config.scale:g} reaches beyond the "
            f"{kept} pixels of background that {shard.path} keeps: choose a lesser radius or smaller cuts"
        )


class Cut(NamedTuple):
    """What is drawn for a crop: the square to cut out, the trimap's radii, whether it is mirrored."""

    window: Window
    foreground_radius: int
    background_radius: int
    flip: bool


def draw_cut(shard: Shard, config: CropConfig, draw: np.random.Generator) -> Cut:
    """A square around a transition pixel, moved inside where it would stick out: no pixel is invented."""
    sides = shard.shape
    side = min(config.cuts[draw.integers(len(config.cuts))], *sides)
    center = shard.center(int(draw.integers(shard.center_count)))
    inwards, outwards = draw.integers(config.radii[0], config.radii[1] + 1, 2).tolist()
    top, left = (min(max(at - side // 2, 0), end - side) for at, end in zip(center, sides, strict=True))
    window = slice(top, top + side), slice(left, left + side)
    return Cut(window, inwards, outwards, flip=bool(draw.random() < config.flip))


def read_crop(shard: Shard, i: int, cut: Cut, config: CropConfig) -> Crop:
    """The crop of composite `i` that `cut` says. Raises ShardError."""
    grid = TileGrid(*shard.shape, cut.window)
    radii = cut.foreground_radius, cut.background_radius
    alpha, distance = np.empty((2, *grid.pixels), np.uint8)
    shard.fill(alpha, "alpha", grid)
    shard.fill(distance, "distance", grid)
    reach = _reach(max(radii), grid.pixels[0] / config.size)
    images = _images(shard, i, grid, alpha, (grid.least(distance) <= reach) & config.colours)
    image, *colours = _scaled(images if config.colours else images[:1], config.size, cut.flip)
    foreground, background = colours or [torch.empty(0, dtype=torch.uint8)] * 2
    return Crop(
        image=image,
        trimap=_scaled(scaled_trimap(alpha, distance, config.size, *radii), config.size, cut.flip)[0],
        alpha=_scaled(alpha, config.size, cut.flip)[0],
        foreground=foreground,
        background=background,
        skipped=[],
    )


def _images(shard: Shard, i: int, grid: TileGrid, alpha: UInt8Mask, near: Mask) -> UInt8Image:
    """Windows of composite `i` and, in the tiles that are `near`, of its foreground and background.

    (3, h, w, 3). Where a tile is opaque the composite is the foreground, which decodes in half the time.
    """
    image, foreground, background = images = np.zeros((3, *alpha.shape, 3), np.uint8)
    least, most = grid.least(alpha), grid.most(alpha)
    shard.fill(image, "composite", grid, layer=i, tiles=least < 255)
    shard.fill(foreground, "foreground", grid, tiles=near | (least == 255))
    shard.fill(background, "background", grid, layer=i, tiles=near & (most > 0))
    for block in grid.blocks(least == 255):
        image[block] = foreground[block]
    for block in grid.blocks(near & (least == 0)):
        background[block] = known_background(background[block], image[block], alpha[block])
    return images


def _reach(radius: int, scale: float) -> int:
    """How far from the transition region, in pixels of the source, a trimap's unknown pixels take colours.

    As far as it reaches itself, and the pixels that scaling mixes in: the bilinear filter looks `scale`
    pixels, or one, in all four directions from the middle of a pixel.
    """
    return math.ceil(radius * scale) + math.ceil(2 * max(scale, 1)) + 1


def scaled_trimap(
    alpha: UInt8Mask, distance: UInt8Mask, size: int, foreground_radius: int, background_radius: int
) -> UInt8Mask:
    """The trimap, (size, size), of a square window of alpha and distance; radii in pixels of the result.

    Each pixel takes the class of the source pixel at its centre, at the source's distance: a trimap is
    never interpolated. A pixel is known only if everything within the radius around it is.
    """
    side = alpha.shape[0]
    if side != size:
        at = np.arange(1, 2 * size, 2) * side // (2 * size)
        alpha, distance = alpha.take(at, 0).take(at, 1), distance.take(at, 0).take(at, 1)
    # The stored distance is rounded up, and so must be what it is compared with; in integers, no less.
    inside = (alpha == 255) & (distance > -(-foreground_radius * side // size))
    outside = (alpha == 0) & (distance > -(-background_radius * side // size))
    # 128 + 127 or - 128: assigning by flags would go value by value.
    return np.asarray(128 + 127 * inside.view(np.uint8) - 128 * outside.view(np.uint8))


def _scaled(pixels: NDArray[np.uint8], size: int, flip: bool) -> Tensor:
    """Squares, (h, h) or (n, h, h, 3), as (n, c, size, size), scaled and mirrored left to right if `flip`.

    Antialiased bilinear filtering on 8 bits: Pillow's values, in a third of its time.
    """
    squares = pixels if pixels.ndim > 2 else pixels[None, ..., None]
    tensor = torch.from_numpy(squares).permute(0, 3, 1, 2)
    if tensor.shape[-1] != size:
        tensor = interpolate(tensor, size=(size, size), mode="bilinear", antialias=True)
    return tensor.flip(3) if flip else tensor


class CropBatches(Sampler[list[Position]]):
    """Batches of (epoch, index) positions, each epoch in an order of its own.

    Batch t holds samples t * batch_size and on of one endless sequence, epoch after epoch; so the number
    of a batch is all that a resumed run must know. batch_size: of all processes together; this one, `rank`
    of `world`, gets an equal share. start: the first batch. steps: how many.
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
    ) -> None:
        if batch_size % world:
            raise WrongUseError(f"a batch of {batch_size} cannot be shared equally by {world} processes")
        if count < 1:
            raise WrongUseError("there is no composite to train on")
        self.count, self.seed = count, seed
        self.batch_size, self.start, self.steps = batch_size, start, steps
        self.rank, self.world = rank, world

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[list[Position]]:
        share = self.batch_size // self.world
        order: tuple[int, NDArray[np.intp]] | None = None
        for batch in range(self.start, self.start + self.steps):
            first = batch * self.batch_size + self.rank * share
            positions = []
            for sample in range(first, first + share):
                epoch, place = divmod(sample, self.count)
                if order is None or order[0] != epoch:
                    order = epoch, np.random.default_rng([_ORDER, self.seed, epoch]).permutation(self.count)
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
        skipped=[error for crop in crops for error in crop["skipped"]],
    )


def _stack(tensors: list[Tensor]) -> Tensor:
    if not tensors[0].numel():
        return torch.stack(tensors)
    return torch.stack([tensor.permute(1, 2, 0) for tensor in tensors]).permute(0, 3, 1, 2)
