"""A model as it is handed on: small, without what only training needs, with a card that says what it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from ...errors import WrongUseError
from ...text import size
from .checkpoint import CheckpointError, copy_of, load_model, save_model
from .dim import folded

SHIPPED = Path(__file__).parents[1] / "weights" / "dimtool-procedural.safetensors"
"""The model that comes with the package, for who has none."""


@dataclass(frozen=True, kw_only=True)
class Release:
    """What was written: bytes of the file, and the greatest change of a weight by rounding to float16."""

    path: Path
    bytes: int
    rounding: float

    def text(self) -> str:
        """For people."""
        return (
            f"{self.path}: {size(self.bytes)}, weights in float16 (changed by {self.rounding:.1e} at most)\n"
            f"next: dimtool predict --checkpoint {self.path} photo.jpg trimap.png"
        )


def release_model(checkpoint: Path, out: Path, *, card: str = "") -> Release:
    """Write a trained model as one small file: normalisation folded, float16, its card in its metadata.

    It loads as any other, in float32. Raises CheckpointError, and WrongUseError where a weight is beyond
    float16.
    """
    model = folded(load_model(checkpoint))
    greatest = max(float(each.detach().abs().max()) for each in model.parameters())
    if greatest > torch.finfo(torch.float16).max:
        raise WrongUseError(f"{checkpoint} has a weight of {greatest:.3g}, which float16 cannot hold")
    exact = {name: each.clone() for name, each in model.state_dict().items()}
    model.half()
    rounding = max(
        float((exact[name] - each.float()).abs().max()) for name, each in model.state_dict().items()
    )
    save_model(out, copy_of(model, card=card))
    return Release(path=out, bytes=out.stat().st_size, rounding=rounding)


def shipped() -> Path:
    """The file of the model that comes with the package. Raises CheckpointError where it is not there."""
    if not SHIPPED.is_file():
        raise CheckpointError(
            f"{SHIPPED} is missing: this installation has no model of its own; name one with --checkpoint"
        )
    return SHIPPED
