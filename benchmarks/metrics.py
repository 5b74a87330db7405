"""How fast are the metrics, against a straightforward transcription of the official MATLAB code?

    python benchmarks/metrics.py [--repeats 7] [--pixels 2000000] [--data ../shared/data]

Both compute SAD, MSE, gradient and connectivity error of the same images in one process, by turns. The
tables give medians in milliseconds of processor time (all is on one thread, so on an idle machine that is
the time that passes); `all four` is the sum of the plain ones against one `matting_scores`. Exit code 1 if
any value differs by more than 1e-6 of itself, or `all four` is not 5 times as fast on every image.

The inputs are procedural; where `--data` has a folder `alpha`, four real alphas are enlarged to the same
size as well. `all unknown` is the hardest: noise down to the last pixel of flat regions, no tile to skip.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from dimtool import metrics

UInt8Mask = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]
Case = tuple[str, UInt8Mask, UInt8Mask, UInt8Mask]
Metric = Callable[[UInt8Mask, UInt8Mask, UInt8Mask], float]


# The official code, statement by statement, as one writes it with NumPy and SciPy.


def plain_sad(prediction: UInt8Mask, truth: UInt8Mask, trimap: UInt8Mask) -> float:
    error_map = np.abs(prediction / 255.0 - truth / 255.0)
    return float(np.sum(error_map * (trimap == 128)) / 1000)


def plain_mse(prediction: UInt8Mask, truth: UInt8Mask, trimap: UInt8Mask) -> float:
    error_map = (prediction / 255.0 - truth / 255.0) ** 2
    return float(np.sum(error_map * (trimap == 128)) / np.sum(trimap == 128))


def plain_kernel(sigma: float) -> Floats:
    half = int(np.ceil(sigma * np.sqrt(-2 * np.log(np.sqrt(2 * np.pi) * sigma * 1e-2))))
    x = np.arange(-half, half + 1)
    gauss = np.exp(-(x**2) / (2 * sigma**2)) / (sigma * np.sqrt(2 * np.pi))
    kernel: Floats = np.outer(gauss, -x * gauss / sigma**2)
    kernel /= np.sqrt(np.sum(kernel**2))
    return kernel


def plain_amplitude(alpha: UInt8Mask) -> Floats:
    image = alpha.astype(np.float64)
    image = (image - image.min()) / (image.max() - image.min())
    kernel = plain_kernel(1.4)
    dx = ndimage.convolve(image, kernel, mode="nearest")
    dy = ndimage.convolve(image, kernel.T, mode="nearest")
    amplitude: Floats = np.sqrt(dx**2 + dy**2)
    return amplitude


def plain_gradient(prediction: UInt8Mask, truth: UInt8Mask, trimap: UInt8Mask) -> float:
    error_map = (plain_amplitude(prediction) - plain_amplitude(truth)) ** 2
    return float(np.sum(error_map * (trimap == 128)) / 1000)


def plain_connectivity(prediction: UInt8Mask, truth: UInt8Mask, trimap: UInt8Mask) -> float:
    """float32 as the official `single`: float64 would put alpha 153 below the threshold 0.6."""
    pred = prediction.astype(np.float32) / np.float32(255)
    target = truth.astype(np.float32) / np.float32(255)
    thresholds = np.arange(0, 1.01, 0.1).astype(np.float32)
    l_map = -np.ones(pred.shape, np.float32)
    for i in range(1, len(thresholds)):
        both = (pred >= thresholds[i]) & (target >= thresholds[i])
        labels, _ = ndimage.label(both)
        sizes = np.bincount(labels.ravel())[1:]
        omega = labels == sizes.argmax() + 1 if sizes.size else np.zeros_like(both)
        l_map[(l_map == -1) & ~omega] = thresholds[i - 1]
    l_map[l_map == -1] = 1
    pred_d, target_d = pred - l_map, target - l_map
    pred_phi = 1 - pred_d * (pred_d >= 0.15)
    target_phi = 1 - target_d * (target_d >= 0.15)
    return float(np.sum(np.abs(pred_phi - target_phi) * (trimap == 128), dtype=np.float64) / 1000)


METRICS: dict[str, tuple[Metric, Metric]] = {
    "sad": (plain_sad, metrics.sad),
    "mse": (plain_mse, metrics.mse),
    "grad": (plain_gradient, metrics.gradient),
    "conn": (plain_connectivity, metrics.connectivity),
}


# Inputs


def hairy_alpha(height: int, width: int, rng: np.random.Generator) -> UInt8Mask:
    """A soft disc with some hundred strands, as hair leaves a head."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    y, x = y - height / 2, x - width / 2
    radius = np.hypot(x, y)
    strands = ndimage.gaussian_filter1d(rng.standard_normal(4096), 2, mode="wrap")
    turned = (np.arctan2(y, x) / (2 * np.pi) + radius / height / 9) * 4096
    reach = 0.3 * height * (1 + 0.9 * np.clip(strands[turned.astype(int) % 4096], 0, None))
    alpha = np.clip((reach - radius) / (0.02 * height), 0, 1)
    return np.round(255 * ndimage.gaussian_filter(alpha, 0.7)).astype(np.uint8)


def noisy_prediction(truth: UInt8Mask, trimap: UInt8Mask, rng: np.random.Generator) -> UInt8Mask:
    """Blurred, with coarse and fine errors, where the trimap is unknown; else what the trimap says."""
    coarse = ndimage.gaussian_filter(rng.standard_normal(truth.shape), 8) * 16
    fine = rng.standard_normal(truth.shape) * 6
    guess = ndimage.gaussian_filter(truth.astype(np.float64), 1) + 25 * coarse + fine
    return np.where(trimap == 128, np.clip(np.round(guess), 0, 255), trimap).astype(np.uint8)


def case(name: str, truth: UInt8Mask, radius: int, rng: np.random.Generator) -> Case:
    """The image with a trimap that reaches `radius` px, in chessboard distance, around the transition."""
    soft = ndimage.maximum_filter(((truth > 0) & (truth < 255)).astype(np.uint8), 2 * radius + 1)
    trimap = np.where(soft, 128, truth).astype(np.uint8)
    return name, noisy_prediction(truth, trimap, rng), truth, trimap


def cases(pixels: int, data: Path) -> Iterator[Case]:
    rng = np.random.default_rng(0)
    height = round((pixels / 1.25) ** 0.5)
    hairy = hairy_alpha(height, round(pixels / height), rng)
    yield case("hair, narrow", hairy, 10, rng)
    yield case("hair, wide", hairy, 60, rng)
    everywhere = np.full_like(hairy, 128)
    yield "all unknown", noisy_prediction(hairy, everywhere, rng), hairy, everywhere
    for path in sorted((data / "alpha").glob("*.png"))[::6]:
        alpha = Image.open(path).convert("L")
        scale = (pixels / (alpha.width * alpha.height)) ** 0.5
        size = round(alpha.width * scale), round(alpha.height * scale)
        yield case(f"real, {path.stem}", np.asarray(alpha.resize(size, Image.Resampling.BICUBIC)), 20, rng)


# Measuring


def medians(functions: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median milliseconds of each, called by turns, so that a busy machine slows all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            start = time.process_time()
            function()
            seconds[name].append(time.process_time() - start)
    return {name: 1000 * median(values) for name, values in seconds.items()}


def compare(images: Case, repeats: int) -> bool:
    """Print the table of one image; False where it is too slow or a value differs."""
    name, *arrays = images
    unknown = (arrays[2] == 128).mean()
    print(f"\n{name}: {arrays[1].shape[1]} x {arrays[1].shape[0]}, {unknown:.0%} unknown")
    print(f"{'':8}{'plain ms':>10}{'dimtool ms':>12}{'ratio':>8}{'value':>14}{'difference':>12}")
    functions: dict[str, Callable[[], object]] = {}
    for metric, pair in METRICS.items():
        for who, function in zip(("plain", "dimtool"), pair, strict=True):
            functions[f"{metric} {who}"] = partial(function, *arrays)
    functions["all four"] = partial(metrics.matting_scores, *arrays)
    times = medians(functions, repeats)
    same = True
    for metric, (plain, ours) in METRICS.items():
        expected, value = plain(*arrays), ours(*arrays)
        difference = abs(value - expected) / expected
        same &= difference <= 1e-6
        before, after = times[f"{metric} plain"], times[f"{metric} dimtool"]
        print(f"{metric:8}{before:10.1f}{after:12.1f}{before / after:8.1f}{value:14.8g}{difference:12.1e}")
    before, after = sum(times[f"{metric} plain"] for metric in METRICS), times["all four"]
    print(f"{'all four':8}{before:10.1f}{after:12.1f}{before / after:8.1f}")
    return same and before >= 5 * after


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--pixels", type=int, default=2_000_000)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    options = parser.parse_args()
    passed = [compare(images, options.repeats) for images in cases(options.pixels, options.data)]
    print("\nequal within 1e-6 and 5 times as fast:", f"{sum(passed)} of {len(passed)} images")
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
