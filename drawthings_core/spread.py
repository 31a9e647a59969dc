"""Several servers as one: each run of a plan goes to the next server that is free, and the results come in the order of the plan.

A server that fails gives its run back, and is left out for a while, in later nodes too. One that lacks a file gets no run of this plan. What
is refused here is the request's own fault and is told at once; every run keeps the seed that the plan gave it, so that it does not matter who
makes it. Threads live as long as one node's work.
"""

from __future__ import annotations

import contextvars
import heapq
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from types import TracebackType
from typing import Any, NamedTuple, Protocol

from . import seats
from .album import Album
from .catalog import Catalog
from .client import Cancellation, GenerationResult, client_for
from .errors import (
    AllServersFailed,
    BadResult,
    ConnectionFailed,
    ConnectionLost,
    DrawThingsError,
    FileNotOnServer,
    FileNotUsable,
    GenerationCancelled,
    InvalidInput,
    SecretRejected,
    ServerFailed,
    of_server,
)
from .job import Plan, Run
from .response import Event
from .seats import Queue, Seat, Seats, Work
from .servers import Server
from .several import LATE

COOL_DOWN = 60.0
"""Seconds for which a server that failed gets nothing."""

_LOOK_SECONDS = 0.25
"""How often a server that rests looks whether the others are as quick as was thought."""

_MOST_LOSSES = 3
"""Servers that may go away with the same run: what ends so many would end the next one too."""

_SERVER_FAULTS = (ConnectionFailed, SecretRejected, ServerFailed)
"""What says something of the server, and not of one result."""


class Trouble(NamedTuple):
    """A server's last failure. at, until: time.monotonic()."""

    error: DrawThingsError
    at: float
    until: float


class Health:
    """Which servers of this process failed lately. Thread-safe."""

    def __init__(self, cool_down: float = COOL_DOWN):
        self.cool_down = cool_down
        self._troubles: dict[Server, Trouble] = {}

    def failed(self, server: Server, error: DrawThingsError) -> float:
        """Until when it gets nothing."""
        now = time.monotonic()
        kept = type(error).__new__(type(error), *error.args)  # without the frames, and what they hold, that it was raised in
        kept.__dict__.update(error.__dict__)
        self._troubles[server] = Trouble(kept, now, now + self.cool_down)
        return now + self.cool_down

    def worked(self, server: Server) -> None:
        self._troubles.pop(server, None)

    def trouble(self, server: Server) -> Trouble | None:
        """Why it gets nothing now; None when it may."""
        found = self._troubles.get(server)
        return found if found is not None and time.monotonic() < found.until else None


health = Health()
"""That of all nodes."""


class Watcher(Protocol):
    """Told what the servers do, by one thread at a time; what it raises ends the work. name: the server's; number: the run's, from 0.

    previews: whether pictures of the way are of any use.
    """

    previews: bool

    def began(self, name: str, number: int) -> None: ...

    def event(self, name: str, number: int, event: Event) -> None: ...

    def ended(self, name: str, number: int, done: bool) -> None:
        """done: False for a run that was given back."""
        ...


class Done(NamedTuple):
    """A run that was made. result None: there was nothing to do."""

    run: Run
    result: GenerationResult | None = None
    album: Album | None = None


class _State(Enum):
    joining = "is being asked for its files"
    ready = "takes runs"
    out = "failed, and may come back"
    gone = "gets no run any more"


class _Piece(NamedTuple):
    """Orders by number."""

    number: int
    run: Run


class _Lane:
    """One server's part in a team. again: when it may come back, time.monotonic()."""

    def __init__(self, seat: Seat, name: str):
        self.seat = seat
        self.server = seat.server
        self.name = name
        self.state = _State.joining
        self.catalog: Catalog | None = None
        self.error: DrawThingsError | None = None
        self.again = 0.0
        self.cancellation = Cancellation()
        self.thread: threading.Thread | None = None


class Team:
    """Several servers at one node's work. A context manager: first `catalog`, then `done`, both in the thread that entered it.

    model: the file that a server must have. cancellation: ends the work of all.
    """

    def __init__(
        self, servers: Sequence[Server], model: str, cancellation: Cancellation, *, seats: Seats = seats.shared, health: Health = health
    ):
        self._model = model
        self._cancellation = cancellation
        self._seats = seats
        self._health = health
        with seats.changed:
            taken = seats.at(servers)
        self._lanes = [_Lane(seat, name) for seat, name in zip(taken, names(servers), strict=True)]
        self._changed = seats.changed
        self._over = False
        self._fatal: BaseException | None = None
        self._plan: Plan | None = None
        self._watcher: Watcher | None = None
        self._telling = threading.Lock()
        self._queue = Queue(Work("", 0), 0)
        self._runs: Iterator[Run] = iter(())
        self._next = 0
        self._returned: list[_Piece] = []
        self._partial: dict[int, Done] = {}
        self._done: dict[int, Done] = {}
        self._losses: Counter[int] = Counter()
        self._notes: list[str] = []
        self.made: Counter[str] = Counter()
        """Runs by the address of the server that made them."""
        self.missing = 0
        """Runs that no server made."""

    def __enter__(self) -> Team:
        troubles = [self._health.trouble(lane.server) for lane in self._lanes]
        if not all(troubles):  # where all failed lately, all are tried
            for lane, trouble in zip(self._lanes, troubles, strict=True):
                if trouble is not None:
                    lane.state, lane.error, lane.again = _State.out, trouble.error, trouble.until
                    ago = time.monotonic() - trouble.at
                    self._note(f"A server was left out, since it failed {ago:.0f} s ago. {of_server(lane.server.address, trouble.error)}")
        self._cancellation.attach(self._stop)
        for lane in self._lanes:
            context = contextvars.copy_context()  # ComfyUI's progress bar asks it which prompt runs
            lane.thread = threading.Thread(target=context.run, args=(self._serve, lane), name=f"drawthings {lane.name}", daemon=True)
            lane.thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._cancellation.detach()
        self._stop()
        for lane in self._lanes:
            if lane.thread is not None:
                lane.thread.join(5)

    @property
    def names(self) -> list[str]:
        return [lane.name for lane in self._lanes]

    @property
    def catalogs(self) -> dict[Server, Catalog]:
        """Of the servers that have answered."""
        return {lane.server: lane.catalog for lane in self._lanes if lane.catalog is not None}

    @property
    def notes(self) -> list[str]:
        """What the user should know about the servers, a sentence or two each."""
        return list(dict.fromkeys(self._notes))

    @property
    def errors(self) -> dict[str, DrawThingsError]:
        """Why servers get nothing any more, by address."""
        return {lane.server.address: lane.error for lane in self._lanes if lane.error is not None}

    def catalog(self) -> Catalog:
        """That of the first server that has the model. One that does not answer is not waited for when another has.

        Raises AllServersFailed, GenerationCancelled.
        """
        end = time.monotonic() + LATE
        with self._changed:
            while True:
                self._check()
                late = time.monotonic() >= end
                for lane in self._lanes:
                    if lane.catalog is not None and (lane.catalog.find("model", self._model) or not lane.catalog.describes):
                        return lane.catalog
                    if lane.state is _State.joining and not late:
                        break
                else:
                    known = next((lane.catalog for lane in self._lanes if lane.catalog is not None), None)
                    if known is not None:  # nobody has it: whoever plans with this one says so
                        return known
                    if not self._some(_State.joining):
                        raise AllServersFailed(self.errors)
                self._changed.wait(_LOOK_SECONDS)

    def done(self, planned: Plan, watcher: Watcher) -> Iterator[Done]:
        """What became of the runs, in order, without those that no server made.

        Raises AllServersFailed when that is all of them; InvalidInput, and what the watcher raises; GenerationCancelled.
        """
        with self._changed:
            self._plan, self._watcher, self._runs = planned, watcher, planned.runs()
            self._queue.work = Work.of(planned.configuration, planned.pictures_a_run)
            self._queue.waiting = planned.count
            self._seats.queue(self._queue)
            self._changed.notify_all()
        for number in range(planned.count):
            made = self._wait_for(number)
            if made is None:
                self.missing += 1
            else:
                yield made
        if self.missing == planned.count:
            raise AllServersFailed(self.errors)

    def seconds_left(self) -> float | None:
        """Until all is done, by the pace of the servers; None while it is not known."""
        with self._changed:
            return self._seats.seconds_left(self._queue)

    # -- in the thread that entered

    def _wait_for(self, number: int) -> Done | None:
        with self._changed:
            while number not in self._done:
                self._check()
                if self._losses[number] >= _MOST_LOSSES or not self._some(_State.joining, _State.ready):
                    return self._partial.pop(number, None)
                self._changed.wait(_LOOK_SECONDS)
            return self._done.pop(number)

    def _check(self) -> None:
        if self._fatal is not None:
            raise self._fatal
        self._cancellation.check()

    def _some(self, *states: _State) -> bool:
        return any(lane.state in states for lane in self._lanes)

    def _stop(self) -> None:
        with self._changed:
            self._over = True
            self._seats.unqueue(self._queue)
            self._changed.notify_all()
        for lane in self._lanes:
            lane.cancellation.cancel()

    # -- in the threads of the servers

    def _serve(self, lane: _Lane) -> None:
        try:
            while self._may_serve(lane):
                try:
                    self._join(lane)
                    while (piece := self._take(lane)) is not None:
                        self._do(lane, piece)
                except GenerationCancelled:
                    raise
                except DrawThingsError as error:
                    self._fell_out(lane, error)
        except BaseException as error:
            with self._changed:
                if not self._over and self._fatal is None:
                    self._fatal = error
        finally:
            with self._changed:
                lane.state = _State.gone
                self._queue.seats.discard(lane.seat)
                self._changed.notify_all()

    def _may_serve(self, lane: _Lane) -> bool:
        """Waits while the server is out; False: it is not needed any more."""
        with self._changed:
            while not self._over and lane.state is _State.out and (left := lane.again - time.monotonic()) > 0:
                self._changed.wait(left)
            return not self._over and lane.state is not _State.gone

    def _join(self, lane: _Lane) -> None:
        with self._changed:
            lane.state = _State.joining
        catalog = client_for(lane.server).catalog_with(self._model, lane.cancellation)
        with self._changed:
            lane.catalog, lane.state, lane.error = catalog, _State.ready, None
            self._queue.seats.add(lane.seat)
            self._changed.notify_all()

    def _take(self, lane: _Lane) -> _Piece | None:
        """The next run for this server, waiting until it is its turn; None: nothing is left to do."""
        with self._changed:
            while not self._over:
                if lane.seat.begun is None and self._queue.waiting and self._seats.turn(lane.seat) is self._queue:
                    piece = self._next_piece()
                    if piece is not None:
                        self._seats.begin(lane.seat, self._queue)
                        return piece
                self._changed.wait(_LOOK_SECONDS)
        return None

    def _next_piece(self) -> _Piece | None:
        if self._returned:
            return heapq.heappop(self._returned)
        for run in self._runs:
            number, self._next = self._next, self._next + 1
            if run.request is not None:
                return _Piece(number, run)
            self._done[number] = Done(run)
            self._queue.waiting -= 1
            self._changed.notify_all()
        return None

    def _do(self, lane: _Lane, piece: _Piece) -> None:
        """Have a server make a run, which is given back unless all of it came. Raises what Client.generate does."""
        assert self._plan is not None
        assert self._watcher is not None
        assert piece.run.request is not None
        done, lost = None, False
        album = Album(self._plan.pictures_of(piece.run))
        try:
            self._tell(self._watcher.began, lane.name, piece.number)
            made = client_for(lane.server).generate(
                piece.run.request,
                on_event=lambda event: self._tell_event(lane.name, piece.number, event),
                cancellation=lane.cancellation,
                album=album,
                compress=lane.server.compress_uploads,
                previews=self._watcher.previews,
            )
            done = Done(piece.run, made, album)
            problem = made.problem or self._too_few(lane, done, piece.number)
            if problem is not None:
                with self._changed:
                    self._partial[piece.number] = done
                done = None
                raise problem
        except ConnectionLost:
            lost = True
            raise
        finally:
            with self._changed:
                self._seats.end(lane.seat, done is not None)
                self._losses[piece.number] += lost
                if done is not None:
                    self._done[piece.number] = done
                    self._partial.pop(piece.number, None)
                    self.made[lane.server.address] += 1
                elif self._losses[piece.number] < _MOST_LOSSES:
                    heapq.heappush(self._returned, piece)
                    self._queue.waiting += 1
                self._changed.notify_all()
            self._tell(self._watcher.ended, lane.name, piece.number, done is not None)
        self._health.worked(lane.server)

    def _too_few(self, lane: _Lane, done: Done, number: int) -> BadResult | None:
        """What is wrong with fewer pictures than were asked for, unless another server gave no more, or there is none to ask."""
        assert self._plan is not None
        assert done.album is not None
        got, expected = len(done.album.pictures), self._plan.pictures_of(done.run)
        with self._changed:
            others = any(one is not lane and one.state in (_State.joining, _State.ready) for one in self._lanes)
            if got >= expected or number in self._partial or not others:
                return None
        return BadResult(
            f"The server at {lane.server.address} sent {got} images where {expected} were asked for: look at the server's log."
        )

    def _tell_event(self, name: str, number: int, event: Event) -> None:
        assert self._watcher is not None
        self._tell(self._watcher.event, name, number, event)

    def _tell(self, what: Callable[..., Any], *about: Any) -> None:
        with self._telling:
            if not self._over:
                what(*about)

    def _fell_out(self, lane: _Lane, error: DrawThingsError) -> None:
        """A server failed, or lacks a file. Raises what is the request's own fault."""
        lacks = isinstance(error, (FileNotOnServer, FileNotUsable))
        if isinstance(error, InvalidInput) and not lacks and lane.state is _State.ready:
            raise error
        with self._changed:
            self._queue.seats.discard(lane.seat)
            lane.error = error
            if isinstance(error, _SERVER_FAULTS):
                lane.state, lane.again = _State.out, self._health.failed(lane.server, error)
            else:
                lane.state = _State.gone
            begins = "A server got nothing to do." if lacks else "A server failed, and got nothing more to do."
            self._note(f"{begins} {of_server(lane.server.address, error)}")
            self._changed.notify_all()

    def _note(self, note: str) -> None:
        self._notes.append(note)


def names(servers: Sequence[Server]) -> list[str]:
    """What each is called on one line: its host where that tells it from the others, else its address, with a number where it is named again."""
    hosts = Counter(server.host for server in dict.fromkeys(servers))
    again: Counter[str] = Counter()
    found = []
    for server in servers:
        name = server.host if hosts[server.host] == 1 else server.address
        again[name] += 1
        found.append(name if again[name] == 1 else f"{name} ({again[name]})")
    return found
