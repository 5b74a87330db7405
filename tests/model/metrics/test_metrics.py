"""The metrics against the official values, values worked out by hand, and a slow oracle."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from dimtool import metrics
from dimtool.metrics import Scores, matting_scores
from dimtool.model.metrics import connected, gradients

Mask = npt.NDArray[np.uint8]
Vector = tuple[Mask, Mask, Mask]
Pixel = tuple[int, int]

EIGHT = tuple((y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0))


def reaches_in_float64(alpha: int, k: int) -> bool:
    return bool(alpha / 255 >= np.arange(0, 1.1, 0.1)[k])


# Vectors: images with values that were computed by the official code, or are worked out in the comments


def grid(*rows: str) -> Mask:
    """One character a pixel: # 255, a 230, . 0."""
    return np.array([[{"#": 255, "a": 230, ".": 0}[c] for c in row] for row in rows], np.uint8)


def unknown(*alphas: Mask) -> Vector:
    return alphas[0], alphas[1], np.full_like(alphas[0], 128)


def official_vector() -> Vector:
    trimap = np.zeros((32, 32), np.uint8)
    trimap[:16, :16], trimap[16:, 16:] = 128, 255
    return np.where(trimap == 255, 255, 0).astype(np.uint8), np.full((32, 32), 255, np.uint8), trimap


OFFICIAL = official_vector()
# Alpha 153 is 0.6 exactly: l = 0.6, so d is 0 for the truth and 0.4 for the prediction.
SIX_TENTHS = unknown(np.full((3, 3), 255, np.uint8), np.full((3, 3), 153, np.uint8))
# Two components of two pixels up to 0.9. By columns the left one comes first, by rows the upper one.
# The pixels 230 / 255 differ from the prediction only where they are outside (l = 0): 25 / 255 each.
TIE_LEFT_WINS = unknown(grid("...##", ".....", "##..."), grid("...aa", ".....", "##..."))
TIE_UPPER_LOSES = unknown(grid("...##", ".....", "##..."), grid("...##", ".....", "aa..."))
# The corner pixel touches the block diagonally: not 4-connected, so l = 0 there.
DIAGONAL = unknown(grid("##..", "##..", "..#."), grid("##..", "##..", "..a."))
# A speck of 2 x 2, apart from the body, predicted one column too far to the right: in both l = 0, so the
# two shared pixels agree (phi = 0), and the two lost and the two gained ones differ by 1.
MOVED = unknown(
    grid("####....", "####....", "####.##.", "####.##."), grid("####....", "####....", "####..##", "####..##")
)

BY_HAND: dict[str, tuple[str, Vector, float]] = {
    "official": ("connectivity", OFFICIAL, 0.256),
    "official, gradient": ("gradient", OFFICIAL, 0.0028887),
    "official, sad": ("sad", OFFICIAL, 0.256),
    "official, mse": ("mse", OFFICIAL, 1.0),
    "alpha 153": ("connectivity", SIX_TENTHS, 9 * 0.4 / 1000),
    "tie, left wins": ("connectivity", TIE_LEFT_WINS, 2 * 25 / 255 / 1000),
    "tie, upper loses": ("connectivity", TIE_UPPER_LOSES, 0.0),
    "diagonal": ("connectivity", DIAGONAL, 25 / 255 / 1000),
    "moved": ("connectivity", MOVED, 4 / 1000),
    "moved, sad": ("sad", MOVED, 4 / 1000),
}
FAST: dict[str, Callable[..., float]] = {
    "sad": metrics.sad,
    "mse": metrics.mse,
    "gradient": metrics.gradient,
    "connectivity": metrics.connectivity,
    "mad": metrics.mad,
}


@pytest.mark.parametrize("name", BY_HAND)
def test_vector(oracle: Any, name: str) -> None:
    metric, vector, expected = BY_HAND[name]
    assert FAST[metric](*vector) == pytest.approx(expected, rel=2e-5, abs=1e-15)
    assert getattr(oracle, metric)(*vector) == pytest.approx(expected, rel=2e-5, abs=1e-15)


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("official", {"background_may_win": True}),
        ("official", {"everywhere": True}),
        ("official, gradient", {"everywhere": True}),
        ("official, gradient", {"unit": False}),
        ("official, sad", {"everywhere": True}),
        ("official, mse", {"everywhere": True}),
        ("alpha 153", {"reach": reaches_in_float64}),
        ("tie, left wins", {"by_rows": True}),
        ("tie, upper loses", {"by_rows": True}),
        ("diagonal", {"around": EIGHT}),
    ],
)
def test_vector_tells_a_fault_apart(oracle: Any, name: str, fault: dict[str, object]) -> None:
    metric, vector, expected = BY_HAND[name]
    assert abs(getattr(oracle, metric)(*vector, **fault) - expected) > max(0.1 * expected, 1e-5)


def test_whole_image_values_are_what_mmagic_reports() -> None:
    scores = matting_scores(*OFFICIAL)
    assert scores.whole_image_sad == metrics.whole_image_sad(*OFFICIAL[:2]) == pytest.approx(0.768)
    assert scores.whole_image_mse == metrics.whole_image_mse(*OFFICIAL) == pytest.approx(3.0)


# Shifts, ramps, constants


@pytest.mark.parametrize(("predicted", "connectivity"), [(210, 0.0), (240, 240 / 255 - 0.7)])
def test_shift(predicted: int, connectivity: float) -> None:
    """Truth 200 reaches 0.7: below l + 0.15 a deviation does not count as disconnected."""
    truth, trimap = np.full((6, 7), 200, np.uint8), np.zeros((6, 7), np.uint8)
    trimap[1:4, 2:6] = 128
    scores = matting_scores(np.full((6, 7), predicted, np.uint8), truth, trimap)
    shift = (predicted - 200) / 255
    assert scores.sad == pytest.approx(12 * shift / 1000)
    assert scores.mse == pytest.approx(shift**2)
    assert scores.conn == pytest.approx(12 * connectivity / 1000, abs=1e-15)
    assert scores.grad == 0.0
    assert scores.whole_image_sad == pytest.approx(42 * shift / 1000)
    assert scores.whole_image_mse == pytest.approx(42 * shift**2 / 12)


def ramp(step: int, columns: int, rows: int) -> Mask:
    return np.tile(np.arange(columns, dtype=np.uint8) * np.uint8(step), (rows, 1))


def inner(shape: tuple[int, ...]) -> Mask:
    """A trimap that leaves out the 4 pixels which the filters' border reaches."""
    trimap = np.zeros(shape, np.uint8)
    trimap[4:-4, 4:-4] = 128
    return trimap


def test_gradient_of_a_ramp(oracle: Any) -> None:
    """A ramp of 1/51 a pixel against no gradient: the filter's answer to a slope, squared, at each pixel."""
    truth = ramp(5, 52, 20)
    answer = sum(value * (j - 4) for row in oracle.kernel() for j, value in enumerate(row)) / 51
    expected = 44 * 12 * answer**2 / 1000
    assert metrics.gradient(np.full_like(truth, 99), truth, inner(truth.shape)) == pytest.approx(expected)


@pytest.mark.parametrize("prediction", [ramp(5, 26, 26), ramp(10, 26, 26).T, 255 - ramp(10, 26, 26)])
def test_gradient_compares_magnitudes_of_normalised_alphas(oracle: Any, prediction: Mask) -> None:
    """Half the contrast, another direction, another sign: the same magnitudes, whatever the SAD."""
    truth = ramp(10, 26, 26)
    trimap = inner(truth.shape)
    assert metrics.gradient(prediction, truth, trimap) == pytest.approx(0, abs=1e-20)
    assert metrics.sad(prediction, truth, trimap) > 0.03
    if prediction.max() < 250:
        assert oracle.gradient(prediction, truth, trimap, normalised=False) > 1e-4


@pytest.mark.parametrize(("predicted", "true"), [(0, 255), (255, 0), (128, 128), (0, 0), (255, 255)])
def test_constant_images(predicted: int, true: int) -> None:
    """No 0 / 0 in the normalisation, no stop where no pixel reaches a threshold."""
    vector = unknown(np.full((5, 9), predicted, np.uint8), np.full((5, 9), true, np.uint8))
    wrong = abs(predicted - true) / 255
    assert matting_scores(*vector) == Scores(
        sad=45 * wrong / 1000,
        mse=wrong**2,
        grad=0.0,
        conn=45 * wrong / 1000,
        mad=wrong,
        whole_image_sad=45 * wrong / 1000,
        whole_image_mse=wrong**2,
    )


# Against the oracle


def assert_equals_oracle(oracle: Any, p: Mask, t: Mask, trimap: Mask) -> None:
    scores = matting_scores(p, t, trimap)
    found = (scores.sad, scores.mse, scores.grad, scores.conn, scores.mad)
    for (name, fast), value in zip(FAST.items(), found, strict=True):
        assert value == pytest.approx(getattr(oracle, name)(p, t, trimap), rel=1e-9, abs=1e-15)
        assert value == fast(p, t, trimap)
    assert scores.whole_image_sad == pytest.approx(oracle.sad(p, t, trimap, everywhere=True))
    assert scores.whole_image_mse == pytest.approx(oracle.mse(p, t, trimap, everywhere=True))
    assert metrics.whole_image_mad(p, t) == pytest.approx(oracle.mad(p, t, trimap, everywhere=True))


@st.composite
def vectors(draw: st.DrawFn) -> Vector:
    """Small images whose alphas lie at and beside the thresholds, in few values, so that they connect."""
    shape = draw(st.tuples(st.integers(1, 7), st.integers(1, 7)))
    palette = draw(
        st.lists(st.sampled_from([0, 25, 26, 51, 64, 128, 152, 153, 204, 230, 254, 255]), min_size=1)
    )
    alphas = arrays(np.uint8, shape, elements=st.sampled_from(palette))
    trimap = draw(arrays(np.uint8, shape, elements=st.sampled_from([0, 128, 255])))
    trimap[draw(st.integers(0, shape[0] - 1)), draw(st.integers(0, shape[1] - 1))] = 128
    return draw(alphas), draw(alphas), trimap


@given(vectors())
@settings(max_examples=80, deadline=None)
def test_small_images_equal_the_oracle(oracle: Any, vector: Vector) -> None:
    assert_equals_oracle(oracle, *vector)


@given(vectors())
@settings(max_examples=40, deadline=None)
def test_properties(vector: Vector) -> None:
    """A perfect prediction has no error, and none of the errors knows which alpha is the truth."""
    p, t, trimap = vector
    assert set(vars(matting_scores(t, t, trimap)).values()) == {0.0}
    assert vars(matting_scores(p, t, trimap)) == pytest.approx(vars(matting_scores(t, p, trimap)), abs=1e-15)


@pytest.mark.parametrize("grow_at_most", [0, 1 / 16, 1])
@pytest.mark.parametrize("seed", range(4))
def test_connectivity_of_blobs(
    blobs: Any, oracle: Any, seed: int, grow_at_most: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both ways to the largest component, labelling and growth, and what chooses between them."""
    monkeypatch.setattr(connected, "GROW_AT_MOST", grow_at_most)
    vector = blobs((61, 47), seed)
    assert metrics.connectivity(*vector) == pytest.approx(oracle.connectivity(*vector), rel=1e-12)


def test_growth_is_used(blobs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the test above would compare labelling with labelling."""
    calls: list[int] = []
    monkeypatch.setattr(connected, "GROW_AT_MOST", 1)
    monkeypatch.setattr(connected, "_grow", lambda part, others: calls.append(len(others)))
    metrics.connectivity(*blobs((61, 47), 0))
    assert max(calls) > 50


def test_gradient_over_several_tiles(blobs: Any, oracle: Any) -> None:
    """Tiles must not show: the same as one two-dimensional convolution of the whole image."""
    p, t, _ = blobs((3 * gradients.TILE - 7, 2 * gradients.TILE + 1), 5)
    trimap = np.full(p.shape, 255, np.uint8)
    trimap[40 : 2 * gradients.TILE, gradients.TILE - 3 :] = 128
    trimap[-1, :5] = 128

    def magnitude(alpha: Mask) -> npt.NDArray[np.float64]:
        image = (alpha.astype(np.float64) - alpha.min()) / (int(alpha.max()) - int(alpha.min()))
        taps = np.array(oracle.kernel())
        return np.hypot(*(ndimage.convolve(image, k, mode="nearest") for k in (taps, taps.T)))

    expected = ((magnitude(p) - magnitude(t)) ** 2)[trimap == 128].sum() / 1000
    assert metrics.gradient(p, t, trimap) == pytest.approx(expected, rel=1e-10)
