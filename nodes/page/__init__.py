"""What the page asks for, as plain blocking functions: JSON in, JSON out. They know neither ComfyUI nor HTTP; nodes/routes.py
serves the table ROUTES.

A function takes the body and a Cancellation, which is cancelled when its time is over. It answers with what can be written as JSON
and holds no secret, or raises a DrawThingsError, whose sentence the page shows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ...drawthings_core.client import Cancellation
from . import configuration, lists, recommended, servers
from .body import Body
from .present import present

Answer = Callable[[Body, Cancellation], dict[str, Any]]


class Route(NamedTuple):
    """One thing that the page can ask for. seconds: how long it may take. decides: it changes which servers are trusted, and with what."""

    answer: Answer
    seconds: float
    decides: bool = False


ROUTES: dict[str, Route] = {
    "servers": Route(servers.servers, 10),
    "servers/save": Route(servers.save, 10, decides=True),
    "servers/forget": Route(servers.forget, 10, decides=True),
    "servers/check": Route(servers.check, 60),
    "servers/accept": Route(servers.accept, 30, decides=True),
    "secrets/allow": Route(servers.allow, 10, decides=True),
    "lists": Route(lists.lists, seconds=lists.PATIENCE + 2),
    "paste": Route(configuration.paste, seconds=20),
    "copy": Route(configuration.copy, seconds=20),
    "recommended": Route(recommended.recommended, 30),
    "present": Route(present, 5),
}
"""By the path below /drawthings/."""
