"""How fast does the network run and train, beside the usual implementation, and what share of the machine?

    python benchmarks/step.py [--stage 1|2|3] [--batch-size N] [--mode max-autotune-no-cudagraphs]
    python benchmarks/step.py --accuracy [--weights FILE]    # the losses of 200 steps, bf16 beside float32

Four implementations of one network (`variants.py`), from the same weights: with PyTorch's pooling indices,
as usual, or with this project's operators; each plain (eager, TF32 on a GPU) and fast (bf16 on a GPU,
channels-last, compiled). Each has the trainer's own step around it: bytes to the device, forward, loss,
backward, Adam. Each round runs every one of them, and a bf16 matrix product, in an order that rotates; the
table has the medians over the rounds. `rates.py` says what "share" is. Before any timing the four alphas are
compared. Without a GPU the script runs a small trial on the CPU, in float32 and not compiled, and says so.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from collections.abc import Callable

import torch

from dimtool.model.network.dim import DeepImageMatting, ModelConfig
from dimtool.model.network.vgg16 import load_vgg16
from rates import flops, share
from variants import Case, Runner, cases, make_batch

Times = dict[object, list[float]]


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


def measure(runners: list[Runner], flops_a_crop: tuple[int, int], options: argparse.Namespace) -> None:
    """Compare, time and print."""
    on_gpu = options.device.type == "cuda"
    batch = make_batch(options.batch_size, options.size, seed=0, pinned=on_gpu)
    image, trimap = (batch[name].to(options.device).float() / 255 for name in ("image", "trimap"))  # type: ignore[literal-required]
    alphas = [runner.forward(image, trimap) for runner in runners]
    for runner, alpha in zip(runners[1:], alphas[1:], strict=True):
        apart = (alpha - alphas[0]).abs().max().item()
        print(f"{runner.case.name}: alpha differs from the usual implementation's by {apart:.1e} at most")
    memory = {}
    for runner in runners:
        for _ in range(2):  # compiles, and lets cuDNN choose
            runner.step(batch)
        memory[runner.case] = peak_memory(lambda runner=runner: runner.step(batch))
    side = 8192 if on_gpu else 512
    a, b = (torch.randn(side, side, device=options.device, dtype=torch.bfloat16) for _ in range(2))
    functions: dict[object, Callable[[], object]] = {"product": lambda: a @ b}
    for runner in runners:
        functions[runner.case, "forward"] = lambda runner=runner: runner.forward(image, trimap)
        functions[runner.case, "step"] = lambda runner=runner: runner.step(batch)
    times = timed(functions, options)
    rate = 2 * side**3 / statistics.median(times["product"])
    print(f"bf16 matrix product of {side}: {rate / 1e12:.4g} TFLOP/s")
    report([runner.case for runner in runners], times, memory, rate, flops_a_crop, options.batch_size)


def timed(functions: dict[object, Callable[[], object]], options: argparse.Namespace) -> Times:
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


def report(  # noqa: PLR0917
    compared: list[Case],
    times: Times,
    memory: dict[Case, float],
    rate: float,
    flops_a_crop: tuple[int, int],
    batch_size: int,
) -> None:
    """Print a table of the forward pass and one of the step."""
    print(f"one crop: {flops_a_crop[0] / 1e9:.1f} GFLOP forward, {flops_a_crop[1] / 1e9:.1f} GFLOP a step")
    print("share: of the product's rate; gain: over the usual; spread: (max - min) / median of the rounds")
    for kind, work in zip(("forward", "step"), flops_a_crop, strict=True):
        print(f"\n{kind:24}{'crops/s':>10}{'TFLOP/s':>10}{'share':>8}{'gain':>8}{'spread':>9}{'GiB':>8}")
        usual = statistics.median(times[compared[0], kind])
        for case in compared:
            samples = times[case, kind]
            median = statistics.median(samples)
            speed = batch_size / median
            peak = f"{memory[case]:.2f}" if kind == "step" and not math.isnan(memory[case]) else "-"
            print(
                f"{case.name:24}{speed:10.2f}{speed * work / 1e12:10.4g}{share(speed, work, rate):8.1%}"
                f"{usual / median:7.2f}x{(max(samples) - min(samples)) / median:9.1%}{peak:>8}"
            )


def compare_losses(network: DeepImageMatting, options: argparse.Namespace) -> None:
    """Train in bf16 and in true float32 on the same batches and print how the losses part."""
    torch.backends.cudnn.allow_tf32 = False
    given = {"indices": False, "channels_last": True}
    pair = (
        Case("float32", precision="fp32", compile=False, **given),
        Case("bf16", precision="bf16", compile=options.compile, **given),
    )
    runners = [
        Runner(case, network, options.device, learning_rate=options.learning_rate, mode=options.mode)
        for case in pair
    ]
    losses = []
    for step in range(options.accuracy_steps):
        batch = make_batch(options.batch_size, options.size, seed=step, pinned=False)
        losses.append([runner.step(batch).item() for runner in runners])
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
    parser.add_argument("--precision", choices=("tf32", "bf16", "fp16"), default="bf16" if cuda else "tf32")
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=cuda)
    parser.add_argument("--mode", default="default", help="torch.compile's")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=10 if cuda else 1, help="calls a round")
    parser.add_argument("--weights", help="VGG-16's, a file or 'imagenet'; else random")
    parser.add_argument("--accuracy", action="store_true", help="losses in place of speeds")
    parser.add_argument("--accuracy-steps", type=int, default=200)
    parser.add_argument("--learning-rate", type=float, default=1e-5)
    options = parser.parse_args()
    if options.size % 32:
        parser.error(f"--size is {options.size}; MaxUnpool2d's side of the comparison needs a multiple of 32")
    options.device = torch.device("cuda" if cuda else "cpu")
    return options


def main() -> None:
    options = parse()
    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = True
    on_gpu = options.device.type == "cuda"
    if not on_gpu:
        print("no GPU here: a trial of the script on the CPU; its figures are no GPU's", file=sys.stderr)
    config = ModelConfig(bottleneck=options.bottleneck, width=options.width)
    network = DeepImageMatting(config)
    if options.weights:
        print(load_vgg16(network.encoder_decoder.encoder, options.weights))
    network.set_stage(options.stage)
    print(
        f"{torch.cuda.get_device_name() if on_gpu else 'CPU'}, torch {torch.__version__}, {config}, "
        f"stage {options.stage}, {options.batch_size} crops of {options.size}, fast is {options.precision}, "
        f"{'compiled' if options.compile else 'not compiled'}"
    )
    if options.accuracy:
        compare_losses(network, options)
        return
    runners = [
        Runner(case, network, options.device, learning_rate=options.learning_rate, mode=options.mode)
        for case in cases(options.precision, compiling=options.compile)
    ]
    measure(runners, flops(network, options.size), options)


if __name__ == "__main__":
    main()
