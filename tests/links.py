"""A network link between client and server on this machine: it counts connections, and can be slow."""

from __future__ import annotations

import threading
import time

from comfyui_drawthings.drawthings_core.simulator.relay import Relay


class Link(Relay):
    """Forwards TCP connections to a port of this machine. Thread-safe.

    upload: bytes a second that it takes from clients, all connections together; None for no limit.
    """

    def __init__(self, port: int, upload: float | None = None):
        self.upload = upload
        self.opened = 0
        """Connections since the start."""
        self.sent = 0
        """Bytes from clients."""
        self._counting = threading.Lock()
        self._free = 0.0  # when the link is free again
        super().__init__(port, receive_buffer=16 << 10)  # a real slow link takes no megabytes at once

    def connected(self) -> None:
        with self._counting:
            self.opened += 1

    def passing_up(self, size: int) -> None:
        with self._counting:
            self.sent += size
            if self.upload is None:
                return
            now = time.monotonic()
            self._free = max(self._free, now) + size / self.upload
            wait = self._free - now
        time.sleep(wait)
