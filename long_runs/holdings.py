"""What this process holds, and whether that stays the same; small jobs to try it with."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..drawthings_core import decoding
from ..drawthings_core.client import Cancellation, client_for
from ..drawthings_core.configuration import Sampler
from ..drawthings_core.job import Job
from ..drawthings_core.servers import Server
from ..drawthings_core.simulator.process import SimulatorProcess
from ..nodes.generation import Generated, generate

MODEL = "sd_v1.5_f16.ckpt"
FLAGS = ("--model-browser", "--step-seconds", "0")
LIMITS = {"memory": 32.0, "descriptors": 4, "threads": 2}
"""What a process may have more of at the end than after it had warmed up. memory: MB."""


class Holding(NamedTuple):
    """memory: resident MB; descriptors: open files and sockets. Both 0 where there is no /proc."""

    memory: float
    descriptors: int
    threads: int

    @classmethod
    def settled(cls) -> Holding:
        """Once the garbage is gone, and threads of ours that are just ending."""
        gc.collect()
        end = time.monotonic() + 5
        while _ending() and time.monotonic() < end:
            time.sleep(0.01)
        return cls.now()

    @classmethod
    def now(cls) -> Holding:
        memory, descriptors = 0.0, 0
        with contextlib.suppress(OSError):
            memory = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
            descriptors = len(os.listdir("/proc/self/fd"))
        return cls(memory, descriptors, threading.active_count())

    def cells(self) -> tuple[str, int, int]:
        """Of a table with the columns COLUMNS."""
        return f"{self.memory:.0f} MB", self.descriptors, self.threads


def warm() -> None:
    """Have every decoder run: they come when they are needed, and would count as growth."""
    pool = decoding.shared()
    end = time.monotonic() + 60
    while len(pool.pids) < pool.size and time.monotonic() < end:
        pool.warm(pool.size)
        time.sleep(0.01)


COLUMNS = ("memory", "descriptors", "threads")


def _ending() -> bool:
    return any(one.name in ("drawthings", "drawthings-receive", "drawthings-watch") for one in threading.enumerate())


def growth(first: Holding, last: Holding) -> list[str]:
    """What has grown by more than LIMITS, in words."""
    return [
        f"{name} grew from {before:.0f} to {after:.0f}"
        for name, before, after in zip(COLUMNS, first, last, strict=True)
        if after - before > LIMITS[name]
    ]


def server_of(simulator: SimulatorProcess) -> Server:
    return Server(simulator.host, simulator.port)


def job(seed: int, images: np.ndarray | None = None, **settings: Any) -> Job:
    """A small picture, or what the settings make of it."""
    given = {"start_width": 128, "start_height": 128, "steps": 4, "sampler": Sampler.dpmpp_2m_trailing, "seed": seed}
    if images is not None:
        given["strength"] = 0.5
    return Job(MODEL, "a lighthouse", settings={**given, **settings}, images=images)


def picture_of(server: Server, wanted: Job, cancellation: Cancellation | None = None) -> str:
    """What a node makes of a job, as a digest."""
    made = generate(server, wanted, None, cancellation or Cancellation(), Generated)
    return hashlib.sha256(made.images().numpy().tobytes()).hexdigest()


def close(servers: Sequence[Server]) -> None:
    """End the connections of this process."""
    for server in servers:
        client_for(server).close()
