"""A shared secret on its way through this process.

What shows values without being asked (a log, a traceback with its locals, a debugger's dump, JSON or pickle of whatever a graph hands
around) must not find it, so it is an object that shows nothing, and joins a request only when gRPC asks for the bytes.
"""

from __future__ import annotations

import hmac
from typing import Any, NoReturn


class Secret:
    """A secret that is not in its text, its repr, its attributes' listing, a pickle or JSON. `reveal` is for what sends or saves it.

    Equal to one, or to a text, of the same value. True unless it is empty.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str):
        self._value = value

    def reveal(self) -> str:
        """The secret itself: not to be kept in a variable, which a traceback could show."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(hidden)"

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Secret):
            other = other._value
        if not isinstance(other, str):
            return NotImplemented
        return hmac.compare_digest(self._value.encode("utf-8", "surrogatepass"), other.encode("utf-8", "surrogatepass"))

    def __hash__(self) -> int:
        return hash(self._value)

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, _memo: Any) -> Secret:
        return self

    def __reduce_ex__(self, _protocol: Any) -> NoReturn:
        raise TypeError("A shared secret is not pickled: it would be on a disk, or in another process.")


class Sealed:
    """A protobuf request and the secret that goes with it; the Stub makes bytes of it. None: it goes without one."""

    __slots__ = ("_message", "_secret")

    def __init__(self, message: Any, secret: Secret | None):
        self._message = message
        self._secret = secret

    def SerializeToString(self) -> bytes:
        """Both. Concatenated messages are one message, in protobuf."""
        return self._message.SerializeToString() + (field(type(self._message), self._secret) if self._secret else b"")

    def __repr__(self) -> str:
        return f"Sealed({type(self._message).__name__})"


class SealedBytes:
    """A serialized request with its secret in it. len: bytes."""

    __slots__ = ("_data",)

    def __init__(self, data: bytes):
        self._data = data

    def __len__(self) -> int:
        return len(self._data)

    def SerializeToString(self) -> bytes:
        return self._data

    def __repr__(self) -> str:
        return f"SealedBytes({len(self._data)} bytes)"


def field(message_class: Any, secret: Secret) -> bytes:
    """The field sharedSecret of a message of this class, serialized."""
    return message_class(sharedSecret=secret.reveal()).SerializeToString()
