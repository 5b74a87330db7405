"""How weights move, beside PyTorch's own schedules, arithmetic by hand, and batches that are not divided."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from dimtool.errors import WrongUseError
from dimtool.model.network.dim import DeepImageMatting, ModelConfig, Stage
from dimtool.model.updates.adam import make_adam
from dimtool.model.updates.average import Average
from dimtool.model.updates.layers import freeze_layers, learning
from dimtool.model.updates.parts import parts, refuse_unequal_parts
from dimtool.model.updates.rate import LearningRate
from dimtool.model.updates.update import Update

pytestmark = pytest.mark.usefixtures("one_thread")

TINY = ModelConfig(bottleneck="slim", width=0.0625)


@pytest.fixture
def model() -> DeepImageMatting:
    """Of float64, so that only mistakes differ; its biases are not zero."""
    torch.manual_seed(0)
    made = DeepImageMatting(TINY).double()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return made


@pytest.fixture
def batch() -> dict[str, Any]:
    torch.manual_seed(1)
    return {"image": torch.rand(4, 3, 32, 32).double(), "trimap": torch.rand(4, 1, 32, 32).double()}


def loss_of(model: DeepImageMatting, batch: dict[str, Any]) -> Tensor:
    return (model(batch["image"], batch["trimap"]).refined - 0.3).square().mean()


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: each.detach().clone() for name, each in model.named_parameters()}


def update_of(model: DeepImageMatting, *, decay: float = 0.0, **changes: Any) -> Update:
    return Update(
        model=model,
        adam=make_adam(model, weight_decay=decay),
        rate=LearningRate(peak=1e-3),
        **changes,
    )


# ---- the rate ----------------------------------------------------------------------------------------------


def rates_of_pytorch(steps: int, make: Callable[[torch.optim.Optimizer], Any]) -> list[float]:
    """The rates that one of PyTorch's schedulers gives from a peak of 1."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler, rates = make(optimizer), []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@settings(max_examples=20, deadline=None)
@given(steps=st.integers(1, 60))
def test_schedules_are_those_of_pytorch(steps: int) -> None:
    schedulers = torch.optim.lr_scheduler
    falls = [
        i for i in range(1, steps) if any(i >= share > i - 1 for share in (steps * 2 / 3, steps * 8 / 9))
    ]
    makers: dict[Any, Callable[[torch.optim.Optimizer], Any]] = {
        "constant": lambda optimizer: schedulers.ConstantLR(optimizer, factor=1),
        "cosine": lambda optimizer: schedulers.CosineAnnealingLR(optimizer, T_max=steps),
        "step": lambda optimizer: schedulers.MultiStepLR(optimizer, falls),
    }
    for schedule, make in makers.items():
        rate = LearningRate(peak=1.0, schedule=schedule)
        if schedule == "step" and len(falls) < 2:
            continue  # both falls are at one step, or beyond the last
        expected = rates_of_pytorch(steps, make)
        assert [rate.at(step, steps) for step in range(steps)] == pytest.approx(expected, rel=1e-6, abs=1e-9)


@given(
    steps=st.integers(1, 200),
    warmup=st.floats(0, 0.99),
    schedule=st.sampled_from(["constant", "cosine", "step"]),
)
def test_it_rises_in_a_line_and_is_never_nothing(steps: int, warmup: float, schedule: Any) -> None:
    rate = LearningRate(peak=3e-4, schedule=schedule, warmup=warmup)
    rates = np.array([rate.at(step, steps) for step in range(steps)])
    assert (rates > 0).all()
    assert rates.max() <= 3e-4
    rising = round(warmup * steps)
    assert rates[:rising] == pytest.approx(3e-4 * np.arange(1, rising + 1) / max(rising, 1))
    assert (np.diff(rates[rising:]) <= 0).all()


def test_a_constant_rate_is_the_very_number() -> None:
    assert {LearningRate(peak=1e-5).at(step, 7) for step in range(7)} == {1e-5}


@pytest.mark.parametrize(
    ("changes", "batch_size", "told"),
    [
        ({}, 16, "76,772 updates of 16 crops each, where the paper makes 1,228,352 of as many crops"),
        ({}, 1, None),
        ({"peak": 1e-4}, 16, None),
        ({"schedule": "cosine"}, 16, None),
    ],
)
def test_a_greater_batch_at_the_papers_rate_makes_fewer_updates(
    changes: dict[str, Any], batch_size: int, told: str | None
) -> None:
    """30 epochs of 95 % of 43,100 composites."""
    steps = math.ceil(30 * 0.95 * 43_100 / batch_size)
    note = LearningRate(**{"peak": 1e-5, **changes}).too_few(steps, batch_size)
    assert (note or "").startswith(told or "")
    assert (note is None) is (told is None)


# ---- Adam and its decay ------------------------------------------------------------------------------------


def test_without_decay_it_is_adam_to_the_bit(model: DeepImageMatting, batch: dict[str, Any]) -> None:
    other = DeepImageMatting(TINY).double()
    other.load_state_dict(model.state_dict())
    ours, plain = update_of(model), torch.optim.Adam(other.parameters(), lr=1e-3)
    for step in range(4):
        loss_of(model, batch).backward()
        ours.step(step, 10)
        loss_of(other, batch).backward()
        plain.step()
        plain.zero_grad()
    assert all(torch.equal(*pair) for pair in zip(model.parameters(), other.parameters(), strict=True))


def test_decay_takes_a_share_of_the_weights_and_none_of_the_biases(
    model: DeepImageMatting, batch: dict[str, Any]
) -> None:
    """Decoupled: w - rate decay w beside Adam's step, g / (|g| + eps) at first, which does not know of it."""
    before = weights_of(model)
    loss_of(model, batch).backward()
    gradients = {name: each.grad for name, each in model.named_parameters() if each.grad is not None}
    update_of(model, decay=0.1).step(0, 10)
    for name, after in model.named_parameters():
        gradient = gradients[name]
        decay = 1e-4 * before[name] if name.endswith("weight") else 0
        expected = before[name] - decay - 1e-3 * gradient / (gradient.abs() + 1e-8)
        torch.testing.assert_close(after.detach(), expected, rtol=0, atol=1e-12)


def test_a_long_gradient_is_shortened_and_a_short_one_left(
    model: DeepImageMatting, batch: dict[str, Any]
) -> None:
    loss_of(model, batch).backward()
    every = torch.cat([each.grad.flatten() for each in learning(model) if each.grad is not None])
    length = float(every.square().sum().sqrt())
    seen: list[Tensor] = []
    for clip in (2 * length, length / 2):
        model.zero_grad()
        loss_of(model, batch).backward()
        ours = update_of(model, clip=clip)
        ours.rate = LearningRate(peak=1e-30)  # which moves nothing
        ours.adam.register_step_pre_hook(
            lambda *_: seen.append(torch.cat([each.grad.flatten() for each in learning(model)]))  # type: ignore[union-attr]
        )
        told = ours.step(0, 10)
        assert told is not None
        assert float(told) == pytest.approx(length)
    torch.testing.assert_close(seen[0], every, rtol=1e-5, atol=0)
    torch.testing.assert_close(seen[1], every / 2, rtol=1e-5, atol=0)


# ---- what stands still -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("freeze", "layers"), [(0, 0), (1, 1), (4, 4), (13, 13), ("encoder", 14)])
@pytest.mark.parametrize("stage", [1, 2, 3])
def test_frozen_layers_keep_their_weights_but_for_the_trimaps(
    model: DeepImageMatting, batch: dict[str, Any], freeze: int | str, layers: int, stage: Stage
) -> None:
    encoder = model.encoder_decoder.encoder
    before = weights_of(model)
    model.set_stage(stage)
    freeze_layers(model, freeze)
    ours = update_of(model, decay=0.1)
    for step in range(2):
        loss_of(model, batch).backward()
        ours.step(step, 10)
    after = weights_of(model)
    names = {each: name for name, each in model.named_parameters()}
    frozen = {
        names[each]
        for layer in [*encoder.convolutions(), encoder.bottleneck][:layers]
        for each in layer.parameters()
    }
    changed = {name for name in after if not torch.equal(before[name], after[name])}
    learns = {name for name in after if name.startswith("refinement." if stage == 2 else "encoder_decoder.")}
    if stage == 3:
        learns = set(after)
    first = names[encoder.convolutions()[0].weight]
    assert changed == learns - frozen | ({first} & learns)
    if layers and stage != 2:
        assert torch.equal(before[first][:, :3], after[first][:, :3])
        assert (before[first][:, 3] != after[first][:, 3]).any()


# ---- the average -------------------------------------------------------------------------------------------


def test_the_average_is_that_of_its_formula(model: DeepImageMatting, batch: dict[str, Any]) -> None:
    """a <- d a + (1 - d) w with d the lesser of the decay and (1 + n) / (10 + n)."""
    model.set_stage(1)
    average = Average(model, 0.3)
    ours = update_of(model, average=average)
    name = "encoder_decoder.decoder.prediction.weight"
    expected = weights_of(model)[name]
    for step in range(5):
        loss_of(model, batch).backward()
        ours.step(step, 10)
        decay = min(0.3, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * weights_of(model)[name]
    assert 0.3 > (1 + 1) / (10 + 1)  # both branches were walked
    torch.testing.assert_close(weights_of(average.model)[name], expected, rtol=1e-12, atol=0)
    assert ours.result is average.model
    assert all(not each.requires_grad for each in average.model.parameters())
    assert update_of(model).result is model


def test_what_does_not_learn_is_the_same_in_the_average(model: DeepImageMatting) -> None:
    model.set_stage(2)
    average = Average(model, 0.999)
    pairs = list(zip(average.model.parameters(), model.parameters(), strict=True))
    average.update(0)
    assert all(torch.equal(*pair) for pair in pairs)
    assert not {mine.data_ptr() for mine, _ in pairs} & {theirs.data_ptr() for _, theirs in pairs}


# ---- a batch in parts --------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 4])
def test_the_parts_mean_gradient_is_the_batchs(
    model: DeepImageMatting, batch: dict[str, Any], count: int
) -> None:
    loss_of(model, batch).backward()
    whole = [each.grad.clone() for each in learning(model) if each.grad is not None]
    model.zero_grad()
    made = list(parts({**batch, "skipped": ["a line"]}, count))
    assert len(made) == count
    assert all(part["skipped"] == ["a line"] for part in made)
    for part in made:
        (loss_of(model, part) / count).backward()
    for parameter, expected in zip(learning(model), whole, strict=True):
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-9, atol=1e-15)


def test_shares_that_make_no_equal_parts() -> None:
    refuse_unequal_parts(16, processes=4, count=2)
    refuse_unequal_parts(16, processes=1, count=16)
    with pytest.raises(WrongUseError, match="a batch of 1 cannot be shared equally by 8 processes: choose a"):
        refuse_unequal_parts(1, processes=8, count=1)
    with pytest.raises(
        WrongUseError, match=r"a batch of 4 does not make 4 equal parts for each of 2 processes"
    ):
        refuse_unequal_parts(4, processes=2, count=4)


def test_samples_that_make_no_equal_parts(batch: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="4 samples do not make 3 equal parts"):
        list(parts(batch, 3))
