"""A page being served, of a small model of random weights."""

from __future__ import annotations

import base64
import http.client
import io
import json
import sys
import threading
import types
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from dimtool.model.inference.matter import Matter
from dimtool.model.network.dim import DeepImageMatting, ModelConfig

pytest.importorskip("jinja2")

from dimtool.model.serving.page import page
from dimtool.model.serving.server import PageServer
from dimtool.model.serving.studio import Studio

UInt8 = NDArray[np.uint8]


class Answer(NamedTuple):
    status: int
    headers: Any
    content: bytes

    @property
    def values(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.content)
        return found


class Visitor:
    """Asks a server as programs do."""

    def __init__(self, server: Any, matter: Matter) -> None:
        self.server, self.matter = server, matter

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.server_port, timeout=60)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, named)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return Answer(answer.status, answer.headers, content)

    def matte(self, image: bytes, trimap: bytes) -> Answer:
        files = {"image": image, "trimap": trimap}
        body = json.dumps({name: base64.b64encode(each).decode() for name, each in files.items()})
        return self.ask("POST", "/matte", body.encode(), Content_Type="application/json")

    @staticmethod
    def file(pixels: UInt8, kind: str = "PNG", **options: Any) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, kind, **options)
        return buffer.getvalue()

    @staticmethod
    def pixels(text: str) -> UInt8:
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


@pytest.fixture(scope="module")
def no_compiling() -> Iterator[None]:
    """In pymatting's place, whose first use compiles for a minute: the image, and a red of 0.5."""

    def estimate(image: NDArray[np.float32], alpha: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.dstack([np.full_like(alpha, 0.5), image[..., 1:]])

    module = types.ModuleType("pymatting.foreground.estimate_foreground_ml")
    module.estimate_foreground_ml = estimate  # type: ignore[attr-defined]
    with pytest.MonkeyPatch.context() as patch:
        for name in ("pymatting", "pymatting.foreground"):
            patch.setitem(sys.modules, name, types.ModuleType(name))
        patch.setitem(sys.modules, module.__name__, module)
        yield


@pytest.fixture(scope="module")
def visitor(no_compiling: None) -> Iterator[Visitor]:
    """A page being served on a port of its own."""
    torch.manual_seed(0)
    model = DeepImageMatting(ModelConfig(width=1 / 8, bottleneck="slim"))
    nn.init.normal_(model.refinement.prediction.weight, std=0.1)
    matter = Matter(model=model, device=torch.device("cpu"))
    with PageServer(page=page("A model of <b>nothing</b>"), studio=Studio(matter), port=0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield Visitor(server, matter)
        server.shutdown()
        thread.join()
