"""Errors as the page gets them."""

from __future__ import annotations

import re

from ...drawthings_core.errors import DrawThingsError


def as_json(error: DrawThingsError) -> dict[str, str]:
    return described(type(error).__name__, str(error))


def described(type: str, sentence: str) -> dict[str, str]:
    """type: for programs. message: for people. help: the anchor of its section in the help pages, SecretRejected -> secret-rejected."""
    return {"type": type, "message": sentence, "help": re.sub(r"(?<=[a-z])(?=[A-Z])", "-", type).lower()}
