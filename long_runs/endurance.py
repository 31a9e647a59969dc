"""Many generations, one after the other, in one process: what it holds stays the same."""

from __future__ import annotations

import time
from collections import Counter

import numpy as np

from ..drawthings_core.errors import DrawThingsError
from ..drawthings_core.job import Job
from ..drawthings_core.simulator.process import SimulatorProcess
from .holdings import COLUMNS, FLAGS, Holding, close, growth, job, picture_of, server_of, warm
from .page import Section

COUNT = 2000
_ROWS = 10
FAULTS = ("drop_after", "truncated_tensor", "corrupt_fpzip", "empty_result", "nan_image", "error_status", "missing_image")
_EVERY = 10
"""So often something goes wrong."""


def run(count: int, seed: int) -> Section:
    outcomes: Counter[str] = Counter()
    samples: list[tuple[int, Holding]] = []
    every = max(1, count // _ROWS)
    started = time.perf_counter()
    warm()
    with SimulatorProcess(*FLAGS) as simulator:
        server = server_of(simulator)
        for number in range(count):
            fault = FAULTS[number // _EVERY % len(FAULTS)] if number % _EVERY == _EVERY - 1 else None
            if fault:
                simulator.set_fault(fault, 2 if fault == "drop_after" else None, 1)
            try:
                picture_of(server, _job(seed + number))
                outcomes["pictures"] += 1
            except DrawThingsError as error:
                outcomes[type(error).__name__ if fault else f"{type(error).__name__} without a fault"] += 1
            if (number + 1) % every == 0:
                simulator.clear()
                samples.append((number + 1, Holding.settled()))
        close([server])
    failures = [name for name in outcomes if name.endswith("without a fault")] + growth(samples[0][1], samples[-1][1])
    told = ", ".join(f"{name} {number:,}" for name, number in outcomes.most_common())
    return Section(
        "Endurance",
        f"{count:,} generations by one process, one after the other: pictures, batches, image to image, larger ones that come in pieces; every "
        f"{_EVERY}th with a fault of the server.",
        ("generations", *COLUMNS),
        [(number, *held.cells()) for number, held in samples],
        [f"{time.perf_counter() - started:.0f} s. Outcomes: {told}."],
        failures,
    )


def _job(number: int) -> Job:
    """Of every kind in turn."""
    kind = number % 8
    if kind == 0:
        return job(number, batch_size=2)
    if kind == 1:
        return job(number, images=np.full((1, 128, 128, 3), number % 100 / 100, np.float32))
    if kind == 2:
        return job(number, start_width=512, start_height=512)
    return job(number)
