"""A network link between client and server on this machine: it counts connections, and can be slow."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from types import TracebackType

_PIECE = 16 << 10


class Link:
    """Forwards TCP connections to a port of this machine. Thread-safe.

    upload: bytes a second that it takes from clients, all connections together; None for no limit.
    """

    def __init__(self, port: int, upload: float | None = None):
        self.upload = upload
        self.opened = 0
        """Connections since the start."""
        self.sent = 0
        """Bytes from clients."""
        self._server = ("127.0.0.1", port)
        self._lock = threading.Lock()
        self._free = 0.0  # when the link is free again
        self._sockets: set[socket.socket] = set()
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _PIECE)  # a real slow link takes no megabytes at once
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(16)
        self.host, self.port = self._listener.getsockname()
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Link:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._close(self._listener)
        self.cut()

    def cut(self) -> None:
        """End every connection; new ones are taken."""
        with self._lock:
            open_ones = list(self._sockets)
        for one in open_ones:
            self._close(one)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._server, timeout=5)
            except OSError:
                return
            server.settimeout(None)
            for one in (client, server):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self.opened += 1
                self._sockets |= {client, server}
            threading.Thread(target=self._pass, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self._pass, args=(server, client, False), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, up: bool) -> None:
        try:
            while piece := source.recv(_PIECE):
                if up:
                    self._take_time(len(piece))
                target.sendall(piece)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            self._close(source)
            self._close(target)

    def _take_time(self, size: int) -> None:
        with self._lock:
            self.sent += size
            if self.upload is None:
                return
            now = time.monotonic()
            self._free = max(self._free, now) + size / self.upload
            wait = self._free - now
        time.sleep(wait)

    def _close(self, one: socket.socket) -> None:
        with self._lock:
            self._sockets.discard(one)
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()
