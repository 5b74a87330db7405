"""Files of other projects: their tensors, read as weights alone, or what kind of file one is."""

from __future__ import annotations

import pickle
import struct
from collections.abc import Mapping
from pathlib import Path

import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

# What unpickling gives for files that are none; it has no error of its own for most of them.
UNREADABLE = (
    *(OSError, RuntimeError, EOFError, pickle.UnpicklingError, SafetensorError),
    *(LookupError, ValueError, AttributeError, TypeError),
)

_SIGNATURES = (
    (b"PK", "a zip, as PyTorch's .pth and .ckpt files are"),
    (b"\x80", "a pickle, as old .pth files are"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x89HDF", "an HDF5 file"),
    (b"{", "a JSON file"),
)
_LONGEST_HEADER = 100_000_000  # bytes; safetensors' own limit


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors in a .safetensors file, or in a .pth file, also one that has them under `state_dict`.

    Read as weights alone: what would run code is refused. Raises UNREADABLE.
    """
    if path.suffix == ".safetensors":
        return load_file(path)
    content = torch.load(path, map_location="cpu", weights_only=True)
    inner = content.get("state_dict", content) if isinstance(content, Mapping) else {}
    items = inner.items() if isinstance(inner, Mapping) else ()
    return {name: tensor for name, tensor in items if isinstance(tensor, Tensor)}


def foreign_kind(path: Path) -> str:
    """What kind of file it is, in words, where it is no safetensors file; else nothing.

    A safetensors file, whole or not, begins with the length of its header in 8 bytes, and with the header,
    which is JSON. Raises OSError.
    """
    with path.open("rb") as file:
        start = file.read(16)
    if len(start) > 8 and start[8:9] == b"{" and struct.unpack("<Q", start[:8])[0] <= _LONGEST_HEADER:
        return ""
    if not start:
        return "empty"
    for signature, kind in _SIGNATURES:
        if start.startswith(signature):
            return kind
    if path.suffix.lower() == ".onnx":
        return "an ONNX file, which onnxruntime runs (docs/onnx.md)"
    return _picture(path) or "no safetensors file"


def _picture(path: Path) -> str:
    try:
        with Image.open(path) as image:
            return f"a picture ({image.format})"
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return ""
