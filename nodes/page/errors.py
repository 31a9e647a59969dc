"""Errors as the page gets them."""

from __future__ import annotations

from ...drawthings_core.errors import DrawThingsError


def as_json(error: DrawThingsError) -> dict[str, str]:
    return described(type(error).__name__, str(error))


def described(type: str, sentence: str) -> dict[str, str]:
    """type: for programs. message: for people."""
    return {"type": type, "message": sentence}
