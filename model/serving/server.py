"""A web server for this machine alone: one page, and one thing to ask it for.

It listens on the loopback address. A web page from elsewhere may still have a browser ask it: under a name
that was made to point here (DNS rebinding), or as a form. So the names of this machine are the only ones
it answers to, and it takes nothing but JSON, which browsers send to another site only when that allows it.
"""

from __future__ import annotations

import errno
import json
import sys
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from ...errors import DimtoolError, WrongUseError
from ...text import size
from .studio import Studio

HOST = "127.0.0.1"
PORT = 8467
MOST_BYTES = 64_000_000  # of a request: a photograph of 45 MB with its trimap, in base64
_NAMES = {HOST, "localhost"}  # whatever the port: a tunnel has another one at its end
_PATIENCE = 30  # seconds that a client may be silent
_PIECE = 1 << 16

# The page is one file: nothing is loaded from anywhere, and it can send to nobody else.
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class PageServer(ThreadingHTTPServer):
    """Serves the page, and mattes with `studio`, one picture at a time."""

    daemon_threads = True

    def __init__(self, *, page: str, studio: Studio, port: int = PORT) -> None:
        """port: 0 for any that is free. Raises WrongUseError where it is taken."""
        self.page = page.encode()
        self.studio = studio
        self.busy = threading.Lock()
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            raise WrongUseError(
                f"port {port} cannot be had ({error.strerror}): give another --port, or 0 for any free one"
            ) from error

    @property
    def address(self) -> str:
        """Where the page is."""
        return f"http://{HOST}:{self.server_port}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A visitor who left is no fault; all else keeps its traceback."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: PageServer
    server_version, sys_version = "dimtool", ""
    timeout = _PATIENCE

    def do_GET(self) -> None:
        if self._is_ours("/"):
            self._answer(HTTPStatus.OK, "text/html; charset=utf-8", self.server.page)

    def do_POST(self) -> None:
        if not self._is_ours("/matte"):
            return
        length = self.headers.get("Content-Length", "")
        if self.headers.get_content_type() != "application/json":
            self._refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send JSON, as application/json")
        elif not (length.isascii() and length.isdigit()):
            self._refuse(HTTPStatus.LENGTH_REQUIRED, "say how long the request is, in Content-Length")
        elif int(length) > MOST_BYTES:
            self._refuse_body(int(length), HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _too_large(int(length)))
        elif not self.server.busy.acquire(blocking=False):
            waiting = "another picture is being matted: wait, and send this one again"
            self._refuse_body(int(length), HTTPStatus.SERVICE_UNAVAILABLE, waiting)
        else:
            try:
                status, made = self._made(self.rfile.read(int(length)))
            finally:
                self.server.busy.release()
            self._answer(status, "application/json", made)  # whoever has it may ask again at once

    def _made(self, body: bytes) -> tuple[HTTPStatus, bytes]:
        try:
            return HTTPStatus.OK, self.server.studio.make(body)
        except DimtoolError as error:
            return HTTPStatus.BAD_REQUEST, _told(str(error))

    def _is_ours(self, path: str) -> bool:
        """Whether the request is for this machine's page and `path`; else it has its answer."""
        origin = self.headers.get("Origin")
        if not _is_here(f"//{self.headers.get('Host', '')}") or (origin is not None and not _is_here(origin)):
            self._refuse(HTTPStatus.FORBIDDEN, "this page is only for its own machine: open it as 127.0.0.1")
        elif self.path != path:
            self._refuse(HTTPStatus.NOT_FOUND, "there is nothing here but the page, at /")
        else:
            return True
        return False

    def _refuse_body(self, length: int, status: HTTPStatus, line: str) -> None:
        """Answer without keeping what is sent; it is read, as a browser first sends all and then listens."""
        left = min(length, 4 * MOST_BYTES)
        while left and (piece := self.rfile.read(min(left, _PIECE))):
            left -= len(piece)
        self._refuse(status, line)

    def _refuse(self, status: HTTPStatus, line: str) -> None:
        self._answer(status, "application/json", _told(line))

    def _answer(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(content)), **_HEADERS}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- its name in the library
        """Nothing: a terminal is no place for each look at a page."""


def _is_here(address: str) -> bool:
    try:
        return urlsplit(address).hostname in _NAMES
    except ValueError:
        return False


def _told(line: str) -> bytes:
    return json.dumps({"error": line}).encode()


def _too_large(length: int) -> str:
    return f"{size(length)} were sent, and at most {size(MOST_BYTES)} are taken: save the photograph smaller"
