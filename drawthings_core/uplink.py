"""How fast a server takes what is sent to it, measured on requests that are sent anyway."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Iterator

import grpc

from ..proto import messages
from ..proto.service import Stub
from .secret import SealedBytes

PAYS_BELOW = 10e6
"""Bytes a second below which compressing pays: fpzip saves a quarter of a picture at about 50 MB/s."""

_LEAST_BYTES = 1 << 20
"""Smaller requests say more about delays than about the rate."""

_VALID_SECONDS = 600.0
_SLOW_VALID_SECONDS = 60.0
_SAMPLES = 2
"""One slow request says little, since a server may be busy: the best of so many counts."""

_ANSWER_SECONDS = 600.0
_NO_ANSWERS = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED)


class Uplink:
    """What is known about the way to one server. Thread-safe.

    Neither end says when a request has arrived: gRPC calls it sent when it is in buffers of several megabytes, a server answers with
    headers before it has read it, and its first message comes after the queue. So a small call follows the request on the same
    connection. TCP keeps their order: when that call is answered, the request is there.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rates: deque[float] = deque(maxlen=_SAMPLES)
        self._measured = 0.0
        self._delay: float | None = None

    @property
    def rate(self) -> float | None:
        """Bytes a second, None before the first measurement."""
        with self._lock:
            return max(self._rates, default=None)

    @property
    def slow(self) -> bool:
        """Whether compressing pays, as far as is known."""
        with self._lock:
            return self._is_slow()

    def due(self, size: int) -> bool:
        """Whether a request of `size` bytes, as they are without compression, should be measured."""
        with self._lock:
            if not self._rates or (self._rates[-1] < PAYS_BELOW and not self._is_slow()):
                valid = 0.0  # not sure yet
            else:
                valid = _SLOW_VALID_SECONDS if self._is_slow() else _VALID_SECONDS
            return size >= _LEAST_BYTES and time.monotonic() - self._measured >= valid

    def _is_slow(self) -> bool:
        return len(self._rates) == _SAMPLES and max(self._rates) < PAYS_BELOW

    def answered(self, seconds: float) -> None:
        """A small call took so long from here to the server and back."""
        with self._lock:
            self._delay = seconds if self._delay is None else min(self._delay, seconds)

    def measured(self, message: SealedBytes, stub: Stub) -> Iterator[SealedBytes]:
        """The message, for a call whose requests come from an iterator: gRPC asks for the next one when it has passed this one on."""
        started = time.monotonic()
        yield message
        with contextlib.suppress(ValueError):  # the channel was closed meanwhile
            follower = stub.Hours.future(messages.HoursRequest(), timeout=_ANSWER_SECONDS)
            follower.add_done_callback(lambda done: self._arrived(done, len(message), started))

    def _arrived(self, follower: grpc.Future, size: int, started: float) -> None:
        now = time.monotonic()
        if follower.cancelled() or follower.code() in _NO_ANSWERS:  # type: ignore[attr-defined]  any other error is an answer
            return
        with self._lock:
            self._rates.append(size / max(now - started - (self._delay or 0.0), 1e-6))
            self._measured = now
