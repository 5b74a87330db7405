"""ReLU and pooling with two-bit codes beside PyTorch's own ReLU and pooling with int64 indices."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from dimtool.model.network.pooling import codes, operators
from dimtool.model.network.pooling.pools import max_unpool, relu_max_pool

NAN, INF = float("nan"), float("inf")
LAYOUTS = [torch.contiguous_format, torch.channels_last]
TYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]
VALUES = [[0.0, 1.0, -1.0], [0.0, -0.0, 2.0], [1.0, NAN, -INF, INF], [-INF, -1.0], [NAN], [-2.0, NAN, 3.0]]

Results = tuple[Tensor, ...]


def pooled_and_unpooled(x: Tensor, scale: Tensor) -> Results:
    """Maxima, the unpooled (maxima + 1) * scale, and both inputs' gradients, by the code under test."""
    x, scale = x.detach().requires_grad_(), scale.detach().requires_grad_()
    value, code = relu_max_pool(x * 1)
    assert code.dtype == torch.uint8
    return _with_gradients(x, scale, value, max_unpool((value + 1) * scale, code))


def by_indices(x: Tensor, scale: Tensor) -> Results:
    """The same by PyTorch's own functions."""
    x, scale = x.detach().requires_grad_(), scale.detach().requires_grad_()
    value, index = F.max_pool2d(F.relu(x), 2, return_indices=True)
    return _with_gradients(x, scale, value, F.max_unpool2d((value + 1) * scale, index, [2, 2]))


def _with_gradients(x: Tensor, scale: Tensor, value: Tensor, full: Tensor) -> Results:
    ramp = torch.linspace(-1, 1, full.numel(), dtype=full.dtype).view(full.shape)
    gradients = torch.autograd.grad((full * ramp).sum() + (value * ramp[..., ::2, ::2]).sum(), (x, scale))
    return value.detach(), full.detach(), *gradients


def assert_same(actual: Results, expected: Results) -> None:
    for a, e in zip(actual, expected, strict=True):
        torch.testing.assert_close(a, e, rtol=0, atol=0, equal_nan=True)


def tied(shape: tuple[int, ...], *, seed: int, dtype: torch.dtype, values: list[float]) -> Tensor:
    """Few different values, so that most windows hold a tie."""
    drawn = torch.randint(len(values), shape, generator=torch.Generator().manual_seed(seed))
    return torch.tensor(values, dtype=dtype)[drawn]


@st.composite
def inputs(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    n, h, w = draw(st.integers(1, 3)), draw(st.integers(1, 6)), draw(st.integers(1, 6))
    c, dtype = draw(st.sampled_from([1, 2, 3, 8, 17])), draw(st.sampled_from(TYPES))
    seed, layout = draw(st.integers(0, 2**31)), draw(st.sampled_from(LAYOUTS))
    x = tied((n, c, 2 * h, 2 * w), seed=seed, dtype=dtype, values=draw(st.sampled_from(VALUES)))
    scale = tied((n, c, h, w), seed=seed + 1, dtype=dtype, values=[-2.0, 0.5, 3.0])
    return x.contiguous(memory_format=layout), scale


# ---- each way beside PyTorch's --------------------------------------------------------------------------


@settings(deadline=None, max_examples=40)
@given(inputs())
def test_with_gradients_it_equals_pytorchs_indices_with_ties_nan_and_infinity(given_: Results) -> None:
    assert_same(pooled_and_unpooled(*given_), by_indices(*given_))


@settings(deadline=None, max_examples=20)
@given(inputs())
def test_without_gradients_it_is_pytorchs_own(given_: Results) -> None:
    x, scale = given_
    expected, index = F.max_pool2d(F.relu(x), 2, return_indices=True)
    value, places = relu_max_pool(x.clone())
    assert places.dtype == torch.int64
    full = F.max_unpool2d(expected * scale, index, [2, 2])
    assert_same((value, places, max_unpool(value * scale, places)), (expected, index, full))


@settings(deadline=None, max_examples=20)
@given(inputs())
def test_the_plain_operations_for_compilers_give_the_operators_results(given_: Results) -> None:
    x, scale = given_
    value, code = codes.pool(F.relu(x))
    assert_same((value, code), operators.relu_max_pool(x, None))
    assert_same((codes.spread(scale, code),), (operators.spread(scale, code),))
    assert_same((codes.gather(x, code),), (operators.gather(x, code),))


@pytest.mark.parametrize(
    ("window", "code"),
    [
        ([1, 1, 1, 1], 0),
        ([0, 1, 1, 0], 1),
        ([0, 0, 1, 1], 2),
        ([0, 0, 0, 1], 3),
        ([-INF] * 4, 0),
        ([-2, -1, 0, -1], 0),  # all equal after the ReLU
        ([-2, NAN, 0, -1], 1),
        ([NAN, 1, 2, 3], 0),
        ([9, NAN, NAN, 1], 2),
        ([NAN] * 4, 3),
    ],
)
def test_the_code_of_a_window(window: list[float], code: int) -> None:
    x = torch.tensor(window, dtype=torch.float32).view(1, 1, 2, 2)
    for function in (lambda x: operators.relu_max_pool(x, None), lambda x: codes.pool(F.relu(x))):
        value, found = function(x)
        assert found.dtype == torch.uint8
        assert found.item() == code
        expected = F.relu(x).flatten()[code].item()
        torch.testing.assert_close(value.item(), expected, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("fault", ["no first of zeros", "rows for columns", "no ReLU"])
def test_the_comparison_sees_a_planted_fault(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    as_codes = operators._as_codes
    swap = torch.tensor([0, 2, 1, 3], dtype=torch.uint8)
    if fault == "no first of zeros":
        monkeypatch.setattr(Tensor, "masked_fill_", lambda code, *_: code)
    elif fault == "rows for columns":
        monkeypatch.setattr(operators, "_as_codes", lambda *given: swap[as_codes(*given).int()])
    else:
        monkeypatch.setattr(torch.ops.aten, "threshold_backward", lambda gradient, *_: gradient)
    x, scale = torch.randn(2, 3, 4, 8), torch.ones(2, 3, 2, 4)
    x[..., :2, :2] = torch.tensor([[-2.0, -3.0], [-1.0, -4.0]])  # all 0 after the ReLU: the first is meant
    with pytest.raises(AssertionError):
        assert_same(pooled_and_unpooled(x, scale), by_indices(x, scale))


def test_gradients_against_finite_differences() -> None:
    x = torch.randperm(2 * 2 * 4 * 6, generator=torch.Generator().manual_seed(0)).double().view(2, 2, 4, 6)
    x = x - 40.5
    code = tied((2, 2, 2, 3), seed=1, dtype=torch.uint8, values=[0, 1, 2, 3])
    small = torch.rand(2, 2, 2, 3, dtype=torch.float64, requires_grad=True)
    bias = torch.tensor([0.25, -0.25], dtype=torch.float64, requires_grad=True)
    x.requires_grad_()
    checks: list[tuple[Callable[..., Tensor], tuple[Tensor, ...]]] = [
        (lambda x: relu_max_pool(x * 1)[0] ** 2, (x,)),
        (lambda x, b: operators.relu_max_pool(x, b)[0] ** 2, (x, bias)),
        (lambda y: max_unpool(y, code) ** 2, (small,)),
        (lambda x: operators.gather(x, code) ** 2, (x,)),
    ]
    for function, given_ in checks:
        assert torch.autograd.gradcheck(function, given_)
        assert torch.autograd.gradgradcheck(function, given_)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_bias_is_added_before_and_has_the_gradient_of_its_channel(dtype: torch.dtype) -> None:
    """As the convolution's: in the type of the values, whatever its own."""
    x = torch.randn(2, 5, 6, 4, generator=torch.Generator().manual_seed(0)).to(dtype).requires_grad_()
    bias = torch.linspace(-1, 1, 5).requires_grad_()
    both = relu_max_pool(x * 1, bias)[0], F.max_pool2d(F.relu(x + bias.to(dtype).view(1, 5, 1, 1)), 2)
    results = [
        (value.detach(), *torch.autograd.grad(value.float().square().sum(), (x, bias))) for value in both
    ]
    (value, by_x, by_bias), (value_, by_x_, by_bias_) = results
    assert_same((value, by_x), (value_, by_x_))
    torch.testing.assert_close(by_bias, by_bias_, rtol=1e-5 if dtype == torch.float32 else 2e-2, atol=1e-5)
    with torch.no_grad():
        assert torch.equal(relu_max_pool(x * 1, bias)[0], value)


# ---- what is kept, and in what order --------------------------------------------------------------------


def test_the_backward_pass_keeps_the_pooled_values_and_one_byte_a_window() -> None:
    x = torch.randn(2, 8, 16, 16, requires_grad=True)
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        value, code = relu_max_pool(x)
        max_unpool(value, code)
    assert {t.data_ptr() for t in kept} == {code.data_ptr(), value.data_ptr()}
    assert code.nbytes == x.numel() // 4


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_memory_layout_is_kept(layout: torch.memory_format, grad: bool) -> None:
    x = torch.randn(2, 8, 6, 10).contiguous(memory_format=layout).requires_grad_(grad)
    value, places = relu_max_pool(x * 1)
    for tensor in (value, places, max_unpool(value, places)):
        assert tensor.is_contiguous(memory_format=layout)


# ---- compiled -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_operators_keep_the_rules_of_operators(layout: torch.memory_format) -> None:
    """PyTorch's own check: shapes and layouts as traced, nothing changed in place, gradients traceable."""
    x = torch.randn(2, 3, 4, 6).contiguous(memory_format=layout).requires_grad_()
    code = tied((2, 3, 4, 6), seed=1, dtype=torch.uint8, values=[0, 1, 2, 3]).contiguous(memory_format=layout)
    small = torch.randn(2, 3, 2, 3).contiguous(memory_format=layout).requires_grad_()
    torch.library.opcheck(operators.relu_max_pool, (x, torch.randn(3, requires_grad=True)))
    torch.library.opcheck(operators.relu_max_pool, (x, None))
    torch.library.opcheck(operators.spread, (x, code))
    torch.library.opcheck(operators.gather, (x, code[..., :2, :3].contiguous(memory_format=layout)))
    assert small.is_contiguous(memory_format=layout)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the compiler's own modules
@pytest.mark.parametrize("layout", LAYOUTS)
def test_compiled_in_one_graph_it_keeps_no_full_resolution(layout: torch.memory_format) -> None:
    """Traced with its backward pass by PyTorch's partitioner: what that hands over is a quarter in size."""
    x = tied((2, 8, 6, 10), seed=0, dtype=torch.float32, values=[0.0, 1.0, NAN])
    x, scale = x.contiguous(memory_format=layout), torch.rand(2, 8, 3, 5)
    kept: list[tuple[int, ...]] = []

    def both(x: Tensor, scale: Tensor) -> Tensor:
        value, code = relu_max_pool(x * 1)
        return max_unpool(value * scale, code)

    compiled = torch.compile(both, backend="aot_eager_decomp_partition", fullgraph=True)
    results = []
    for function in (both, compiled):
        a, b = x.clone().requires_grad_(), scale.clone().requires_grad_()
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t: (kept.append(tuple(t.shape)), t)[1],
            lambda t: t,
        ):
            full = function(a, b)
        if function is both:
            kept.clear()
        results.append((full.detach(), *torch.autograd.grad((full**2).sum(), (a, b))))
    assert_same(*results)
    assert max(torch.Size(shape).numel() for shape in kept) <= x.numel() // 4


def test_compiled_without_gradients_it_is_plain_operations() -> None:
    graphs: list[str] = []

    def backend(graph: torch.fx.GraphModule, _: object) -> Callable[..., object]:
        graphs.append(graph.code)
        return graph.forward

    def both(x: Tensor) -> Tensor:
        return max_unpool(*relu_max_pool(x))

    x = torch.randn(2, 8, 6, 10)
    with torch.no_grad():
        assert torch.equal(torch.compile(both, backend=backend, fullgraph=True)(x.clone()), both(x.clone()))
    assert len(graphs) == 1
    assert "dimtool" not in graphs[0]


# ---- the GPU's kernels ----------------------------------------------------------------------------------

_INTERPRETED = """
import itertools, torch
from dimtool.model.network.pooling import kernels, operators

def same(a, b):
    torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)
    assert a.is_contiguous(memory_format=layout), layout

values = torch.tensor([0.0, 1.0, -1.0, float("nan"), 2.0, -0.0, float("inf")])
layouts = (torch.contiguous_format, torch.channels_last)
for layout, dtype, biased in itertools.product(layouts, (torch.float32, torch.bfloat16), (False, True)):
    for shape in ((2, 5, 12, 10), (1, 1, 2, 4), (1, 24, 32, 16)):
        x = values[torch.randint(7, shape)].to(dtype).contiguous(memory_format=layout)
        bias = torch.randint(-4, 4, (shape[1],)) / 8 if biased else None  # exact: interpreters truncate
        value, code = operators.relu_max_pool(x, bias)
        for actual, expected in zip(kernels.relu_max_pool(x, bias), (value, code), strict=True):
            same(actual, expected)
        same(kernels.spread(value, code), operators.spread(value, code))
        same(kernels.gather(x, code), operators.gather(x, code))
print("same")
"""


def test_tritons_kernels_give_the_operators_results() -> None:
    """By Triton's interpreter, in a process of its own: the choice is made when the kernels are read."""
    pytest.importorskip("triton", reason="the GPU's pooling kernels are checked by Triton's interpreter")
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    command = [sys.executable, "-c", _INTERPRETED]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=300, check=False, cwd=Path.home()
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "same\n"


# ---- wrong use ------------------------------------------------------------------------------------------


def test_wrong_shapes_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"\(1, 1, 3, 4\).*even"):
        relu_max_pool(torch.zeros(1, 1, 3, 4))
    with pytest.raises(ValueError, match=r"\(1, 1, 2, 2\).*\(1, 1, 1, 1\)"):
        max_unpool(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 1, 1, dtype=torch.uint8))
