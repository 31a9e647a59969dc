"""Event loops side by side that share a client, each made for one prompt as ComfyUI does."""

from __future__ import annotations

import asyncio
import threading
import time

from ..drawthings_core.client import client_for
from ..drawthings_core.simulator.process import SimulatorProcess
from ..nodes import host
from .holdings import COLUMNS, FLAGS, Holding, close, growth, job, picture_of, server_of, warm
from .page import Section

COUNT = 200
_THREADS = 2
_NODES = 2
"""That run side by side in one prompt."""
_SEEDS = 4


def run(count: int, seed: int) -> Section:
    failures: list[str] = []
    started = time.perf_counter()
    warm()
    with SimulatorProcess(*FLAGS) as simulator:
        server = server_of(simulator)
        expected = {number: picture_of(server, job(seed + number)) for number in range(_SEEDS)}
        shared = client_for(server)
        before = Holding.settled()
        simulator.clear()

        async def prompt(number: int) -> None:
            wanted = [(number + node) % _SEEDS for node in range(_NODES)]
            made = await asyncio.gather(
                *(host.run(lambda stop, one=one: picture_of(server, job(seed + one), stop)) for one in wanted), return_exceptions=True
            )
            for one, picture in zip(wanted, made, strict=True):
                if isinstance(picture, BaseException):
                    failures.append(f"prompt {number}: {type(picture).__name__}: {picture}")
                elif picture != expected[one]:
                    failures.append(f"prompt {number} gave another one's picture")

        def prompts(first: int) -> None:
            for number in range(first, count, _THREADS):
                asyncio.run(prompt(number))

        threads = [threading.Thread(target=prompts, args=(first,), daemon=True) for first in range(_THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60 + count)
        failures += ["a thread did not end" for thread in threads if thread.is_alive()]
        connections = simulator.state()["connections"]
        after = Holding.settled()
        if client_for(server) is not shared or connections > 1:
            failures.append(f"{connections} connections were used where one is shared")
        close([server])
    return Section(
        "Loops side by side",
        f"{count} prompts in {_THREADS} threads, each with an event loop of its own in which {_NODES} nodes run side by side, all on one client.",
        ("", *COLUMNS),
        [("before", *before.cells()), ("after", *after.cells())],
        [f"{count * _NODES} generations on {connections} connection in {time.perf_counter() - started:.0f} s."],
        failures + growth(before, after),
    )
