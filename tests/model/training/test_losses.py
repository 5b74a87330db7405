"""The losses beside a pixel-by-pixel evaluation in float64."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dimtool.model.training.losses import alpha_loss, compositional_loss, encoder_decoder_loss, unknown_region

COLOURS = ("foreground", "background", "composite")


def make_batch(
    n: int, h: int, w: int, *, seed: int = 0, dtype: torch.dtype = torch.float64
) -> dict[str, Tensor]:
    """Random images, alphas and masks; every number can be told apart."""
    generator = torch.Generator().manual_seed(seed)
    batch = {name: torch.rand(n, 3, h, w, generator=generator, dtype=dtype) for name in COLOURS}
    for name in ("prediction", "alpha"):
        batch[name] = torch.rand(n, 1, h, w, generator=generator, dtype=dtype)
    return {**batch, "unknown": torch.rand(n, 1, h, w, generator=generator) < 0.4}


def losses_of(batch: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    prediction = batch["prediction"]
    return encoder_decoder_loss(prediction, **{k: v for k, v in batch.items() if k != "prediction"})


def by_pixel(batch: dict[str, Tensor]) -> tuple[float, float, float]:
    """(total, alpha, compositional) in float64, from the paper's equations, one pixel after another."""
    a = {name: tensor.double().numpy() for name, tensor in batch.items()}
    alpha_sum = colour_sum = 0.0
    samples = len(a["alpha"])
    for i in range(samples):
        rows, columns = np.nonzero(a["unknown"][i, 0])
        for y, x in zip(rows, columns, strict=True):
            p, t = a["prediction"][i, 0, y, x], a["alpha"][i, 0, y, x]
            alpha_sum += math.sqrt((p - t) ** 2 + 1e-12) / len(rows) / samples
            for c in range(3):
                f, b, image = (a[name][i, c, y, x] for name in COLOURS)
                d = p * f + (1 - p) * b - image
                colour_sum += math.sqrt(d**2 + 1e-12) / 3 / len(rows) / samples
    return 0.5 * alpha_sum + 0.5 * colour_sum, alpha_sum, colour_sum


@settings(deadline=None, max_examples=40)
@given(
    n=st.integers(1, 4),
    h=st.integers(1, 6),
    w=st.integers(1, 6),
    seed=st.integers(0, 2**31),
    dtype=st.sampled_from([torch.float64, torch.float32, torch.bfloat16]),
)
def test_equals_the_papers_equations(n, h, w, seed, dtype):
    batch = make_batch(n, h, w, seed=seed, dtype=dtype)
    losses = losses_of(batch)
    double = dtype == torch.float64
    for actual, expected in zip(losses, by_pixel(batch), strict=True):
        assert actual.dtype == (torch.float64 if double else torch.float32)
        assert actual.item() == pytest.approx(expected, rel=1e-12 if double else 1e-5, abs=1e-7)


def test_an_example_by_hand():
    half = torch.full((1, 1, 1, 2), 0.5)
    colour = {"foreground": 1.0, "background": 0.0, "composite": 0.25}
    images = {name: torch.full((1, 3, 1, 2), value) for name, value in colour.items()}
    unknown = torch.tensor([True, False]).view(1, 1, 1, 2)
    losses = encoder_decoder_loss(half, alpha=half - 0.125, unknown=unknown, **images)
    assert [round(x.item(), 6) for x in losses] == [0.1875, 0.125, 0.25]


@pytest.mark.parametrize("fault", ["another background", "layers swapped", "colours in 0..255", "other mask"])
def test_the_comparison_sees_a_planted_fault(fault):
    batch = make_batch(2, 5, 5)
    faulty = dict(batch)
    if fault == "another background":
        faulty["background"] = batch["background"].roll(1, 0)
    elif fault == "layers swapped":
        faulty["foreground"], faulty["background"] = batch["background"], batch["foreground"]
    elif fault == "colours in 0..255":
        faulty.update({name: 255 * batch[name] for name in COLOURS})
    else:
        faulty["unknown"] = ~batch["unknown"]
    assert losses_of(faulty)[0].item() != pytest.approx(by_pixel(batch)[0], rel=1e-3)


def test_the_true_alpha_of_the_true_layers_has_the_smallest_loss_and_no_gradient():
    batch = make_batch(2, 4, 4)
    alpha = batch["alpha"]
    batch["composite"] = alpha * batch["foreground"] + (1 - alpha) * batch["background"]
    batch["prediction"] = alpha.clone().requires_grad_()
    losses = losses_of(batch)
    assert [x.item() for x in losses] == pytest.approx([1e-6] * 3, rel=1e-6)
    losses[0].backward()
    assert not batch["prediction"].grad.any()


def test_gradients_against_finite_differences():
    batch = make_batch(2, 3, 3)
    prediction = (batch.pop("prediction") * 3 - 1).requires_grad_()  # a refined alpha leaves 0..1
    assert torch.autograd.gradcheck(lambda p: encoder_decoder_loss(p, **batch)[0], (prediction,))
    gradient = torch.autograd.grad(encoder_decoder_loss(prediction, **batch)[0], prediction)[0]
    assert (gradient[batch["unknown"]] != 0).all()
    assert not gradient[~batch["unknown"]].any()


def test_the_known_region_does_not_count():
    batch = make_batch(2, 5, 5)
    changed = {name: torch.where(batch["unknown"], t, 7) for name, t in batch.items() if name != "unknown"}
    assert losses_of(batch) == losses_of({**changed, "unknown": batch["unknown"]})


def test_a_sample_without_unknown_pixels_counts_as_zero():
    batch = make_batch(4, 5, 5)
    batch["unknown"][1] = batch["unknown"][3] = False
    batch["prediction"].requires_grad_()
    losses = losses_of(batch)
    rest = losses_of({name: tensor[::2] for name, tensor in batch.items()})
    assert [x.item() for x in losses] == pytest.approx([x.item() / 2 for x in rest], rel=1e-12)
    batch["unknown"][:] = False
    total = losses_of(batch)[0]
    assert total.item() == 0
    total.backward()
    assert not batch["prediction"].grad.any()


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_the_mean_over_processes_is_the_loss_of_one_process(processes):
    batch = make_batch(6, 5, 5)
    batch["unknown"][0, :, 1:] = False  # unknown regions of very different sizes
    batch["prediction"].requires_grad_()
    whole = losses_of(batch)[0]
    parts = [losses_of({k: t[i::processes] for k, t in batch.items()})[0] for i in range(processes)]
    mean = torch.stack(parts).mean()
    gradients = [torch.autograd.grad(x, batch["prediction"])[0] for x in (whole, mean)]
    torch.testing.assert_close(mean, whole, rtol=1e-12, atol=0)
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=0)


def test_bfloat16_autocast_changes_nothing():
    batch = make_batch(2, 9, 9, dtype=torch.float32)
    outside = losses_of(batch)
    with torch.autocast("cpu", torch.bfloat16):
        inside = losses_of(batch)
    assert outside == inside


def test_a_small_error_survives_a_bfloat16_prediction():
    prediction = torch.full((1, 1, 8, 8), 0.75, dtype=torch.bfloat16)
    alpha = torch.full((1, 1, 8, 8), 0.7505)  # bfloat16 would round it to 0.75
    loss = alpha_loss(prediction, alpha, torch.ones(1, 1, 8, 8, dtype=torch.bool))
    assert loss.item() == pytest.approx(0.0005, rel=1e-3)


def test_the_unknown_region_of_a_trimap():
    trimap = torch.tensor([0, 128 / 255, 1.0, 127 / 255])
    assert unknown_region(trimap).tolist() == [False, True, False, True]
    assert unknown_region(trimap.bfloat16()).tolist() == [False, True, False, True]


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("alpha", torch.zeros(2, 4, 4), r"alpha is \(2, 4, 4\).*must be \(2, 1, 4, 4\)"),
        ("foreground", torch.zeros(2, 1, 4, 4), r"foreground is \(2, 1, 4, 4\).*\(2, 3, 4, 4\)"),
        ("unknown", torch.zeros(2, 1, 4, 4), r"unknown is torch.float32; give bool"),
        ("unknown", torch.zeros(2, 1, 4, 1, dtype=torch.bool), r"unknown is \(2, 1, 4, 1\)"),
        ("prediction", torch.zeros(2, 3, 4, 4), r"prediction is \(2, 3, 4, 4\)"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(name, tensor, message):
    with pytest.raises(ValueError, match=message):
        losses_of({**make_batch(2, 4, 4), name: tensor})


def test_the_compositional_loss_alone_is_the_part_of_the_whole():
    batch = make_batch(2, 4, 4)
    colours = {name: batch[name] for name in COLOURS}
    alone = compositional_loss(batch["prediction"], unknown=batch["unknown"], **colours)
    assert alone == losses_of(batch)[2]
