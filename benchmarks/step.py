"""How fast does the network run and train, beside the usual implementation, and what share of the machine?

    python benchmarks/step.py [--stage 1|2|3] [--batch-size N] [--mode max-autotune-no-cudagraphs]
    python benchmarks/step.py --accuracy [--weights FILE]    # the losses of 200 steps, bf16 beside float32

Four implementations of one network, from the same weights: with PyTorch's pooling indices (MaxPool2d and
MaxUnpool2d, as usual) or with this project's codes; each plain (eager float32, convolutions as PyTorch
does them by default: on a GPU in TF32) and fast (bf16, channels-last, compiled, fused Adam). Each round
runs every one of them, and a bf16 matrix product, in an order that rotates; the table has the medians over
the rounds. A step is forward, loss, backward and Adam; FLOPs are counted on the network itself. Before any
timing the four alphas are compared. Without a GPU the script runs a small trial on the CPU, not compiled,
and says so.
"""

import argparse
import math
import statistics
import sys
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from dimtool.model.network.dim import DeepImageMatting, ModelConfig, Prediction
from dimtool.model.network.vgg16 import load_vgg16
from dimtool.model.training.losses import alpha_loss, encoder_decoder_loss, unknown_region

Batch = dict[str, Tensor]
Times = dict[object, list[float]]
RAW = argparse.RawDescriptionHelpFormatter


@dataclass(frozen=True)
class Case:
    name: str
    indices: bool  # int64 indices and MaxUnpool2d in place of codes
    fast: bool  # bf16, channels-last and compiled in place of eager float32


USUAL = Case("plain, indices (usual)", indices=True, fast=False)
OURS = Case("fast, codes (dimtool)", indices=False, fast=True)
CASES = (
    USUAL,
    Case("plain, codes", indices=False, fast=False),
    Case("fast, indices", indices=True, fast=True),
    OURS,
)


class ByIndices(nn.Module):
    """The layers of `network` with the pooling that other implementations have. Sides: multiples of 32."""

    def __init__(self, network: DeepImageMatting) -> None:
        super().__init__()
        self.network = network
        self.pool = nn.MaxPool2d(2, return_indices=True)
        self.unpool = nn.MaxUnpool2d(2)

    def forward(self, image: Tensor, trimap: Tensor) -> Prediction:
        part, refinement = self.network.encoder_decoder, self.network.refinement
        x = torch.cat([(image - part.mean) / part.deviation, trimap], 1)
        indices = []
        for block in part.encoder.blocks:
            x, index = self.pool(block(x))
            indices.append(index)
        x = F.relu(part.decoder.entry(F.relu(part.encoder.bottleneck(x))))
        for block in part.decoder.blocks:
            x = block(self.unpool(x, indices.pop()))
        coarse = part.decoder.prediction(x).float().sigmoid()
        skip = self.network.stage == 1 or refinement is None
        return Prediction(coarse, coarse if skip else refinement(image, coarse))


class Runner:
    """One case, ready to run: its own copy of the network, its optimizer, its compiled functions."""

    def __init__(self, case: Case, network: DeepImageMatting, options: argparse.Namespace) -> None:
        network = deepcopy(network)
        if case.fast:
            network = network.to(memory_format=torch.channels_last)
        module = ByIndices(network) if case.indices else network
        parameters = [p for p in network.parameters() if p.requires_grad]
        fused = case.fast and options.device == "cuda"
        self.optimizer = torch.optim.Adam(parameters, lr=options.learning_rate, fused=fused)

        def forward(batch: Batch) -> Prediction:
            with torch.autocast(options.device, torch.bfloat16, enabled=case.fast):
                prediction: Prediction = module(batch["image"], batch["trimap"])
                return prediction

        def loss(batch: Batch) -> Tensor:
            return training_loss(forward(batch), batch, network.stage)

        compiled = case.fast and options.compile
        self._forward = torch.compile(forward, mode=options.mode) if compiled else forward
        self._loss = torch.compile(loss, mode=options.mode) if compiled else loss

    @torch.no_grad()
    def forward(self, batch: Batch) -> Tensor:
        return self._forward(batch).alpha

    def step(self, batch: Batch) -> Tensor:
        loss: Tensor = self._loss(batch)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return loss.detach()


def training_loss(prediction: Prediction, batch: Batch, stage: int) -> Tensor:
    """What the stage minimises."""
    unknown = unknown_region(batch["trimap"])
    if stage > 1:
        return alpha_loss(prediction.refined, batch["alpha"], unknown)
    layers = {name: batch[name] for name in ("alpha", "foreground", "background")}
    return encoder_decoder_loss(prediction.coarse, composite=batch["image"], unknown=unknown, **layers).total


def make_batch(options: argparse.Namespace, *, seed: int) -> Batch:
    """Soft discs of smooth colours over smooth colours: something to learn."""
    n, size, generator = options.batch_size, options.size, torch.Generator().manual_seed(seed)
    axis = torch.linspace(-1, 1, size)
    centre = torch.rand(2, n, 1, 1, generator=generator) - 0.5
    distance = torch.hypot(axis.view(1, -1, 1) - centre[0], axis.view(1, 1, -1) - centre[1])
    radius, softness = 0.3 + 0.4 * torch.rand(2, n, 1, 1, generator=generator)
    alpha = (0.5 + (radius - distance) / softness).clamp(0, 1)[:, None]
    colours = torch.rand(2, n, 3, 8, 8, generator=generator)
    foreground, background = (F.interpolate(x, size=(size, size), mode="bilinear") for x in colours)
    batch = {
        "alpha": alpha,
        "foreground": foreground,
        "background": background,
        "image": alpha * foreground + (1 - alpha) * background,
        "trimap": torch.where((alpha > 0) & (alpha < 1), 128 / 255, alpha),
    }
    return {name: tensor.to(options.device) for name, tensor in batch.items()}


def count_flops(network: DeepImageMatting, size: int) -> tuple[int, int]:
    """FLOPs of one crop, forward and whole step, counted on tensors without content."""
    network = deepcopy(network).to("meta")
    image, trimap = (torch.empty(1, channels, size, size, device="meta") for channels in (3, 1))
    with FlopCounterMode(display=False) as forward, torch.no_grad():
        network(image, trimap)
    with FlopCounterMode(display=False) as step:
        network(image, trimap).refined.sum().backward()
    return forward.get_total_flops(), step.get_total_flops()


def seconds(function: Callable[[], object], *, times: int) -> float:
    """Wall time of one call, the mean of `times` in a row."""
    synchronize()
    start = time.perf_counter()
    for _ in range(times):
        function()
    synchronize()
    return (time.perf_counter() - start) / times


def synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def peak_memory(function: Callable[[], object]) -> float:
    """GiB that a call takes above what was held before it; NaN without a GPU."""
    if not torch.cuda.is_available():
        return math.nan
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    function()
    return (torch.cuda.max_memory_allocated() - before) / 2**30


def measure(network: DeepImageMatting, options: argparse.Namespace) -> None:
    """Compare, time and print."""
    batch = make_batch(options, seed=0)
    runners = {case: Runner(case, network, options) for case in CASES}
    alphas = {case: runner.forward(batch) for case, runner in runners.items()}
    for case in CASES[1:]:
        difference = (alphas[case] - alphas[USUAL]).abs().max().item()
        print(f"{case.name}: alpha differs from the usual implementation's by {difference:.1e} at most")
    memory = {}
    for case, runner in runners.items():
        for _ in range(2):  # compiles, and lets cuDNN choose
            runner.step(batch)
        memory[case] = peak_memory(lambda runner=runner: runner.step(batch))
    side = 8192 if options.device == "cuda" else 1024
    a, b = (torch.randn(side, side, device=options.device, dtype=torch.bfloat16) for _ in range(2))
    functions: dict[object, Callable[[], object]] = {"product": lambda: a @ b}
    for case, runner in runners.items():
        functions[case, "forward"] = lambda runner=runner: runner.forward(batch)
        functions[case, "step"] = lambda runner=runner: runner.step(batch)
    times = timed(functions, options)
    rate = 2 * side**3 / statistics.median(times["product"])
    print(f"bf16 matrix product of {side}: {rate / 1e12:.4g} TFLOP/s")
    report(times, memory, rate, count_flops(network, options.size), options.batch_size)


def timed(
    functions: dict[object, Callable[[], object]], options: argparse.Namespace
) -> dict[object, list[float]]:
    """Seconds a call of each function, one figure a round."""
    times: Times = {name: [] for name in functions}
    names = list(functions)
    for turn in range(-1, options.rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            sample = seconds(functions[name], times=options.steps)
            if turn >= 0:  # the first round warms up
                times[name].append(sample)
    return times


def report(
    times: Times, memory: dict[Case, float], rate: float, flops: tuple[int, int], batch_size: int
) -> None:
    """Print a table of the forward pass and one of the step."""
    print(f"one crop: {flops[0] / 1e9:.1f} GFLOP forward, {flops[1] / 1e9:.1f} GFLOP a step")
    print("share: of the product's rate; gain: over the usual; spread: (max - min) / median of the rounds")
    for kind, work in zip(("forward", "step"), flops, strict=True):
        print(f"\n{kind:24}{'crops/s':>10}{'TFLOP/s':>10}{'share':>8}{'gain':>8}{'spread':>9}{'GiB':>8}")
        usual = statistics.median(times[USUAL, kind])
        for case in CASES:
            samples = times[case, kind]
            median = statistics.median(samples)
            speed = batch_size / median
            peak = f"{memory[case]:.2f}" if kind == "step" and not math.isnan(memory[case]) else "-"
            print(
                f"{case.name:24}{speed:10.2f}{speed * work / 1e12:10.4g}{speed * work / rate:8.1%}"
                f"{usual / median:7.2f}x{(max(samples) - min(samples)) / median:9.1%}{peak:>8}"
            )


def compare_losses(network: DeepImageMatting, options: argparse.Namespace) -> None:
    """Train in bf16 and in true float32 on the same batches and print how the losses part."""
    torch.backends.cudnn.allow_tf32 = False
    exact = Runner(Case("float32", indices=False, fast=False), network, options)
    fast = Runner(OURS, network, options)
    losses = []
    for step in range(options.accuracy_steps):
        batch = make_batch(options, seed=step)
        losses.append([runner.step(batch).item() for runner in (exact, fast)])
        if (step + 1) % 20 == 0:
            print(f"step {step + 1:4}: float32 {losses[-1][0]:.5f}, bf16 {losses[-1][1]:.5f}", flush=True)
    apart = [abs(b - a) / a for a, b in losses]
    means = [statistics.mean(column) for column in zip(*losses, strict=True)]
    print(f"mean loss: float32 {means[0]:.5f}, bf16 {means[1]:.5f}, apart {abs(means[1] / means[0] - 1):.3%}")
    print(f"a step's losses apart: mean {statistics.mean(apart):.3%}, worst {max(apart):.3%}")


def parse() -> argparse.Namespace:
    cuda = torch.cuda.is_available()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bottleneck", choices=("fc6", "slim"), default="fc6")
    parser.add_argument("--width", type=float, default=1 if cuda else 1 / 8)
    parser.add_argument("--stage", type=int, choices=(1, 2, 3), default=3)
    parser.add_argument("--size", type=int, default=320 if cuda else 64, help="a multiple of 32")
    parser.add_argument("--batch-size", type=int, default=32 if cuda else 2)
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=cuda)
    parser.add_argument("--mode", help="torch.compile's")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=10 if cuda else 1, help="calls a round")
    parser.add_argument("--weights", help="VGG-16's, a file or 'imagenet'; else random")
    parser.add_argument("--accuracy", action="store_true", help="losses in place of speeds")
    parser.add_argument("--accuracy-steps", type=int, default=200)
    parser.add_argument("--learning-rate", type=float, default=1e-5)
    options = parser.parse_args()
    if options.size % 32:
        parser.error(f"--size is {options.size}; MaxUnpool2d's side of the comparison needs a multiple of 32")
    options.device = "cuda" if cuda else "cpu"
    return options


def main() -> None:
    options = parse()
    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = True
    name = torch.cuda.get_device_name() if options.device == "cuda" else "CPU"
    if options.device == "cpu":
        print("no GPU here: a trial of the script on the CPU; its figures are no GPU's", file=sys.stderr)
    config = ModelConfig(bottleneck=options.bottleneck, width=options.width)
    network = DeepImageMatting(config)
    if options.weights:
        print(load_vgg16(network.encoder_decoder.encoder, options.weights))
    network.set_stage(options.stage)
    network.to(options.device)
    print(
        f"{name}, torch {torch.__version__}, {config}, stage {options.stage}, {options.batch_size} crops of "
        f"{options.size}, {'compiled' if options.compile else 'not compiled'}"
    )
    if options.accuracy:
        compare_losses(network, options)
    else:
        measure(network, options)


if __name__ == "__main__":
    main()
