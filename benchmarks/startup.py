"""What starting ComfyUI costs more with this package in it. Fresh processes, with bytecode as any start but the first has it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from measure import Row
from other_client import OtherClient


def rows(quick: bool, other: OtherClient) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as bytecode:
        first = _start(bytecode, ("torch", "grpc"))
        starts = [_start(bytecode, ("torch", "grpc")) for _ in range(1 if quick else 5)]
        inside = [_start(bytecode, ("torch", "numpy", "PIL.Image")) for _ in range(1 if quick else 3)]
    yield Row(
        "package import, over importing torch and grpc",
        min(start.package for start in starts),
        "s",
        most=0.3,
        note=f"{first.package:.2f} s the first time, when Python compiles it",
        rounds=len(starts),
    )
    over = "package import, over importing torch, numpy and Pillow as ComfyUI does"
    yield Row(over, min(start.package for start in inside), "s", rounds=len(inside))
    yield Row(f"INPUT_TYPES of all {first.nodes} nodes", min(start.input_types for start in starts) * 1000, "ms", rounds=5 * len(starts))


# Imports next to nothing by itself, so that nothing is there which the package would have had to bring.
_PROGRAM = """
import gc, sys, time
for name in sys.argv[1:]:
    __import__(name)
gc.collect()  # what they left behind
began = time.perf_counter()
import comfyui_drawthings
nodes = comfyui_drawthings.NODE_CLASS_MAPPINGS
times = [time.perf_counter()]
for _ in range(6):
    for node in nodes.values():
        node.INPUT_TYPES()
    times.append(time.perf_counter())
again = min(later - earlier for earlier, later in zip(times[1:], times[2:]))
print(times[0] - began, again, len(nodes))
"""


class Start(NamedTuple):
    """Seconds, and a number of nodes."""

    package: float
    input_types: float
    nodes: int


def _start(bytecode: str, before: Sequence[str]) -> Start:
    """One fresh process. before: what is imported already and not counted."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, *before],
        env={**environment, "PYTHONPYCACHEPREFIX": bytecode},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    package, input_types, nodes = done.stdout.split()
    return Start(float(package), float(input_types), int(nodes))
