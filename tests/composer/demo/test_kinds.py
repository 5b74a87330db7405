"""Every kind of foreground and setting of the large set, and what the camera makes of them."""

import numpy as np
import pytest

from dimtool.composer.demo.backgrounds.settings import SETTINGS, background
from dimtool.composer.demo.camera import any_camera, defocus, take
from dimtool.composer.demo.foregrounds.kinds import KINDS
from dimtool.composer.demo.materials import MATERIALS, material
from dimtool.composer.demo.palettes import PALETTES, palette
from dimtool.composer.demo.subjects import colours, frame, lens, photograph_of


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_gives_a_premultiplied_canvas_with_something_in_it(name: str) -> None:
    for seed, shape in ((1, (96, 70)), (2, (61, 110))):
        canvas = KINDS[name][0](rng(seed), shape, palette(seed))
        assert canvas.shape == (*shape, 4)
        assert canvas.dtype == np.float32
        assert np.isfinite(canvas).all()
        assert canvas.min() >= 0
        assert canvas[..., 3].max() <= 1 + 1e-5
        assert (canvas[..., :3] <= canvas[..., 3:] + 1e-4).all()
        assert canvas[..., 3].sum() > 20


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_gives_a_picture(name: str) -> None:
    image = background(rng(3), (80, 101), palette(3), SETTINGS[name][0])
    assert image.shape == (80, 101, 3)
    assert image.dtype == np.float32
    assert np.isfinite(image).all()
    assert image.min() >= 0
    assert image.max() <= 1 + 1e-3


@pytest.mark.parametrize("kind", MATERIALS, ids=lambda kind: kind.__name__)
def test_a_material_covers_any_image(kind) -> None:  # type: ignore[no-untyped-def]
    image = material(rng(4), (33, 58), palette(4), kind)
    assert image.shape == (33, 58, 3)
    assert np.isfinite(image).all()
    assert image.min() >= 0
    assert image.max() <= 1


def test_palettes_are_all_different_and_always_the_same() -> None:
    tones = np.stack([palette(number).tones for number in range(PALETTES)])
    assert np.unique(tones.reshape(PALETTES, -1).round(3), axis=0).shape[0] == PALETTES
    assert (palette(7).tones == tones[7]).all()


class TestSubjects:
    def test_a_foreground_has_its_colour_beyond_the_edge_and_at_little_alpha(self) -> None:
        canvas = np.zeros((40, 40, 4), dtype=np.float32)
        alpha = np.linspace(0, 1, 40, dtype=np.float32)[None, :] ** 2 * np.ones((40, 1), dtype=np.float32)
        canvas[..., 3] = alpha
        canvas[..., :3] = alpha[..., None] * np.float32([0.8, 0.3, 0.1])
        assert colours(canvas) == pytest.approx(
            np.broadcast_to(np.float32([0.8, 0.3, 0.1]), (40, 40, 3)), abs=0.02
        )

    def test_the_lens_blurs_colour_and_alpha_alike(self) -> None:
        """Whatever it does: one colour stays that colour at every alpha, and far away nothing is left."""
        canvas = np.zeros((80, 80, 4), dtype=np.float32)
        canvas[30:50, 30:50] = np.float32([0.6, 0.4, 0.2, 1.0])
        for seed in range(12):
            seen = lens(rng(seed), canvas.copy())
            some = seen[..., 3] > 0.05
            assert seen[some][:, :3] / seen[some][:, 3:] == pytest.approx(
                np.broadcast_to(np.float32([0.6, 0.4, 0.2]), (some.sum(), 3)), abs=0.06
            )
            assert not seen[:5, :5].any()

    def test_the_frame_holds_all_there_is(self) -> None:
        canvas = np.zeros((300, 400, 4), dtype=np.float32)
        canvas[120:150, 200:260] = 1
        framed = frame(rng(), canvas)
        assert framed[..., 3].sum() == canvas[..., 3].sum()
        assert framed.shape[0] < 200
        assert min(framed.shape[:2]) >= 96

    def test_a_photograph_has_noise_where_its_matte_has_none(self) -> None:
        foreground, alpha = photograph_of(rng(1), KINDS["things"][0], palette(1), (120, 160))
        assert foreground.shape == (*alpha.shape, 3)
        assert np.isin(alpha, (0, 255)).mean() > 0.5
        assert foreground.std() > 2


class TestCamera:
    def test_a_disc_out_of_focus_keeps_its_light(self) -> None:
        image = np.zeros((61, 61, 1), dtype=np.float32)
        image[30, 30] = 1
        blurred = defocus(image, 6.0)
        assert blurred.sum() == pytest.approx(1, abs=1e-3)
        assert blurred[30, 30, 0] == pytest.approx(1 / (np.pi * 36), rel=0.1)
        assert np.abs(blurred[30, 38:]).max() < 1e-4

    def test_cameras_differ_in_noise_and_colour(self) -> None:
        grey = np.full((64, 64, 3), 0.4, dtype=np.float32)
        taken = [take(rng(seed), grey, any_camera(rng(seed))) for seed in range(20)]
        noises = [(np.diff(image, axis=0).std()) for image in taken]
        casts = [image.mean(axis=(0, 1)) for image in taken]
        assert max(noises) > 5 * min(noises)
        assert np.ptp([cast[0] / cast[2] for cast in casts]) > 0.2
