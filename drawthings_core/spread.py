"""Several servers as one: each run of a plan goes to the next server that is free, and the results come in the order of the plan.

A server that fails gives its run back, and is left out for a while, in later nodes too. One that sends what cannot be used, or less than was
asked for, gives the run back and stays, until it does so again and again. One that lacks a file gets no run of this plan. What is refused here
is the request's own fault and is told at once; every run keeps the seed that the plan gave it, so that it does not matter who makes it. Threads
live as long as one node's work.
"""

from __future__ import annotations

import contextlib
import contextvars
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
    NotSupported,
    SecretRejected,
    ServerFailed,
    of_server,
)
from .job import Plan, Run
from .response import Event
from .seats import Queue, Seat, Work
from .servers import Server
from .several import LATE
from .watch import Patience

COOL_DOWN = 60.0
"""Seconds for which a server that failed gets nothing."""

_LOOK_SECONDS = 0.25
"""How often a server that rests looks whether the others are as quick as was thought."""

_PATIENCE = Patience(ask_after=5.0, unanswered=15.0)
"""With a server that joins. One that hashes a file answers nobody for longer, but could not work meanwhile: it is tried again later."""

_MOST_LOSSES = 3
"""Servers that may go away with the same run: what ends so many would end the next one too."""

_MOST_TRIES = 2
"""Of the same run by the same server, which may have come back meanwhile."""

_MOST_BAD = 2
"""Results in a row that cannot be used, or that another server then makes whole: the next one would be no better."""

_GOODBYE = 5.0
"""Seconds for which the threads are waited for at the end."""

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
    """A run that was made. result None: there was nothing to do. address: of the server that made it."""

    run: Run
    result: GenerationResult | None = None
    album: Album | None = None
    address: str = ""

    @property
    def pictures(self) -> int:
        return 0 if self.album is None else len(self.album.pictures)


class _State(Enum):
    joining = "is being asked for its files"
    ready = "takes runs"
    out = "failed, and may come back"
    gone = "gets no run any more"


class _Lane:
    """One server's part in a team. error: its last failure. again: when it may come back, time.monotonic(). busy: has a run.

    bad: its results in a row that were of no use. done_then: runs that the team had done when it fell out, -1 before it began.
    """

    def __init__(self, seat: Seat, name: str):
        self.seat = seat
        self.server = seat.server
        self.name = name
        self.state = _State.joining
        self.catalog: Catalog | None = None
        self.error: DrawThingsError | None = None
        self.again = 0.0
        self.busy = False
        self.bad = 0
        self.done_then = -1
        self.cancellation = Cancellation()
        self.thread: threading.Thread | None = None


class _Piece:
    """A run, and what became of it so far. losses: servers that went away with it. partial: the most that a server made of it.

    short: those that gave less than was asked for, by themselves.
    """

    def __init__(self, number: int, run: Run):
        self.number = number
        self.run = run
        self.tries: Counter[Server] = Counter()
        self.losses = 0
        self.partial: Done | None = None
        self.short: list[_Lane] = []

    def keep(self, done: Done) -> Done:
        """The better of what there was and this, which is kept."""
        if self.partial is None or done.pictures > self.partial.pictures:
            self.partial = done
        return self.partial


class Team:
    """Several servers at one node's work. A context manager: first `catalog`, then `done`, both in the thread that entered it.

    model: the file that a server must have. cancellation: ends the work of all.
    """

    def __init__(self, servers: Sequence[Server], model: str, cancellation: Cancellation):
        self._model = model
        self._cancellation = cancellation
        self._seats = seats.shared
        self._health = health
        self._changed = self._seats.changed
        with self._changed:
            taken = self._seats.at(servers)
        self._lanes = [_Lane(seat, name) for seat, name in zip(taken, names(servers), strict=True)]
        self._over = False
        self._fatal: BaseException | None = None
        self._plan: Plan | None = None
        self._watcher: Watcher | None = None
        self._telling = threading.Lock()
        self._planning = threading.Lock()
        self._queue = Queue(Work("", 0), 0)
        self._runs: Iterator[tuple[int, Run]] = iter(())
        self._returned: dict[Queue, _Piece] = {}
        self._done: dict[int, Done] = {}
        self._hopeless: set[int] = set()
        self._count = 0  # of the runs that were made
        self._scarce = False  # several servers gave fewer pictures than were asked for
        self._notes: list[str] = []
        self.made: Counter[str] = Counter()
        """Runs by the address of the server that made them."""
        self.missing = 0
        """Runs that no server made."""
        self.aside = 0
        """Runs that no server has to make, any more: those without a request, and those of which the part that there is counts, or nothing."""

    def __enter__(self) -> Team:
        troubles = [self._health.trouble(lane.server) for lane in self._lanes]
        for lane, trouble in zip(self._lanes, troubles, strict=True):
            if trouble is None:
                continue
            lane.error = trouble.error
            if not all(troubles):  # where all failed lately, all are tried
                lane.state, lane.again = _State.out, trouble.until
                ago = time.monotonic() - trouble.at
                self._note(
                    f"A server was left out at first, since it failed {ago:.0f} s ago. {of_server(lane.server.address, trouble.error)}"
                )
        self._cancellation.attach(self._stop)
        for lane in self._lanes:
            context = contextvars.copy_context()  # ComfyUI's progress bar asks it which prompt runs
            lane.thread = threading.Thread(target=context.run, args=(self._serve, lane), name=f"drawthings {lane.name}", daemon=True)
            lane.thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._cancellation.detach()
        self._stop()
        end = time.monotonic() + _GOODBYE
        for lane in self._lanes:
            if lane.thread is not None:
                lane.thread.join(max(0.0, end - time.monotonic()))

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
        """The last failure of each server that did not work since, by address."""
        return {lane.server.address: lane.error for lane in self._lanes if lane.error is not None}

    def catalog(self) -> Catalog:
        """That of the first server that has the model. One that does not answer is not waited for long when another has it.

        Raises AllServersFailed, GenerationCancelled.
        """
        end = time.monotonic() + LATE
        with self._changed:
            while True:
                self._check()
                for lane in self._lanes:
                    if lane.catalog is not None and (lane.catalog.find("model", self._model) or not lane.catalog.describes):
                        return lane.catalog
                    if lane.state is _State.joining and time.monotonic() < end:
                        break
                if not self._some(_State.joining) and not self._wake():
                    known = next((lane.catalog for lane in self._lanes if lane.catalog is not None), None)
                    if known is None:
                        raise AllServersFailed(self.errors)
                    return known  # nobody has it: whoever plans with this one says so
                self._changed.wait(_LOOK_SECONDS)

    def done(self, planned: Plan, watcher: Watcher) -> Iterator[Done]:
        """What became of the runs, in order, without those that no server made.

        Raises AllServersFailed when that is all of them; InvalidInput, and what the watcher raises; GenerationCancelled.
        """
        with self._changed:
            self._plan, self._watcher, self._runs = planned, watcher, enumerate(planned.runs())
            self._queue.work = Work.of(planned.configuration, planned.pictures_a_run)
            self._queue.waiting = planned.count
            self._seats.queue(self._queue)
            self._changed.notify_all()
        for number in range(planned.count):
            made = self._wait_for(number)
            if made is None:
                self.missing += 1
                continue
            if made.address:
                self.made[made.address] += 1
            yield made
        if self.missing == planned.count:
            raise AllServersFailed(self.errors)

    def seconds_left(self) -> float | None:
        """Until all is done, by the pace of the servers; None while it is not known."""
        with self._changed:
            return self._seats.seconds_left(*self._returned, self._queue)

    # -- in the thread that entered

    def _wait_for(self, number: int) -> Done | None:
        with self._changed:
            while number not in self._done:
                self._check()
                if number in self._hopeless:
                    return None
                if self._stuck() and not self._wake():
                    self._give_up()
                else:
                    self._changed.wait(_LOOK_SECONDS)
            return self._done.pop(number)

    def _stuck(self) -> bool:
        """Whether nothing is being made and nobody takes what is left."""
        if any(lane.busy for lane in self._lanes) or self._some(_State.joining):
            return False
        return not any(queue.waiting and queue.seats for queue in (self._queue, *self._returned))

    def _wake(self) -> bool:
        """Have those that rest tried now, unless nothing was done since they failed: whether there are any."""
        resting = [lane for lane in self._lanes if lane.state is _State.out and lane.done_then < self._count]
        for lane in resting:
            lane.state = _State.joining
        self._changed.notify_all()
        return bool(resting)

    def _give_up(self) -> None:
        """Nothing more will be made. What there is of a run counts."""
        assert self._plan is not None
        for piece in self._returned.values():
            self._drop(piece)
        self._hopeless.update(set(range(self._plan.count)) - set(self._done))

    def _check(self) -> None:
        if self._fatal is not None:
            raise self._fatal
        self._cancellation.check()

    def _some(self, *states: _State) -> bool:
        return any(lane.state in states for lane in self._lanes)

    def _stop(self) -> None:
        with self._changed:
            self._over = True
            for queue in (self._queue, *self._returned):
                self._seats.unqueue(queue)
            self._changed.notify_all()
        for lane in self._lanes:
            lane.cancellation.cancel()

    # -- in the threads of the servers

    def _serve(self, lane: _Lane) -> None:
        try:
            while self._may_serve(lane):
                try:
                    self._join(lane)
                except GenerationCancelled:
                    raise
                except DrawThingsError as error:
                    with self._changed:
                        self._fell_out(lane, error)
                while (piece := self._take(lane)) is not None:
                    self._do(lane, piece)
        except BaseException as error:
            self._ends_all(error)
        finally:
            with self._changed:
                if lane.busy:
                    self._free(lane, False)
                self._leave(lane, _State.gone)

    def _ends_all(self, error: BaseException) -> None:
        with self._changed:
            if not self._over and self._fatal is None:
                self._fatal = error

    def _may_serve(self, lane: _Lane) -> bool:
        """Waits while the server is out; False: it is not needed any more."""
        with self._changed:
            while not self._over and lane.state is _State.out and (left := lane.again - time.monotonic()) > 0:
                self._changed.wait(left)
            return not self._over and lane.state is not _State.gone

    def _join(self, lane: _Lane) -> None:
        with self._changed:
            lane.state = _State.joining
        client = client_for(lane.server)
        if lane.error is not None:
            client.greeting(lane.cancellation, _PATIENCE)  # it may hang on an old connection, or be another server now
        elif client.connected:
            with contextlib.suppress(NotSupported):
                client.hours(lane.cancellation, _PATIENCE)  # it may have fallen asleep since its catalogue was asked
        catalog = client.catalog_with(self._model, lane.cancellation, patience=_PATIENCE)
        with self._changed:
            lane.catalog, lane.state = catalog, _State.ready
            self._queue.seats.add(lane.seat)
            self._moved()

    def _take(self, lane: _Lane) -> _Piece | None:
        """The next run for this server, waiting until it is its turn; None: nothing is left to do for it."""
        while True:
            with self._changed:
                queue = self._turn(lane)
                if queue is None:
                    return None
                self._seats.begin(lane.seat, queue)
                lane.busy = True
                if queue is not self._queue:
                    self._seats.unqueue(queue)
                    return self._returned.pop(queue)
            piece = self._next_piece()
            if piece is not None:
                return piece
            with self._changed:
                self._free(lane, False)

    def _turn(self, lane: _Lane) -> Queue | None:
        while not self._over and lane.state is _State.ready:
            if lane.seat.begun is None:
                queue = self._seats.turn(lane.seat)
                if queue is self._queue or queue in self._returned:
                    return queue
            self._changed.wait(_LOOK_SECONDS)
        return None

    def _next_piece(self) -> _Piece | None:
        """The next run of the plan, for the one that was taken from the queue; None: nothing is to be done in it, nor in what follows.

        Others work on while its pictures are encoded. Raises InvalidInput.
        """
        while True:
            following = self._following()
            if following is None:
                return None
            number, run = following
            if run.request is not None:
                return _Piece(number, run)
            with self._changed:
                self._done[number] = Done(run)
                self.aside += 1
                self._changed.notify_all()
                if not self._queue.waiting:
                    return None
                self._queue.waiting -= 1

    def _following(self) -> tuple[int, Run] | None:
        """The plan's next run. What making it raises is told before another thread finds the plan at its end, and None there."""
        with self._planning:
            try:
                return next(self._runs, None)
            except BaseException as error:
                self._ends_all(error)
                raise

    def _do(self, lane: _Lane, piece: _Piece) -> None:
        """Have a server make a run, which is given back unless all of it came. Raises what is the request's own fault."""
        assert self._plan is not None
        assert self._watcher is not None
        assert piece.run.request is not None
        self._tell(self._watcher.began, lane.name, piece.number)
        album = Album(self._plan.pictures_of(piece.run))
        done, problem = None, None
        try:
            made = client_for(lane.server).generate(
                piece.run.request,
                on_event=lambda event: self._tell_event(lane.name, piece.number, event),
                cancellation=lane.cancellation,
                album=album,
                compress=lane.server.compress_uploads,
                previews=self._watcher.previews,
            )
            done = Done(piece.run, made, album, lane.server.address)
            with self._changed:
                problem = self._wrong(lane, piece, done)
        except GenerationCancelled:
            raise
        except DrawThingsError as error:
            problem = error
        self._tell(self._watcher.ended, lane.name, piece.number, problem is None)  # first: whoever takes it next tells of it too
        with self._changed:
            if problem is not None:
                self._failed(lane, piece, problem, done)
            elif done is not None:
                self._made(lane, piece, done)
            self._free(lane, problem is None)  # last: the server is busy until an error that ends all is told
            self._moved()

    def _wrong(self, lane: _Lane, piece: _Piece, done: Done) -> DrawThingsError | None:
        """Why a result is not taken as it is. Fewer pictures than were asked for are, once another server gave no more, of this run or an
        earlier one, or where there is none to ask; so are those of a video, which takes long.
        """
        assert self._plan is not None
        assert done.result is not None
        problem = done.result.problem
        if isinstance(problem, _SERVER_FAULTS):
            return problem
        expected = self._plan.pictures_of(done.run)
        if done.pictures >= expected or self._plan.job.one_video or self._scarce:
            return None
        if any(one.server != lane.server for one in piece.short):
            self._scarce = True
            return None
        if not any(one.server != lane.server for one in self._willing(piece)):
            return None
        return problem or BadResult(
            f"The server at {lane.server.address} sent {done.pictures} images where {expected} were asked for: look at the server's log."
        )

    def _tell_event(self, name: str, number: int, event: Event) -> None:
        assert self._watcher is not None
        self._tell(self._watcher.event, name, number, event)

    def _tell(self, what: Callable[..., Any], *about: Any) -> None:
        with self._telling:
            if not self._over:
                what(*about)

    # -- with `changed` held

    def _free(self, lane: _Lane, done: bool) -> None:
        self._seats.end(lane.seat, done)
        lane.busy = False

    def _made(self, lane: _Lane, piece: _Piece, done: Done) -> None:
        """A run was made, by the best of those who tried."""
        assert self._plan is not None
        whole = done.pictures >= self._plan.pictures_of(piece.run)
        self._done[piece.number] = done if whole else piece.keep(done)
        self._count += 1
        lane.bad, lane.error = 0, None
        self._health.worked(lane.server)
        for other in piece.short if whole else ():
            if other is not lane and other.error is not None:
                self._was_bad(other, other.error)

    def _failed(self, lane: _Lane, piece: _Piece, error: DrawThingsError, done: Done | None) -> None:
        """A run is given back. Raises what is the request's own fault."""
        if done is not None:
            piece.keep(done)
        if isinstance(error, BadResult):
            piece.tries[lane.server] = _MOST_TRIES  # it would give the same again
            lane.error = error
            if done is None:
                self._was_bad(lane, error)
            else:
                piece.short.append(lane)
            if lane.state is _State.ready:
                self._note(f"What a server sent was not used, and its run was given back. {of_server(lane.server.address, error)}")
        else:
            piece.tries[lane.server] += 1
            piece.losses += isinstance(error, ConnectionLost)
            self._fell_out(lane, error)
        queue = Queue(self._queue.work, 1)
        if piece.losses >= _MOST_LOSSES:
            self._drop(piece)
        elif not self._over:
            self._returned[queue] = piece
            self._seats.queue(queue, before=self._queue)

    def _drop(self, piece: _Piece) -> None:
        """Nobody will make this run. What there is of it counts."""
        self.aside += 1
        if piece.partial is not None:
            self._done[piece.number] = piece.partial
        else:
            self._hopeless.add(piece.number)

    def _was_bad(self, lane: _Lane, error: DrawThingsError) -> None:
        lane.bad += 1
        if lane.bad >= _MOST_BAD and lane.state is _State.ready:
            self._leave(lane, _State.gone, f"A server failed, and got nothing more to do. {of_server(lane.server.address, error)}")

    def _fell_out(self, lane: _Lane, error: DrawThingsError) -> None:
        """A server failed, or lacks a file. Raises what is the request's own fault."""
        lacks = isinstance(error, (FileNotOnServer, FileNotUsable))
        if isinstance(error, InvalidInput) and not lacks and lane.state is _State.ready:
            raise error
        lane.error, lane.done_then = error, self._count
        fault = isinstance(error, _SERVER_FAULTS)
        begins = (
            "A server got nothing to do."
            if lacks
            else "A server failed, and was left out for a while."
            if fault
            else "A server failed, and got nothing more to do."
        )
        if fault:
            lane.again = self._health.failed(lane.server, error)
        self._leave(lane, _State.out if fault else _State.gone, f"{begins} {of_server(lane.server.address, error)}")

    def _leave(self, lane: _Lane, state: _State, note: str = "") -> None:
        """The server takes nothing more, for now or at all."""
        lane.state = _State.gone if lane.state is _State.gone else state
        self._queue.seats.discard(lane.seat)
        if note:
            self._note(note)
        self._moved()

    def _willing(self, piece: _Piece) -> list[_Lane]:
        return [lane for lane in self._lanes if lane.state is _State.ready and piece.tries[lane.server] < _MOST_TRIES]

    def _able(self, piece: _Piece) -> list[_Lane]:
        """Those whose turn it is to try a run: which have tried it least."""
        ready = self._willing(piece)
        least = min((piece.tries[lane.server] for lane in ready), default=0)
        return [lane for lane in ready if piece.tries[lane.server] == least]

    def _moved(self) -> None:
        """Who takes what may be another now."""
        for queue, piece in self._returned.items():
            queue.seats = {lane.seat for lane in self._able(piece)}
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
