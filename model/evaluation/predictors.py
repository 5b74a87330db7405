"""Whose alphas are scored: a model's, anyone's in a folder, or a method's.

Each has a title for tables, says whether it needs the images themselves, and gives a key for each image: a
digest of all that its alpha comes from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from ...arrays import UInt8Mask
from ...composer.pixels.trimap import UNKNOWN
from ..inference.matter import Matter, fingerprint, load, to_input, to_uint8
from ..inference.memory import free_memory, pixels_that_fit
from ..inference.tiling import padded_pixels
from .images import Images, digest_of
from .methods import METHODS, Method
from .pairing import Files, Named, match_own
from .scoring import Item, ReadAlpha, Task


@dataclass
class ModelPredictor:
    """A model, at work in this process, on whatever device it is."""

    matter: Matter
    title: str
    needs_pictures: bool = True
    _fingerprint: str = field(init=False)

    def __post_init__(self) -> None:
        self._fingerprint = fingerprint(self.matter.model)

    def key(self, _: int) -> str:
        """What the alpha of an image comes from: of the weights, whatever their file."""
        return f"model {self._fingerprint}"

    def alphas(self, items: Sequence[Item]) -> list[UInt8Mask]:
        """Of items of one size, (h, w) uint8 each."""
        return predict_all(self.matter, items)


class FolderPredictor:
    """A folder of anyone's predictions, one for each image, of its name. Raises EvaluationError."""

    needs_pictures = False

    def __init__(self, files: Files, names: Sequence[Named]) -> None:
        self.title = str(files.root)
        self.paths = match_own(files, names)
        own = {each.name for each in names}
        self.left_out = [each for each in files.stems if each not in own]

    def key(self, number: int) -> str:
        """What the alpha of an image comes from: its file's digest."""
        return f"file {digest_of(self.paths[number])}"

    def task(self, number: int) -> Task:
        """What gives the alpha of an image, in whatever process."""
        return ReadAlpha(self.paths[number])


@dataclass(frozen=True)
class MethodPredictor:
    """One of METHODS, which compute in the processes that score."""

    title: str

    @property
    def needs_pictures(self) -> bool:
        """Whether it looks at more than the trimap."""
        return self.title != "trimap"

    def key(self, _: int) -> str:
        """What the alpha of an image comes from: the method."""
        return f"method {self.title}"

    def task(self, _: int) -> Task:
        """What gives the alpha of an image, in whatever process."""
        return Method(self.title)


Predictor = ModelPredictor | FolderPredictor | MethodPredictor


def alpha_of(predictor: Predictor, item: Item) -> UInt8Mask:
    """The alpha of one image, (h, w), made or read here."""
    if isinstance(predictor, ModelPredictor):
        return predictor.alphas([item])[0]
    return predictor.task(item.number)(item).pixels


def model_of(what: str) -> ModelPredictor:
    """A model, or the folder of a run. Raises CheckpointError."""
    return ModelPredictor(load(what), what)


def predictions_of(folder: Path, images: Images) -> FolderPredictor:
    """A folder of predictions on those images. Raises EvaluationError."""
    predictor = FolderPredictor(Files(folder), images.names)
    images.refuse_other_sizes(predictor.paths)
    return predictor


def predictor_of(what: str, images: Images) -> Predictor:
    """A method's name, a model or a run, or a folder of predictions.

    Raises CheckpointError, EvaluationError.
    """
    path = Path(what)
    if what in METHODS:
        return MethodPredictor(what)
    return predictions_of(path, images) if path.is_dir() and not _is_model(path) else model_of(what)


def _is_model(path: Path) -> bool:
    return any(path.glob("*.safetensors")) or (path / "checkpoints").is_dir()


def predict_all(matter: Matter, items: Sequence[Item]) -> list[UInt8Mask]:
    """Alphas (h, w) uint8 of images of one size, with the trimaps' known pixels as they are known.

    All at once where that fits the memory, else one by one, in tiles if need be.
    """
    pixels = len(items) * padded_pixels(*items[0].trimap.shape)
    if pixels <= pixels_that_fit(matter.model.config, free_memory(matter.device)):
        try:
            return _predict_batch(matter, items)
        except torch.OutOfMemoryError:
            pass  # a GPU's libraries take workspaces that nobody can foresee
    return [to_uint8(matter.matte(item.image, item.trimap)) for item in items if item.image is not None]


@torch.inference_mode()
def _predict_batch(matter: Matter, items: Sequence[Item]) -> list[UInt8Mask]:
    images = torch.cat([to_input(item.image, matter.device) for item in items if item.image is not None])
    trimaps = torch.cat([to_input(item.trimap, matter.device) for item in items])
    alphas = to_uint8(matter.model(images, trimaps).alpha[:, 0].cpu().numpy())
    pairs = zip(items, alphas, strict=True)
    return [np.where(item.trimap == UNKNOWN, alpha, item.trimap) for item, alpha in pairs]
