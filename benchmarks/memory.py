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
FRAMES, WIDTH, HEIGHT = 81, 832, 512  # of 832x480 the height is no multiple of 64, which a server needs
HOSTS = 3
STATUS = Path("/proc/self/status")


def rows(quick: bool, other: OtherClient) -> Iterator[Row]:
    if sys.platform == "win32":
        return  # nothing in the standard library tells the highest point
    forgets = STATUS.exists()  # elsewhere a highest point stays, and only the first clip shows
    hosts = [extra(3 if forgets and not quick else 1) for _ in range(1 if quick else HOSTS)]
    yield _row("first clip of a host", [clips[0] for clips in hosts])
    if len(hosts[0]) > 1:
        yield _row("later clips", [extra for clips in hosts for extra in clips[1:]])


def _row(which: str, extras: list[int]) -> Row:
    """The worst of them."""
    size = WIDTH * HEIGHT * 3 * 4 * FRAMES
    return Row(
        f"{FRAMES} frames {WIDTH}x{HEIGHT}, {which}: extra peak memory of the host",
        max(extras) / 2**20,
        "MiB",
        floor=size / 2**20,
        floor_is="the final tensor",
        most=0.1,
        note=f"the worst of {len(extras)}; the least {min(extras) / 2**20:.1f} MiB" if len(extras) > 1 else "",
        rounds=len(extras),
    )


def extra(clips: int) -> list[int]:
    """Bytes above the result, of one clip after the other in one host, whose connection and decoders are there before."""
    with graph.simulator() as simulator, Child(sys.executable, "memory.py") as host:
        host.ask("clip", host=simulator.host, port=simulator.port, frames=1)
        return [host.ask("clip", host=simulator.host, port=simulator.port, frames=FRAMES) for _ in range(clips)]


# -- in the host


def clip(host: str, port: int, frames: int) -> int:
    server = graph.load_server(host, port)
    options = graph.node("VideoOptions", num_frames=frames)[0]
    wanted: dict[str, Any] = {"width": WIDTH, "height": HEIGHT, "steps": 4, "model": MODEL, "options": options}
    before = _peak_from_here()
    images = graph.node("Generate", server=server, prompt="waves", **wanted)[0]
    assert images.shape == (frames, HEIGHT, WIDTH, 3)
    return _peak() - before - images.element_size() * images.nelement()


def _peak_from_here() -> int:
    """The memory that is taken now, from which on the highest point is looked for, where the system can; else that so far."""
    if STATUS.exists():
        Path("/proc/self/clear_refs").write_text("5")
    return _peak()


def _peak() -> int:
    """The most memory that this process had resident, in bytes, shared memory included."""
    if STATUS.exists():
        (line,) = (line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) << 10
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    serve(globals())
