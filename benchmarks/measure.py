"""Rows of the table, and timing: each thing and its floor in turns, so that what else the machine does slows both alike."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Work = Callable[[], Any]
"""Something to time. One that gives a float says by it how many seconds it took, by a clock of its own."""

LEAST_ROUNDS = 3
LONG = 0.5
"""Seconds from which a work is long: hardly any round of it is left alone by what else a machine does."""


@dataclass(frozen=True)
class Row:
    """One line of the table. ours, floor, other: in `unit`; other is what drawthings-py took for the same job.

    most: what to reach, for ours / floor where there is a floor, else for ours; None for a row that only informs.
    """

    what: str
    ours: float
    unit: str = "ms"
    floor: float | None = None
    floor_is: str = ""
    other: float | None = None
    most: float | None = None
    note: str = ""
    rounds: int = 1
    medians: Mapping[str, float] = field(default_factory=dict)
    least: Mapping[str, float] = field(default_factory=dict)

    @property
    def measured(self) -> float:
        """What is compared with `most`."""
        return self.ours if not self.floor else self.ours / self.floor

    @property
    def reached(self) -> bool | None:
        return None if self.most is None else self.measured <= self.most


def seconds(work: Work) -> float:
    """What one call of `work` takes."""
    started = time.perf_counter()
    told = work()
    return told if isinstance(told, float) else time.perf_counter() - started


def fresh(make: Callable[[], Any], work: Callable[[Any], Any]) -> Work:
    """`work` on something that is new each time and whose making is not timed."""

    def timed() -> float:
        made = make()
        started = time.perf_counter()
        work(made)
        return time.perf_counter() - started

    return timed


def in_turns(works: Mapping[str, Work], budget: float, rounds: int = LEAST_ROUNDS) -> dict[str, list[float]]:
    """Seconds of each work, one after the other, again and again for about `budget` seconds, and at least `rounds` times.

    Of short works the first round is left out: in long ones what happens only once weighs nothing.
    """
    gc.collect()
    times: dict[str, list[float]] = {name: [] for name in works}
    end = time.perf_counter() + budget
    while len(next(iter(times.values()))) < rounds or time.perf_counter() < end:
        for name, work in works.items():
            times[name].append(seconds(work))
    return {name: found[1:] if sum(found) < len(found) * LONG else found for name, found in times.items()}


def compare(
    what: str,
    ours: Work,
    floor: Work | None = None,
    *,
    floor_is: str = "",
    most: float | None = None,
    other: Work | None = None,
    limit: Work | None = None,
    limit_is: str = "",
    fully: Work | None = None,
    fully_is: str = "",
    note: str = "",
    budget: float = 2.0,
    rounds: int = LEAST_ROUNDS,
) -> Row:
    """Time ours against its floor, and drawthings-py where it can be had, in milliseconds.

    The least of many rounds, since whatever else a machine does only ever adds; of long works the median. limit: what this machine makes of
    the same at best, fully: ours with what is left out otherwise, both for the note.
    """
    works = {"ours": ours, "floor": floor, "other": other, "limit": limit, "fully": fully}
    times = in_turns({name: work for name, work in works.items() if work is not None}, budget, rounds)
    least = {name: min(found) * 1000 for name, found in times.items()}
    medians = {name: statistics.median(found) * 1000 for name, found in times.items()}
    figures = medians if min(times["ours"]) >= LONG else least
    floor_ms, other_ms = figures.get("floor"), figures.get("other")
    if limit is not None and floor_ms:
        note = f"{note}; {limit_is}: {figures['limit'] / floor_ms:.2f} x"
    if fully is not None and floor_ms:
        note = f"{note}; {fully_is}: {figures['fully'] / floor_ms:.2f} x"
    return Row(what, figures["ours"], "ms", floor_ms, floor_is, other_ms, most, note, len(times["ours"]), medians, least)
