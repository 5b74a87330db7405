"""The report: everything that was found is on the page, failures first."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image

from dimtool.composer.shards.index import Index, write_index
from dimtool.composer.verification.findings import CHECKS

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")

from dimtool.composer.report import gallery as report_gallery
from dimtool.composer.report.page import MEANINGS, write_report


@pytest.fixture(scope="module")
def sound_page(sound_set: Any, desk: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return desk.read(write_report(desk.verify(sound_set.shards), tmp_path_factory.mktemp("sound")))


def test_a_sound_set_gets_its_verdict_its_counts_and_its_pictures(
    sound_page: Any, sound_set: Any, desk: Any
) -> None:
    assert "All is as it should be 6 of 6 composites looked into" in sound_page.text
    assert "the paper" not in sound_page.text  # the set is not Adobe's
    assert "Findings" not in sound_page.text
    desk.check_files(sound_page)
    captions = [picture["alt"] for picture in sound_page.all("img") if "f0.png" in picture["alt"]]
    assert captions == [
        "alpha of f0.png",
        *(f"trimap of f0.png, radius {radius} pixels" for radius in (5, 15, 30)),
        "f0.png over b0.jpg",
        "f0.png over b1.jpg",
    ]


def test_the_table_says_how_much_each_check_tried(sound_page: Any) -> None:
    rows = re.findall(
        r'<th scope="row">(\w+)</th>.*?number">(\S+)</td>.*?wrong">(\d+)<', sound_page.source, re.S
    )
    # 3 shards, 6 composites; a source each for foreground, alpha and background; the set, and each shard
    # that is listed, and its backgrounds.
    tried = dict(zip(CHECKS, (3, 3, 6, 6, 3, 12, 12, 7, 3), strict=True))
    assert rows == [(name, str(tried[name]), "0") for name in CHECKS]
    assert set(MEANINGS) == set(CHECKS)


def test_the_distributions_are_those_of_the_sources(sound_page: Any, sound_set: Any) -> None:
    alphas, sizes = [], []
    for name in (sound_set.sources / "train_fg.txt").read_text().splitlines():
        with Image.open(sound_set.sources / "alpha" / name) as image:
            alphas.append(np.asarray(image))
    for i in range(6):
        with Image.open(sound_set.sources / "bg" / f"b{i}.jpg") as image:
            height, width = alphas[i // 2].shape
            sizes.append(max(width / image.width, height / image.height, 1))
    said = next(each["alt"] for each in sound_page.all("img") if "enlargement" in each["alt"])
    assert f"train: median ×{np.median(sizes):.2f}, from ×{min(sizes):.2f} to ×{max(sizes):.2f}" in said
    covered = [100 * alpha.mean() / 255 for alpha in alphas]
    said = next(each["alt"] for each in sound_page.all("img") if "coverage" in each["alt"])
    assert f"median {np.median(covered):.1f} %, from {min(covered):.1f} % to {max(covered):.1f} %" in said
    pixels = np.concatenate([alpha.ravel() for alpha in alphas])
    said = next(each["alt"] for each in sound_page.all("img") if "of alpha" in each["alt"])
    assert f"{100 * (pixels == 0).mean():.1f} % at 0, {100 * (pixels == 255).mean():.1f} % at 255" in said


def test_every_finding_is_there_and_names_are_text(
    copied_set: Any, tmp_path: Path, without_plots: None, evil: str, desk: Any
) -> None:
    bad = copied_set.shards / f"0001-{Path(evil).stem}.h5"
    desk.repaint(bad, 0, desk.PLANTED)
    desk.repaint(bad, 1, desk.PLANTED)
    verification = desk.verify(copied_set.shards)
    page = desk.read(write_report(verification, tmp_path / "report"))
    desk.check_files(page)
    assert "<b>&" not in page.source
    for finding in verification.findings:
        assert finding.what in page.text
        assert f"{finding.folder}/{finding.shard}" in page.text
        assert finding.expected in page.text
    assert page.text.startswith(f"{len(verification.findings)} findings: {copied_set.shards}")
    assert page.titles[0] == evil.replace("&", "&amp;").replace("'", "&#39;").replace('"', "&#34;")
    assert "--repair" in page.text


def test_the_difference_picture_shows_exactly_the_planted_pixels(
    copied_set: Any, tmp_path: Path, without_plots: None, desk: Any
) -> None:
    desk.repaint(copied_set.shards / "0002-f2.h5", 1, desk.PLANTED)
    page = desk.read(write_report(desk.verify(copied_set.shards), tmp_path / "report"))
    assert page.titles[0] == "f2.png"
    (picture,) = desk.differences(page)
    assert set(map(tuple, np.argwhere(picture.any(axis=2)).tolist())) == set(desk.PLANTED)
    brightness = [int(picture[where].astype(int).sum()) for where in desk.PLANTED]
    assert brightness == sorted(brightness)  # as desk.PLANTED is, by how much
    assert "3 of " in page.text
    assert "pixels differ, by up to 100 of 255. Expected: made again from the source images." in page.text
    # The thumbnail beside it, too, and the close-up is around the worst.
    thumbnail = next(each for each in page.all("img") if each["alt"].startswith("difference, amplified"))
    with Image.open(page.folder / thumbnail["src"]) as image:
        assert np.asarray(image)[75, 75].sum() > 300
    sides = next(
        re.findall(r"\d+", each["alt"]) for each in page.all("img") if "difference, rows" in each["alt"]
    )
    top, bottom, left, right = map(int, sides)
    assert ((top + bottom) // 2, (left + right) // 2, right - left) == (75, 75, 60)


def test_without_the_sources_a_shard_is_compared_with_itself(
    copied_set: Any, tmp_path: Path, without_plots: None, desk: Any
) -> None:
    shutil.rmtree(copied_set.shards / ".build")  # where the build found its sources
    path = copied_set.shards / "0000-f0.h5"
    with h5py.File(path) as file:
        alpha = file["alpha"][:]
    inside, outside = (tuple(map(int, np.argwhere(where)[0])) for where in (alpha > 0, alpha == 0))
    desk.repaint(path, 0, {inside: 3, outside: 3})  # type: ignore[dict-item]
    desk.repaint(path, 1, {outside: 3})  # type: ignore[dict-item]
    page = desk.read(write_report(desk.verify(copied_set.shards), tmp_path / "report"))
    first, second = desk.differences(page)
    assert np.argwhere(first.any(axis=2)).tolist() == [list(inside)]
    assert not second.any()
    assert "the composite is the only copy of its background" in page.text
    desk.check_files(page)


def test_damaged_maps_are_shown(copied_set: Any, tmp_path: Path, without_plots: None, desk: Any) -> None:
    with h5py.File(copied_set.shards / "0000-f0.h5", "r+") as file:
        for name in ("foreground", "distance"):
            values = file[name][:]
            values[7, 9] ^= 1
            file[name][...] = values
    page = desk.read(write_report(desk.verify(copied_set.shards), tmp_path / "report"))
    pictures = desk.differences(page)
    assert [np.argwhere(each.any(axis=2)).tolist() for each in pictures[:2]] == [[[7, 9]]] * 2
    headings = re.findall(r"<h4>(.*?)</h4>", page.source)
    assert headings[:2] == ["foreground", "distance"]


def test_what_cannot_be_shown_does_not_stop_the_page(copied_set: Any, tmp_path: Path, desk: Any) -> None:
    shards = sorted(copied_set.shards.glob("*.h5"))
    content = shards[0].read_bytes()
    shards[0].write_bytes(content[: len(content) // 2])
    shards[1].unlink()
    with h5py.File(shards[2], "r+") as file:
        file["composite"].id.write_direct_chunk((1, 0, 0, 0), b"no code stream")
    broken = copied_set.shards.parent / "broken"
    broken.mkdir()
    (broken / "index.json").write_text("{")
    empty = copied_set.shards.parent / "empty"
    empty.mkdir()
    write_index(empty, Index(split="val", per_fg=20, asked=0, shards=()))
    page = desk.read(write_report(desk.verify(copied_set.shards.parent), tmp_path / "report"))
    desk.check_files(page)
    assert page.text.count("cannot be decoded: the tile at row 0, column 0") >= 2  # finding, picture
    assert "There is nothing to show: the shard cannot be read" in page.text
    assert "2 of 2 foregrounds with findings." in page.text
    assert "the shard is missing" in page.text
    assert str(broken / "index.json") in page.text


def test_a_folder_without_shards_is_no_reason_for_praise(tmp_path: Path, desk: Any) -> None:
    shards = tmp_path / "shards"
    shards.mkdir()
    write_index(shards, Index(split="train", per_fg=100, asked=0, shards=()))
    page = desk.read(write_report(desk.verify(shards), tmp_path / "report"))
    assert "index.json lists no shard" in page.text
    assert "No shard can be read." in page.text
    desk.check_files(page)


def test_a_large_set_is_shown_in_part_and_the_page_says_so(
    copied_set: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without_plots: None, desk: Any
) -> None:
    monkeypatch.setattr(report_gallery, "SOUND", 2)
    page = desk.read(write_report(desk.verify(copied_set.shards, quick=True), tmp_path / "sound"))
    assert "2 of 3 foregrounds, spread over the list." in page.text
    for path in copied_set.shards.glob("*.h5"):
        desk.repaint(path, 0, desk.PLANTED)
        desk.repaint(path, 1, desk.PLANTED)
    for name in ("FAILING", "COMPARED"):
        monkeypatch.setattr(report_gallery, name, 1)
    verification = desk.verify(copied_set.shards)
    page = desk.read(write_report(verification, tmp_path / "failing"))
    assert "1 of 3 foregrounds with findings." in page.text
    assert "1 composite more of this shard is wrong" in page.text
    assert len(desk.differences(page)) == 1
    assert page.text.count("the decoded composite does not have the digest") >= 6  # the list has them all


@pytest.mark.parametrize(("total", "most"), [(0, 3), (2, 3), (3, 3), (10, 3), (431, 24)])
def test_the_sample_is_spread_evenly(total: int, most: int) -> None:
    shown = report_gallery.spread(total, most)
    assert len(shown) == min(total, most)
    gaps = set(np.diff([*shown, total]).tolist())
    assert not shown or (shown[0] == 0 and max(gaps) - min(gaps) <= 1)
