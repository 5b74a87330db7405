"""Sources read in another way than Adobe's: built so, recorded, verified so, and never mixed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from dimtool.composer.shards.dataset import CompositeDataset

Pixels = NDArray[np.uint8]


def _cut_out(root: Path, name: str, colours: Pixels, matte: Pixels) -> None:
    Image.fromarray(np.dstack([colours, matte])).save(root / f"fg/{name}")
    shutil.rmtree(root / "alpha", ignore_errors=True)


def _white_with_a(root: Path, name: str, colours: Pixels, matte: Pixels) -> None:
    Image.fromarray(np.dstack([np.full_like(colours, 255), matte])).save(root / f"alpha/{name}")


def _percent(root: Path, name: str, colours: Pixels, matte: Pixels) -> None:
    Image.fromarray((matte // 3).astype(np.uint8)).save(root / f"alpha/{name}")


def _turned(root: Path, name: str, colours: Pixels, matte: Pixels) -> None:
    """Stored lying on a side: what a viewer shows is what is meant."""
    exif = Image.Exif()
    exif[0x0112] = 6
    for folder, pixels in (("fg", colours), ("alpha", matte)):
        Image.fromarray(np.ascontiguousarray(np.rot90(pixels))).save(root / folder / name, exif=exif)


READINGS: dict[str, tuple[Callable[[Path, str, Pixels, Pixels], None], list[str], dict[str, Any]]] = {
    "cut-outs": (_cut_out, ["--alpha-from", "fg"], {"alpha_from": "fg"}),
    "mattes in A": (_white_with_a, ["--alpha-from", "alpha-a"], {"alpha_from": "alpha-a"}),
    "another scale": (_percent, ["--alpha-max", "85"], {"alpha_max": 85}),
    "turned": (_turned, ["--exif-transpose"], {"exif_transpose": True}),
}


@pytest.mark.parametrize("kind", READINGS)
def test_read_so_recorded_and_verified_so(
    *, own: tuple[Path, Path], build: Any, command: Any, tmp_path: Path, kind: str
) -> None:
    root, plain = own
    save, options, recorded = READINGS[kind]
    samples = [CompositeDataset(plain)[2 * k] for k in range(4)]
    for k, sample in enumerate(samples):
        save(root, f"f{k}.png", sample.foreground, sample.alpha)
    out = tmp_path / "read"
    refused = build(root, out)
    assert refused.code in (1, 2)
    assert not list(out.glob("*.h5"))
    assert build(root, out, *options).code == 0
    assert json.loads((out / "index.json").read_text())["reading"] == recorded
    for k, sample in enumerate(samples):
        expected = sample.alpha // 3 * 3 if kind == "another scale" else sample.alpha
        assert np.array_equal(CompositeDataset(out)[2 * k].alpha, expected)
    again = build(root, out, *options)
    assert again.code == 0
    assert "0 built" in again.out
    assert command("verify-composites", out, "--jobs", 1).code == 0
    shutil.rmtree(out / ".build")  # as where the shards were brought from elsewhere
    verified = command("verify-composites", out, "--sources", root, "--jobs", 1, "--json")
    assert verified.code == 0
    assert json.loads(verified.out)["checks"]["source"]["tried"] > 0


def test_another_reading_is_not_mixed_in(own: tuple[Path, Path], build: Any, stamps: Any) -> None:
    root, out = own
    before = stamps(out)
    outcome = build(root, out, "--alpha-from", "fg")
    assert outcome.code in (1, 2)
    outcome = build(root, out, "--alpha-max", "254")
    assert outcome.code in (1, 2)
    assert {name: stamp for name, stamp in stamps(out).items() if name.endswith("h5")} == {
        name: stamp for name, stamp in before.items() if name.endswith("h5")
    }


def test_an_option_that_changes_no_pixel_keeps_what_is_built(
    own: tuple[Path, Path], build: Any, stamps: Any
) -> None:
    root, out = own
    before = {name: stamp for name, stamp in stamps(out).items() if name.endswith("h5")}
    for options in (["--exif-transpose"], ["--no-exif-transpose"], ["--alpha-max", "255"]):
        outcome = build(root, out, *options)
        assert outcome.code == 0
        assert "0 built" in outcome.out
        assert {name: stamp for name, stamp in stamps(out).items() if name in before} == before
