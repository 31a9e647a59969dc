"""Which server takes the next piece, with a clock that is set by hand: no server, no thread."""

from __future__ import annotations

import heapq

import pytest
from comfyui_drawthings.drawthings_core.configuration import Configuration
from comfyui_drawthings.drawthings_core.seats import Queue, Seat, Seats, Work
from comfyui_drawthings.drawthings_core.servers import Server

WORK = Work("model", 100.0)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Room:
    """Servers that need these seconds for a piece, and the queues of the nodes that they work for."""

    def __init__(self, *seconds: float):
        self.clock = Clock()
        self.seats = Seats(self.clock)
        self.all = self.seats.at([Server(f"server{number}") for number in range(len(seconds))])
        self.seconds = dict(zip(self.all, seconds, strict=True))
        self.made: dict[Seat, int] = dict.fromkeys(self.all, 0)
        self.order: list[Queue] = []

    def queue(self, pieces: int, *seats: Seat) -> Queue:
        made = Queue(WORK, pieces)
        made.seats.update(seats or self.all)
        self.seats.queue(made)
        return made

    def run(self, early: float = 0.0) -> float:
        """Seconds until all that is queued is done. early: the first server is so much quicker in finding out that it is free."""
        ends: list[tuple[float, int]] = []
        while True:
            for number, seat in enumerate(self.all):
                if seat.begun is None and (queue := self.seats.turn(seat)) is not None:
                    self.seats.begin(seat, queue)
                    self.order.append(queue)
                    heapq.heappush(ends, (self.clock.now + self.seconds[seat] - early * (number == 0), number))
            if not ends:
                return self.clock.now
            self.clock.now, number = heapq.heappop(ends)
            self.seats.end(self.all[number], done=True)
            self.made[self.all[number]] += 1


def best(seconds: tuple[float, ...], pieces: int) -> float:
    """The least time in which servers can do so many pieces."""
    ends = sorted(need * number for need in seconds for number in range(1, pieces + 1))
    return ends[pieces - 1]


@pytest.mark.parametrize("early", [0.0, 0.01])
@pytest.mark.parametrize("seconds", [(1, 1, 2), (2, 1, 1), (1, 1), (1, 3), (10, 1), (1, 1, 1, 1), (5, 2, 1)])
@pytest.mark.parametrize("pieces", [1, 2, 5, 16])
def test_as_good_as_can_be_once_the_paces_are_known(seconds, pieces, early):
    room = Room(*seconds)
    for seat, need in room.seconds.items():
        seat.work = WORK
        seat.learn(need, 0.0)
    room.queue(pieces)
    assert room.run(early) <= best(seconds, pieces) * 1.06


def test_sixteen_pieces_for_servers_of_which_nothing_is_known():
    room = Room(1.0, 1.0, 2.0)
    room.queue(16)
    assert room.run() == best((1, 1, 2), 16) == 7
    assert list(room.made.values()) == [7, 6, 3] or list(room.made.values()) == [6, 7, 3]


def test_a_slow_server_rests_near_the_end_and_takes_over_when_the_quick_one_is_late():
    room = Room(1.0, 4.0)
    for seat, need in room.seconds.items():
        seat.work = WORK
        seat.learn(need, 0.0)
    quick, slow = room.all
    room.queue(3)
    taken = room.seats.turn(quick)
    assert taken is not None
    room.seats.begin(quick, taken)
    assert room.seats.turn(slow) is None
    room.clock.now = 2.0
    assert room.seats.turn(slow) is None  # one late, so one more is waited for
    room.clock.now = 5.0
    assert room.seats.turn(slow) is taken


def test_who_waited_first_goes_first():
    room = Room(1.0)
    first, second = room.queue(2), room.queue(1)
    room.run()
    assert room.order == [first, first, second]


def test_a_server_does_not_wait_for_those_that_may_not_take_the_piece():
    room = Room(1.0, 10.0)
    for seat, need in room.seconds.items():
        seat.work = WORK
        seat.learn(need, 0.0)
    queue = room.queue(1, room.all[1])
    assert room.seats.turn(room.all[1]) is queue
    assert room.seats.turn(room.all[0]) is None


def test_single_pieces_of_many_nodes_are_shared_out_as_those_of_one():
    room = Room(1.0, 1.0, 2.5)
    for _ in range(16):
        room.queue(1)
    assert room.run() <= best((1, 1, 2.5), 16) * 1.06


def test_a_server_that_is_named_twice_has_two_seats():
    seats = Seats(Clock())
    one, two, other = seats.at([Server("a"), Server("a"), Server("b")])
    assert len({one, two, other}) == 3
    assert seats.at([Server("a")]) == [one]


def test_the_pace_is_that_of_the_quickest_of_the_last_pieces():
    (seat,) = Room(1.0).all
    seat.work = WORK
    for seconds in (9.0, 3.0, 2.0, 4.0, 5.0):
        seat.learn(seconds, 0.0)
    assert seat.pace("model", 1.0) == pytest.approx(0.02)
    assert seat.pace("another", 1.0) is None
    assert seat.pace("model", 3600.0) is None


def test_a_model_has_its_own_pace_and_a_piece_its_amount():
    small = Work.of(Configuration(model="a.ckpt", steps=4, start_width=128, start_height=128), 1)
    large = Work.of(Configuration(model="a.ckpt", steps=8, start_width=256, start_height=256), 2)
    assert small.kind == "a.ckpt"
    assert large.amount == 16 * small.amount


def test_the_time_left_counts_what_runs_and_what_waits():
    room = Room(2.0, 2.0)
    queue = room.queue(5)
    assert room.seats.seconds_left(queue) is None
    for seat in room.all:
        seat.work = WORK
        seat.learn(2.0, 0.0)
        room.seats.begin(seat, queue)
    room.clock.now = 1.0
    assert room.seats.seconds_left(queue) == pytest.approx(5.0)


def known(*seconds: float) -> Room:
    """A room in which the paces are known."""
    room = Room(*seconds)
    for seat, need in room.seconds.items():
        seat.work = WORK
        seat.learn(need, 0.0)
    return room


def test_the_time_left_of_several_queues_is_that_of_all_their_pieces():
    room = known(2.0, 2.0)
    first, second = room.queue(3), room.queue(2)
    assert room.seats.seconds_left(first) == pytest.approx(4.0)
    assert room.seats.seconds_left(second) == pytest.approx(2.0)
    assert room.seats.seconds_left(first, second) == pytest.approx(6.0)
    room.run()
    assert room.clock.now == 6.0
    assert room.seats.seconds_left(first, second) == 0.0


def test_the_time_left_counts_who_may_take_what():
    """A run that was given back may be for one server only, which then has less time for the rest."""
    room = known(1.0, 10.0)
    quick, slow = room.all
    rest, returned = room.queue(4), room.queue(1, slow)
    assert room.seats.seconds_left(rest) == pytest.approx(4.0)
    assert room.seats.seconds_left(returned, rest) == pytest.approx(10.0)
    room.seats.begin(quick, rest)
    room.clock.now = 0.5
    assert room.seats.seconds_left(returned, rest) == pytest.approx(10.0)
    returned.seats = {quick}
    assert room.seats.seconds_left(returned, rest) == pytest.approx(0.5 + 1 + 3)


def test_the_time_left_is_not_known_while_nobody_takes_a_piece_or_a_model_is_new():
    room = known(1.0)
    rest, returned = room.queue(1), room.queue(1)
    returned.seats.clear()
    assert room.seats.seconds_left(rest, returned) is None
    assert room.seats.seconds_left(rest) == pytest.approx(1.0)
    rest.work = Work("another", 100.0)
    assert room.seats.seconds_left(rest) is None
    assert room.seats.seconds_left() is None


def test_a_run_that_was_given_back_goes_before_the_rest_and_behind_those_that_waited_before():
    room = known(1.0)
    earlier, rest, later = room.queue(1), room.queue(2), room.queue(1)
    returned = Queue(WORK, 1)
    returned.seats.update(room.all)
    room.seats.queue(returned, before=rest)
    room.run()
    assert room.order == [earlier, returned, rest, rest, later]


def test_runs_that_were_given_back_keep_their_order():
    room = known(1.0)
    rest = room.queue(1)
    first, second = Queue(WORK, 1), Queue(WORK, 1)
    for queue in (first, second):
        queue.seats.update(room.all)
        room.seats.queue(queue, before=rest)
    room.run()
    assert room.order == [first, second, rest]
    room.seats.unqueue(second)
    room.seats.unqueue(second)  # nothing happens
    assert room.seats.turn(room.all[0]) is None
