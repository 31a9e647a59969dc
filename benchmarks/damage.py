"""Damaged results through the client: a host of its own asks a simulator that damages what it sends. Nobody may die or hang.

What fpzip itself does with the same bytes is the measure of what the host was spared.
"""

# pyright: reportMissingImports=false

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping

import fpzip
import graph
import numpy as np
from child import Child, ChildDied, ChildFailed, ChildHung, serve
from comfyui_drawthings.drawthings_core import images, tensor
from comfyui_drawthings.drawthings_core.client import client_for
from comfyui_drawthings.drawthings_core.configuration import Configuration
from comfyui_drawthings.drawthings_core.errors import NonFiniteImage, TensorError
from comfyui_drawthings.drawthings_core.request import GenerationRequest
from comfyui_drawthings.drawthings_core.simulator import prepared
from comfyui_drawthings.drawthings_core.simulator.faults import damaged
from comfyui_drawthings.drawthings_core.simulator.process import SimulatorProcess
from measure import Row
from other_client import OtherClient

SIDE = 128
LIMIT = 30.0
"""Seconds after which a call that has not ended hangs: several times what the client allows a decoder."""
FPZIP_LIMIT = 2.0

NAMED, UNHARMED, WRONG = "named error", "the very picture", "another picture, or an error about something else"
DIED, HUNG = "died", "hung"


def rows(quick: bool, other: OtherClient) -> Iterator[Row]:
    groups = {"damaged tensors": {"cut": 100, "bytes": 100}, "single-bit flips": {"bit": 60}}
    if quick:
        groups = {"damaged tensors": {"cut": 12, "bytes": 12}, "single-bit flips": {"bit": 8}}
    for name, counts in groups.items():
        found = campaign(counts)
        total, alone = sum(counts.values()), None if quick else fpzip_alone(counts)
        note = f"fpzip in the process: {alone[DIED]} died, {alone[HUNG]} hung" if alone else ""
        note = "; ".join(filter(None, (f"{found[UNHARMED]} came out unharmed", note)))
        what = f"{total} {name} through the client"
        yield Row(f"{what}: deaths of the host", found[DIED], "", most=0, note=note)
        yield Row(f"{what}: hangs", found[HUNG], "", most=0)
        yield Row(f"{what}: without an error that names the image", total - found[NAMED] - found[UNHARMED], "", most=0)


def campaign(counts: Mapping[str, int]) -> Counter[str]:
    """How often each outcome came. counts: how many by kind of damage, see `faults.damaged`."""
    found: Counter[str] = Counter()
    with graph.simulator("--no-tls") as simulator, contextlib.ExitStack() as stack:
        host: Child | None = None
        for kind, seed in _all(counts):
            simulator.set_fault("damaged_payload", {"kind": kind, "seed": seed}, calls=1)
            host = host or stack.enter_context(Child(sys.executable, "damage.py"))
            outcome = _one(host, simulator)
            found[outcome] += 1
            if outcome in (DIED, HUNG):
                simulator.clear_faults()
                host = None
        if host is not None and _one(host, simulator) != UNHARMED:  # without a fault now
            found[WRONG] += 1
    return found


def _one(host: Child, simulator: SimulatorProcess) -> str:
    try:
        return host.ask("generate", seconds=LIMIT, host=simulator.host, port=simulator.port)
    except ChildDied:
        return DIED
    except ChildHung:
        return HUNG
    except ChildFailed:
        return WRONG


# -- in the host


def generate(host: str, port: int) -> str:
    """What one damaged result comes to."""
    server = graph.load_server(host, port, "plain")
    wanted = Configuration(model=graph.MODEL, start_width=SIDE, start_height=SIDE, steps=2)
    try:
        result = client_for(server).generate(GenerationRequest(wanted))
    except (TensorError, NonFiniteImage) as error:
        return NAMED if str(error).startswith("Image 1 ") else WRONG
    expected = images.picture_from_tensor(prepared.picture(SIDE, SIDE, 3)).rgb
    return UNHARMED if np.array_equal(result.pictures[0].rgb, expected) else WRONG


# -- fpzip without us


def fpzip_alone(counts: Mapping[str, int]) -> Counter[str] | None:
    """How often fpzip ends or hangs its process on the same bytes; None where a process cannot be forked."""
    if not hasattr(os, "fork"):
        return None
    with Child(sys.executable, "damage.py") as child:
        return Counter(child.ask("decompress_all", seconds=900, counts=counts))


def decompress_all(counts: dict[str, int]) -> dict[str, int]:
    """Each in a fork of this process."""
    good = prepared.encode(prepared.picture(SIDE, SIDE, 3), compress=True)
    return Counter(_decompress(damaged(good, kind, seed)[tensor.HEADER_SIZE :]) for kind, seed in _all(counts))


def _decompress(payload: bytes) -> str:
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(Exception):  # an error is a good end
            fpzip.decompress(payload, order="C")
        os._exit(0)
    end = time.monotonic() + FPZIP_LIMIT
    while time.monotonic() < end:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return DIED if os.WIFSIGNALED(status) else "ended"
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return HUNG


def _all(counts: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    """(kind, seed) of every damage."""
    return ((kind, seed) for kind, count in counts.items() for seed in range(count))


if __name__ == "__main__":
    serve(globals())
