"""A topic of damaged data whose numbers fail in every way, for test_fuzz."""

from __future__ import annotations

import os

from comfyui_drawthings.drawthings_core.errors import InvalidInput


def fails(number: int) -> str:
    if number == 1:
        os._exit(3)
    if number == 2:
        raise KeyError("nobody thought of this")
    if number == 3:
        raise InvalidInput("no sentence at all")
    if number == 4:
        raise InvalidInput("A sentence that goes on." * 1000)
    if number == 5:
        raise InvalidInput("A sentence.")
    return "result"


ATTEMPTS = {"anything": fails}
