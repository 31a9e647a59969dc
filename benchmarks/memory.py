"""How much more than its result a clip takes in the host's process at the highest point. A host of its own, over sockets."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import graph
from child import Child, serve
from measure import Row
from other_client import OtherClient

MODEL = "wan_v2.1_14b_i2v_480p_q6p_svd.ckpt"
WIDTH, HEIGHT = 832, 512  # of 832x480 the height is no multiple of 64, which a server needs
STATUS = Path("/proc/self/status")


def rows(quick: bool, other: OtherClient) -> Iterator[Row]:
    if not STATUS.exists() and sys.platform == "win32":
        return
    frames = 21 if quick else 81
    with graph.simulator() as simulator, Child(sys.executable, "memory.py") as host:
        found = host.ask("clip", host=simulator.host, port=simulator.port, frames=frames)
    yield Row(
        f"{frames} frames {WIDTH}x{HEIGHT}: extra peak memory of the host",
        (found["peak"] - found["before"] - found["result"]) / 2**20,
        "MiB",
        floor=found["result"] / 2**20,
        floor_is="the final tensor",
        most=0.1,
    )


def clip(host: str, port: int, frames: int) -> dict[str, int]:
    """In the host: bytes of memory before and at the highest point, and of the result."""
    server = graph.load_server(host, port)
    _frames(server, 1)  # imports, the connection and the decoders are there in any run but the first
    before = _peak_from_here()
    images = _frames(server, frames)
    assert images.shape == (frames, HEIGHT, WIDTH, 3)
    return {"before": before, "peak": _peak(), "result": images.element_size() * images.nelement()}


def _frames(server: Any, count: int) -> Any:
    options = graph.node("VideoOptions", num_frames=count)[0]
    wanted = {"width": WIDTH, "height": HEIGHT, "steps": 4, "model": MODEL, "options": options}
    return graph.node("Generate", server=server, prompt="waves", **wanted)[0]


def _peak_from_here() -> int:
    """Forget the highest point so far, where the system can; the memory that is taken now."""
    if not STATUS.exists():
        return _peak()
    Path("/proc/self/clear_refs").write_text("5")
    return _peak()


def _peak() -> int:
    """The most memory that this process had resident, shared memory included."""
    if STATUS.exists():
        (line,) = (line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) << 10
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    serve(globals())
