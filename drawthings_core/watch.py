"""A generation or an upload that falls silent: is its server still there, and for how long may that go on.

A server says nothing while a call is queued, and nothing between two steps of a slow model. Hours is answered meanwhile by every
server, Echo is not (`--echo-on-queue`); hashing a large file keeps it from answering anybody (protocol.md section 3).
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import grpc

from .errors import ServerStalled


class Patience(NamedTuple):
    """Seconds. ask_after: of silence, before the server is asked for a sign of life. unanswered: until it must have given one.

    queued, sampling, sending: of silence at most although it lives, before the first message, after it, and once results are announced.
    taking, checking: of silence at most in an upload, for a part of the file, and after the last part, when the server reads all of it again.
    """

    ask_after: float = 60.0
    unanswered: float = 300.0
    queued: float = 12 * 3600.0
    sampling: float = 3600.0
    sending: float = 300.0
    taking: float = 1800.0  # it answers nobody while it hashes another client's file
    checking: float = 3600.0

    @property
    def of_upload(self) -> Patience:
        return self._replace(queued=self.taking, sampling=self.taking, sending=self.checking)


NOT_ASKING = Patience(ask_after=math.inf)
"""With one that answers nobody meanwhile."""


NO_LIFE = (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE)
"""How asking for a sign of life ends where nobody is. Any other answer is one."""


class Watch:
    """Watches one call from its start to `close`. Thread-safe.

    ask: starts a call that every server answers (a gRPC future) with a time limit; None where it may answer nobody, as one that hashes.
    give_up: ends the watched call; `problem` then says why.
    silent: what is said of a server that goes on like that.
    """

    def __init__(
        self,
        address: str,
        patience: Patience,
        ask: Callable[[float], Any] | None,
        give_up: Callable[[], Any],
        silent: str = "answers, but has told nothing of this generation",
    ):
        self.problem: ServerStalled | None = None
        self._address, self._patience, self._ask, self._give_up, self._silent = address, patience, ask, give_up, silent
        self._longest = patience.queued
        self._changed = threading.Condition()
        self._heard_at = time.monotonic()
        self._closed = False
        self._asked: Any = None
        self._thread = threading.Thread(target=self._run, name="drawthings-watch", daemon=True)
        self._thread.start()

    def heard(self, result: bool) -> None:
        """The call gave a message; result: one that announces its results or brings a part of them; of an upload, that all has arrived."""
        with self._changed:
            self._heard_at = time.monotonic()
            if result:
                self._longest = self._patience.sending
            elif self._longest == self._patience.queued:
                self._longest = self._patience.sampling

    def close(self) -> None:
        """The call has ended."""
        with self._changed:
            self._closed = True
            asked = self._asked
            self._changed.notify_all()
        if asked is not None:
            asked.cancel()
        self._thread.join(5)

    def _run(self) -> None:
        asked_at = 0.0  # when the last sign of life was asked for
        ask_after = math.inf if self._ask is None else self._patience.ask_after
        while True:
            with self._changed:
                silent_since = self._heard_at
                next_look = min(max(silent_since, asked_at) + ask_after, silent_since + self._longest)
                if self._changed.wait_for(lambda: self._closed, max(0.0, next_look - time.monotonic())):
                    return
                silence = time.monotonic() - self._heard_at
                longest = self._longest
            if silence >= longest:
                self._end(
                    ServerStalled(
                        self._address,
                        f"The server at {self._address} {self._silent} for {_duration(silence)}: see whether it hangs, restart it, and try again.",
                    )
                )
                return
            if silence < ask_after:
                continue
            asked_at = time.monotonic()
            if not self._lives():
                with self._changed:
                    if self._closed or self._heard_at > asked_at:
                        continue
                self._end(asleep(self._address, time.monotonic() - silent_since))
                return

    def _lives(self) -> bool:
        """Whether it gives any answer, be it a refusal."""
        with self._changed:
            if self._closed or self._ask is None:
                return True
            self._asked = self._ask(self._patience.unanswered)
        status = self._asked.code()  # waits
        with self._changed:
            self._asked = None
        return status not in NO_LIFE

    def _end(self, problem: ServerStalled) -> None:
        with self._changed:
            if self._closed:
                return
            self.problem = problem
        self._give_up()


def asleep(address: str, seconds: float) -> ServerStalled:
    """The error of a server that has given no sign of life for so long."""
    return ServerStalled(
        address,
        f"The server at {address} has not answered for {_duration(seconds)}: see whether its machine sleeps or the network is gone, then try "
        f"again.",
    )


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{seconds:.0f} seconds" if minutes < 2 else f"{minutes} minutes" if minutes < 120 else f"{minutes / 60:.0f} hours"
