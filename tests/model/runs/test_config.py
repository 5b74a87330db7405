"""What a training is asked for: defaults and values that are refused."""

from __future__ import annotations

import math
from typing import Any

import pytest

from dimtool.errors import WrongUseError
from dimtool.model.crops.variation import PLAIN, Variation
from dimtool.model.runs.config import TrainConfig

INTERVALS = [("val_every", 0), ("save_every", -3), ("save_every", "1.5"), ("val_every", "10 parsecs")]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"learning_rate": 0.0}, "a learning rate of 0.0 is no positive number"),
        ({"learning_rate": -1e-5}, "a learning rate of -1e-05"),
        ({"learning_rate": math.nan}, "a learning rate of nan"),
        ({"learning_rate": math.inf}, "a learning rate of inf"),
        ({"val_share": 1.0}, "a validation share of 1 is not from 0 to below 1"),
        ({"val_share": -0.1}, "a validation share of -0.1"),
        ({"val_share": math.nan}, "a validation share of nan"),
        ({"epochs": None}, "None epochs: say how long to train"),
        ({"epochs": 0.0}, "0.0 epochs: say how long to train"),
        ({"epochs": -1.0}, "-1.0 epochs"),
        ({"epochs": math.inf}, "inf epochs"),
        ({"epochs": math.nan}, "nan epochs"),
        ({"steps": 0}, "steps is 0: at least 1"),
        *[({name: 0}, f"{name} is 0: at least 1") for name in ("batch_size", "val_count")],
        *[({name: -3}, f"{name} is -3: at least 1") for name in ("keep", "log_every")],
        *[({name: -1}, f"{name} is -1: at least 0") for name in ("workers", "seed")],
        *[({name: 1.0}, f"{name} is 1: from 0 to below 1") for name in ("warmup", "weight_decay", "ema")],
        *[({name: math.nan}, f"{name} is nan") for name in ("warmup", "weight_decay", "ema", "clip")],
        ({"clip": -1.0}, "clip is -1: a length, or 0"),
        ({"accumulate": 0}, "accumulate is 0: at least 1"),
        ({"batch_size": 6, "accumulate": 4}, "a batch of 6 has no 4 equal parts"),
        (
            {"normalisation": "batch", "batch_size": 8, "accumulate": 2},
            "2 parts of a batch would each be normalised by itself: take --accumulate 1",
        ),
        ({"freeze": 14}, "freeze is 14: 0 to 13 convolutions, or the encoder"),
        ({"freeze": -1}, "freeze is -1"),
        ({"patience": -1}, "patience is -1: at least 0"),
        ({"patience": 1, "val_share": 0}, "a patience of 1 wants a validation: give --val-shards"),
        ({"time_limit": "5000"}, "a time limit of 5000: give a time, as in 90s, 30min or 10h"),
        ({"time_limit": "1epoch"}, "a time limit of 1epoch"),
        ({"time_limit": "soon"}, "an interval of soon"),
        *[
            ({name: value}, f"an interval of {value}: give whole steps, at least 1")
            for name, value in INTERVALS
        ],
        ({"steps": (5, 0, 5)}, "steps is 0: at least 1"),
        ({"learning_rate": (1e-4, 1e-5, math.nan)}, "a learning rate of nan"),
        ({"batch_size": (4, 2)}, "batch_size has 2 values: give one for all stages, or one for each"),
        ({"val_radius": 255}, "a trimap radius of 255 is not in 0 to 254"),
        ({"val_radius": -1}, "a trimap radius of -1"),
        ({"crop_size": 0}, r"crops of \(320, 480, 640\) to 0 pixels"),
        ({"crop_cuts": ()}, r"crops of \(\) to 320 pixels"),
        ({"radii": (9, 3)}, r"trimap radii \(9, 3\)"),
        ({"stage2_radius": 128}, "a trimap radius of 128 in crops scaled by 2"),
        ({"recompose": 2.0}, "recompose is 2: a share of crops is from 0 to 1"),
        ({"zoom": 2.0, "radii": (1, 64)}, "a trimap radius of 64 in crops scaled by 4"),
        ({"bottleneck": "wide"}, "bottleneck is 'wide'; choose 'fc6' or 'slim'"),
        ({"width": 0.0}, "width is 0.0; choose a number above 0"),
        ({"width": 2.0}, "width is 2.0"),
    ],
)
def test_values_that_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(WrongUseError, match=f"^{message}") as caught:
        TrainConfig(**values)
    assert "\n" not in str(caught.value)


def test_stage_2_has_trimaps_of_one_radius_and_the_other_stages_varied_ones() -> None:
    config = TrainConfig(radii_draw="log", uneven_trimaps=0.5, turn=5.0)
    one, two, three = (config.crops(stage) for stage in (1, 2, 3))
    assert one.variation == three.variation == Variation(radii="log", uneven=0.5, turn=5.0)
    assert two.variation == Variation(turn=5.0)
    assert two.radii == (10, 10)
    assert TrainConfig().crops(1).variation == PLAIN


def test_what_a_stage_does_not_need_is_not_looked_at() -> None:
    assert TrainConfig(stages=(1, 3), stage2_radius=128).stages == (1, 3)
    assert TrainConfig(steps=5, epochs=None).steps == 5


def test_each_stage_has_crops_of_its_own() -> None:
    config = TrainConfig(crop_size=64, crop_cuts=(64, 96), radii=(2, 5), stage2_radius=7)
    first, second, third = (config.crops(stage) for stage in (1, 2, 3))
    assert {(each.size, each.cuts) for each in (first, second, third)} == {(64, (64, 96))}
    assert (first.radii, second.radii, third.radii) == ((2, 5), (7, 7), (2, 5))
    assert (first.colours, second.colours, third.colours) == (True, False, False)


@pytest.mark.parametrize(
    ("width", "weights", "expected"),
    [(1.0, None, "imagenet"), (0.5, None, "none"), (1.0, "none", "none"), (1.0, "a.pth", "a.pth")],
)
def test_imagenets_weights_fit_the_full_width_alone(width: float, weights: str | None, expected: str) -> None:
    assert TrainConfig(width=width, weights=weights).encoder_weights == expected


def test_a_stage_has_its_own_of_three() -> None:
    config = TrainConfig(steps=(7, 8, 9), learning_rate=(0.1, 0.2, 0.3), batch_size=4)
    assert [config.plan(stage).steps for stage in (1, 2, 3)] == [7, 8, 9]
    assert [config.plan(stage).learning_rate for stage in (1, 2, 3)] == [0.1, 0.2, 0.3]
    assert [config.plan(stage).batch_size for stage in (1, 2, 3)] == [4, 4, 4]


def test_epochs_are_counted_in_crops_where_the_batch_changes() -> None:
    """2 epochs of 100: 10 steps of 4 are done; the 160 crops that are left make 10 steps of 16."""
    plan = TrainConfig(epochs=2, batch_size=16).plan(1)
    assert plan.in_all(100, step=10, crops=40) == 20
    assert plan.in_all(100, step=13, crops=201) == 13
