"""Pooling with two-bit codes beside PyTorch's pooling with int64 indices."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from dimtool.model.network import pooling
from dimtool.model.network.pooling import max_pool, max_unpool

NAN, INF = float("nan"), float("inf")
LAYOUTS = [torch.contiguous_format, torch.channels_last]
windows = pooling._windows


def pooled_and_unpooled(x: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Maxima, unpooled maxima times `scale`, and the gradients of both inputs, by the code under test."""
    x, scale = x.detach().requires_grad_(), scale.detach().requires_grad_()
    value, code = max_pool(x)
    return _with_gradients(x, scale, value, max_unpool(value * scale, code))


def by_indices(x: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The same by PyTorch's own modules."""
    x, scale = x.detach().requires_grad_(), scale.detach().requires_grad_()
    value, index = F.max_pool2d(x, 2, return_indices=True)
    return _with_gradients(x, scale, value, F.max_unpool2d(value * scale, index, 2))


def _with_gradients(x: Tensor, scale: Tensor, value: Tensor, full: Tensor) -> tuple[Tensor, ...]:
    ramp = torch.linspace(-1, 1, full.numel(), dtype=full.dtype).view(full.shape)
    gradients = torch.autograd.grad((full * ramp).sum() + (value * ramp[..., ::2, ::2]).sum(), (x, scale))
    return value.detach(), full.detach(), *gradients


def assert_same(actual: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> None:
    for a, e in zip(actual, expected, strict=True):
        torch.testing.assert_close(a, e, rtol=0, atol=0, equal_nan=True)


def tied(shape: tuple[int, ...], *, seed: int, dtype: torch.dtype, values: list[float]) -> Tensor:
    """Few different values, so that most windows hold a tie."""
    drawn = torch.randint(len(values), shape, generator=torch.Generator().manual_seed(seed))
    return torch.tensor(values, dtype=dtype)[drawn]


@settings(deadline=None, max_examples=60)
@given(
    n=st.integers(1, 3),
    c=st.sampled_from([1, 2, 3, 8, 17]),
    h=st.integers(1, 6),
    w=st.integers(1, 6),
    seed=st.integers(0, 2**31),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16]),
    layout=st.sampled_from(LAYOUTS),
    values=st.sampled_from([[0.0, 1.0, -1.0], [0.0, -0.0, 2.0], [1.0, NAN, -INF, INF], [-INF, -1.0], [NAN]]),
)
def test_equals_pytorchs_indices_with_ties_nan_and_infinity(*, n, c, h, w, seed, dtype, layout, values):
    x = tied((n, c, 2 * h, 2 * w), seed=seed, dtype=dtype, values=values).contiguous(memory_format=layout)
    scale = tied((n, c, h, w), seed=seed + 1, dtype=dtype, values=[-2.0, 0.5, 3.0])
    assert_same(pooled_and_unpooled(x, scale), by_indices(x, scale))


@pytest.mark.parametrize(
    ("window", "code"),
    [
        ([1, 1, 1, 1], 0),
        ([0, 1, 1, 0], 1),
        ([0, 0, 1, 1], 2),
        ([0, 0, 0, 1], 3),
        ([-INF] * 4, 0),
        ([-0.0, 0.0, 0.0, 0.0], 0),
        ([NAN, 1, 2, 3], 0),
        ([9, NAN, 1, 1], 1),
        ([9, NAN, NAN, 1], 2),
        ([NAN] * 4, 3),
    ],
)
def test_the_code_of_a_window(window, code):
    value, codes = max_pool(torch.tensor(window, dtype=torch.float32).view(1, 1, 2, 2))
    assert codes.dtype == torch.uint8
    assert codes.item() == code
    torch.testing.assert_close(value.item(), float(window[code]), rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("fault", ["last of equals", "NaN ignored", "columns and rows swapped"])
def test_the_comparison_sees_a_planted_fault(fault, monkeypatch):
    def larger(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        wins = second >= first if fault == "last of equals" else second > first
        return torch.where(wins, second, first), wins

    if fault == "columns and rows swapped":
        monkeypatch.setattr(pooling, "_windows", lambda x: windows(x).transpose(3, 5))
    else:
        monkeypatch.setattr(pooling, "_larger", larger)
    x = tied((2, 3, 4, 8), seed=0, dtype=torch.float32, values=[0.0, 1.0, NAN])
    with pytest.raises(AssertionError):
        assert_same(pooled_and_unpooled(x, torch.ones(2, 3, 2, 4)), by_indices(x, torch.ones(2, 3, 2, 4)))


def test_gradients_against_finite_differences():
    x = torch.randperm(2 * 2 * 4 * 6, generator=torch.Generator().manual_seed(0)).double().view(2, 2, 4, 6)
    code = tied((2, 2, 2, 3), seed=1, dtype=torch.uint8, values=[0, 1, 2, 3])
    small = torch.rand(2, 2, 2, 3, dtype=torch.float64, requires_grad=True)
    x.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: max_pool(x)[0], (x,))
    assert torch.autograd.gradcheck(lambda y: max_unpool(y, code), (small,))
    assert torch.autograd.gradgradcheck(lambda x: max_pool(x)[0] ** 2, (x,))
    assert torch.autograd.gradgradcheck(lambda y: max_unpool(y, code) ** 2, (small,))


def test_the_backward_pass_keeps_one_byte_a_window():
    x = torch.randn(2, 8, 16, 16, requires_grad=True)
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        value, code = max_pool(x)
        max_unpool(value, code)
    assert {t.dtype for t in kept} == {torch.uint8}
    assert {t.data_ptr() for t in kept} == {code.data_ptr()}
    assert code.nbytes == x.numel() // 4


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_memory_layout_is_kept(layout):
    x = torch.randn(2, 8, 6, 10).contiguous(memory_format=layout)
    value, code = max_pool(x)
    for tensor in (value, code, max_unpool(value, code)):
        assert tensor.is_contiguous(memory_format=layout)


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # the compiler does it
@pytest.mark.parametrize("layout", LAYOUTS)
def test_compiled_in_one_graph(layout):
    x = tied((2, 8, 6, 10), seed=0, dtype=torch.float32, values=[0.0, 1.0, NAN])
    x, scale = x.contiguous(memory_format=layout), torch.rand(2, 8, 3, 5)

    def both(x: Tensor, scale: Tensor) -> Tensor:
        value, code = max_pool(x)
        return max_unpool(value * scale, code)

    compiled = torch.compile(both, backend="aot_eager", fullgraph=True)
    results = []
    for function in (both, compiled):
        a, b = x.clone().requires_grad_(), scale.clone().requires_grad_()
        full = function(a, b)
        results.append((full.detach(), *torch.autograd.grad((full**2).sum(), (a, b))))
    assert_same(*results)


def test_wrong_shapes_are_refused_by_name():
    with pytest.raises(ValueError, match=r"\(1, 1, 3, 4\).*even"):
        max_pool(torch.zeros(1, 1, 3, 4))
    with pytest.raises(ValueError, match=r"\(1, 1, 2, 2\).*\(1, 1, 1, 1\)"):
        max_unpool(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 1, 1, dtype=torch.uint8))
