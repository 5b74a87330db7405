"""Image and trimap to alpha, of any size, in the memory that there is."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...arrays import UInt8Image, UInt8Mask
from ...composer.pixels.trimap import UNKNOWN
from ...errors import WrongUseError
from ...text import size
from ..network.checkpoint import card_of, load_model
from ..network.dim import DeepImageMatting, ModelConfig, folded
from ..network.release import shipped
from .inputs import Pixels, as_image, as_trimap
from .memory import bytes_needed, free_memory, pixels_that_fit
from .tiling import Span, Tile, frugal_pixels, plan_tiles, receptive_margin, smallest_tile

Alpha = NDArray[np.float32]  # (h, w), in 0..1


class MemoryTooLittleError(WrongUseError):
    """Not even one tile fits the memory; one line that says how much is needed."""


class Matter:
    """A model on a device, ready to make mattes. card: what its file says of it; empty where nothing."""

    def __init__(self, *, model: DeepImageMatting, device: torch.device, card: str = "") -> None:
        """The model moves to the device and is laid out channels last: less memory there, and faster."""
        self.card = card
        self.device = device
        self.model = folded(model).to(device).eval()
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def matte(self, image: Pixels, trimap: Pixels, *, max_memory: int | None = None) -> Alpha:
        """The alpha of an image of any size, (h, w) float32 in 0..1.

        image: (h, w, 3) uint8 RGB. trimap: (h, w) uint8: 0 background, 128 unknown, 255 foreground; where it
        is known, alpha is 0 and 1. Either may be a NumPy array, a list, a tensor or an image of Pillow.
        max_memory: bytes that may be taken beside the model, the image and the result; by default three
        quarters of what the device has free, and less where an eighth more work is enough for that.

        An image that does not fit is matted in tiles that overlap by twice as far as a pixel's alpha can
        depend on the image (2 x 192 pixels, or 2 x 288 with the bottleneck "fc6"). So there is nothing to
        blend: the result is the whole image's. Measured on the CPU the two are the same to the bit; a GPU may
        round a convolution otherwise at another size. With overlaps of 2 x 64 pixels the alpha of a trained
        model is up to 0.4 off: docs/inference.md has the figures.

        Raises ValueError for other shapes, types or values; MemoryTooLittleError where not one tile fits.
        """
        image, trimap = as_image(image), as_trimap(trimap)
        _check(image, trimap)
        unknown = trimap == UNKNOWN
        alpha: Alpha = (trimap == 255).astype(np.float32)
        memory = free_memory(self.device) if max_memory is None else max_memory
        pixels = pixels_that_fit(self.model.config, memory)
        if max_memory is None:
            margin = receptive_margin(self.model.config)
            pixels = frugal_pixels(*trimap.shape, pixels=pixels, margin=margin)
        while True:
            tiles = plan(self.model.config, trimap.shape, pixels)
            try:
                for tile in tiles:
                    self._fill(alpha, image, trimap, unknown, tile)
            except torch.OutOfMemoryError:  # a GPU's libraries take workspaces that nobody can foresee
                pixels = _fewer(self.model.config, trimap.shape, tiles)
            else:
                return alpha

    def _fill(
        self, alpha: Alpha, image: UInt8Image, trimap: UInt8Mask, unknown: NDArray[np.bool_], tile: Tile
    ) -> None:
        """Fill the unknown pixels that the tile keeps."""
        rows, columns = tile
        wanted = unknown[rows.kept, columns.kept]
        if wanted.any():
            seen = rows.seen, columns.seen
            found = self._forward(image[seen], trimap[seen])[_within(rows), _within(columns)]
            alpha[rows.kept, columns.kept][wanted] = found[wanted]

    @torch.inference_mode()
    def _forward(self, image: UInt8Image, trimap: UInt8Mask) -> Alpha:
        prediction = self.model(to_input(image, self.device), to_input(trimap, self.device))
        result: Alpha = prediction.alpha[0, 0].cpu().numpy()
        return result


def load(path: str | Path | None = None, device: str | torch.device | None = None) -> Matter:
    """The model of a model.safetensors, a checkpoint folder or a run's folder, on a device.

    path: without it, the model that comes with dimtool. device: by default a GPU where there is one, else
    the CPU. Raises CheckpointError.
    """
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    file = shipped() if path is None else Path(path)
    return Matter(model=load_model(file), device=torch.device(device), card=card_of(file))


def fingerprint(model: DeepImageMatting) -> str:
    """SHA-256, in hexadecimal, of all that a model's alphas depend on: weights, configuration and stage.

    The same wherever the weights lie: in a checkpoint of a run, in its model.safetensors, in a copy.
    """
    digest = hashlib.sha256(json.dumps([model.config.values(), model.stage]).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.contiguous().cpu().numpy().data)
    return digest.hexdigest()


def plan(config: ModelConfig, shape: tuple[int, ...], pixels: int) -> list[Tile]:
    """Tiles of at most `pixels` for an image of this (height, width); one if that is as many.

    Raises MemoryTooLittleError.
    """
    margin = receptive_margin(config)
    tiles = plan_tiles(*shape, pixels=pixels, margin=margin)
    if not tiles:
        least = bytes_needed(config, smallest_tile(*shape, margin=margin))
        raise MemoryTooLittleError(
            f"the smallest tile for this model needs about {size(least)} of memory, more than it may take: "
            "free some, allow more, or train a model of less width"
        )
    return tiles


def _fewer(config: ModelConfig, shape: tuple[int, ...], tiles: list[Tile]) -> int:
    """Pixels for smaller tiles than these; the smallest possible before none."""
    used = max(tile.pixels for tile in tiles)
    smallest = smallest_tile(*shape, margin=receptive_margin(config))
    return max(used - used // 4, smallest) if used > smallest else 0


def to_input(pixels: UInt8Image | UInt8Mask, device: torch.device) -> Tensor:
    """(h, w) or (h, w, 3) uint8 to (1, c, h, w) in 0..1, laid out channels last."""
    tensor = torch.from_numpy(np.array(pixels)).to(device)  # a copy: Pillow's arrays are not writable
    tensor = tensor[None, None] if tensor.ndim == 2 else tensor.permute(2, 0, 1)[None]
    return tensor.float() / 255


def to_uint8(alpha: Alpha) -> UInt8Mask:
    """Alpha, 0 to 1, as 0 to 255, rounded to nearest."""
    return _scaled(alpha, 255).astype(np.uint8)


def to_uint16(alpha: Alpha) -> NDArray[np.uint16]:
    """Alpha, 0 to 1, as 0 to 65,535, rounded to nearest."""
    return _scaled(alpha, 65_535).astype(np.uint16)


def _scaled(alpha: Alpha, most: int) -> NDArray[np.float64]:
    return np.asarray(np.floor(alpha.astype(np.float64) * most + 0.5))


def _within(span: Span) -> slice:
    """What is kept, counted from where the tile begins."""
    return slice(span.kept.start - span.seen.start, span.kept.stop - span.seen.start)


def _check(image: UInt8Image, trimap: UInt8Mask) -> None:
    if trimap.shape != image.shape[:2] or trimap.size == 0:
        raise ValueError(
            f"image {image.shape} and trimap {trimap.shape} do not fit; give (h, w, 3) and (h, w), not empty"
        )
