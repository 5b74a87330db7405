"""The processes of a training watch each other: where one dies, all end, whatever they wait for.

Over TCP, each with the main one: the system itself tells of the end of a process, however it died, and of a
machine that no longer answers. So nothing must run for it, and no time-out must be chosen: a process may
validate, load or write for hours, and is still known to live.
"""

from __future__ import annotations

import os
import secrets
import selectors
import socket
import sys
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Protocol, Self

from .failures import PeerError, SharedError

_DONE, _TOLD = b"d", b"t"  # I end as all do; I end, and why has been told
_SETTING_UP = 20  # seconds
_GRACE = 30.0  # seconds that a process has to end by itself, before it is ended
_KEEP_ALIVE = (
    (socket.TCP_KEEPIDLE, 10),
    (socket.TCP_KEEPINTVL, 4),
    (socket.TCP_KEEPCNT, 4),
)  # seconds, tries


class Group(Protocol):
    """The processes, as `Ranks` has them."""

    index: int
    count: int

    def gather(self, value: Any) -> list[Any]:
        """Each process's value, in their order."""


class Watch:
    """A context in which the end of another process ends this one; all processes must enter it.

    A process that leaves it without an error, or with one that all share, is missed by nobody. What comes
    of a death is a PeerError where the main thread learns of it by itself, and else an end within `grace`
    seconds. One process tells it: the main one, or where that died, the first of each machine.
    """

    def __init__(self, group: Group, *, grace: float = _GRACE) -> None:
        self._group, self._grace = group, grace
        self._peers: dict[int, socket.socket] = {}
        self._leaving, self._found = threading.Event(), threading.Event()
        self._line: str | None = None  # what this process has to tell of a death
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        if self._group.count > 1:
            self._connect()
            self._ours, self._theirs = socket.socketpair()
            self._thread = threading.Thread(target=self._watch, name="watch", daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()
        if isinstance(error, SharedError):
            self._choose_who_tells(error)
        if self._thread is None:
            return
        shared = isinstance(error, SharedError) and not error.alone
        self._tell_all(_DONE if error is None or shared else _TOLD)
        self._theirs.send(_DONE)
        self._thread.join()
        for each in (*self._peers.values(), self._ours, self._theirs):
            each.close()

    def leave(self) -> None:
        """Say that this process is about to end by itself, and has time to finish what it writes."""
        self._leaving.set()

    def _choose_who_tells(self, error: SharedError) -> None:
        if not isinstance(error, PeerError):
            error.told_elsewhere = self._group.index != 0 and not error.alone
        elif self._thread is not None and self._found.wait(self._grace):
            error.args, error.told_elsewhere = (self._line or str(error),), self._line is None

    # ---- connecting ----------------------------------------------------------------------------------------

    def _connect(self) -> None:
        """Connect each process with the main one; one that cannot be reached is not watched."""
        if self._group.index == 0:
            with _server(self._group.count) as server:
                token = secrets.token_bytes(16)
                self._group.gather((_addresses(), server.getsockname()[1], token))
                connected = sum(self._group.gather(False))
                self._accept(server, connected, token)
        else:
            addresses, port, token = self._group.gather(None)[0]
            reached = _reach(addresses, port)
            if reached is not None:
                reached.sendall(token + self._group.index.to_bytes(4))
                self._peers[0] = reached
            self._group.gather(reached is not None)

    def _accept(self, server: socket.socket, count: int, token: bytes) -> None:
        server.settimeout(_SETTING_UP)
        while len(self._peers) < count:
            try:
                peer, _ = server.accept()
                peer.settimeout(_SETTING_UP)
                hello = peer.recv(len(token) + 4, socket.MSG_WAITALL)
            except OSError:
                return
            if hello[: len(token)] == token:
                self._peers[int.from_bytes(hello[len(token) :])] = _kept_alive(peer)
            else:
                peer.close()  # a stranger

    # ---- watching ------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Wait for what the others say, or for their end; that of this context ends it."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._ours, selectors.EVENT_READ)
            for index, peer in self._peers.items():
                selector.register(peer, selectors.EVENT_READ, index)
            while True:
                for key, _ in selector.select():
                    if key.fileobj is self._ours:
                        return
                    word = _read(self._peers[key.data])
                    selector.unregister(key.fileobj)
                    if word != _DONE:
                        self._lose(key.data, told=word == _TOLD)
                        return

    def _lose(self, index: int, *, told: bool) -> None:
        """Have this process end, since that one did."""
        if not told and self._tells_of(index):
            self._line = str(PeerError(f"process {index} of this training has died"))
        self._tell_all(_TOLD)  # by which the main process tells the others
        self._found.set()
        if self._leaving.wait(self._grace):
            return
        if self._line is not None:
            start = "\n" if sys.stderr.isatty() else ""  # below the bar
            sys.stderr.write(f"{start}dimtool: {self._line}\n")
            sys.stderr.flush()
        os._exit(1)  # the main thread waits in PyTorch, where nothing reaches it

    def _tells_of(self, index: int) -> bool:
        ours = self._group.index
        return ours == 0 or (index == 0 and (ours == 1 or os.environ.get("LOCAL_RANK") == "0"))

    def _tell_all(self, word: bytes) -> None:
        for peer in self._peers.values():
            try:
                peer.send(word)
            except OSError:  # it is gone
                continue


def _server(count: int) -> socket.socket:
    both = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both else socket.AF_INET
    return socket.create_server(("", 0), family=family, backlog=count, dualstack_ipv6=both)


def _addresses() -> list[str]:
    """Where other machines may find this one: as it is seen from where they all met, then by its name."""
    meeting = os.environ.get("MASTER_ADDR", "localhost")
    found = []
    try:
        family, *_, address = socket.getaddrinfo(meeting, 9, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(address)  # which sends nothing, and chooses the way
            found.append(str(probe.getsockname()[0]))
    except OSError:
        pass
    return [*found, meeting, socket.gethostname()]


def _reach(addresses: Sequence[str], port: int) -> socket.socket | None:
    for address in addresses:
        try:
            reached = socket.create_connection((address, port), timeout=_SETTING_UP / len(addresses))
        except OSError:
            continue
        return _kept_alive(reached)
    return None


def _kept_alive(peer: socket.socket) -> socket.socket:
    """A socket whose end is known within half a minute, though the other machine be gone."""
    peer.settimeout(None)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEP_ALIVE:
        peer.setsockopt(socket.IPPROTO_TCP, option, value)
    return peer


def _read(peer: socket.socket) -> bytes:
    """A word of the other's; none where it is gone."""
    try:
        return peer.recv(1)
    except OSError:
        return b""
