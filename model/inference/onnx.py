"""The model as one ONNX file that needs nothing else: pixels as they are in files go in, alpha comes out."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...composer.pixels.trimap import UNKNOWN
from ...errors import DimtoolError, WrongUseError
from ...files import part_of
from ...text import size
from ...version import __version__
from ..network.checkpoint import load_model
from ..network.dim import DeepImageMatting, folded
from .extras import optional

OPSET = 20
"""What onnxruntime reads from 1.17 on, of January 2024."""

CHECKED_SIZES = ((1, 64, 96), (2, 37, 53), (1, 225, 130))
"""Batch, height and width of the images on which the file is compared with PyTorch."""

MAX_DIFFERENCE = 1e-4
"""Of alpha in 0 to 1: a fortieth of an 8-bit step. Rounding alone gives some 1e-6."""

_DESCRIPTION = (
    "Deep Image Matting. image: (batch, height, width, 3) uint8 RGB; trimap: (batch, height, width) uint8, "
    "0 background, 128 unknown, 255 foreground, any other value unknown as 128 is; alpha: (batch, height, "
    "width) float32 in 0..1, the trimap's where that is known. Any height and width; the normalisation is in "
    "the file."
)
# The image's free sizes have names; the trimap's are found to be the same.
_FREE = ({0: "batch", 1: "height", 2: "width"}, dict.fromkeys(range(3), torch.export.Dim.DYNAMIC))


class OnnxError(DimtoolError):
    """The exported file does not do what the model does; one line that says by how much."""


@dataclass(frozen=True, kw_only=True)
class Export:
    """A file that was written: its size, and the largest difference from PyTorch, by "height x width"."""

    path: Path
    bytes: int
    differences: dict[str, float]

    def text(self) -> str:
        """For people."""
        each = ", ".join(f"{value:.1e} at {place}" for place, value in self.differences.items())
        return f"{self.path}: {size(self.bytes)}; largest difference of alpha from PyTorch's: {each}"


class PortableMatting(nn.Module):
    """What the file computes: the network, with all that lies between files' pixels and its inputs."""

    def __init__(self, model: DeepImageMatting) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor, trimap: Tensor) -> Tensor:
        """Image (n, h, w, 3) uint8 RGB and trimap (n, h, w) uint8 to alpha (n, h, w) float32 in 0..1.

        Where the trimap is 0 or 255, alpha is 0 or 1; every other value is unknown, and to the network 128.
        """
        unknown = (trimap != 0) & (trimap != 255)
        known = torch.where(unknown, UNKNOWN, trimap).float() / 255
        alpha = self.model(image.permute(0, 3, 1, 2).float() / 255, known[:, None]).alpha[:, 0]
        return torch.where(unknown, alpha, known)


def export_onnx(checkpoint: Path, out: Path) -> Export:
    """Write the model of a checkpoint as an ONNX file of free batch, height and width.

    The file gets its name only when onnxruntime has loaded it and come to PyTorch's alpha on three sizes.
    Raises CheckpointError, MissingExtraError, WrongUseError for an `out` that cannot be, and OnnxError
    where the largest difference is over MAX_DIFFERENCE.
    """
    if not out.parent.is_dir():
        raise WrongUseError(f"{out.parent} is no folder: make it, or write {out.name} elsewhere")
    onnxruntime = optional("onnxruntime")
    for module in ("onnx", "onnxscript"):
        optional(module)
    model = PortableMatting(folded(load_model(checkpoint))).eval()
    program = _program(model)
    with part_of(out) as part:
        program.save(part, external_data=False)
        differences = _differences(onnxruntime, part, model)
        _check(out, differences)
    return Export(path=out, bytes=out.stat().st_size, differences=differences)


def _program(model: PortableMatting) -> Any:
    """PyTorch's ONNX program of the model."""
    # An example of two unequal, odd sides: 1, and sides that agree, would be taken for constants.
    with _quiet():
        program = torch.onnx.export(
            model,
            _inputs(2, 70, 45),
            input_names=["image", "trimap"],
            output_names=["alpha"],
            dynamic_shapes=_FREE,
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise OnnxError("PyTorch gave no ONNX program: install the torch of constraints.txt")
    config = model.model.config.values()
    program.model.doc_string = _DESCRIPTION
    program.model.metadata_props.update({"dimtool": __version__, "config": json.dumps(config)})
    return program


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter says of its own old calls, and of libraries that it would also know."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    finally:
        logger.setLevel(level)


def _differences(onnxruntime: Any, path: Path, model: PortableMatting) -> dict[str, float]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    differences = {}
    for n, height, width in CHECKED_SIZES:
        image, trimap = _inputs(n, height, width)
        with torch.inference_mode():
            expected = model(image, trimap).numpy()
        (alpha,) = session.run(["alpha"], {"image": image.numpy(), "trimap": trimap.numpy()})
        # A wrong shape would broadcast; NaN must not pass for a small difference.
        same = alpha.shape == expected.shape and np.isfinite(alpha).all()
        differences[f"{height} x {width}"] = float(abs(alpha - expected).max()) if same else float("inf")
    return differences


def _check(out: Path, differences: dict[str, float]) -> None:
    worst = max(differences, key=lambda place: differences[place])
    if differences[worst] > MAX_DIFFERENCE:
        raise OnnxError(
            f"{out} is not written: at {worst} its alpha is {differences[worst]:.2g} off PyTorch's, over "
            f"{MAX_DIFFERENCE:g}: install the torch, onnxscript and onnxruntime of constraints.txt"
        )


def _inputs(n: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Random pixels and a random trimap, with values that no trimap should have; the same every time."""
    rng = np.random.default_rng(height)
    image = rng.integers(0, 256, (n, height, width, 3), dtype=np.uint8)
    trimap = rng.choice(np.array([0, 1, UNKNOWN, 254, 255], np.uint8), (n, height, width))
    return torch.from_numpy(image), torch.from_numpy(trimap)
