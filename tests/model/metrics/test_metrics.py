"""The metrics against the official values, values worked out by hand, and a slow oracle.

The oracle below follows the definitions pixel by pixel, in fractions where it can, with its own flood fill
and its own 9 x 9 kernel. Its keywords plant the faults seen in other tools; the vectors must tell them apart.
"""

import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from scipy import ndimage

from dimtool import metrics
from dimtool.metrics import MeanScores, Scores, matting_scores
from dimtool.model.metrics import connected, gradients

Mask = npt.NDArray[np.uint8]
Vector = tuple[Mask, Mask, Mask]
Pixel = tuple[int, int]

FOUR = ((-1, 0), (1, 0), (0, -1), (0, 1))
EIGHT = (*FOUR, (-1, -1), (-1, 1), (1, -1), (1, 1))


# The oracle


def pixels(shape: tuple[int, ...]) -> Iterator[Pixel]:
    """Column by column, as MATLAB counts."""
    return ((y, x) for x in range(shape[1]) for y in range(shape[0]))


def measured(trimap: Mask, *, everywhere: bool = False) -> list[Pixel]:
    return [at for at in pixels(trimap.shape) if everywhere or trimap[at] == 128]


def slow_sad(p: Mask, t: Mask, trimap: Mask, *, everywhere: bool = False) -> float:
    return sum(abs(int(p[at]) - int(t[at])) for at in measured(trimap, everywhere=everywhere)) / 255 / 1000


def slow_mad(p: Mask, t: Mask, trimap: Mask, *, everywhere: bool = False) -> float:
    pixels = measured(trimap, everywhere=everywhere)
    return sum(abs(int(p[at]) - int(t[at])) for at in pixels) / 255 / len(pixels)


def slow_mse(p: Mask, t: Mask, trimap: Mask, *, everywhere: bool = False) -> float:
    squares = sum((int(p[at]) - int(t[at])) ** 2 for at in measured(trimap, everywhere=everywhere))
    return squares / 255**2 / len(measured(trimap))


def kernel(sigma: float = 1.4, epsilon: float = 1e-2) -> list[list[float]]:
    """Derivative along x, of L2 norm 1."""

    def gauss(x: float) -> float:
        return math.exp(-(x**2) / (2 * sigma**2)) / (sigma * math.sqrt(2 * math.pi))

    half = math.ceil(sigma * math.sqrt(-2 * math.log(math.sqrt(2 * math.pi) * sigma * epsilon)))
    steps = range(-half, half + 1)
    values = [[gauss(y) * -x * gauss(x) / sigma**2 for x in steps] for y in steps]
    norm = math.sqrt(sum(value**2 for row in values for value in row))
    return [[value / norm for value in row] for row in values]


def slow_gradient(
    p: Mask, t: Mask, trimap: Mask, *, everywhere: bool = False, normalised: bool = True, unit: bool = True
) -> float:
    taps = kernel()
    scale = 1.0 if unit else 1 / max(abs(value) for row in taps for value in row)

    def magnitudes(alpha: Mask) -> dict[Pixel, float]:
        low, high = (int(alpha.min()), int(alpha.max())) if normalised else (0, 255)
        image = [[(int(v) - low) / (high - low) if high > low else 0.0 for v in row] for row in alpha]
        bottom, right = len(image) - 1, len(image[0]) - 1
        found = {}
        for y, x in measured(trimap, everywhere=everywhere):
            dx = dy = 0.0
            for i in range(9):
                row = image[min(max(y + i - 4, 0), bottom)]
                for j in range(9):
                    value = row[min(max(x + j - 4, 0), right)]
                    dx += taps[i][j] * value
                    dy += taps[j][i] * value
            found[y, x] = scale * math.hypot(dx, dy)
        return found

    true = magnitudes(t)
    return sum((value - true[at]) ** 2 for at, value in magnitudes(p).items()) / 1000


def reaches(alpha: int, k: int) -> bool:
    return Fraction(alpha, 255) >= Fraction(k, 10)


def reaches_in_float64(alpha: int, k: int) -> bool:
    return bool(alpha / 255 >= np.arange(0, 1.1, 0.1)[k])


def largest(region: set[Pixel], order: list[Pixel], around: tuple[Pixel, ...]) -> set[Pixel]:
    """The largest component of the region; of equals the one met first in the given order."""
    best: set[Pixel] = set()
    left = set(region)
    for start in order:
        if start not in left:
            continue
        left.remove(start)
        component, waiting = {start}, [start]
        while waiting:
            y, x = waiting.pop()
            found = {(y + i, x + j) for i, j in around} & left
            left -= found
            component |= found
            waiting.extend(found)
        best = component if len(component) > len(best) else best
    return best


def slow_connectivity(
    p: Mask,
    t: Mask,
    trimap: Mask,
    *,
    everywhere: bool = False,
    around: tuple[Pixel, ...] = FOUR,
    by_rows: bool = False,
    background_may_win: bool = False,
    reach: Callable[[int, int], bool] = reaches,
) -> float:
    order = list(np.ndindex(*p.shape)) if by_rows else list(pixels(p.shape))
    level: dict[Pixel, int] = {}
    for k in range(1, 11):
        region = {at for at in order if reach(int(p[at]), k) and reach(int(t[at]), k)}
        omega = largest(region, order, around)
        if background_may_win and len(order) - len(region) > len(omega):
            omega = set(order) - region
        for at in order:
            if at not in omega:
                level.setdefault(at, k - 1)

    def phi(alpha: int, at: Pixel) -> Fraction:
        d = Fraction(alpha, 255) - Fraction(level.get(at, 10), 10)
        return 1 - d if d >= Fraction(15, 100) else Fraction(1)

    where = measured(trimap, everywhere=everywhere)
    return float(sum(abs(phi(int(p[at]), at) - phi(int(t[at]), at)) for at in where)) / 1000


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

BY_HAND: dict[str, tuple[Callable[..., float], Vector, float]] = {
    "official": (slow_connectivity, OFFICIAL, 0.256),
    "official, gradient": (slow_gradient, OFFICIAL, 0.0028887),
    "official, sad": (slow_sad, OFFICIAL, 0.256),
    "official, mse": (slow_mse, OFFICIAL, 1.0),
    "alpha 153": (slow_connectivity, SIX_TENTHS, 9 * 0.4 / 1000),
    "tie, left wins": (slow_connectivity, TIE_LEFT_WINS, 2 * 25 / 255 / 1000),
    "tie, upper loses": (slow_connectivity, TIE_UPPER_LOSES, 0.0),
    "diagonal": (slow_connectivity, DIAGONAL, 25 / 255 / 1000),
    "moved": (slow_connectivity, MOVED, 4 / 1000),
    "moved, sad": (slow_sad, MOVED, 4 / 1000),
}
FAST: dict[Callable[..., float], Callable[..., float]] = {
    slow_sad: metrics.sad,
    slow_mse: metrics.mse,
    slow_gradient: metrics.gradient,
    slow_connectivity: metrics.connectivity,
    slow_mad: metrics.mad,
}


@pytest.mark.parametrize("name", BY_HAND)
def test_vector(name: str) -> None:
    slow, vector, expected = BY_HAND[name]
    assert FAST[slow](*vector) == pytest.approx(expected, rel=2e-5, abs=1e-15)
    assert slow(*vector) == pytest.approx(expected, rel=2e-5, abs=1e-15)


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
def test_vector_tells_a_fault_apart(name: str, fault: dict[str, object]) -> None:
    slow, vector, expected = BY_HAND[name]
    assert abs(slow(*vector, **fault) - expected) > max(0.1 * expected, 1e-5)


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


def test_gradient_of_a_ramp() -> None:
    """A ramp of 1/51 a pixel against no gradient: the filter's answer to a slope, squared, at each pixel."""
    truth = ramp(5, 52, 20)
    answer = sum(value * (j - 4) for row in kernel() for j, value in enumerate(row)) / 51
    expected = 44 * 12 * answer**2 / 1000
    assert metrics.gradient(np.full_like(truth, 99), truth, inner(truth.shape)) == pytest.approx(expected)


@pytest.mark.parametrize("prediction", [ramp(5, 26, 26), ramp(10, 26, 26).T, 255 - ramp(10, 26, 26)])
def test_gradient_compares_magnitudes_of_normalised_alphas(prediction: Mask) -> None:
    """Half the contrast, another direction, another sign: the same magnitudes, whatever the SAD."""
    truth = ramp(10, 26, 26)
    trimap = inner(truth.shape)
    assert metrics.gradient(prediction, truth, trimap) == pytest.approx(0, abs=1e-20)
    assert metrics.sad(prediction, truth, trimap) > 0.03
    if prediction.max() < 250:
        assert slow_gradient(prediction, truth, trimap, normalised=False) > 1e-4


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


def assert_equals_oracle(p: Mask, t: Mask, trimap: Mask) -> None:
    scores = matting_scores(p, t, trimap)
    found = (scores.sad, scores.mse, scores.grad, scores.conn, scores.mad)
    for slow, value in zip(FAST, found, strict=True):
        assert value == pytest.approx(slow(p, t, trimap), rel=1e-9, abs=1e-15)
        assert value == FAST[slow](p, t, trimap)
    assert scores.whole_image_sad == pytest.approx(slow_sad(p, t, trimap, everywhere=True))
    assert scores.whole_image_mse == pytest.approx(slow_mse(p, t, trimap, everywhere=True))
    assert metrics.whole_image_mad(p, t) == pytest.approx(slow_mad(p, t, trimap, everywhere=True))


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
def test_small_images_equal_the_oracle(vector: Vector) -> None:
    assert_equals_oracle(*vector)


@given(vectors())
@settings(max_examples=40, deadline=None)
def test_properties(vector: Vector) -> None:
    """A perfect prediction has no error, and none of the errors knows which alpha is the truth."""
    p, t, trimap = vector
    assert set(vars(matting_scores(t, t, trimap)).values()) == {0.0}
    assert vars(matting_scores(p, t, trimap)) == pytest.approx(vars(matting_scores(t, p, trimap)), abs=1e-15)


def blobs(shape: Pixel, seed: int) -> Vector:
    """Soft shapes with holes and specks, and a prediction that errs everywhere."""
    rng = np.random.default_rng(seed)
    smooth, errors = (ndimage.gaussian_filter(rng.standard_normal(shape), sigma) for sigma in (5, 1))
    truth = np.clip(160 + 2000 * smooth, 0, 255)
    prediction = np.clip(truth + 160 * errors, 0, 255)
    trimap = rng.choice(np.array([0, 128, 255], np.uint8), shape)
    return prediction.astype(np.uint8), truth.astype(np.uint8), trimap


@pytest.mark.parametrize("grow_at_most", [0, 1 / 16, 1])
@pytest.mark.parametrize("seed", range(4))
def test_connectivity_of_blobs(seed: int, grow_at_most: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to the largest component, labelling and growth, and what chooses between them."""
    monkeypatch.setattr(connected, "GROW_AT_MOST", grow_at_most)
    vector = blobs((61, 47), seed)
    assert metrics.connectivity(*vector) == pytest.approx(slow_connectivity(*vector), rel=1e-12)


def test_growth_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the test above would compare labelling with labelling."""
    calls: list[int] = []
    monkeypatch.setattr(connected, "GROW_AT_MOST", 1)
    monkeypatch.setattr(connected, "_grow", lambda part, others: calls.append(len(others)))
    metrics.connectivity(*blobs((61, 47), 0))
    assert max(calls) > 50


def test_gradient_over_several_tiles() -> None:
    """Tiles must not show: the same as one two-dimensional convolution of the whole image."""
    p, t, _ = blobs((3 * gradients.TILE - 7, 2 * gradients.TILE + 1), 5)
    trimap = np.full(p.shape, 255, np.uint8)
    trimap[40 : 2 * gradients.TILE, gradients.TILE - 3 :] = 128
    trimap[-1, :5] = 128

    def magnitude(alpha: Mask) -> npt.NDArray[np.float64]:
        image = (alpha.astype(np.float64) - alpha.min()) / (int(alpha.max()) - int(alpha.min()))
        taps = np.array(kernel())
        return np.hypot(*(ndimage.convolve(image, k, mode="nearest") for k in (taps, taps.T)))

    expected = ((magnitude(p) - magnitude(t)) ** 2)[trimap == 128].sum() / 1000
    assert metrics.gradient(p, t, trimap) == pytest.approx(expected, rel=1e-10)


# Arguments


def test_float_alpha_is_rounded_as_a_png_would_hold_it() -> None:
    """0.5 * 255 = 127.5 goes up, as in MATLAB; truncation would give 127, np.rint 128 but 126 for 126.5."""
    trimap = np.full((1, 5), 128, np.uint8)
    p: npt.NDArray[np.float64] = np.array([[0.5, 126.5 / 255, 0.6, 1.0, 1 / 255]])
    rounded = np.array([[128, 127, 153, 255, 1]], np.uint8)
    for same in (p, p.astype(np.float32)):
        truth = np.array([[7, 70, 170, 0, 1]], np.uint8)
        assert matting_scores(same, truth, trimap) == matting_scores(rounded, truth, trimap)
        assert metrics.sad(same, rounded, trimap) == 0.0
        assert metrics.sad(rounded, same, trimap) == 0.0


GOOD = np.zeros((4, 5), np.uint8)
TRIMAP = np.full((4, 5), 128, np.uint8)


@pytest.mark.parametrize(
    ("prediction", "truth", "trimap", "message"),
    [
        (GOOD[1:], GOOD, TRIMAP, r"prediction has shape \(3, 5\), truth \(4, 5\)"),
        (GOOD[..., None], GOOD[..., None], TRIMAP, r"truth has shape \(4, 5, 1\)"),
        (GOOD, GOOD, TRIMAP.T, r"trimap is uint8 \(5, 4\)"),
        (GOOD, GOOD, TRIMAP / 255, "trimap is float64"),
        (
            GOOD,
            GOOD,
            TRIMAP + np.arange(5, dtype=np.uint8),
            "values 129, 130, 131, 132; make each pixel 0, 128",
        ),
        (GOOD, GOOD, GOOD, "no unknown pixel"),
        (GOOD[:0], GOOD[:0], TRIMAP[:0], "no unknown pixel"),
        (GOOD.astype(np.int64), GOOD, TRIMAP, "prediction is int64"),
        (GOOD > 0, GOOD, TRIMAP, "prediction is bool"),
        (GOOD + 200.0, GOOD, TRIMAP, r"prediction spans 200.0 to 200.0"),
        (GOOD, GOOD - 0.1, TRIMAP, "truth spans -0.1 to -0.1"),
        (GOOD * np.nan, GOOD, TRIMAP, "prediction spans nan to nan"),
    ],
)
def test_wrong_arguments(
    prediction: npt.NDArray[np.float64], truth: Mask, trimap: Mask, message: str
) -> None:
    functions: list[Callable[..., object]] = [matting_scores, *FAST.values(), metrics.whole_image_mse]
    for metric in functions:
        with pytest.raises(ValueError, match=message):
            metric(prediction, truth, trimap)


def test_arguments_are_left_alone() -> None:
    vector = blobs((30, 40), 1)
    copies = [array.copy() for array in vector]
    for array in vector:
        array.flags.writeable = False
    matting_scores(*vector)
    assert all(np.array_equal(array, copy) for array, copy in zip(vector, copies, strict=True))


def test_any_memory_layout() -> None:
    p, t, trimap = blobs((30, 41), 2)
    expected = matting_scores(p, t, trimap)
    assert (
        matting_scores(np.asfortranarray(p), t[::-1].copy()[::-1], np.repeat(trimap, 2, axis=1)[:, ::2])
        == expected
    )


def test_needs_no_torch() -> None:
    """Worker processes that only measure start without it."""
    code = "import sys, dimtool.metrics; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# As a library


def test_a_mean_is_over_images_not_over_pixels() -> None:
    """And the parts of several processes join to the same."""
    vectors = [blobs((61, 47), 1), blobs((20, 90), 2), blobs((9, 9), 3)]
    every, parts = MeanScores(), [MeanScores(), MeanScores()]
    for i, vector in enumerate(vectors):
        assert every.add(*vector) == parts[i % 2].add(*vector) == matting_scores(*vector)
    joined = MeanScores(parts[0].images + parts[1].images)
    for name, value in vars(every.mean()).items():
        expected = sum(vars(matting_scores(*vector))[name] for vector in vectors) / 3
        assert value == pytest.approx(expected, rel=1e-14)
        assert vars(joined.mean())[name] == pytest.approx(expected, rel=1e-14)
    assert len(every) == len(joined) == 3
    with pytest.raises(ValueError, match="there is no image yet"):
        MeanScores().mean()


def test_pictures_tensors_and_lists_are_taken_as_arrays_are() -> None:
    torch = pytest.importorskip("torch")
    p, t, trimap = blobs((21, 17), 4)
    expected = matting_scores(p, t, trimap)
    for kind in (Image.fromarray, torch.from_numpy):
        assert matting_scores(kind(p), kind(t), kind(trimap)) == expected
    assert metrics.sad((p / 255).tolist(), (t / 255).tolist(), trimap) == expected.sad
    with pytest.raises(ValueError, match="prediction is int64; give uint8"):
        metrics.sad(p.tolist(), t, trimap)
    with pytest.raises(ValueError, match="truth has shape"):
        metrics.sad(Image.fromarray(p), Image.fromarray(t).convert("RGB"), trimap)


def test_all_that_is_public_has_a_docstring() -> None:
    for name in metrics.__all__:
        assert getattr(metrics, name).__doc__, name
