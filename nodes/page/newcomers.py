"""Which addresses ComfyUI looks at because a page asks: enough for anybody's servers, too few to look around in a network.

Who can make a page ask (a workflow that is opened, a script in the page) chooses addresses and ports, and an answer tells what is there.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from ...drawthings_core.errors import InvalidInput
from ...drawthings_core.servers import Profiles, Server, one_spelling
from .. import known_files

MOST = 60
"""Addresses at which no server of Draw Things was found, and that are not saved, within SECONDS."""

SECONDS = 600.0


def used_here(server: Server) -> bool:
    """Whether a Draw Things server answered there since ComfyUI was started, or it is saved, or its certificate is remembered."""
    if known_files.last_of(server.address) is not None:
        return True
    profiles = Profiles()
    address = one_spelling(server.host, server.port)
    saved = {one_spelling(row["host"], row["port"]) for row in profiles.server_rows().values()}
    return address in saved or profiles.certificate(server.address) is not None


class Newcomers:
    """Counts the addresses that are not `used_here`. Thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._lock = threading.Lock()
        self._asked: dict[Server, float] = {}

    def admit(self, server: Server) -> None:
        """Raise InvalidInput when this would be one address too many."""
        place = Server(server.host, server.port)
        if used_here(place):
            return
        with self._lock:
            now = self._clock()
            self._asked = {one: then for one, then in self._asked.items() if now - then < SECONDS and not used_here(one)}
            if place not in self._asked and len(self._asked) >= MOST:
                raise InvalidInput(
                    f"ComfyUI was asked to look for servers at more than {MOST} addresses within {SECONDS / 60:.0f} minutes, and looks at no "
                    f"further ones for now: try again later, or run the workflow."
                )
            self._asked.setdefault(place, now)

    def forget(self) -> None:
        """Begin anew."""
        with self._lock:
            self._asked.clear()


newcomers = Newcomers()
