"""dimtool: exact Composition-1k composites in HDF5 shards, and the Deep Image Matting model from them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .version import __version__

if TYPE_CHECKING:
    import torch

    from .model.inference.matter import Matter

__all__ = ["__version__", "load"]


def load(path: str | Path | None = None, device: str | torch.device | None = None) -> Matter:
    """A trained model, ready to make mattes: `load("runs/dim").matte(image, trimap)`.

    path: a model.safetensors, a checkpoint folder, or a run's folder; without it, the model that comes with
    dimtool. device: as PyTorch names them; by
    default a GPU where there is one. Raises CheckpointError.
    """
    from .model.inference.matter import load as load_matter  # noqa: PLC0415 -- importing dimtool must not import torch

    return load_matter(path, device)
