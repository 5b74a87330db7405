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
from ..composer.windows import Mask, TileGrid, Window
from ..errors import WrongUseError

Position = tuple[int, int]  # (epoch, index)


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
    radii: tuple[int, int] = (1, 20)
    colours: bool = True

    def __post_init__(self) -> None:
        if self.size < 1 or not self.cuts or min(self.cuts) < 1:
            raise WrongUseError(f"crops of {self.cuts} to {self.size} pixels: sides are at least 1")
        if not 0 <= self.radii[0] <= self.radii[1]:
            raise WrongUseError(
                f"trimap radii from {self.radii[0]} to {self.radii[1]}: give the lesser first"
            )


class TrainingCrops(Dataset[Crop]):
    """Crops of the composites under a folder with index.json: one for each composite and epoch.

    An item is asked for by (epoch, index), as CropBatches gives them; a bare index is of epoch 0. Shards
    are opened in whatever process reads them, at most 16 at a time: it works with workers under fork,
    forkserver and spawn. `shards`: numbers of those to use, all by default (a validation split holds some
    out). Foregrounds without a transition pixel have nothing to be cropped around: they are left out, and
    `left_out` names them. With `skip_bad` a composite that cannot be read is replaced by the one after it
    and named in the crop's `skipped`; without, ShardError is raised.
    """

    def __init__(
        self,
        folder: Path,
        config: CropConfig | None = None,
        *,
        seed: int = 0,
        shards: Sequence[int] | None = None,
        skip_bad: bool = False,
        max_open: int = 64,
    ) -> None:
        self.config = config or CropConfig()
        self.seed = seed
        self.skip_bad = skip_bad
        self.composites = CompositeDataset(folder, max_open=max_open)
        records = self.composites.index.shards
        self.left_out: list[str] = []
        self._items: list[tuple[int, int]] = []  # (number of the shard, number of the composite in it)
        for number in range(len(records)) if shards is None else shards:
            if self._has_centers(number):
                self._items += [(number, i) for i in range(records[number].composites)]
            else:
                self.left_out.append(records[number].file)
        self.composites.close()

    def _has_centers(self, number: int) -> bool:
        try:
            shard = self.composites.shard(number)
        except ShardError:
            if self.skip_bad:
                return False
            raise
        _check_reach(self.config, shard)
        return shard.center_count > 0

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, position: Position | int) -> Crop:
        """The crop of an epoch's composite. Raises ShardError where it cannot be read."""
        epoch, index = position if isinstance(position, tuple) else (0, position)
        skipped: list[str] = []
        for step in range(len(self)):
            number, i = self._items[(index + step) % len(self)]
            draw = np.random.default_rng([self.seed, epoch, index])
            try:
                shard = self.composites.shard(number)
                crop = read_crop(shard, i, draw_cut(shard, self.config, draw), self.config)
            except ShardError as error:
                if not self.skip_bad:
                    raise
                skipped.append(str(error))
            else:
                return Crop(**{**crop, "skipped": skipped})
        raise ShardError(f"{self.composites.folder}: no composite can be read; {skipped[0]}")

    def name(self, index: int) -> str:
        """The official name of a composite, to tell what a batch held."""
        number, i = self._items[index]
        return f"{Path(self.composites.record(number).foreground).stem}_{i}"


def _check_reach(config: CropConfig, shard: Shard) -> None:
    """The background is kept within a radius: the widest unknown region must not leave it."""
    reach = shard.header.background_radius
    scale = max(config.cuts) / config.size
    # Scaling mixes in the neighbours within one pixel of the result.
    if config.colours and (config.radii[1] + 1) * scale > reach:
        raise WrongUseError(
            f"a trimap radius of {config.radii[1]} in crops scaled by {scale:g} reaches beyond the {reach} "
            f"pixels of background that {shard.path} keeps: choose a lesser radius or smaller cuts"
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
    radii = draw.integers(config.radii[0], config.radii[1] + 1, 2).tolist()
    top, left = (min(max(at - side // 2, 0), end - side) for at, end in zip(center, sides, strict=True))
    window = slice(top, top + side), slice(left, left + side)
    return Cut(window, *radii, flip=bool(draw.random() < config.flip))


def read_crop(shard: Shard, i: int, cut: Cut, config: CropConfig) -> Crop:
    """The crop of composite `i` that `cut` says. Raises ShardError."""
    grid = TileGrid(*shard.shape, cut.window)
    side = grid.pixels[0]
    radii = cut.foreground_radius, cut.background_radius
    alpha, distance = np.empty(grid.pixels, np.uint8), np.empty(grid.pixels, np.uint8)
    shard.fill(alpha, "alpha", grid)
    shard.fill(distance, "distance", grid)
    near = grid.least(distance) <= _reach(max(radii), side / config.size)
    image, *colours = _colours(shard, i, grid, alpha, near & config.colours)
    nothing = torch.empty(0, dtype=torch.uint8)
    foreground, background = (
        _scaled(each, config.size, cut.flip) if config.colours else nothing for each in colours
    )
    return Crop(
        image=_scaled(image, config.size, cut.flip),
        trimap=_scaled(scaled_trimap(alpha, distance, config.size, *radii), config.size, cut.flip),
        alpha=_scaled(alpha, config.size, cut.flip),
        foreground=foreground,
        background=background,
        skipped=[],
    )


def _colours(
    shard: Shard, i: int, grid: TileGrid, alpha: UInt8Mask, near: Mask
) -> tuple[UInt8Image, UInt8Image, UInt8Image]:
    """Windows of composite `i` and, right in the tiles that are `near`, of its foreground and background.

    Where a tile is opaque the composite is the foreground, which decodes in half the time.
    """
    image, foreground, background = np.zeros((3, *alpha.shape, 3), np.uint8)
    least, most = grid.least(alpha), grid.most(alpha)
    shard.fill(image, "composite", grid, layer=i, tiles=least < 255)
    shard.fill(foreground, "foreground", grid, tiles=near | (least == 255))
    shard.fill(background, "background", grid, layer=i, tiles=near & (most > 0))
    for block in grid.blocks(least == 255):
        image[block] = foreground[block]
    for block in grid.blocks(near & (least == 0)):
        background[block] = known_background(background[block], image[block], alpha[block])
    return image, foreground, background


def _reach(radius: int, scale: float) -> int:
    """How far, in pixels of the source, the unknown region of a trimap takes its colours from.

    As far as it reaches itself, and what scaling mixes in: Pillow's bilinear filter looks `scale` pixels
    up and down, left and right, here of a pixel at most one beside the one that the trimap asked.
    """
    return math.ceil((radius + 3) * scale)


def scaled_trimap(
    alpha: UInt8Mask, distance: UInt8Mask, size: int, foreground_radius: float, background_radius: float
) -> UInt8Mask:
    """The trimap, (size, size), of a square window of alpha and distance; radii in pixels of the result.

    Each pixel takes the class of the source pixel at its centre, at the source's distance: a trimap is
    never interpolated. A pixel is known only if everything within the radius around it is.
    """
    scale = alpha.shape[0] / size
    if scale != 1:
        at = ((np.arange(size) + 0.5) * scale).astype(np.intp)
        alpha, distance = alpha.take(at, 0).take(at, 1), distance.take(at, 0).take(at, 1)
    # The stored distance is rounded up: so must be what it is compared with.
    inside = (alpha == 255) & (distance > math.ceil(foreground_radius * scale))
    outside = (alpha == 0) & (distance > math.ceil(background_radius * scale))
    # 128 + 127 or - 128: assigning by flags would go value by value.
    return 128 + 127 * inside.view(np.uint8) - 128 * outside.view(np.uint8)


def _scaled(pixels: UInt8Image | UInt8Mask, size: int, flip: bool) -> Tensor:
    """A square, (h, h) or (h, h, 3), as (c, size, size), scaled and mirrored left to right where `flip`.

    Antialiased bilinear filtering on 8 bits: Pillow's values, in a third of its time.
    """
    side = pixels.shape[0]
    tensor = torch.from_numpy(pixels.reshape(1, side, side, -1)).permute(0, 3, 1, 2)
    if side != size:
        tensor = interpolate(tensor, size=(size, size), mode="bilinear", antialias=True)
    return (tensor.flip(3) if flip else tensor)[0]


class CropBatches(Sampler[list[Position]]):
    """Batches of (epoch, index) positions, endless, each epoch in an order of its own.

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
                    order = epoch, np.random.default_rng([self.seed, epoch]).permutation(self.count)
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
