"""The page in a browser: a photograph comes in, a trimap is painted, and what comes out is the model's."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from dimtool.composer.demo.backgrounds.scenes import hills
from dimtool.composer.demo.drawing import to_uint8 as drawn
from dimtool.model.inference.matter import to_uint8

pytest.importorskip("jinja2")

HEIGHT, WIDTH = 90, 120
UInt8 = NDArray[np.uint8]

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
TRIMAP = "return trimap && Array.from(trimap.values)"
SHOWN = """
const size = { width: trimap.width, height: trimap.height };
const context = Object.assign(document.createElement('canvas'), size).getContext('2d');
context.drawImage(shown, 0, 0);
return Array.from(context.getImageData(0, 0, size.width, size.height).data).filter((_, i) => i % 4 === 0);
"""
STATUS = "return [part('status').textContent, part('status').className]"
BOX = """
stage.scrollIntoView({ behavior: 'instant' });
part('size').value = 10;
const box = photo.getBoundingClientRect();
return [box.left, box.top, box.width, box.height];
"""
BACKDROP = """
const style = getComputedStyle(shown);
return [style.backgroundColor, style.backgroundImage, shown.src === urls.cutout];
"""


class Page:
    """What a visitor does on the page."""

    def __init__(self, browser: Any, address: str) -> None:
        self.browser, self.address = browser, address

    def open(self, photograph: Path, width: int = 1280) -> dict[str, Any]:
        found: dict[str, Any] = self.browser.look(self.address, width, "light")
        element = self.browser("element", using="css selector", value="#file")[ELEMENT]
        self.browser(f"element/{element}/value", text=str(photograph))
        self.until(lambda: photograph.name in self.run(STATUS)[0])
        return found

    def run(self, script: str) -> Any:
        return self.browser("execute/sync", script=script, args=[])

    def trimap(self) -> UInt8:
        return np.array(self.run(TRIMAP), np.uint8).reshape(HEIGHT, WIDTH)

    def shown(self) -> UInt8:
        return np.array(self.run(SHOWN), np.uint8).reshape(HEIGHT, WIDTH)

    def drag(self, *points: tuple[float, float], kind: str = "mouse") -> None:
        """Press at the first place, in shares of the picture, and move over the others."""
        left, top, width, height = self.run(BOX)
        places = [{"x": round(left + x * width), "y": round(top + y * height)} for x, y in points]
        moves = [{"type": "pointerMove", "duration": 20, **place} for place in places]
        steps = [
            moves[0],
            {"type": "pointerDown", "button": 0},
            *moves[1:],
            {"type": "pointerUp", "button": 0},
        ]
        pointer = {"type": "pointer", "id": kind, "parameters": {"pointerType": kind}, "actions": steps}
        self.browser("actions", actions=[pointer])

    def keys(self, *keys: str, held: str = "") -> None:
        steps = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        if held:
            steps = [{"type": "keyDown", "value": held}, *steps, {"type": "keyUp", "value": held}]
        self.browser("actions", actions=[{"type": "key", "id": "keys", "actions": steps}])

    def choose(self, selector: str) -> None:
        self.run(f"document.querySelector('{selector}').click()")

    @staticmethod
    def until(condition: Callable[[], Any]) -> None:
        for _ in range(600):
            if condition():
                return
            time.sleep(0.05)
        raise AssertionError("it did not come to pass")


@pytest.fixture(scope="module")
def photograph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photos") / "hills & co.png"
    Image.fromarray(drawn(hills(np.random.default_rng(0), (HEIGHT, WIDTH))[..., :3])).save(path)
    return path


@pytest.fixture
def page(visitor: Any, browser: Any) -> Page:
    return Page(browser, visitor.server.address)


@pytest.mark.parametrize("width", [1280, 400])
def test_what_is_painted_is_what_is_matted(
    page: Page, photograph: Path, visitor: Any, browser: Any, width: int
) -> None:
    pointer = "mouse" if width > 1000 else "touch"
    found = page.open(photograph, width)
    assert (found["console"], found["outside"], found["sideways"]) == ([], [], 0)
    assert set(page.trimap().flat) == {128}
    page.drag((0.3, 0.5), (0.5, 0.5), (0.5, 0.7), kind=pointer)
    page.choose('[name=brush][value="0"]')
    page.drag((0.95, 0.0), (0.95, 1.0), kind=pointer)
    trimap = page.trimap()
    assert trimap[45, 40] == trimap[45, 59] == trimap[60, 60] == 255 and trimap[60, 40] == 128
    assert (trimap[1:-1, 114] == 0).all() and set(trimap.flat) == {0, 128, 255}
    page.choose("#matte")
    page.until(lambda: "The model took" in page.run(STATUS)[0])
    page.until(lambda: page.run("return shown.complete"))
    image = np.asarray(Image.open(photograph))
    assert np.array_equal(page.shown(), to_uint8(visitor.matter.matte(image, trimap)))
    after = browser(
        "execute/sync", script="return document.documentElement.scrollWidth - innerWidth", args=[]
    )
    assert after <= 0 and browser("se/log", type="browser") == []


def test_the_results_are_shown_on_checks_and_colours_and_downloaded(
    page: Page, photograph: Path, browser: Any, visitor: Any, tmp_path: Path
) -> None:
    page.open(photograph)
    page.choose("#circle")
    trimap = page.trimap()
    assert trimap[45, 60] == 255 and trimap[0, 0] == 0 and trimap[45, 95] == 128
    page.choose("#matte")
    page.until(lambda: "The model took" in page.run(STATUS)[0])
    page.choose("[name=view][value=checks]")
    assert "conic-gradient" in page.run(BACKDROP)[1]
    page.choose('[name=view][value="#00964a"]')
    assert page.run(BACKDROP) == ["rgb(0, 150, 74)", "none", True]
    allowed = {"behavior": "allow", "downloadPath": str(tmp_path)}
    browser("goog/cdp/execute", cmd="Browser.setDownloadBehavior", params=allowed)
    image, names = np.asarray(Image.open(photograph)), ("alpha", "cutout", "trimap")
    files = [tmp_path / f"hills & co-{name}.png" for name in names]
    for name, file in zip(names, files, strict=True):
        page.choose(f"#save-{name}")
        page.until(file.is_file)
    alpha, cutout, kept = (np.asarray(Image.open(file)) for file in files)
    assert np.array_equal(alpha, to_uint8(visitor.matter.matte(image, trimap)))
    assert np.array_equal(cutout[..., 3], alpha) and np.array_equal(kept[..., 0], trimap)


def test_keys_paint_and_undo(page: Page, photograph: Path) -> None:
    page.open(photograph)
    page.run("stage.focus()")
    size = page.run("return part('size').value")
    page.keys("]", "]", "[", "b", " ", "\ue014", "\ue014", " ")  # arrow to the right
    assert int(page.run("return part('size').value")) > int(size)
    painted = page.trimap()
    assert painted[45, 60] == 0 and set(painted.flat) == {0, 128}
    page.keys("f", " ", " ")
    both = page.trimap()
    assert both[45, 64] == 255
    page.keys("z", held="\ue009")
    assert np.array_equal(page.trimap(), painted)
    page.choose("#circle")
    page.choose("#undo")
    assert np.array_equal(page.trimap(), painted)
    page.choose("#undo")
    assert set(page.trimap().flat) == {128} and page.run("return part('undo').disabled")
    page.run("stage.focus()")
    page.keys("\ue007")  # Enter
    page.until(lambda: "The model took" in page.run(STATUS)[0])


def test_what_goes_wrong_is_said(page: Page, photograph: Path, visitor: Any, tmp_path: Path) -> None:
    page.open(photograph)
    element = page.browser("element", using="css selector", value="#file")[ELEMENT]
    (tmp_path / "note.txt").write_text("no picture")
    page.browser(f"element/{element}/value", text=str(tmp_path / "note.txt"))
    page.until(
        lambda: (
            page.run(STATUS)
            == ["note.txt is no picture that this browser shows: save it as JPEG or PNG", "bad"]
        )
    )
    with visitor.server.busy:
        page.choose("#matte")
        page.until(lambda: "waiting" in page.run(STATUS)[0])
    page.until(lambda: "The model took" in page.run(STATUS)[0])
    assert not page.run("return part('matte').disabled")
