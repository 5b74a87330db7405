"""What the demo draws: alpha of every value, colours beyond the edge, statistics of photographs."""

import itertools

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dimtool.composer.demo import drawing
from dimtool.composer.demo.foregrounds.solids import blur_along
from dimtool.composer.demo.make import KINDS, SCENES, Draw

Floats = npt.NDArray[np.floating]
SOFT = {"smoke", "glass"}  # need not be opaque anywhere
sides = st.integers(24, 90)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def spectral_slope(image: Floats) -> float:
    """How fast amplitude falls with frequency: the exponent, fitted to rings of the windowed transform."""
    side = min(image.shape)
    image = image[:side, :side] - image[:side, :side].mean()
    window = np.hanning(side)
    power = np.abs(np.fft.fft2(image * window * window[:, None])) ** 2
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side)))
    edges = np.geomspace(3 / side, 0.25, 12)
    rings = [power[(frequency >= low) & (frequency < high)].mean() for low, high in itertools.pairwise(edges)]
    return -np.polyfit(np.log(edges[1:] * edges[:-1]) / 2, np.log(rings), 1)[0] / 2


class TestForegrounds:
    @pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
    @pytest.mark.parametrize("seed", range(3))
    def test_alpha_has_its_whole_range(self, kind: Draw, seed: int) -> None:
        alpha = drawing.to_uint8(kind(rng(seed), (301, 233))[..., 3])
        histogram = np.bincount(alpha.ravel(), minlength=256)
        assert np.count_nonzero(histogram) >= 200
        assert histogram[0] > 0.05 * alpha.size
        assert all(histogram[low : low + 32].sum() >= 30 for low in range(0, 256, 32))
        if kind.__name__ not in SOFT:
            assert histogram[255] > 0.01 * alpha.size

    @pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
    @settings(max_examples=6, deadline=None)
    @given(height=sides, width=sides, seed=st.integers(0, 2**32))
    def test_any_shape_gives_a_premultiplied_canvas(
        self, kind: Draw, height: int, width: int, seed: int
    ) -> None:
        canvas = kind(rng(seed), (height, width))
        assert canvas.shape == (height, width, 4)
        assert canvas.dtype == np.float32
        assert np.isfinite(canvas).all()
        assert canvas.min() >= 0
        assert canvas[..., 3].max() <= 1 + 1e-5
        assert (canvas[..., :3] <= canvas[..., 3:] + 1e-4).all()

    @pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
    def test_colours_go_on_smoothly_beyond_the_edge(self, kind: Draw) -> None:
        canvas = kind(rng(1), (200, 160))
        colour, alpha = drawing.extend_colours(canvas), canvas[..., 3]
        outside, inside = alpha == 0, alpha > 0.5
        steps = np.abs(np.diff(colour, axis=1)).mean(axis=2)
        assert steps[outside[:, 1:] & outside[:, :-1]].mean() < 0.02
        assert colour[outside].mean() > 0.5 * colour[inside].mean()  # not black

    def test_loose_hair_is_as_thin_as_hair(self) -> None:
        """Above the head hardly a pixel is covered, and those that are touched are so in part."""
        assert KINDS[0].__name__ == "hair"
        alpha = KINDS[0](rng(2), (401, 333))[:50, :, 3]
        touched, covered = (alpha > 0.02).sum(), (alpha > 0.98).sum()
        assert touched > 200
        assert covered < 0.05 * touched


class TestBackgrounds:
    @pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
    @settings(max_examples=6, deadline=None)
    @given(height=st.integers(18, 90), width=st.integers(18, 90), seed=st.integers(0, 2**32))
    def test_any_shape_gives_a_picture(self, scene: Draw, height: int, width: int, seed: int) -> None:
        image = drawing.photograph(rng(seed), scene(rng(seed), (height, width)))
        assert image.shape == (height, width, 3)
        assert image.dtype == np.float32
        assert np.isfinite(image).all()
        assert np.clip(image, 0, 1).std() > 0.01

    def test_their_statistics_are_those_of_photographs(self) -> None:
        """COCO's medians, measured on 120: slope 1.18, deviation of the luma 58, mean 116."""
        slopes, deviations, means = [], [], []
        for seed, scene in enumerate(SCENES):
            photo = drawing.photograph(rng(seed), scene(rng(seed), (330, 440)))
            luma = drawing.to_uint8(photo).mean(axis=2)
            slopes.append(spectral_slope(luma))
            deviations.append(luma.std())
            means.append(luma.mean())
        assert 0.9 < np.median(slopes) < 1.6
        assert 30 < np.median(deviations) < 70
        assert 80 < np.median(means) < 150
        assert np.ptp(means) > 60


class TestNoise:
    @pytest.mark.parametrize("slope", [0.5, 1.0, 2.0])
    def test_slope_is_what_was_asked_for(self, slope: float) -> None:
        noise = drawing.fractal_noise(rng(), (512, 500), slope=slope)
        assert noise.shape == (512, 500)
        assert abs(noise.mean()) < 1e-3
        assert noise.std() == pytest.approx(1, abs=1e-3)
        assert spectral_slope(noise) == pytest.approx(slope, abs=0.12)

    def test_stretch_makes_the_grain_longer_that_way(self) -> None:
        noise = drawing.fractal_noise(rng(), (256, 256), slope=1.0, stretch=(8, 1))
        assert np.diff(noise, axis=0).std() < 0.5 * np.diff(noise, axis=1).std()


class TestPaint:
    @settings(max_examples=50, deadline=None)
    @given(
        y=st.floats(0, 8, width=32),
        x=st.floats(0, 11, width=32),
        mass=st.floats(0.125, 2, width=32),
    )
    def test_splat_keeps_mass_and_place(self, y: float, x: float, mass: float) -> None:
        total = drawing.splat((9, 12), np.float32([y]), np.float32([x]), np.float32([[mass]]))[..., 0]
        rows, columns = np.indices((9, 12))
        assert total.sum() == pytest.approx(mass, rel=1e-4)
        assert (total * rows).sum() / mass == pytest.approx(y, abs=1e-3)
        assert (total * columns).sum() / mass == pytest.approx(x, abs=1e-3)

    @settings(max_examples=25, deadline=None)
    @given(top=st.integers(0, 5), left=st.integers(0, 5), seed=st.integers(0, 1000))
    def test_a_corner_gives_a_part_of_the_whole(self, top: int, left: int, seed: int) -> None:
        """To the bit, points outside and on its border too: strokes are painted by windows."""
        y, x = (rng(seed).uniform(-3, 14, (2, 60)) // 0.25 * 0.25).astype(np.float32)
        values = rng(seed + 1).random((60, 2), dtype=np.float32)
        whole = drawing.splat((9, 12), y, x, values)
        part = drawing.splat((9 - top, 12 - left), y, x, values, corner=(top, left))
        assert (part == whole[top:, left:]).all()

    @pytest.mark.parametrize("y", [-5.0, -1.0, 9.0, 40.0])
    def test_splat_leaves_out_what_is_outside(self, y: float) -> None:
        assert not drawing.splat((9, 12), np.float32([y]), np.float32([4.5]), np.float32([[1]])).any()

    def test_crossing_strokes_hide_as_independent_fibres_do(self) -> None:
        canvas = np.zeros((3, 3, 4), dtype=np.float32)
        one = np.ones(2, dtype=np.float32)
        drawing.paint_strokes(canvas, one, one, np.float32([[1, 0, 0], [0, 0, 1]]), one * 0.5)
        assert canvas[1, 1] == pytest.approx(np.array([0.5, 0, 0.5, 1]) * (1 - np.exp(-1)), abs=1e-5)
        assert np.count_nonzero(canvas[..., 3]) == 1

    def test_paint_is_the_over_operator(self) -> None:
        canvas = np.float32([[[0.2, 0.1, 0.0, 0.5]]])
        drawing.paint(canvas, [0.5, 1.0, 0.0], np.float32([[0.25]]))
        assert canvas[0, 0] == pytest.approx([0.75 * 0.2 + 0.125, 0.75 * 0.1 + 0.25, 0, 0.625])

    @settings(max_examples=30, deadline=None)
    @given(height=st.integers(1, 40), width=st.integers(1, 40), seed=st.integers(0, 1000))
    def test_one_colour_extends_to_that_colour(self, height: int, width: int, seed: int) -> None:
        chance = rng(seed)
        alpha = (chance.random((height, width, 1)) * (chance.random((height, width, 1)) < 0.2)).astype(
            np.float32
        )
        alpha[chance.integers(height), chance.integers(width)] = 1
        colour = chance.random(3).astype(np.float32)
        extended = drawing.extend_colours(np.concatenate([alpha * colour, alpha], axis=2))
        assert extended == pytest.approx(np.broadcast_to(colour, extended.shape), abs=1e-3)

    def test_opaque_colours_stay(self) -> None:
        canvas = rng().random((31, 17, 4), dtype=np.float32)
        canvas[..., 3] = 1
        assert (drawing.extend_colours(canvas) == canvas[..., :3]).all()

    def test_blur_is_the_mean_over_the_way(self) -> None:
        """A smooth bump moved 12 pixels to the right: the mean of many shifted copies, drawn one by one."""
        y, x = np.indices((40, 60))

        def bump(shift: float) -> Floats:
            return np.exp(-((y - 20) ** 2 + (x - 30 - shift) ** 2) / (2 * 3.0**2))[..., None]

        expected = np.mean([bump(shift) for shift in np.linspace(-6, 6, 400)], axis=0)
        blurred = blur_along(bump(0).astype(np.float32), 0, 12)
        assert blurred == pytest.approx(
            expected, abs=0.02
        )  # the Gaussian that stops ringing softens it a little
        assert blurred.sum() == pytest.approx(bump(0).sum(), rel=1e-3)
        assert blurred.min() >= 0
