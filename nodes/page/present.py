"""A page tells whose it is, in a ComfyUI with several users: a prompt names only its page, and settings are kept by user."""

from __future__ import annotations

from ...drawthings_core.client import Cancellation
from .. import host
from .body import Body, text


def present(body: Body, cancellation: Cancellation) -> dict[str, object]:
    """{client, user} -> {}. The name is only ever compared with ComfyUI's users, and leads to the settings of that user."""
    host.remember_user(text(body, "client"), text(body, "user"))
    return {}
