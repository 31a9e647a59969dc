"""Generations that are cancelled at random moments: each ends soon, and the server is free afterwards."""

from __future__ import annotations

import random
import statistics
import threading
import time
from collections import Counter

import numpy as np

from ..drawthings_core.client import Cancellation
from ..drawthings_core.errors import DrawThingsError, GenerationCancelled
from ..drawthings_core.simulator.process import SimulatorProcess
from .holdings import COLUMNS, FLAGS, Holding, close, growth, job, picture_of, server_of, warm
from .page import Section

COUNT = 1000
_ROWS = 10
_AT_ONCE = 2
"""Runs on one connection: one of them waits in the server's queue."""
_STEP_SECONDS = 0.01
_SOON = 20.0
"""Seconds in which a cancelled run has to end, however busy the machine is."""


class _Tally:
    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.seconds: list[float] = []
        self.failures: list[str] = []


def run(count: int, seed: int) -> Section:
    tally = _Tally()
    dice = random.Random(seed)
    samples: list[tuple[int, Holding]] = []
    every = max(_AT_ONCE, count // _ROWS)
    warm()
    with SimulatorProcess(*FLAGS) as simulator:
        simulator.set("step_seconds", _STEP_SECONDS)
        server = server_of(simulator)
        expected = picture_of(server, job(seed))
        alone = time.perf_counter()
        picture_of(server, job(seed))
        alone = time.perf_counter() - alone
        for first in range(0, count, _AT_ONCE):
            runs = [_Run(server, number, dice, alone) for number in range(first, min(first + _AT_ONCE, count))]
            for one in runs:
                one.end(tally)
            done = first + len(runs)
            if done // every > first // every:
                simulator.clear()
                samples.append((done, Holding.settled()))
        state = simulator.wait_until(running=0, queued=0, seconds=30)
        again = picture_of(server, job(seed))
        samples.append((count, Holding.settled()))
        close([server])
    if again != expected:
        tally.failures.append("the picture after them is another one")
    if state["traps"]:
        tally.failures.append(f"the server was trapped: {state['trap_reasons'][:3]}")
    seconds = tally.seconds or [0.0]
    told = ", ".join(f"{name} {number:,}" for name, number in tally.outcomes.most_common())
    return Section(
        "Cancellations",
        f"{count:,} generations, {_AT_ONCE} at a time on one connection, each cancelled at a random moment between before its start and after its "
        f"end: while it connects, sends a picture, waits behind the other, samples, or receives.",
        ("generations", *COLUMNS),
        [(number, *held.cells()) for number, held in dict(samples).items()],
        [
            f"Outcomes: {told}. From the wish to the end: median {statistics.median(seconds) * 1000:.0f} ms, longest {max(seconds) * 1000:.0f} ms. "
            f"The server had nothing left to do, and the next generation gave its picture."
        ],
        tally.failures + growth(samples[len(samples) // 2][1], samples[-1][1]),  # the allocator's arenas fill up first
    )


class _Run:
    """One generation in a thread, and one that cancels it."""

    def __init__(self, server, number: int, dice: random.Random, alone: float):
        self._number = number
        self._cancellation = Cancellation()
        self._outcome = ""
        self._cancelled_at = self._ended_at = 0.0
        large = dice.random() < 0.2
        images = np.full((1, 256, 256, 3), 0.5, np.float32) if dice.random() < 0.3 else None
        size = {"start_width": 512, "start_height": 512} if large else {}
        wanted = job(number, images=images, **size)
        self._thread = threading.Thread(target=self._generate, args=(server, wanted), daemon=True)
        self._timer = threading.Timer(dice.random() * 2.2 * alone, self._cancel)
        self._timer.start()
        self._thread.start()

    def _generate(self, server, wanted) -> None:
        try:
            picture_of(server, wanted, self._cancellation)
            self._outcome = "finished before"
        except GenerationCancelled:
            self._outcome = "cancelled"
        except DrawThingsError as error:
            self._outcome = f"{type(error).__name__}: {error}"
        finally:
            self._ended_at = time.perf_counter()

    def _cancel(self) -> None:
        self._cancelled_at = time.perf_counter()
        self._cancellation.cancel()

    def end(self, tally: _Tally) -> None:
        self._timer.join()
        self._thread.join(_SOON)
        if self._thread.is_alive():
            tally.failures.append(f"generation {self._number} did not end within {_SOON:.0f} s of being cancelled")
        elif self._outcome == "cancelled":
            tally.seconds.append(self._ended_at - self._cancelled_at)
        elif self._outcome != "finished before":
            tally.failures.append(f"generation {self._number}: {self._outcome or 'an error that is not ours'}")
        tally.outcomes[self._outcome if self._outcome in ("cancelled", "finished before") else "failed"] += 1
