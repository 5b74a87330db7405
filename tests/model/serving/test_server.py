"""The server of the page: what it mattes, whom it answers, and what it refuses."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dimtool.errors import DimtoolError
from dimtool.model.inference.matter import to_uint8
from dimtool.model.network.checkpoint import save_model

pytest.importorskip("jinja2")

from dimtool.model.serving import server as server_module
from dimtool.model.serving import studio as studio_module
from dimtool.model.serving.studio import Studio

RNG = np.random.default_rng(4)
IMAGE = RNG.integers(0, 256, (40, 56, 3), dtype=np.uint8)
TRIMAP = np.full((40, 56), 128, np.uint8)
TRIMAP[:9], TRIMAP[:, :12] = 0, 255


def test_the_page_comes_alone_and_may_load_nothing(visitor: Any) -> None:
    found = visitor.ask("GET", "/")
    html = found.content.decode()
    assert found.status == 200 and "<b>nothing</b>" not in html
    assert "default-src 'none'" in found.headers["Content-Security-Policy"]
    assert found.headers["Cache-Control"] == "no-store"
    assert "http://" not in html and "https://" not in html
    assert visitor.ask("GET", "/etc/passwd").status == visitor.ask("GET", "/?x").status == 404
    assert visitor.ask("PUT", "/matte", b"x").status == 501


def test_what_comes_back_is_the_models_alpha_and_a_cut_out(visitor: Any) -> None:
    expected = to_uint8(visitor.matter.matte(IMAGE, TRIMAP))
    found = visitor.matte(visitor.file(IMAGE), visitor.file(TRIMAP)).values
    assert np.array_equal(visitor.pixels(found["alpha"]), expected)
    cutout = visitor.pixels(found["cutout"])
    assert np.array_equal(cutout[..., 3], expected) and (cutout[..., 0][TRIMAP == 0] == 128).all()
    assert np.array_equal(cutout[..., :3][TRIMAP == 255], IMAGE[TRIMAP == 255])
    assert found["seconds"] >= 0 and found["note"] == ""


def test_a_photograph_is_turned_as_a_browser_shows_it(visitor: Any) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = np.ascontiguousarray(IMAGE.swapaxes(0, 1)[::-1])
    found = visitor.matte(visitor.file(turned, exif=exif), visitor.file(TRIMAP)).values
    assert np.array_equal(visitor.pixels(found["alpha"]), to_uint8(visitor.matter.matte(IMAGE, TRIMAP)))


def test_where_all_is_known_that_is_said(visitor: Any) -> None:
    found = visitor.matte(visitor.file(IMAGE), visitor.file(np.zeros_like(TRIMAP))).values
    assert "nothing is unknown" in found["note"]


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "0.0.0.0", ""])
def test_other_names_for_this_machine_are_refused(visitor: Any, host: str) -> None:
    """A name that an attacker made to point here: the browser takes his page and ours for one site."""
    assert visitor.ask("GET", "/", Host=host).status == 403
    assert visitor.ask("POST", "/matte", b"{}", Host=host, Content_Type="application/json").status == 403


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://[", "http://127.0.0.1.evil"])
def test_pages_of_others_are_refused(visitor: Any, origin: str) -> None:
    assert visitor.ask("POST", "/matte", b"{}", Origin=origin, Content_Type="application/json").status == 403


def test_the_ends_of_a_tunnel_are_served(visitor: Any) -> None:
    for host in ("localhost:9000", "127.0.0.1:9000", "LOCALHOST"):
        assert visitor.ask("GET", "/", Host=host, Origin=f"http://{host}").status == 200


def test_what_a_form_can_send_is_refused(visitor: Any) -> None:
    """Browsers send it to other sites without asking them."""
    for kind in ("text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded"):
        assert visitor.ask("POST", "/matte", b"{}", Content_Type=kind).status == 415


@pytest.mark.parametrize("length", ["-1", "x", "", "\u0661"])
def test_a_request_without_its_length(visitor: Any, length: str) -> None:
    with socket.create_connection(("127.0.0.1", visitor.server.server_port), timeout=10) as line:
        head = "POST /matte HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        line.sendall(f"{head}Content-Length: {length}\r\n\r\n".encode())
        with line.makefile("rb") as answer:
            assert b" 411 " in answer.readline()


def test_more_than_is_taken_is_refused_in_a_line(visitor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "MOST_BYTES", 1000)
    for length, status in ((1000, 400), (1200, 413)):
        found = visitor.ask("POST", "/matte", b" " * length, Content_Type="application/json")
        assert found.status == status
    told = "1.2 kB were sent, and at most 1.0 kB are taken: save the photograph smaller"
    assert found.values["error"] == told


def test_a_second_picture_has_to_wait(visitor: Any) -> None:
    with visitor.server.busy:
        found = visitor.matte(visitor.file(IMAGE), visitor.file(TRIMAP))
        assert visitor.ask("GET", "/").status == 200
    assert found.status == 503 and "wait" in found.values["error"]
    assert visitor.matte(visitor.file(IMAGE), visitor.file(TRIMAP)).status == 200


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"image": 1, "trimap": 2}', b"\xff", b"[" * 9000])
def test_what_is_no_request_is_refused(visitor: Any, body: bytes) -> None:
    found = visitor.ask("POST", "/matte", body, Content_Type="application/json")
    assert found.status == 400 and 'JSON of "image" and "trimap"' in found.values["error"]


def test_what_cannot_be_matted_is_told(visitor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    image, trimap, grey = visitor.file(IMAGE), visitor.file(TRIMAP), TRIMAP.copy()
    grey[0, 0] = 77
    wrong = {
        "the photograph is a web page, not an image": (b"<html>", trimap),
        "the photograph is empty (0 bytes)": (b"", trimap),
        "the photograph is damaged": (image[:-200], trimap),
        "the trimap: it is coloured": (image, image),
        "the trimap is 56 x 39 and the photograph 56 x 40 pixels": (image, visitor.file(TRIMAP[1:])),
        "trimap has the values 77": (image, visitor.file(grey)),
    }
    for told, files in wrong.items():
        found = visitor.matte(*files)
        assert found.status == 400 and found.values["error"].startswith(told), found
    monkeypatch.setattr(studio_module, "MOST_PIXELS", IMAGE.shape[0] * IMAGE.shape[1] - 1)
    assert "2,240 pixels, more than the 2,239" in visitor.matte(image, trimap).values["error"]


def test_a_visitor_who_leaves_harms_nobody(visitor: Any, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_connection(("127.0.0.1", visitor.server.server_port)) as line:
        line.sendall(b"POST /matte HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\n")
        line.sendall(b"Content-Length: 5000\r\n\r\n{")
    for _ in range(100):
        if not visitor.server.busy.locked():
            break
        time.sleep(0.05)
    assert visitor.matte(visitor.file(IMAGE), visitor.file(TRIMAP)).status == 200
    assert capfd.readouterr().err == ""


def test_a_port_that_is_taken_is_named(visitor: Any) -> None:
    port = visitor.server.server_port
    with pytest.raises(DimtoolError, match=rf"port {port} cannot be had .* --port"):
        server_module.PageServer(page="", studio=visitor.server.studio, port=port)


def test_without_pymatting_edges_keep_the_photographs_colours(
    visitor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pymatting.foreground.estimate_foreground_ml", None)
    monkeypatch.setattr(visitor.server, "studio", Studio(visitor.matter))
    assert "keep the photograph's colours" in visitor.server.studio.notes[0]
    found = visitor.matte(visitor.file(IMAGE), visitor.file(TRIMAP)).values
    assert np.array_equal(visitor.pixels(found["cutout"])[..., :3], IMAGE)


def test_the_command_serves_until_ctrl_c(visitor: Any, tmp_path: Path) -> None:
    save_model(tmp_path / "model.safetensors", visitor.matter.model)
    (tmp_path / "pymatting.py").write_text("raise ImportError('not here')")  # it would compile for a minute
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", "dimtool", "demo-page", "--port", "0", "--checkpoint", str(tmp_path)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, env=environment, **pipes) as process:
        assert process.stdout is not None
        address = process.stdout.readline().split()[0]
        port = int(address.rstrip("/").rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as line:
            line.sendall(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
            with line.makefile("rb") as answer:
                assert b"<title>" in answer.read()
        process.send_signal(2)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0 and out == "ended\n" and "Traceback" not in err
