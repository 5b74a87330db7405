"""One step of training, beside a step written here from the paper's description with PyTorch's own layers."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dimtool.model.crops.batches import collate
from dimtool.model.crops.dataset import TrainingCrops
from dimtool.model.crops.reading import NOTHING, Backgrounds, Crop
from dimtool.model.network.checkpoint import load_checkpoint, save_checkpoint, take_snapshot
from dimtool.model.network.dim import DeepImageMatting, ModelConfig
from dimtool.model.network.precision import Precision, cudnn_search, float32_products
from dimtool.model.network.progress import Progress
from dimtool.model.runs.config import TrainConfig
from dimtool.model.training import loop
from dimtool.model.training.optimisation import Optimisation
from dimtool.model.training.reporting import Silent
from dimtool.model.training.stages import train
from dimtool.model.training.step import StageLosses, TrainingStep, compiled

TINY = ModelConfig(bottleneck="slim", width=0.0625)
CPU = torch.device("cpu")


def make_network(stage: int, *, seed: int = 0) -> DeepImageMatting:
    torch.manual_seed(seed)
    network = DeepImageMatting(TINY)
    assert network.refinement is not None
    nn.init.normal_(network.refinement.prediction.weight, std=0.2)
    network.set_stage(stage)  # type: ignore[arg-type]
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def make_batch(n: int = 2, size: int = 64, *, seed: int = 0) -> Crop:
    generator = torch.Generator().manual_seed(seed)

    def draw(channels: int, most: int = 256) -> Tensor:
        return torch.randint(most, (n, size, size, channels), generator=generator).permute(0, 3, 1, 2)

    trimap = torch.tensor([0, 128, 255])[draw(1, 3)]
    image, foreground, background, alpha = (draw(channels).byte() for channels in (3, 3, 3, 1))
    return Crop(
        image=image,
        trimap=trimap.byte(),
        alpha=alpha,
        foreground=foreground,
        background=background,
        composite=NOTHING,
        skipped=[],
        backgrounds=Backgrounds(),
    )


class Step:
    """A step as the trainer takes it, and its loss."""

    def __init__(self, network: DeepImageMatting, *, precision: Precision = "tf32") -> None:
        self.losses = TrainingStep(StageLosses(network, precision=precision), CPU)
        config = TrainConfig(learning_rate=1e-3, precision=precision)
        self.optimisation = Optimisation(network, CPU, config)

    def __call__(self, batch: Crop) -> float:
        return self.optimisation.step(batch, self.losses, step=0, steps=100).item()


# ---- to the bit -------------------------------------------------------------------------------------------


def plain_loss(network: DeepImageMatting, batch: Crop) -> Tensor:
    """The loss of the network's stage, layer by layer, with int64 indices: nothing of ours but weights."""
    image, trimap, alpha, fg, bg = (
        batch[name].float() / 255  # type: ignore[literal-required]
        for name in ("image", "trimap", "alpha", "foreground", "background")
    )
    unknown = batch["trimap"] == 128
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    layers = [(m.weight, m.bias) for m in network.modules() if isinstance(m, nn.Conv2d)]
    x = torch.cat([(image - mean.view(3, 1, 1)) / deviation.view(3, 1, 1), trimap], 1)
    indices = []
    for i, (weight, bias) in enumerate(layers[:14]):
        x = F.relu(F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2))
        if i in {1, 3, 6, 9, 12}:
            x, index = F.max_pool2d(x, 2, return_indices=True)
            indices.append(index)
    x = F.relu(F.conv2d(x, *layers[14]))
    for weight, bias in layers[15:20]:
        x = F.relu(F.conv2d(F.max_unpool2d(x, indices.pop(), 2), weight, bias, padding=2))
    coarse = F.conv2d(x, *layers[20], padding=2).sigmoid()

    def mean_of(distance: Tensor) -> Tensor:
        inside = torch.where(unknown, distance, 0).sum((1, 2, 3))
        return (inside / unknown.sum((1, 2, 3)).clamp(min=1)).mean()

    def distance(a: Tensor, b: Tensor) -> Tensor:
        return ((a - b).square() + 1e-12).sqrt()

    if network.stage == 1:
        alone = mean_of(distance(coarse, alpha))  # first, since gradients are added in this order
        colours = distance(coarse * fg + (1 - coarse) * bg, image).mean(1, keepdim=True)
        return 0.5 * alone + 0.5 * mean_of(colours)
    x = torch.cat([image, coarse], 1)
    for weight, bias in layers[21:24]:
        x = F.relu(F.conv2d(x, weight, bias, padding=1))
    return mean_of(distance(coarse + F.conv2d(x, *layers[24], padding=1), alpha))


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_losses_and_weights_are_to_the_bit_those_of_plain_layers(stage: int) -> None:
    ours, plain = make_network(stage), make_network(stage)
    step = Step(ours)
    adam = torch.optim.Adam([p for p in plain.parameters() if p.requires_grad], lr=1e-3)
    for seed in range(4):
        batch = make_batch(seed=seed)
        loss = plain_loss(plain, batch)
        adam.zero_grad()
        loss.backward()
        adam.step()
        assert step(batch) == loss.item()
    for (name, a), b in zip(ours.named_parameters(), plain.parameters(), strict=True):
        assert torch.equal(a, b), name


def test_colours_are_compared_with_the_composite_before_noise() -> None:
    network, batch, other = make_network(1), make_batch(seed=1), make_batch(seed=2)
    step = Step(network).losses
    worn = step(Crop(**{**batch, "composite": other["image"]}))
    plain, seen = step(batch), step(other)
    # The network sees the image; the colours that it composes are compared with the other one.
    assert worn.alpha == plain.alpha != seen.alpha
    assert worn.compositional != plain.compositional
    again = step(Crop(**{**batch, "composite": batch["image"]}))
    assert again.total == plain.total


def test_the_trainers_losses_are_to_the_bit_those_of_plain_layers(
    tiny: Callable[..., TrainConfig], metrics: Any
) -> None:
    """By the default recipe, from the configuration to the log."""
    config = tiny(steps=3, stages=(1,), learning_rate=1e-5, batch_size=1)
    train(config, Silent())
    torch.manual_seed(config.seed)
    network = DeepImageMatting(TINY).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    network.set_stage(1)
    adam = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=1e-5)
    crops = TrainingCrops(config.shards, config.crops(1), seed=1)
    order = np.random.default_rng([0, 1, 0]).permutation(len(crops))
    for index, row in zip(order[:3].tolist(), metrics(config.out), strict=False):
        loss = plain_loss(network, collate([crops[0, index]]))
        adam.zero_grad()
        loss.backward()
        adam.step()
        assert row["loss"] == loss.item()


# ---- compiled ---------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")  # the compiler's own
@pytest.mark.parametrize("stage", [1, 3])
def test_network_and_loss_are_one_graph(stage: int) -> None:
    graphs: list[torch.fx.GraphModule] = []

    def backend(graph: torch.fx.GraphModule, _: object) -> Callable[..., Any]:
        graphs.append(graph)
        return graph.forward

    torch._dynamo.reset()
    plain, step = Step(make_network(stage)), Step(make_network(stage))
    whole = torch.compile(step.losses.losses, backend=backend, fullgraph=True, dynamic=False)
    step.losses = TrainingStep(whole, CPU)
    for seed in range(3):
        batch = make_batch(seed=seed)
        assert step(batch) == plain(batch)
    assert len(graphs) == 1
    inputs = [node.meta["example_value"].dtype for node in graphs[0].graph.find_nodes(op="placeholder")]
    assert inputs.count(torch.uint8) == 5


@pytest.mark.skipif(shutil.which("g++") is None, reason="the CPU's compiler needs g++")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")  # the compiler's own
def test_the_compiler_itself_gives_the_same_losses() -> None:
    """Inductor, from bytes to weights: nothing stands in for it."""
    torch._dynamo.reset()
    plain, step = Step(make_network(1)), Step(make_network(1))
    step.losses = TrainingStep(compiled(step.losses.losses, "default"), CPU)
    for seed in range(2):
        batch = make_batch(1, 32, seed=seed)
        assert step(batch) == pytest.approx(plain(batch), rel=1e-4)
    torch._dynamo.reset()


# ---- precision --------------------------------------------------------------------------------------------


def types_computed_in(step: Step, batch: Crop) -> set[torch.dtype]:
    types: set[torch.dtype] = set()
    hooks = [
        layer.register_forward_hook(lambda _, __, output: types.add(output.dtype))
        for layer in step.losses.losses.modules()
        if isinstance(layer, nn.Conv2d)
    ]
    step(batch)
    for hook in hooks:
        hook.remove()
    return types


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [
        ("fp32", torch.float32),
        ("tf32", torch.float32),
        ("bf16", torch.bfloat16),
        ("fp16", torch.float16),
    ],
)
def test_convolutions_compute_in_the_precision_and_weights_stay_float32(
    precision: Precision, dtype: torch.dtype
) -> None:
    network = make_network(3)
    step = Step(network, precision=precision)
    exact = Step(make_network(3))
    batch = make_batch(1, 32)
    assert types_computed_in(step, batch) == {dtype}
    exact(batch)
    batch = make_batch(1, 32, seed=1)
    assert step(batch) == pytest.approx(exact(batch), rel=0.02)
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}


def test_fp16_steps_over_a_gradient_that_overflowed_and_lowers_its_scale() -> None:
    """A scale that 16 bits cannot hold: the weights stay; at a lesser one it learns."""
    network = make_network(1)
    step = Step(network, precision="fp16")
    step.optimisation._update.scaler = torch.amp.GradScaler(
        "cpu", init_scale=2.0**40, backoff_factor=2.0**-30
    )
    before = [parameter.clone() for parameter in network.parameters()]
    step(make_batch(1, 32))
    assert step.optimisation._update.scaler.get_scale() == 2.0**10
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), before, strict=True))
    step(make_batch(1, 32))
    assert step.optimisation._update.scaler.get_scale() == 2.0**10
    assert not all(torch.equal(a, b) for a, b in zip(network.parameters(), before, strict=True))
    assert all(bool(parameter.isfinite().all()) for parameter in network.parameters())


def test_only_fp32_forbids_tf32_and_all_is_put_back() -> None:
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    for precision, allowed in (("fp32", False), ("tf32", True), ("bf16", True)):
        with float32_products(precision):  # type: ignore[arg-type]
            assert torch.backends.cudnn.allow_tf32 is allowed
            assert torch.backends.cuda.matmul.allow_tf32 is allowed
        assert (torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32) == before


def test_cudnn_searches_in_training_and_not_in_validation(
    tiny: Callable[..., TrainConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each whole image has a shape of its own: searching would cost more than it gives."""
    seen: dict[str, set[bool]] = {"step": set(), "validation": set()}
    step, validate = TrainingStep.__call__, loop.validate

    def look(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def looked(*given: Any) -> Any:
            seen[name].add(torch.backends.cudnn.benchmark)
            return function(*given)

        return looked

    monkeypatch.setattr(TrainingStep, "__call__", look("step", step))
    monkeypatch.setattr(loop, "validate", look("validation", validate))
    train(tiny(stages=(1,), val_every=1), Silent())
    assert seen == {"step": {True}, "validation": {False}}
    assert torch.backends.cudnn.benchmark is False


@pytest.mark.parametrize("on", [True, False])
def test_the_search_is_put_back_after_an_error(on: bool) -> None:
    before = torch.backends.cudnn.benchmark
    with pytest.raises(ZeroDivisionError), cudnn_search(on):
        raise ZeroDivisionError
    assert torch.backends.cudnn.benchmark is before


# ---- Adam in one kernel -----------------------------------------------------------------------------------


def test_fused_adam_goes_on_from_what_was_saved_to_the_bit(tmp_path: Path) -> None:
    """`Adam(fused=True)` keeps its step counts as tensors on the device: they must survive a checkpoint."""

    through, before, after = (make_network(1, seed=seed) for seed in (0, 0, 1))
    whole, first, second = (Step(network, precision="bf16") for network in (through, before, after))
    assert all(group["fused"] for group in whole.optimisation.adam.param_groups)
    for seed in range(4):
        whole(make_batch(seed=seed))
    for seed in range(2):
        first(make_batch(seed=seed))
    snapshot = take_snapshot(before, first.optimisation.adam, Progress(stage=1, step=2))
    saved = save_checkpoint(tmp_path, snapshot)
    load_checkpoint(saved, after, second.optimisation.adam)
    for seed in range(2, 4):
        second(make_batch(seed=seed))
    assert all(torch.equal(a, b) for a, b in zip(through.parameters(), after.parameters(), strict=True))
