"""What the metrics take as a library: arrays, pictures, tensors; what they refuse; means over images."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from dimtool import metrics
from dimtool.metrics import MeanScores, matting_scores

Mask = npt.NDArray[np.uint8]

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
    functions: list[Callable[..., object]] = [
        matting_scores,
        metrics.sad,
        metrics.mse,
        metrics.gradient,
        metrics.connectivity,
        metrics.mad,
        metrics.whole_image_mse,
    ]
    for metric in functions:
        with pytest.raises(ValueError, match=message):
            metric(prediction, truth, trimap)


def test_arguments_are_left_alone(blobs: Any) -> None:
    vector = blobs((30, 40), 1)
    copies = [array.copy() for array in vector]
    for array in vector:
        array.flags.writeable = False
    matting_scores(*vector)
    assert all(np.array_equal(array, copy) for array, copy in zip(vector, copies, strict=True))


def test_any_memory_layout(blobs: Any) -> None:
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


def test_a_mean_is_over_images_not_over_pixels(blobs: Any) -> None:
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


def test_pictures_tensors_and_lists_are_taken_as_arrays_are(blobs: Any) -> None:
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
