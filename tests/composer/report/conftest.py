"""Sets to report on, and the page as values."""

from __future__ import annotations

import re
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from dimtool.composer.engines.local import LocalProcesses
from dimtool.composer.shards.tiles import decode, encode
from dimtool.composer.verification.verify import Scope, Verification, verify_composites
from dimtool.progress import Silent


class Page(HTMLParser):
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


class Desk:
    """What the tests do to a set, and how they look at its report."""

    PLANTED: ClassVar = {(3, 5): 1, (70, 140): 9, (75, 75): 100}  # where, and by how much
    read = Page

    @staticmethod
    def verify(*folders: Path, **scope: Any) -> Verification:
        engine = LocalProcesses(workers=1)
        return verify_composites(folders, Scope(**scope), engine=engine, reporter=Silent())

    @staticmethod
    def repaint(path: Path, i: int, changes: Mapping[tuple[int, int], int]) -> None:
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

    @staticmethod
    def check_files(page: Page) -> None:
        """Each address leads to a file of the report that loads; there is no file that nothing leads to."""
        report = pytest.importorskip("dimtool.composer.report.page")
        anchors = {link[1:] for link in page.links if link.startswith("#")}
        ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
        assert anchors <= set(ids)
        assert len(ids) == len(set(ids))
        files = {link for link in page.links if not link.startswith(("#", "data:"))}
        there = {
            path.relative_to(page.folder).as_posix() for path in page.folder.rglob("*") if path.is_file()
        }
        assert there == files | {report.INDEX, report.MARKER}
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

    @staticmethod
    def differences(page: Page) -> list[NDArray[np.uint8]]:
        """The pictures of differences, pixel by pixel."""
        links = [a["href"] for a in page.all("a") if a.get("title") == "every pixel of it"]
        pictures = []
        for link in links:
            with Image.open(page.folder / link) as image:
                pictures.append(np.asarray(image.convert("RGB")))
        return pictures


@pytest.fixture(scope="session")
def desk() -> Desk:
    return Desk()


class ReportedSet(NamedTuple):
    sources: Path
    shards: Path


@pytest.fixture(scope="session")
def evil() -> str:
    """A file's name that is markup."""
    return "<b>&'\".png"


@pytest.fixture(scope="package")
def sound_set(
    tmp_path_factory: pytest.TempPathFactory,
    image_set: Callable[..., Path],
    build: Callable[..., Any],
    evil: str,
) -> ReportedSet:
    """Three foregrounds over two backgrounds each, several tiles large; one has a name that is markup."""
    root = image_set(tmp_path_factory.mktemp("report") / "sources", side=150)
    for folder in ("fg", "alpha"):
        (root / folder / "f1.png").rename(root / folder / evil)
    names = (root / "train_fg.txt").read_text().replace("f1.png", evil)
    (root / "train_fg.txt").write_text(names)
    shards = root.parent / "shards" / "train"
    assert build(root, shards).code == 0
    return ReportedSet(root, shards)


@pytest.fixture
def copied_set(sound_set: ReportedSet, tmp_path: Path) -> ReportedSet:
    """The same, to be damaged. Its sources are known."""
    return ReportedSet(sound_set.sources, shutil.copytree(sound_set.shards, tmp_path / "shards" / "train"))


@pytest.fixture
def without_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where plots are not looked at, drawing them only takes time."""
    monkeypatch.setattr("dimtool.composer.report.page.plot_distributions", lambda folders, assets: [])
