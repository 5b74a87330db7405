from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from dimtool.composer.building.estimate import estimate_build
from dimtool.composer.sources.images import SourceError
from dimtool.composer.sources.lists import Lists
from dimtool.composer.sources.manifest import Manifest, read_manifest


@pytest.fixture(scope="module")
def many(image_set: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six foregrounds of about one size over eight backgrounds each."""
    root: Path = image_set(tmp_path_factory.mktemp("many"), foregrounds=6, per_fg=8, side=100)
    return root


def _manifest(root: Path, per_fg: int) -> Manifest:
    return read_manifest(Lists(fg_list=root / "train_fg.txt", per_fg=per_fg))


def test_the_counts_are_exact_and_the_bytes_close(many: Path, build: Any) -> None:
    """Also for many more backgrounds than the trial composites: what a shard has once is not multiplied."""
    for per_fg in (1, 8):
        estimate = estimate_build(_manifest(many, per_fg), jobs=2)
        out = many / str(per_fg)
        assert build(many, out, per_fg=per_fg).code == 0
        built = sum(path.stat().st_size for path in out.glob("*.h5"))
        pixels = 0
        for path in (many / "alpha").iterdir():
            with Image.open(path) as alpha:
                pixels += per_fg * alpha.width * alpha.height
        assert (estimate.composites, estimate.pixels, estimate.jobs) == (6 * per_fg, pixels, 2)
        assert 0.75 * built < estimate.bytes < 1.25 * built
        assert estimate.seconds > 0


def test_more_jobs_than_foregrounds_help_no_more(many: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(1000))
    monkeypatch.setattr("time.perf_counter", lambda: float(next(ticks)))
    seconds = [estimate_build(_manifest(many, 8), jobs=jobs).seconds for jobs in (1, 2, 6, 600)]
    assert seconds[0] == pytest.approx(2 * seconds[1])
    assert seconds[0] == pytest.approx(6 * seconds[2])
    assert seconds[2] == seconds[3]


def test_nothing_of_the_trial_is_left(
    many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, contents: Any
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = contents(many)
    estimate_build(_manifest(many, 2), jobs=1)
    assert list(tmp_path.iterdir()) == []
    assert contents(many) == before


def test_a_foreground_that_cannot_be_built_does_not_stop_the_estimate(many: Path, tmp_path: Path) -> None:
    root = shutil.copytree(many, tmp_path / "set")
    (root / "fg/f0.png").write_text("spoilt")
    (root / "alpha/f1.png").write_text("spoilt")
    assert estimate_build(_manifest(root, 2), jobs=1).composites == 10  # a bad matte shows in its header


def test_where_none_can_be_built_there_is_no_estimate(many: Path, tmp_path: Path) -> None:
    root = shutil.copytree(many, tmp_path / "set")
    for path in (root / "fg").iterdir():
        path.write_text("spoilt")
    with pytest.raises(SourceError, match="no foreground of the list can be built"):
        estimate_build(_manifest(root, 2), jobs=1)
