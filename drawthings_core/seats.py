"""Which of several servers takes the next piece of work: each renders one at a time, whichever node asks. No I/O.

A free server takes the next piece, unless all that waits would be done sooner without it: near the end a slow server rests rather than begin
what a quicker one would finish before it. What a server needs for a piece is known from its last ones.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import NamedTuple

from .configuration import Configuration
from .servers import Server

_LAST = 3
"""Pieces whose quickest is a server's pace: loading a model, or waiting in the server's queue, only ever adds."""

_FORGOTTEN = 600.0
"""Seconds after which a pace may be another: what else the server had to do may be over."""

_SLACK = 0.05
"""Part of its own time by which a server may be later than the others with a piece, and take it: paces vary by so much."""


class Work(NamedTuple):
    """How much a piece is. kind: the model; amounts are compared within one."""

    kind: str
    amount: float

    @classmethod
    def of(cls, settings: Configuration, pictures: int) -> Work:
        """pictures: how many a run of these settings gives, frames included."""
        amount = settings["steps"] * settings["start_width"] * settings["start_height"] * max(1, pictures)
        return cls(settings["model"] or "", float(amount))


class Seat:
    """A place at a server, for one piece at a time. begun: when the piece in it was begun, None when it is free."""

    def __init__(self, server: Server):
        self.server = server
        self.begun: float | None = None
        self.work = Work("", 0)
        self._paces: dict[str, deque[tuple[float, float]]] = {}  # pace, when

    def pace(self, kind: str, now: float) -> float | None:
        """Seconds for an amount of 1; None while it is not known."""
        return min((pace for pace, when in self._paces.get(kind, ()) if now - when < _FORGOTTEN), default=None)

    def learn(self, seconds: float, now: float) -> None:
        """The piece in it took so long."""
        self._paces.setdefault(self.work.kind, deque(maxlen=_LAST)).append((seconds / max(1.0, self.work.amount), now))


class Queue:
    """Pieces of one node that wait, all of about the same work. seats: those that may take them, no others."""

    def __init__(self, work: Work, waiting: int):
        self.work = work
        self.waiting = waiting
        self.seats: set[Seat] = set()


class Seats:
    """The seats of this process, and who waits for one. Everything is called with `changed` held. clock: seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self.changed = threading.Condition()
        self._clock = clock
        self._seats: dict[tuple[Server, int], Seat] = {}
        self._queues: list[Queue] = []

    def at(self, servers: Iterable[Server]) -> list[Seat]:
        """A seat for each; a server that is named again has a second one."""
        named: Counter[Server] = Counter()
        found = []
        for server in servers:
            found.append(self._seats.setdefault((server, named[server]), Seat(server)))
            named[server] += 1
        return found

    def queue(self, queue: Queue, before: Queue | None = None) -> None:
        """Those that queued before go first; it may be put before another one."""
        self._queues.insert(len(self._queues) if before is None else self._queues.index(before), queue)

    def unqueue(self, queue: Queue) -> None:
        if queue in self._queues:
            self._queues.remove(queue)

    def turn(self, seat: Seat) -> Queue | None:
        """The queue whose next piece a free seat takes now; None: it is better left to others."""
        ahead = {one: self._left(one) for queue in self._queues for one in queue.seats}
        for queue in self._queues:
            costs = self._costs(queue)
            for _ in range(queue.waiting if costs else 0):
                soonest = min(costs, key=lambda one: ahead[one] + costs[one])
                if seat in costs and ahead[seat] + costs[seat] <= ahead[soonest] + costs[soonest] + _SLACK * costs[seat]:
                    return queue
                ahead[soonest] += costs[soonest]
        return None

    def begin(self, seat: Seat, queue: Queue) -> None:
        """The seat takes a piece of the queue."""
        seat.begun, seat.work = self._clock(), queue.work
        queue.waiting -= 1

    def end(self, seat: Seat, done: bool) -> None:
        """The seat is free again; done: its piece was made."""
        if done and seat.begun is not None:
            seat.learn(self._clock() - seat.begun, self._clock())
        seat.begun = None

    def seconds_left(self, *queues: Queue) -> float | None:
        """Until all pieces of these queues are done, those in the seats included; None while no pace is known, or nobody takes some."""
        if any(self._pace(queue.work.kind) is None or not queue.seats for queue in queues):
            return None
        ahead = {one: self._left(one) for queue in queues for one in queue.seats}
        for queue in queues:
            costs = self._costs(queue)
            for _ in range(queue.waiting):
                soonest = min(costs, key=lambda one: ahead[one] + costs[one])
                ahead[soonest] += costs[soonest]
        return max(ahead.values(), default=None)

    def _costs(self, queue: Queue) -> dict[Seat, float]:
        """Seconds that each of its seats needs for a piece; where nothing is known, all the same."""
        return {seat: self._needed(seat, queue.work) or 1.0 for seat in queue.seats}

    def _needed(self, seat: Seat, work: Work) -> float | None:
        """One that is not known yet is taken to be as quick as the quickest."""
        pace = seat.pace(work.kind, self._clock()) or self._pace(work.kind)
        return None if pace is None else pace * work.amount

    def _pace(self, kind: str) -> float | None:
        now = self._clock()
        known = [pace for seat in self._seats.values() if (pace := seat.pace(kind, now)) is not None]
        return min(known, default=None)

    def _left(self, seat: Seat) -> float:
        """Seconds until a seat is free. One that is late is taken to be late by as much again, and so is not waited for without end."""
        if seat.begun is None:
            return 0.0
        taken, needed = self._clock() - seat.begun, self._needed(seat, seat.work)
        return taken if needed is None else abs(needed - taken)


shared = Seats()
"""Those of all nodes."""
