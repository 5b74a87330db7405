"""A server of objects that can be killed, and what a test may look up and change behind its back."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, unquote

import pytest

HEAD = 40  # bytes before an object's content, see server.py
SECRET = "wJalrXUtnFEMIsecretKEY"


class Store:
    """The server's process, and its objects as files."""

    def __init__(self, root: Path) -> None:
        self.root, self.bucket = root, root / "bucket"
        self.bucket.mkdir(parents=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.start()

    def start(self, delay: float = 0.0) -> None:
        script = Path(__file__).with_name("server.py")
        words = [sys.executable, script, self.root, str(self.port), str(delay)]
        self._process = subprocess.Popen(words, stderr=subprocess.DEVNULL)
        for _ in range(500):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.01)
        raise TimeoutError("the server does not start")

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def path(self, key: str) -> Path:
        return self.bucket / quote(key, safe="")

    def names(self, prefix: str = "") -> list[str]:
        names = (unquote(each.name) for each in self.bucket.iterdir() if not each.name.startswith("."))
        return sorted(name for name in names if name.startswith(prefix))

    def read(self, key: str) -> bytes:
        return self.path(key).read_bytes()[HEAD:]

    def put(self, key: str, data: bytes, tag: str = "0" * 32) -> None:
        self.path(key).write_bytes(tag.ljust(HEAD).encode() + data)

    def upload(self, folder: Path, prefix: str) -> None:
        for path in sorted(folder.iterdir()):
            if path.is_file():
                self.put(f"{prefix}/{path.name}", path.read_bytes())

    def contents(self, prefix: str) -> dict[str, bytes]:
        keys = (key for key in self.names(prefix + "/") if "/.build/" not in key)
        return {key[len(prefix) + 1 :]: self.read(key) for key in keys}

    def requests(self) -> list[str]:
        log = self.root / "requests.log"
        return log.read_text().splitlines() if log.exists() else []


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    pytest.importorskip("s3fs")
    store = Store(tmp_path_factory.mktemp("objects"))
    yield store
    store.kill()


@pytest.fixture
def store(server: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """The server, with a cache of the test's own and credentials that nothing may show."""
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.port}",
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "DIMTOOL_CACHE": str(tmp_path / "cache"),
        "XDG_CACHE_HOME": str(tmp_path / "xdg"),
        "no_proxy": "127.0.0.1",
    }.items():
        monkeypatch.setenv(name, value)
    return server
