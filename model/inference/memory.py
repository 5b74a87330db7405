"""What a forward pass takes of memory, and what there is."""

from __future__ import annotations

from pathlib import Path

import torch

from ..network.dim import ModelConfig

# Measured on the CPU, as the peak over what was there before, for widths 1/8 to 1 and 0.07 to 4 megapixels:
# 14 to 15 bytes a pixel and full-resolution channel, for the images 100 a pixel more, and for small images
# what the convolutions reorder. Each is rounded up: all that was measured lies below the sum.
_BYTES_A_CHANNEL = 16
_BYTES_A_PIXEL = 100
_BYTES_AT_LEAST = 48 << 20

# Of what is free: other programs and the system want some as well.
_SHARE = 0.75


def bytes_needed(config: ModelConfig, pixels: int) -> int:
    """What a forward pass over `pixels` (sides rounded up to multiples of 32) takes beside the weights."""
    return _fixed_bytes(config) + pixels * _bytes_a_pixel(config)


def pixels_that_fit(config: ModelConfig, memory: int) -> int:
    """How many pixels a forward pass can take in `memory` bytes; 0 if none."""
    return max(0, memory - _fixed_bytes(config)) // _bytes_a_pixel(config)


def free_memory(device: torch.device) -> int:
    """Bytes that may be taken on a device: three quarters of what is free there."""
    return int(_SHARE * (_free_on_gpu(device) if device.type == "cuda" else _free_on_cpu()))


def _bytes_a_pixel(config: ModelConfig) -> int:
    return _BYTES_A_PIXEL + _BYTES_A_CHANNEL * config.channels(64)


def _fixed_bytes(config: ModelConfig) -> int:
    """The largest layer is laid out anew for the processor, which takes its size once more."""
    taps = 49 if config.bottleneck == "fc6" else 9
    return _BYTES_AT_LEAST + 4 * taps * config.channels(512) * config.bottleneck_channels


def _free_on_gpu(device: torch.device) -> int:
    free, _ = torch.cuda.mem_get_info(device)
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return free + kept


def _free_on_cpu(root: Path = Path("/")) -> int:
    """What Linux can give without swapping, and a container's limit where there is one (cgroup v2)."""
    free = _values(root / "proc/meminfo")["MemAvailable:"] * 1024
    group = root / "sys/fs/cgroup"
    try:
        limit = int((group / "memory.max").read_text())
        return min(free, limit - _values(group / "memory.stat")["anon"])
    except (OSError, ValueError, KeyError):  # no such limit: "max", or another hierarchy
        return free


def _values(path: Path) -> dict[str, int]:
    return {words[0]: int(words[1]) for words in map(str.split, path.read_text().splitlines())}
