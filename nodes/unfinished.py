"""Which nodes gave less than they were asked for: ComfyUI would keep that result, and give it again for the same inputs."""

from __future__ import annotations

import threading

_lock = threading.Lock()
_times: dict[str, int] = {}


def remember(node_id: str | None) -> None:
    """A node's result is not whole."""
    with _lock:
        _times[str(node_id)] = _times.get(str(node_id), 0) + 1


def times(node_id: str | None) -> int:
    """How often that happened. As a part of what ComfyUI compares, another number has the node run again."""
    with _lock:
        return _times.get(str(node_id), 0)
