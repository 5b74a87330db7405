"""Strands and bodies: alphas of known shapes, exactly; what is thinner than a pixel covers a part of it."""

import numpy as np
import pytest

from dimtool.composer.demo.drawing import floats
from dimtool.composer.demo.foregrounds.bodies import Coat, Part, any_light, fields, paint_part
from dimtool.composer.demo.strands import Strands, draw_strands


def canvas(height: int, width: int) -> np.ndarray:
    return np.zeros((height, width, 4), dtype=np.float32)


def strand(*, y: float, x: float, angle: float, length: float, width: float, solid: bool = False) -> Strands:
    one = np.ones(1, dtype=np.float32)
    colour = floats([[0.2, 0.5, 0.7]])
    return Strands(
        y=one * y,
        x=one * x,
        angle=one * angle,
        length=one * length,
        bend=one * 0,
        width=one * width,
        root=colour,
        tip=colour,
        taper=0.0,
        solid=solid,
    )


@pytest.mark.parametrize("width", [0.1, 0.35, 0.8])
def test_a_thin_strand_covers_its_width(width: float) -> None:
    """Over each column of a lying strand the coverage is 1 - exp(-width) shared among two rows."""
    picture = canvas(9, 60)
    draw_strands(np.random.default_rng(0), picture, strand(y=4, x=5, angle=0, length=50, width=width))
    column = picture[:, 20:40, 3].sum(axis=0)
    assert column.mean() == pytest.approx(1 - np.exp(-width), rel=0.02)
    assert picture[..., 3].max() < 1


@pytest.mark.parametrize("angle", [0.0, 0.6, np.pi / 2])
@pytest.mark.parametrize("width", [3.0, 7.5])
def test_a_wide_solid_strand_has_its_area(width: float, angle: float) -> None:
    picture = canvas(90, 90)
    dy, dx = 25 * np.sin(angle), 25 * np.cos(angle)
    draw_strands(
        np.random.default_rng(0),
        picture,
        strand(y=45 + dy, x=45 - dx, angle=angle, length=50, width=width, solid=True),
    )
    assert picture[..., 3].sum() == pytest.approx(width * 50, rel=0.06)
    assert picture[45, 45, 3] > 0.95


def test_upwards_is_a_right_angle() -> None:
    picture = canvas(40, 40)
    draw_strands(np.random.default_rng(0), picture, strand(y=30, x=20, angle=np.pi / 2, length=20, width=1))
    rows, columns = np.nonzero(picture[..., 3])
    assert rows.min() >= 9
    assert rows.max() <= 31
    assert set(columns) <= {19, 20, 21}


@pytest.mark.parametrize("turn", [0.0, 0.7])
def test_a_smooth_part_is_an_ellipse(turn: float) -> None:
    """Against 16 x 16 samples a pixel: the same area, and no pixel off by more than the edge's slope does."""
    part = Part(y=30.3, x=34.6, tall=18, wide=25, turn=turn)
    picture = canvas(64, 70)
    light = any_light(np.random.default_rng(0))
    paint_part(np.random.default_rng(0), picture, part, floats([0.5, 0.4, 0.3]), light)
    fine = (np.indices((64 * 16, 70 * 16)) + 0.5) / 16 - 0.5
    down, right = fine[0] - part.y, fine[1] - part.x
    u = (right * np.cos(turn) - down * np.sin(turn)) / part.wide
    v = (right * np.sin(turn) + down * np.cos(turn)) / part.tall
    truth = (u * u + v * v < 1).reshape(64, 16, 70, 16).mean(axis=(1, 3))
    assert picture[..., 3].sum() == pytest.approx(truth.sum(), rel=0.01)
    assert np.abs(picture[..., 3] - truth).max() < 0.25


def test_fur_reaches_out_of_the_part_and_leaves_its_middle_opaque() -> None:
    part = Part(y=60, x=60, tall=35, wide=35)
    picture = canvas(120, 120)
    rng = np.random.default_rng(0)
    paint_part(rng, picture, part, floats([0.5, 0.4, 0.3]), any_light(rng), coat=Coat(length=14))
    inside = fields(part, (120, 120), 30).inside
    assert picture[40:80, 40:80, 3].min() > 0.99
    rows, columns = np.indices((120, 120))
    off = np.hypot(rows - 60, columns - 60)
    halo = picture[..., 3][(off > 38) & (off < 46)]
    assert 0.1 < halo.mean() < 0.9
    assert np.unique(np.round(halo, 2)).size > 40
    assert inside.max() == pytest.approx(35, abs=1)
