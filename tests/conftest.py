"""Fixtures for all tests. Helpers come as fixtures: test modules do not import each other."""

from __future__ import annotations

import errno
import fcntl
import http.client
import json
import math
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from numpy.typing import NDArray

from dimtool.composer.shards.index import Index, record_of, write_index
from dimtool.composer.shards.layout import ShardHeader
from dimtool.composer.shards.writer import Layer, Matte, write_shard
from dimtool.composer.sources.images import Source

# ---- all tests --------------------------------------------------------------------------------------------

settings.register_profile("dimtool", deadline=None)  # the machine may be busy: time decides nothing
settings.load_profile("dimtool")

# A shell starts what is in its background with Ctrl-C ignored, and so would be all that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test leaves anything in the user's cache."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Real images, beside the repository on some machines and never part of it."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no real images on this machine")
    return folder


@pytest.fixture(scope="session")
def run_python(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Run a script in a fresh process, elsewhere, with every warning an error; what it prints."""

    def run(script: str, *arguments: object, flags: tuple[str, ...] = ("-W", "error")) -> str:
        done = subprocess.run(
            [sys.executable, *flags, "-c", script, *map(str, arguments)],
            cwd=tmp_path_factory.mktemp("elsewhere"),
            env={**os.environ, "PYTHONHASHSEED": "random"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture
def without_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on network file systems without a lock daemon."""

    def lacking(_descriptor: int, _operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", lacking)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[tuple[Path, Callable[[int], None]]]:
    """A file system of its own, and how to change its size (bytes)."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "none", folder], capture_output=True, check=False).returncode:
        pytest.skip("mounting is not permitted here")

    def resize(size: int) -> None:
        subprocess.run(["mount", "-o", f"remount,size={size}", folder], check=True)

    yield folder, resize
    subprocess.run(["umount", "--lazy", folder], check=True)


# ---- pixels, the trimap and shards: oracles and samples ----------------------------------------------------

ShardParts = tuple[ShardHeader, Matte, list[Layer]]


@pytest.fixture(scope="session")
def noise() -> Callable[..., NDArray[np.uint8]]:
    """Uniform random uint8 of any shape, from a seed."""

    def draw(seed: int, *shape: int) -> NDArray[np.uint8]:
        return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)

    return draw


@pytest.fixture(scope="session")
def official_loop() -> Callable[..., NDArray[np.uint8]]:
    """The official composition of (h, w, 3), (h, w), (h, w, 3), a pixel at a time in Python's floats."""

    def compose(
        foreground: NDArray[np.uint8], alpha: NDArray[np.uint8], background: NDArray[np.uint8]
    ) -> NDArray[np.uint8]:
        rows = zip(foreground.tolist(), alpha.tolist(), background.tolist(), strict=True)
        composed = [[_official_pixel(*three) for three in zip(*row, strict=True)] for row in rows]
        return np.array(composed, np.uint8).reshape(foreground.shape)

    return compose


def _official_pixel(foreground: list[int], alpha: int, background: list[int]) -> list[int]:
    a = alpha / 255
    if a >= 1:
        return foreground
    if a > 0:
        return [int(a * f + (1 - a) * b) for f, b in zip(foreground, background, strict=True)]
    return background


@pytest.fixture(scope="session")
def slow_distance() -> Callable[..., NDArray[np.uint8]]:
    """Distance to the nearest True, rounded up and at most 255, by looking at every pair, in integers."""

    def measure(region: NDArray[np.bool_]) -> NDArray[np.uint8]:
        marked = np.argwhere(region).tolist()
        result = np.full(region.shape, 255, np.uint8)
        for y, x in np.ndindex(region.shape):
            squared = min(((y - v) ** 2 + (x - u) ** 2 for v, u in marked), default=255**2)
            root = math.isqrt(squared)
            result[y, x] = min(root + (root * root < squared), 255)
        return result

    return measure


@pytest.fixture(scope="session")
def draw_alpha() -> Callable[..., NDArray[np.uint8]]:
    """A random matte, (h, w), of blocks that are empty, opaque or soft: it has hard edges as well."""

    def draw(seed: int, height: int, width: int, block: int = 9) -> NDArray[np.uint8]:
        rng = np.random.default_rng(seed)
        kinds = rng.choice([0, 128, 255], (-(-height // block), -(-width // block)))
        alpha = kinds.repeat(block, axis=0).repeat(block, axis=1)[:height, :width]
        return np.where(alpha == 128, rng.integers(0, 256, alpha.shape), alpha).astype(np.uint8)

    return draw


@pytest.fixture(scope="session")
def shard_parts(
    noise: Callable[..., NDArray[np.uint8]],
    draw_alpha: Callable[..., NDArray[np.uint8]],
    slow_distance: Callable[..., NDArray[np.uint8]],
) -> Callable[..., ShardParts]:
    """Arguments of `write_shard`, of random content: composites agree with their background at alpha 0."""

    def parts(seed: int, count: int, height: int, width: int, radius: int = 2) -> ShardParts:
        alpha = draw_alpha(seed, height, width, block=min(64, 1 + height // 3))
        soft = (alpha > 0) & (alpha < 255)
        if alpha.size < 2000:
            distance = slow_distance(soft)
        else:  # Any map will do to be stored; this one leaves the right half without a background.
            distance = noise(seed + 1, height, width)
            distance[:, width // 2 :] = 255
        matte = Matte(
            foreground=_source(noise, seed + 2, height, width),
            alpha=Source(Path("alpha.png"), alpha, noise(seed + 3, 32).tobytes()),
            distance=distance,
            centers=np.argwhere(soft)[:7].astype(np.uint16),
            band=(alpha > 0) & (distance <= radius),
        )
        layers = []
        for i in range(count):
            background = noise(seed + 100 + i, height, width, 3)
            over = np.where((alpha == 0)[..., None], background, noise(seed + 200 + i, height, width, 3))
            layers.append(Layer(over, background, _source(noise, seed + 300 + i, 3 + i, 5)))
        header = ShardHeader(
            split="train",
            index=seed,
            foreground=f"Käfer {seed} (1).png",
            backgrounds=tuple(f"straße {'x' * i}{i}.jpg" for i in range(count)),
            background_radius=radius,
        )
        return header, matte, layers

    return parts


def _source(noise: Callable[..., NDArray[np.uint8]], seed: int, height: int, width: int) -> Source:
    return Source(Path(f"{seed}.png"), noise(seed, height, width, 3), noise(seed + 1, 32).tobytes())


@pytest.fixture(scope="session")
def shard_folder(shard_parts: Callable[..., ShardParts]) -> Callable[..., list[ShardParts]]:
    """Fill a folder with shards of (composites, height, width) each, and its index; their parts in order."""

    def fill(folder: Path, sizes: list[tuple[int, int, int]]) -> list[ShardParts]:
        records, everything = [], []
        for number, size in enumerate(sizes):
            parts = shard_parts(number, *size)
            write_shard(folder / f"{number:04}-a.h5", *parts)
            records.append(record_of(folder / f"{number:04}-a.h5"))
            everything.append(parts)
        asked = sum(size[0] for size in sizes)
        write_index(folder, Index(split="train", per_fg=3, asked=asked, shards=tuple(records)))
        return everything

    return fill


# ---- a browser ---------------------------------------------------------------------------------------------

CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
FLAGS = (
    "headless",
    "no-sandbox",
    "disable-gpu",
    "disable-quic",
    "no-first-run",
    "disable-background-networking",
    "disable-component-update",
    "disable-sync",
)
# Lazily loaded pictures are asked for too; then what a visitor would notice.
EXAMINE = """
const done = arguments[0];
const images = [...document.images];
const visible = document.documentElement.clientWidth;
images.forEach(image => { image.loading = 'eager'; });
Promise.allSettled(images.map(image => image.decode())).then(() => done({
    images: images.length,
    broken: images.filter(image => image.naturalWidth === 0).map(image => image.src),
    sideways: document.documentElement.scrollWidth - visible,
    columns: new Set([...document.querySelectorAll('.pictures figure')].map(each => each.offsetLeft)).size,
    paper: getComputedStyle(document.body).backgroundColor,
    plot: document.querySelector('.plot img')?.currentSrc,
    outside: [...document.querySelectorAll('main *')].filter(
        each => each.getBoundingClientRect().right > visible + 1 && !each.closest('.findings, .scroll')
    ).map(each => each.outerHTML.slice(0, 200)),
}));
"""


class _Browser:
    """Headless Chromium, over the W3C WebDriver protocol."""

    def __init__(self, port: int, profile: Path) -> None:
        self._port, self._session = port, ""
        for _ in range(300):
            try:
                if self._call("GET", "/status")["ready"]:
                    break
            except OSError:
                time.sleep(0.1)
        arguments = [*(f"--{flag}" for flag in FLAGS), f"--user-data-dir={profile}"]
        options = {"binary": str(CHROMIUM), "args": arguments}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        opened = self._call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self._session = f"/session/{opened['sessionId']}"

    def __call__(self, path: str, **values: Any) -> Any:
        return self._call("POST", f"{self._session}/{path}", values)

    def look(self, page: Path | str, width: int, scheme: str) -> dict[str, Any]:
        """What a visitor with such a screen finds on the page, and what the console says."""
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        self("goog/cdp/execute", cmd="Emulation.setDeviceMetricsOverride", params=size)
        self("goog/cdp/execute", cmd="Emulation.setEmulatedMedia", params=media)
        self("url", url=page if isinstance(page, str) else page.as_uri())
        found = self("execute/async", script=EXAMINE, args=[])
        return {**found, "console": self("se/log", type="browser")}

    def quit(self) -> None:
        self._call("DELETE", self._session)

    def _call(self, method: str, path: str, values: Any = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=120)
        connection.request(method, path, None if values is None else json.dumps(values))
        value = json.loads(connection.getresponse().read())["value"]
        connection.close()
        assert not (isinstance(value, dict) and "error" in value), value
        return value


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Browser]:
    """A browser that looks at pages as a visitor would."""
    if not (CHROMIUM.exists() and DRIVER.exists()):
        pytest.skip("needs Debian's chromium and chromium-driver")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with subprocess.Popen([DRIVER, f"--port={port}"], stdout=subprocess.DEVNULL) as driver:
        try:
            browser = _Browser(port, tmp_path_factory.mktemp("chromium"))
            yield browser
            browser.quit()
        finally:
            driver.terminate()
