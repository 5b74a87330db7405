"""What each way of pooling keeps for the backward pass, and how long it takes; eager and compiled.

    python benchmarks/pooling.py [--width 1] [--size 320] [--batch-size 16] [--no-compile]

ReLU, pooling and unpooling of the network's five sizes, forward and backward, by PyTorch's int64 indices, by
codes in plain operations (`codes.py`) and by the operators that the network trains with. Kept: bytes a crop
that autograd, or the compiler, holds from the forward to the backward pass, each tensor once. Times are the
medians of rounds in which all take turns: a GPU's wall clock, a CPU's processor time in one thread.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from dimtool.model.network.dim import ModelConfig
from dimtool.model.network.pooling import codes
from dimtool.model.network.pooling.pools import max_unpool, relu_max_pool

_SIZES = ((64, 1), (128, 2), (256, 4), (512, 8), (512, 16))  # channels at full width, and the scale

Function = Callable[[Tensor], Tensor]


def by_indices(x: Tensor) -> Tensor:
    value, index = F.max_pool2d(F.relu(x), 2, return_indices=True)
    return F.max_unpool2d(value.sin(), index, [2, 2])


def by_plain_codes(x: Tensor) -> Tensor:
    value, code = codes.pool(F.relu(x))
    return codes.spread(value.sin(), code)


def by_operators(x: Tensor) -> Tensor:
    value, places = relu_max_pool(x)
    return max_unpool(value.sin(), places)


def inputs(options: argparse.Namespace, device: torch.device) -> list[Tensor]:
    """What the five poolings get, channels last; a step before each stands for the convolution."""
    config, dtype = (
        ModelConfig(width=options.width),
        torch.bfloat16 if device.type == "cuda" else torch.float32,
    )
    shapes = [
        (options.batch_size, config.channels(c), options.size // s, options.size // s) for c, s in _SIZES
    ]
    return [
        torch.randn(shape, device=device, dtype=dtype).to(memory_format=torch.channels_last).requires_grad_()
        for shape in shapes
    ]


def kept(function: Function, every: list[Tensor]) -> int:
    """Bytes held for the backward pass, the poolings' inputs not counted where nothing asks for them."""
    storages: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        results = [function(x * 1) for x in every]
    del results
    return sum(storages.values())


def step(function: Function, every: list[Tensor]) -> None:
    for x in every:
        y = function(x * 1)
        torch.autograd.grad(y, x, torch.ones_like(y))


def forward(function: Function, every: list[Tensor]) -> None:
    with torch.no_grad():
        for x in every:
            function(x * 1)


def seconds(call: Callable[[], None], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    start = clock()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return clock() - start


def main() -> None:
    cuda = torch.cuda.is_available()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--width", type=float, default=1 if cuda else 0.25)
    parser.add_argument("--size", type=int, default=320 if cuda else 160, help="a multiple of 32")
    parser.add_argument("--batch-size", type=int, default=16 if cuda else 4)
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(1)
    device = torch.device("cuda" if cuda else "cpu")
    every = inputs(options, device)
    plain: dict[str, Function] = {
        "indices": by_indices,
        "plain codes": by_plain_codes,
        "operators": by_operators,
    }
    functions = {f"{name}, eager": function for name, function in plain.items()}
    if options.compile:
        functions |= {f"{name}, compiled": torch.compile(function) for name, function in plain.items()}
    calls = {
        (name, kind): lambda run=run, function=function: run(function, every)
        for name, function in functions.items()
        for kind, run in (("forward", forward), ("step", step))
    }
    for call in calls.values():
        call()  # which compiles
    times: dict[tuple[str, str], list[float]] = {name: [] for name in calls}
    for _ in range(options.rounds):
        for name, call in calls.items():
            times[name].append(seconds(call, device))
    where = torch.cuda.get_device_name() if cuda else "CPU, one thread"
    print(
        f"{where}, torch {torch.__version__}, width {options.width}, {options.batch_size} x {options.size}\n"
    )
    print("| pooling | kept, MB a crop | forward, ms a crop | with backward, ms a crop |\n|---|---|---|---|")
    for name, function in functions.items():
        megabytes = kept(function, every) / options.batch_size / 1e6
        spent = [
            1e3 * statistics.median(times[name, kind]) / options.batch_size for kind in ("forward", "step")
        ]
        print(f"| {name} | {megabytes:.2f} | {spent[0]:.2f} | {spent[1]:.2f} |")


if __name__ == "__main__":
    main()
