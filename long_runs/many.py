"""Many generations at once, over several servers."""

from __future__ import annotations

import contextlib
import threading
import time

from ..drawthings_core.simulator.process import SimulatorProcess
from .holdings import COLUMNS, FLAGS, Holding, close, growth, job, picture_of, server_of, warm
from .page import Section

COUNT = 64
SERVERS = 4
_SEEDS = 8
_SECONDS = 300.0


def run(count: int, seed: int) -> Section:
    failures: list[str] = []
    with contextlib.ExitStack() as stack:
        warm()
        servers = [server_of(stack.enter_context(SimulatorProcess(*FLAGS))) for _ in range(SERVERS)]
        expected = {number: picture_of(servers[number % SERVERS], job(seed + number)) for number in range(_SEEDS)}
        before = Holding.settled()
        peak = before

        def one(number: int) -> None:
            try:
                if picture_of(servers[number % SERVERS], job(seed + number % _SEEDS)) != expected[number % _SEEDS]:
                    failures.append(f"generation {number} gave another one's picture")
            except Exception as error:
                failures.append(f"generation {number}: {type(error).__name__}: {error}")

        threads = [threading.Thread(target=one, args=(number,), daemon=True) for number in range(count)]
        started = time.perf_counter()
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads) and time.perf_counter() - started < _SECONDS:
            peak = max(peak, Holding.now(), key=lambda held: held.threads)
            time.sleep(0.05)
        seconds = time.perf_counter() - started
        failures += [f"generation {number} did not end" for number, thread in enumerate(threads) if thread.is_alive()]
        after = Holding.settled()
        close(servers)
    return Section(
        "Many at once",
        f"{count} generations at once over {SERVERS} servers with TLS, one connection each; every picture is compared with the one that its seed "
        f"gives alone.",
        ("", *COLUMNS),
        [("before", *before.cells()), ("while most ran", *peak.cells()), ("after", *after.cells())],
        [f"{count} generations in {seconds:.1f} s, {len(failures)} failed."],
        failures + growth(before, after),
    )
