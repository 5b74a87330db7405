"""What is drawn for a crop: its window, radii and mirroring; configurations that are refused."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dimtool.errors import WrongUseError
from dimtool.model.crops.dataset import TrainingCrops
from dimtool.model.crops.reading import CropConfig, Cut, draw_cut
from dimtool.model.crops.variation import Variation


class Sketch(NamedTuple):
    """As much of a shard as `draw_cut` looks at."""

    shape: tuple[int, int]
    centers: list[tuple[int, int]]

    @property
    def center_count(self) -> int:
        return len(self.centers)

    def center(self, k: int) -> tuple[int, int]:
        return self.centers[k]


@given(
    st.tuples(st.integers(1, 900), st.integers(1, 900)),
    st.lists(st.integers(1, 700), min_size=1, max_size=4),
    st.data(),
)
def test_windows_lie_inside_around_a_transition_pixel(
    shape: tuple[int, int], cuts: list[int], data: st.DataObject
) -> None:
    height, width = shape
    y, x = data.draw(st.tuples(st.integers(0, height - 1), st.integers(0, width - 1)))
    config = CropConfig(size=max(cuts), cuts=tuple(cuts))
    draw = np.random.default_rng(data.draw(st.integers(0, 10)))
    rows, columns = draw_cut(Sketch(shape, [(y, x)]), config, draw).window  # type: ignore[arg-type]
    side = rows.stop - rows.start
    assert side == columns.stop - columns.start
    assert side in {min(cut, height, width) for cut in cuts}
    for part, length, center in ((rows, height, y), (columns, width, x)):
        assert 0 <= part.start <= center < part.stop <= length
        centred = center - side // 2
        if 0 <= centred <= length - side:
            assert part.start == centred  # moved only where it would stick out


def draws(config: CropConfig, count: int = 3000) -> list[Cut]:
    sketch = Sketch((700, 800), [(350, 360 + k) for k in range(5)])
    return [draw_cut(sketch, config, np.random.default_rng(seed)) for seed in range(count)]  # type: ignore[arg-type]


def evenly(values: list[Any], among: set[Any]) -> bool:
    """Whether each of `among`, and nothing else, was drawn about as often as the others."""
    counts, share = Counter(values), len(values) / len(among)
    return set(counts) == among and all(abs(each - share) < 6 * math.sqrt(share) for each in counts.values())


def test_everything_is_drawn_evenly_and_independently() -> None:
    cuts = draws(CropConfig(radii=(3, 6)))
    sides = [cut.window[0].stop - cut.window[0].start for cut in cuts]
    assert evenly(sides, {320, 480, 640})
    pairs = {(inwards, outwards) for inwards in range(3, 7) for outwards in range(3, 7)}
    assert evenly([(cut.foreground_radius, cut.background_radius) for cut in cuts], pairs)
    assert evenly(
        [(cut.flip, cut.foreground_radius > 4) for cut in cuts], {(a, b) for a in (0, 1) for b in (0, 1)}
    )
    middles = [(cut.window[0].start + cut.window[0].stop) // 2 for cut in cuts]
    assert set(middles) <= {320, 350, 380}  # the sides that do not fit are moved inside
    assert evenly(
        [cut.window[1].start - 360 + 160 for cut in cuts if cut.window[1].stop - cut.window[1].start == 320],
        set(range(5)),
    )


@pytest.mark.parametrize(("flip", "least", "most"), [(0.0, 0, 0), (1.0, 1, 1), (0.2, 0.15, 0.25)])
def test_the_share_that_is_mirrored(flip: float, least: float, most: float) -> None:
    assert least <= np.mean([cut.flip for cut in draws(CropConfig(flip=flip))]) <= most


# ---- refusals ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"size": 0}, r"crops of \(320, 480, 640\) to 0 pixels"),
        ({"cuts": ()}, r"crops of \(\) to 320 pixels"),
        ({"cuts": (320, -1)}, r"crops of \(320, -1\)"),
        ({"radii": (5, 4)}, r"trimap radii \(5, 4\): give the least and the greatest"),
        ({"radii": (-1, 4)}, r"trimap radii \(-1, 4\)"),
        ({"radii": (4,)}, r"trimap radii \(4,\)"),
        ({"radii": (1, 2, 3)}, r"trimap radii \(1, 2, 3\)"),
        ({"flip": 1.5}, "with a probability of 1.5"),
        ({"flip": float("nan")}, "with a probability of nan"),
        ({"radii": (1, 128)}, "a trimap radius of 128 in crops scaled by 2 is beyond the 254 pixels"),
        ({"radii": (1, 26), "cuts": (3200,)}, "a trimap radius of 26 in crops scaled by 10"),
    ],
)
def test_configurations_that_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(WrongUseError, match=message) as caught:
        CropConfig(**values)
    assert "\n" not in str(caught.value)


def test_a_radius_that_leaves_what_is_kept_of_the_background(train_shards: Path) -> None:
    # 64 pixels are kept. At scale 2 a radius of 29 reaches 58, and the filter 4 from a pixel's middle.
    TrainingCrops(train_shards, CropConfig(size=160, cuts=(160, 320), radii=(1, 29)))
    with pytest.raises(
        WrongUseError, match=r"radius of 30 in crops scaled by 2 .* 64 pixels .*solid 0\.h5 keeps"
    ):
        TrainingCrops(train_shards, CropConfig(size=160, cuts=(160, 320), radii=(1, 30)))
    by_log = CropConfig(size=160, cuts=(160, 320), radii=(1, 90), variation=Variation(radii="log"))
    assert TrainingCrops(train_shards, by_log)[0, 0]["background"].any()
    TrainingCrops(train_shards, CropConfig(size=160, cuts=(160, 320), radii=(1, 90), colours=False))
