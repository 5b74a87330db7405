"""The report: everything that was found is on the page, failures first, and nothing of others is touched."""

from __future__ import annotations

import re
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from dimtool.composer.engines.local import LocalProcesses
from dimtool.composer.shards.index import Index, write_index
from dimtool.composer.shards.tiles import decode, encode
from dimtool.composer.verification.findings import CHECKS
from dimtool.composer.verification.verify import Scope, Verification, verify_composites
from dimtool.errors import WrongUseError
from dimtool.progress import Silent

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")

from dimtool.composer.report import gallery as report_gallery
from dimtool.composer.report import page as report
from dimtool.composer.report.page import INDEX, MARKER, MEANINGS, write_report

EVIL = "<b>&'\".png"
PLANTED = {(3, 5): 1, (70, 140): 9, (75, 75): 100}  # where, and by how much


class _Page(HTMLParser):
    """Tags with their attributes, in order, and the text without them."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.folder, self.source, self._data = path.parent, path.read_text(encoding="utf-8"), [""]
        self.feed(self.source)
        self.text = " ".join("".join(self._data).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self._data.append(data)

    def all(self, tag: str) -> list[dict[str, Any]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def links(self) -> set[str]:
        """Every address on the page."""
        values = [attrs.get(key) for _, attrs in self.tags for key in ("src", "srcset", "href")]
        return {value for value in values if value}

    @property
    def titles(self) -> list[str]:
        """Of the exhibits, in order."""
        found = re.findall(r'<h3 id="foreground-\d+-title">(.*?)</h3>', self.source)
        return [each.replace("&lt;", "<").replace("&gt;", ">") for each in found]


def _verify(*folders: Path, **scope: Any) -> Verification:
    engine = LocalProcesses(workers=1)
    return verify_composites(folders, Scope(**scope), engine=engine, reporter=Silent())


def _repaint(path: Path, i: int, changes: Mapping[tuple[int, int], int]) -> None:
    """Move the red of pixels (y, x) of composite `i` by so much, up or down."""
    with h5py.File(path, "r+") as file:
        stack = file["composite"].id
        _, rows, columns, _ = file["composite"].chunks
        for (y, x), by in changes.items():
            corner = (i, y // rows * rows, x // columns * columns, 0)
            tile = decode(stack.read_direct_chunk(corner)[1]).copy()
            red = int(tile[y % rows, x % columns, 0])
            tile[y % rows, x % columns, 0] = red + by if red + by < 256 else red - by
            stack.write_direct_chunk(corner, encode(tile))


class _Set(NamedTuple):
    sources: Path
    shards: Path


@pytest.fixture(scope="module")
def sound_set(
    tmp_path_factory: pytest.TempPathFactory, image_set: Callable[..., Path], build: Callable[..., Any]
) -> _Set:
    """Three foregrounds over two backgrounds each, several tiles large; one has a name that is markup."""
    root = image_set(tmp_path_factory.mktemp("report") / "sources", side=150)
    for folder in ("fg", "alpha"):
        (root / folder / "f1.png").rename(root / folder / EVIL)
    names = (root / "train_fg.txt").read_text().replace("f1.png", EVIL)
    (root / "train_fg.txt").write_text(names)
    shards = root.parent / "shards" / "train"
    assert build(root, shards).code == 0
    return _Set(root, shards)


@pytest.fixture
def copied_set(sound_set: _Set, tmp_path: Path) -> _Set:
    """The same, to be damaged. Its sources are known."""
    return _Set(sound_set.sources, shutil.copytree(sound_set.shards, tmp_path / "shards" / "train"))


@pytest.fixture
def without_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where plots are not looked at, drawing them only takes time."""
    monkeypatch.setattr(report, "plot_distributions", lambda folders, assets: [])


@pytest.fixture(scope="module")
def sound_page(sound_set: _Set, tmp_path_factory: pytest.TempPathFactory) -> _Page:
    return _Page(write_report(_verify(sound_set.shards), tmp_path_factory.mktemp("sound")))


def _check_files(page: _Page) -> None:
    """Each address leads to a file of the report that loads; there is no file that nothing leads to."""
    anchors = {link[1:] for link in page.links if link.startswith("#")}
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert anchors <= set(ids)
    assert len(ids) == len(set(ids))
    files = {link for link in page.links if not link.startswith(("#", "data:"))}
    there = {path.relative_to(page.folder).as_posix() for path in page.folder.rglob("*") if path.is_file()}
    assert there == files | {INDEX, MARKER}
    for file in files:
        if file.endswith(".svg"):
            assert ET.parse(page.folder / file).getroot().tag.endswith("svg")
        else:
            with Image.open(page.folder / file) as image:
                image.load()
    for picture in page.all("img"):
        assert picture["alt"]
        if not picture["src"].endswith(".svg"):
            with Image.open(page.folder / picture["src"]) as image:
                assert image.size == (int(picture["width"]), int(picture["height"]))


def test_a_sound_set_gets_its_verdict_its_counts_and_its_pictures(sound_page: _Page, sound_set: _Set) -> None:
    assert "All is as it should be 6 of 6 composites looked into" in sound_page.text
    assert (
        "6 of the paper's 49,300 composites, of 3 foregrounds where Adobe gives out 431." in sound_page.text
    )
    assert "Findings" not in sound_page.text
    _check_files(sound_page)
    captions = [picture["alt"] for picture in sound_page.all("img") if "f0.png" in picture["alt"]]
    assert captions == [
        "alpha of f0.png",
        *(f"trimap of f0.png, radius {radius} pixels" for radius in (5, 15, 30)),
        "f0.png over b0.jpg",
        "f0.png over b1.jpg",
    ]


def test_the_table_says_how_much_each_check_tried(sound_page: _Page) -> None:
    rows = re.findall(
        r'<th scope="row">(\w+)</th>.*?number">(\S+)</td>.*?wrong">(\d+)<', sound_page.source, re.S
    )
    # 3 shards, 6 composites; a source each for foreground, alpha and background; the set, and each shard
    # that is listed, and its backgrounds.
    tried = dict(zip(CHECKS, (3, 3, 6, 6, 3, 12, 12, 7, 3), strict=True))
    assert rows == [(name, str(tried[name]), "0") for name in CHECKS]
    assert set(MEANINGS) == set(CHECKS)


def test_the_distributions_are_those_of_the_sources(sound_page: _Page, sound_set: _Set) -> None:
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
    copied_set: _Set, tmp_path: Path, without_plots: None
) -> None:
    bad = copied_set.shards / f"0001-{Path(EVIL).stem}.h5"
    _repaint(bad, 0, PLANTED)
    _repaint(bad, 1, PLANTED)
    verification = _verify(copied_set.shards)
    page = _Page(write_report(verification, tmp_path / "report"))
    _check_files(page)
    assert "<b>&" not in page.source
    for finding in verification.findings:
        assert finding.what in page.text
        assert f"{finding.folder}/{finding.shard}" in page.text
        assert finding.expected in page.text
    assert page.text.startswith(f"{len(verification.findings)} findings: {copied_set.shards}")
    assert page.titles[0] == EVIL.replace("&", "&amp;").replace("'", "&#39;").replace('"', "&#34;")
    assert "--repair" in page.text


def _differences(page: _Page) -> list[NDArray[np.uint8]]:
    """The pictures of differences, pixel by pixel."""
    links = [a["href"] for a in page.all("a") if a.get("title") == "every pixel of it"]
    pictures = []
    for link in links:
        with Image.open(page.folder / link) as image:
            pictures.append(np.asarray(image.convert("RGB")))
    return pictures


def test_the_difference_picture_shows_exactly_the_planted_pixels(
    copied_set: _Set, tmp_path: Path, without_plots: None
) -> None:
    _repaint(copied_set.shards / "0002-f2.h5", 1, PLANTED)
    page = _Page(write_report(_verify(copied_set.shards), tmp_path / "report"))
    assert page.titles[0] == "f2.png"
    (picture,) = _differences(page)
    assert set(map(tuple, np.argwhere(picture.any(axis=2)).tolist())) == set(PLANTED)
    brightness = [int(picture[where].astype(int).sum()) for where in PLANTED]
    assert brightness == sorted(brightness)  # as PLANTED is, by how much
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
    copied_set: _Set, tmp_path: Path, without_plots: None
) -> None:
    shutil.rmtree(copied_set.shards / ".build")  # where the build found its sources
    path = copied_set.shards / "0000-f0.h5"
    with h5py.File(path) as file:
        alpha = file["alpha"][:]
    inside, outside = (tuple(map(int, np.argwhere(where)[0])) for where in (alpha > 0, alpha == 0))
    _repaint(path, 0, {inside: 3, outside: 3})  # type: ignore[dict-item]
    _repaint(path, 1, {outside: 3})  # type: ignore[dict-item]
    page = _Page(write_report(_verify(copied_set.shards), tmp_path / "report"))
    first, second = _differences(page)
    assert np.argwhere(first.any(axis=2)).tolist() == [list(inside)]
    assert not second.any()
    assert "the composite is the only copy of its background" in page.text
    _check_files(page)


def test_damaged_maps_are_shown(copied_set: _Set, tmp_path: Path, without_plots: None) -> None:
    with h5py.File(copied_set.shards / "0000-f0.h5", "r+") as file:
        for name in ("foreground", "distance"):
            values = file[name][:]
            values[7, 9] ^= 1
            file[name][...] = values
    page = _Page(write_report(_verify(copied_set.shards), tmp_path / "report"))
    pictures = _differences(page)
    assert [np.argwhere(each.any(axis=2)).tolist() for each in pictures[:2]] == [[[7, 9]]] * 2
    headings = re.findall(r"<h4>(.*?)</h4>", page.source)
    assert headings[:2] == ["foreground", "distance"]


def test_what_cannot_be_shown_does_not_stop_the_page(copied_set: _Set, tmp_path: Path) -> None:
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
    page = _Page(write_report(_verify(copied_set.shards.parent), tmp_path / "report"))
    _check_files(page)
    assert page.text.count("cannot be decoded: the tile at row 0, column 0") >= 2  # finding, picture
    assert "There is nothing to show: the shard cannot be read" in page.text
    assert "2 of 2 foregrounds with findings." in page.text
    assert "the shard is missing" in page.text
    assert str(broken / "index.json") in page.text


def test_a_folder_without_shards_is_no_reason_for_praise(tmp_path: Path) -> None:
    shards = tmp_path / "shards"
    shards.mkdir()
    write_index(shards, Index(split="train", per_fg=100, asked=0, shards=()))
    page = _Page(write_report(_verify(shards), tmp_path / "report"))
    assert "index.json lists no shard" in page.text
    assert "No shard can be read." in page.text
    _check_files(page)


def test_files_of_others_are_never_touched(sound_set: _Set, tmp_path: Path) -> None:
    verification = _verify(sound_set.shards, quick=True)
    (tmp_path / INDEX).write_text("mine")
    with pytest.raises(WrongUseError, match="files that are no report: name a new or an empty folder"):
        write_report(verification, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [INDEX]
    with pytest.raises(WrongUseError, match="is a file"):
        write_report(verification, tmp_path / INDEX)
    assert (tmp_path / INDEX).read_text() == "mine"


def test_an_earlier_report_is_replaced(
    sound_set: _Set, copied_set: _Set, tmp_path: Path, without_plots: None
) -> None:
    shard = copied_set.shards / "0002-f2.h5"
    _repaint(shard, 1, PLANTED)
    folder = tmp_path / "new" / "report"
    write_report(_verify(copied_set.shards), folder)
    before = {path.name for path in (folder / "images").iterdir()}
    (folder / "images" / "mine.png").write_text("mine")
    shutil.copy(sound_set.shards / shard.name, shard)
    _repaint(copied_set.shards / "0000-f0.h5", 1, {(1, 1): 1})
    page = _Page(write_report(_verify(copied_set.shards), folder))
    assert page.titles[0] == "f0.png"
    after = {path.name for path in (folder / "images").iterdir()}
    assert before & after  # equal pictures keep their names
    assert before - after  # and what nothing leads to any more is gone
    assert (folder / "images" / "mine.png").read_text() == "mine"
    (folder / "images" / "mine.png").unlink()
    _check_files(page)


def test_a_page_that_is_not_finished_is_not_seen(
    sound_set: _Set, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without_plots: None
) -> None:
    verification = _verify(sound_set.shards, quick=True)
    old = _Page(write_report(verification, tmp_path / "old"))

    def fail(folders: object, assets: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(report, "plot_distributions", fail)
    monkeypatch.setattr(report_gallery, "COMPOSITES", 1)  # other pictures
    for folder in ("old", "new"):
        with pytest.raises(OSError, match="No space"):
            write_report(verification, tmp_path / folder)
    assert (tmp_path / "old" / INDEX).read_text(encoding="utf-8") == old.source
    _check_files(old)
    assert not (tmp_path / "new" / INDEX).exists()
    monkeypatch.undo()
    write_report(verification, tmp_path / "new")  # what was begun is taken up


def test_the_same_set_gives_the_same_pictures(sound_set: _Set, tmp_path: Path, contents: Any) -> None:
    for name in ("a", "b"):
        write_report(_verify(sound_set.shards, quick=True), tmp_path / name)
    assert contents(tmp_path / "a" / "images") == contents(tmp_path / "b" / "images")


def test_a_large_set_is_shown_in_part_and_the_page_says_so(
    copied_set: _Set, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without_plots: None
) -> None:
    monkeypatch.setattr(report_gallery, "SOUND", 2)
    page = _Page(write_report(_verify(copied_set.shards, quick=True), tmp_path / "sound"))
    assert "2 of 3 foregrounds, spread over the list." in page.text
    for path in copied_set.shards.glob("*.h5"):
        _repaint(path, 0, PLANTED)
        _repaint(path, 1, PLANTED)
    for name in ("FAILING", "COMPARED"):
        monkeypatch.setattr(report_gallery, name, 1)
    verification = _verify(copied_set.shards)
    page = _Page(write_report(verification, tmp_path / "failing"))
    assert "1 of 3 foregrounds with findings." in page.text
    assert "1 composite more of this shard is wrong" in page.text
    assert len(_differences(page)) == 1
    assert page.text.count("the decoded composite does not have the digest") >= 6  # the list has them all


@pytest.mark.parametrize(("total", "most"), [(0, 3), (2, 3), (3, 3), (10, 3), (431, 24)])
def test_the_sample_is_spread_evenly(total: int, most: int) -> None:
    shown = report_gallery.spread(total, most)
    assert len(shown) == min(total, most)
    gaps = set(np.diff([*shown, total]).tolist())
    assert not shown or (shown[0] == 0 and max(gaps) - min(gaps) <= 1)
