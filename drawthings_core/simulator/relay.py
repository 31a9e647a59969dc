"""Bytes between clients and a server, passed on as they are, TLS or not: what a network does to a connection can be done to it here."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from types import TracebackType
from typing import TypeVar

_PIECE = 16 << 10
_QUIET_SECONDS = 0.2
"""After which nothing of what a server has sent is still on its way to us: gRPC writes a little later than it says."""
_MOST_SECONDS = 5.0
"""That are waited for it, where other calls on the connection go on."""
Self = TypeVar("Self", bound="Relay")


class Relay:
    """Forwards TCP connections from `host`:`port` to a port of this machine. Thread-safe. Raises OSError where it cannot listen.

    receive_buffer: bytes that the system takes from clients ahead of it, None for its own choice.
    """

    def __init__(self, server_port: int, address: str = "127.0.0.1", port: int = 0, receive_buffer: int | None = None):
        self._server = ("127.0.0.1", server_port)
        self._lock = threading.Lock()
        self._connections: dict[int, _Connection] = {}  # by the port that the server sees
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._listener = socket.socket(family)
        if receive_buffer is not None:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        try:
            if os.name != "nt":  # where it would share the port with whoever has it
                self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._listener.bind((address, port))
            self._listener.listen(128)
        except OSError:
            self._listener.close()
            raise
        self.host, self.port = self._listener.getsockname()[:2]
        threading.Thread(target=self._accept, name="relay", daemon=True).start()

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        _close(self._listener)
        self.cut()

    def cut(self) -> None:
        """End every connection; new ones are taken."""
        with self._lock:
            there = list(self._connections.values())
        for connection in there:
            connection.close()

    def hold(self, peer_port: int, after: int) -> None:
        """Of the connection that the server sees come from `peer_port`, pass on so many bytes more to the client and then none, and close nothing.

        Waits until all that the server has sent before has been passed on.
        """
        with self._lock:
            connection = self._connections.get(peer_port)
        if connection is not None:
            connection.hold(after)

    def passing_up(self, size: int) -> None:
        """So many bytes came from a client, and go on when this returns."""

    def connected(self) -> None:
        """A client's connection was made."""

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                connection = _Connection(client, socket.create_connection(self._server, timeout=5))
            except OSError:
                _close(client)
                continue
            with self._lock:
                self._connections[connection.peer_port] = connection
            self.connected()
            threading.Thread(target=self._up, args=(connection,), name="relay-up", daemon=True).start()
            threading.Thread(target=self._down, args=(connection,), name="relay-down", daemon=True).start()

    def _up(self, connection: _Connection) -> None:
        whole = False
        with contextlib.suppress(OSError):
            while piece := connection.client.recv(_PIECE):
                self.passing_up(len(piece))
                connection.server.sendall(piece)
            connection.server.shutdown(socket.SHUT_WR)
            whole = True
        connection.client_ended.set()
        self._ended(connection, whole)

    def _down(self, connection: _Connection) -> None:
        whole = False
        with contextlib.suppress(OSError):
            while piece := connection.server.recv(_PIECE):
                passed = connection.may_pass(len(piece))
                connection.client.sendall(piece[:passed])
                connection.passed_at = time.monotonic()
                if passed < len(piece):
                    connection.client_ended.wait()
                    break
            connection.client.shutdown(socket.SHUT_WR)
            whole = True
        self._ended(connection, whole)

    def _ended(self, connection: _Connection, whole: bool) -> None:
        """One way of a connection is at its end; whole: the other one may go on."""
        with self._lock:
            connection.open_ways -= 1
            if whole and connection.open_ways:
                return
            self._connections.pop(connection.peer_port, None)
        connection.close()


class _Connection:
    """A client's and the one to the server that belongs to it. peer_port: ours, as the server sees it."""

    def __init__(self, client: socket.socket, server: socket.socket):
        self.client, self.server = client, server
        server.settimeout(None)
        for one in (client, server):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.peer_port: int = server.getsockname()[1]
        self.open_ways = 2
        self.client_ended = threading.Event()
        self.passed_at = time.monotonic()
        """When bytes went on to the client last."""
        self._lock = threading.Lock()
        self._left: int | None = None

    def hold(self, after: int) -> None:
        end = time.monotonic() + _MOST_SECONDS
        while (left := min(end, self.passed_at + _QUIET_SECONDS) - time.monotonic()) > 0:
            time.sleep(left)
        with self._lock:
            self._left = after

    def may_pass(self, size: int) -> int:
        """How many of so many bytes may go on to the client."""
        with self._lock:
            if self._left is None:
                return size
            passed = min(size, self._left)
            self._left -= passed
            return passed

    def close(self) -> None:
        _close(self.client)
        _close(self.server)


def _close(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)  # wakes who waits for it in another thread
    one.close()
