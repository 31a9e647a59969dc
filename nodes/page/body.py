"""Reading what the page sent: each function gives a field of the expected type, or raises InvalidInput."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...drawthings_core.errors import InvalidInput
from ...drawthings_core.secret import Secret
from ...drawthings_core.servers import DEFAULT_PORT, NO_SERVER, Server
from ...drawthings_core.tls import TLSMode
from ..load_server import server_from

Body = Mapping[str, Any]

SECRET = "new_secret"
"""The one field that a secret comes in."""


def text(body: Body, name: str, default: str | None = None) -> str:
    """A text; `default` where the field is missing, unless it is None."""
    value = body.get(name, default)
    if not isinstance(value, str):
        raise _wrong(name, "a text")
    return value


def sealed(body: Body) -> Body:
    """The body with its secret as one: an error's traceback may show the locals of those who pass it on. Raises InvalidInput."""
    return {**body, SECRET: secret(body)} if SECRET in body else body


def secret(body: Body) -> Secret:
    """The secret that came with a body; an empty one where none did."""
    value = body.get(SECRET, "")
    return value if isinstance(value, Secret) else Secret(text(body, SECRET, ""))


def switch(body: Body, name: str, default: bool = False) -> bool:
    value = body.get(name, default)
    if not isinstance(value, bool):
        raise _wrong(name, "true or false")
    return value


def whole(body: Body, name: str, default: int | None = None) -> int:
    """A whole number, also where JavaScript wrote 7859.0."""
    value = body.get(name, default)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong(name, "a whole number")
    return value


def part(body: Body, name: str) -> Body:
    """An object; empty where the field is missing."""
    value = body.get(name, {})
    if not isinstance(value, dict):
        raise _wrong(name, "an object")
    return value


def items(body: Body, name: str, most: int) -> list[Any]:
    """A list of at most so many; empty where the field is missing."""
    value = body.get(name, [])
    if not isinstance(value, list) or len(value) > most:
        raise _wrong(name, f"a list of at most {most}")
    return value


def server(value: Any) -> Server:
    """The server that Load Server's widget values {host, port, tls, secret, ca_file, saved_server} describe; secret is a name. Raises InvalidInput and
    ProfileError.
    """
    if not isinstance(value, dict):
        raise _wrong("server", "the values of a Load Server node")
    return server_from(
        text(value, "host"),
        whole(value, "port", DEFAULT_PORT),
        text(value, "tls", TLSMode.auto.value),
        text(value, "secret", ""),
        text(value, "ca_file", ""),
        text(value, "saved_server", NO_SERVER),
    )


def _wrong(name: str, needed: str) -> InvalidInput:
    return InvalidInput(f"The field {name!r} of the page's request is not {needed}: reload the page, which may be older than the nodes.")
