"""Several servers as one: simulators of different speed, how near all of them together come to the best that they can do, and what is lost when
one of them is killed.
"""

# pyright: reportMissingImports=false

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import graph
import numpy as np
from comfyui_drawthings.drawthings_core.servers import ServerPool
from comfyui_drawthings.drawthings_core.simulator.process import SimulatorProcess
from measure import Row, in_turns
from other_client import OtherClient

STEP_SECONDS = 0.03
SPEEDS = (1.0, 1.0, 0.5)
SIZE = 512
TIMED_ALONE = 4
"""Pictures by which a server's pace is measured."""

PATIENCE = 60.0
"""Seconds within which a server that is to be killed has to be at work."""


def rows(quick: bool, other: OtherClient) -> Iterator[Row]:
    count = 8 if quick else 16
    with contextlib.ExitStack() as stack:
        simulators = [stack.enter_context(graph.simulator("--step-seconds", f"{STEP_SECONDS / speed:g}")) for speed in SPEEDS]
        servers = [graph.load_server(one.host, one.port) for one in simulators]
        yield from _times(servers, count)
        for one, speed in zip(simulators, SPEEDS, strict=True):
            one.set("picture", "scene")
            one.set("step_seconds", STEP_SECONDS / speed / 4)
        yield from _losses(simulators, servers, count)


def _times(servers: Sequence[Any], count: int) -> Iterator[Row]:
    alone = {f"server {number}": (lambda server=server: _generate(server, TIMED_ALONE)) for number, server in enumerate(servers) if number}
    together = {"one": servers[0], "two": ServerPool(tuple(servers[:2])), "three": ServerPool(tuple(servers))}
    works = {**alone, **{name: (lambda server=server: _generate(server, count)) for name, server in together.items()}}
    times = in_turns(works, 0)
    least = {name: min(found) for name, found in times.items()}
    each = [least["one"] / count, *(least[name] / TIMED_ALONE for name in alone)]
    speeds = ", ".join(f"{speed:g}x" for speed in SPEEDS)
    in_parts = count / sum(1 / seconds for seconds in each)
    yield Row(
        f"{count} images on three servers of speeds {speeds}",
        least["three"],
        "s",
        _best(each, count),
        "the best that whole images allow, by each server's own pace",
        most=1.15,
        note=f"were images divisible: {least['three'] / in_parts:.2f} x",
        rounds=len(times["three"]),
    )
    yield Row(
        f"{count} images on two servers of speed 1x",
        least["two"],
        "s",
        least["one"] / 2,
        "half the time of one",
        most=1.1,
        rounds=len(times["two"]),
    )


def _losses(simulators: Sequence[SimulatorProcess], servers: Sequence[Any], count: int) -> Iterator[Row]:
    expected = _images(servers[0], count)
    pool = ServerPool(tuple(servers))
    yield Row(
        f"{count} images on three servers: other than on one, or in another order",
        _differing(_images(pool, count), expected),
        "",
        most=0,
    )
    killed = simulators[1]
    before = len(killed.requests())
    with ThreadPoolExecutor(1) as beside:
        killing = beside.submit(_kill_at_its_second, killed, before)
        images = _images(pool, count)
        killing.result()
    yield Row("the same, one of them killed at its second image: missing, or other", _differing(images, expected), "", most=0)


def _kill_at_its_second(simulator: SimulatorProcess, before: int) -> None:
    """While it makes its second image. before: requests that it has had. Raises when it gets none."""
    end = time.monotonic() + PATIENCE
    while len(simulator.requests()) < before + 2:
        if time.monotonic() > end:
            raise TimeoutError(f"the server to be killed was not given a second image within {PATIENCE:g} s")
        time.sleep(0.02)
    simulator.wait_until(PATIENCE, running=1)
    simulator.kill()


def _generate(server: Any, count: int) -> None:
    assert len(_images(server, count)) == count


def _images(server: Any, count: int) -> np.ndarray:
    wanted = {"width": SIZE, "height": SIZE, "seed": 1, "steps": graph.STEPS, "model": graph.MODEL, "batch_count": count}
    return graph.node("Generate", server=server, prompt="a lighthouse", **wanted)[0].numpy()


def _differing(images: np.ndarray, expected: np.ndarray) -> int:
    missing = len(expected) - len(images)
    return missing + sum(not np.array_equal(one, other) for one, other in zip(images, expected, strict=False))


def _best(each: Sequence[float], count: int) -> float:
    """The least seconds in which servers that need so many for an image make `count`."""
    return sorted(seconds * number for seconds in each for number in range(1, count + 1))[count - 1]
