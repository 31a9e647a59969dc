"""Random requests against the simulator's strict mode, which counts what would have brought a real server down: nothing may.

The same requests past our rules show what the strict mode sees, and so that the requests are not too tame to show anything.
"""

from __future__ import annotations

import math
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from multiprocessing import get_context

import grpc

from ..drawthings_core import errors
from ..drawthings_core.catalog import Catalog
from ..drawthings_core.client import Client
from ..drawthings_core.job import plan
from ..drawthings_core.request import MESSAGE_LIMIT, GenerationRequest, build
from ..drawthings_core.servers import Server
from ..drawthings_core.simulator.process import SimulatorProcess
from ..proto.service import Stub
from . import random_requests
from .page import Section

COUNT = 20_000
"""Requests that are to reach a server."""
FLAGS = ("--no-tls", "--model-browser", "--strict-keep-running", "--step-seconds", "0", "--picture", "plain", "--no-response-compression")
CHUNK = 250
"""Numbers that one process tries with one server."""
PAST_OUR_RULES = 10
"""One in so many chunks is tried past our rules, too."""

Requests = Callable[[int, Catalog], Iterator[GenerationRequest]]


def of_job(number: int, catalog: Catalog) -> Iterator[GenerationRequest]:
    """What a node sends for one random job. Raises InvalidInput."""
    for run in plan(random_requests.job(number, catalog), catalog).runs():
        if run.request is not None:
            yield run.request


def put_together(number: int, catalog: Catalog) -> Iterator[GenerationRequest]:
    """A request past the planner. Raises InvalidInput."""
    yield random_requests.request(number, catalog)


SOURCES: dict[str, Requests] = {"jobs of the nodes": of_job, "requests past the planner": put_together}


@dataclass
class Tally:
    """tried: numbers. sent: requests that reached the server. refused: numbers, by the class of our error. traps: by what the server said."""

    tried: int = 0
    sent: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    traps: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        self.tried += other.tried
        self.sent += other.sent
        self.refused += other.refused
        self.traps += other.traps
        self.failures += other.failures


def with_rules(simulator: SimulatorProcess, source: str, numbers: Iterable[int]) -> Tally:
    """As the nodes do it: each is refused here by a sentence, or it runs."""
    tally = Tally()
    client = Client(Server(simulator.host, simulator.port))
    catalog = client.catalog()
    before = simulator.state()["traps"]
    for number in numbers:
        tally.tried += 1
        what = f"{source}, number {number}"
        try:
            for request in SOURCES[source](number, catalog):
                try:
                    client.generate(request)
                except errors.InvalidInput:
                    raise
                except errors.BadResult:  # an answer: what the request came to is no picture, and the server lives
                    pass
                tally.sent += 1
        except errors.InvalidInput as error:
            tally.refused[type(error).__name__] += 1
            if not str(error).endswith((".", "?")):
                tally.failures.append(f"{what}: no sentence: {error}")
        except Exception as error:
            tally.failures.append(f"{what}: {type(error).__name__}: {error}")
    state = simulator.state()
    tally.traps.update(reason_of(text) for text in state["trap_reasons"][before:])
    tally.failures += [f"{source}: brought a server down: {reason}" for reason in state["trap_reasons"][before:]]
    client.close()
    return tally


def past_rules(simulator: SimulatorProcess, source: str, numbers: Iterable[int]) -> Tally:
    """The same requests sent as they are."""
    tally = Tally()
    client = Client(Server(simulator.host, simulator.port))
    catalog = client.catalog()
    client.close()
    limits = [(f"grpc.max_{way}_message_length", MESSAGE_LIMIT) for way in ("send", "receive")]
    before = len(simulator.state()["trap_reasons"])
    with grpc.insecure_channel(simulator.address, limits) as channel:
        for number in numbers:
            tally.tried += 1
            try:
                for request in SOURCES[source](number, catalog):
                    tally.sent += 1
                    for _ in Stub(channel).GenerateImage(build(request, catalog)):
                        pass
            except errors.InvalidInput as error:
                tally.refused[type(error).__name__] += 1
            except grpc.RpcError:
                pass  # a trap, which is counted there, or the server's own refusal
            except Exception as error:
                tally.failures.append(f"{source}, number {number}, past our rules: {type(error).__name__}: {error}")
    tally.traps.update(reason_of(text) for text in simulator.state()["trap_reasons"][before:])
    return tally


def reason_of(text: str) -> str:
    """A trap without its figures."""
    return "".join("N" if character.isdigit() else character for character in text).replace("NN", "N").replace("NN", "N")


def run(count: int, seed: int, minutes: float = math.inf) -> Section:
    """Until so many requests have reached a server, or the time is over."""
    end = time.monotonic() + 60 * minutes
    guarded = {source: Tally() for source in SOURCES}
    bare = {source: Tally() for source in SOURCES}
    workers = max(1, os.cpu_count() or 1)
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        waiting: dict[Future[Tally], tuple[dict[str, Tally], str]] = {}
        chunk = 0
        while waiting or _more(guarded, count, end):
            while len(waiting) < 2 * workers and _more(guarded, count, end):
                # Two numbers of jobs for one past the planner, which are quicker.
                source = list(SOURCES)[chunk % 3 == 2]
                first = seed + chunk // 3 * CHUNK * 2 + (chunk % 3 % 2) * CHUNK
                numbers = range(first, first + min(CHUNK, count))
                waiting[pool.submit(_chunk, "with_rules", source, numbers)] = (guarded, source)
                if chunk % PAST_OUR_RULES in (1, 2):
                    waiting[pool.submit(_chunk, "past_rules", source, numbers)] = (bare, source)
                chunk += 1
            for done in wait(waiting, return_when=FIRST_COMPLETED).done:
                tallies, source = waiting.pop(done)
                tallies[source].add(done.result())
            print(", ".join(f"{source}: {tally.sent} sent of {tally.tried}" for source, tally in guarded.items()), flush=True)
    return _section(guarded, bare)


def _more(tallies: dict[str, Tally], count: int, end: float) -> bool:
    return sum(tally.sent for tally in tallies.values()) < count and time.monotonic() < end


def _chunk(how: str, source: str, numbers: range) -> Tally:
    """In a process of its own."""
    with SimulatorProcess(*FLAGS) as simulator:
        return {"with_rules": with_rules, "past_rules": past_rules}[how](simulator, source, numbers)


def _section(guarded: dict[str, Tally], bare: dict[str, Tally]) -> Section:
    rows: list[list[object]] = []
    for words, tallies in (("", guarded), (", past our rules", bare)):
        for source, tally in tallies.items():
            share = f"{sum(tally.traps.values()) / tally.sent:.1%}" if tally.sent else ""
            rows.append([f"{source}{words}", tally.tried, sum(tally.refused.values()), tally.sent, sum(tally.traps.values()), share])
    refused: Counter[str] = sum((tally.refused for tally in guarded.values()), Counter())
    traps: Counter[str] = sum((tally.traps for tally in bare.values()), Counter())
    failures = [failure for tally in (*guarded.values(), *bare.values()) for failure in tally.failures]
    return Section(
        "Random requests against a strict server",
        "Random models, settings, pictures, masks, hints, LoRAs and controls, of which some are wrong, sent to a simulator that counts what "
        "would bring a real server down. Past our rules the same requests show that it would happen.",
        ["what", "tried", "refused here", "sent", "traps", "of those sent"],
        rows,
        [
            f"Refused by: {', '.join(f'{name} {number:,}' for name, number in refused.most_common())}.",
            f"Failures: {len(failures)}.",
            "Past our rules the server stopped because: "
            + "; ".join(f"{reason} ({number:,})" for reason, number in traps.most_common(12))
            + ".",
        ],
        failures,
    )
