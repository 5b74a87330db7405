"""What a training goes on from, as tensors by name: weights, their average, optimizer, random states."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .dim import DeepImageMatting

Tensors = dict[str, Tensor]


def copied(tensors: Mapping[str, Tensor]) -> Tensors:
    """Copies on the CPU, contiguous, that stay as they are while the training goes on."""
    return {
        name: torch.empty_like(each, device="cpu", memory_format=torch.contiguous_format).copy_(each.detach())
        for name, each in tensors.items()
    }


def state_of(
    model: DeepImageMatting, optimizer: torch.optim.Optimizer, *, average: DeepImageMatting | None = None
) -> Tensors:
    """All that a training goes on from, in one; of random states the CPU's."""
    parts = {
        "model": model.state_dict(),
        "average": {} if average is None else average.state_dict(),
        "optimizer": optimizer_tensors(model, optimizer),
        "random": {"cpu": torch.get_rng_state()},
    }
    return {f"{part}/{name}": value for part, values in parts.items() for name, value in values.items()}


def fill_state(
    tensors: Mapping[str, Tensor],
    model: DeepImageMatting,
    optimizer: torch.optim.Optimizer,
    *,
    average: DeepImageMatting | None = None,
) -> None:
    """Have model, optimizer and random state be as `state_of` found them elsewhere."""
    parts: dict[str, Tensors] = {"model": {}, "average": {}, "optimizer": {}, "random": {}}
    for key, value in tensors.items():
        part, name = key.split("/", 1)
        parts[part][name] = value
    model.load_state_dict(parts["model"])
    if average is not None:
        average.load_state_dict(parts["average"])
    fill_optimizer(model, optimizer, parts["optimizer"])
    set_random_states(parts["random"])


def optimizer_tensors(model: DeepImageMatting, optimizer: torch.optim.Optimizer) -> Tensors:
    """Adam's moments and step counts by the parameters' names, which stay when the order changes."""
    names: dict[Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
    return {
        f"{key}.{names[parameter]}": value
        for parameter, state in optimizer.state.items()
        for key, value in state.items()
    }


def fill_optimizer(
    model: DeepImageMatting, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]
) -> None:
    """Give an optimizer what `optimizer_tensors` found. Raises KeyError for a parameter that is not there."""
    parameters = dict(model.named_parameters())
    states: dict[Tensor, dict[str, Any]] = {}
    for key, value in tensors.items():
        kind, name = key.split(".", 1)
        parameter = parameters[name]
        # The moments lie beside the weights, laid out as they are; Adam keeps its step counts on the CPU,
        # but for the fused one.
        beside = torch.empty_like(parameter, dtype=value.dtype) if value.ndim else torch.empty_like(value)
        if not value.ndim and optimizer.defaults.get("fused"):
            beside = beside.to(parameter.device)
        states.setdefault(parameter, {})[kind] = beside.copy_(value)
    optimizer.state.update(states)


def random_states() -> Tensors:
    """PyTorch's, of the CPU and of each GPU."""
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states |= {f"cuda{i}": state for i, state in enumerate(torch.cuda.get_rng_state_all())}
    return states


def set_random_states(states: Mapping[str, Tensor]) -> None:
    """Set those that are given, of the devices that are there."""
    torch.set_rng_state(states["cpu"])
    if torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            if f"cuda{i}" in states:
                torch.cuda.set_rng_state(states[f"cuda{i}"], i)
