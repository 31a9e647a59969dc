"""Progress in the terminal, and Ctrl-C: what `nodes.host.listener` is told."""

from __future__ import annotations

import contextlib
import itertools
import signal
import threading
from collections.abc import Iterator, Mapping
from types import FrameType
from typing import Any

from PIL import Image
from tqdm import tqdm

from ..drawthings_core.stages import Doing
from ..nodes import host

_FORMAT = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]"
"""tqdm's own without the rate: steps and bytes go by the same bar."""

_PART = "  {desc}"
"""Below it, what one of several servers does."""


class TerminalProgress:
    """One bar a node; called from the nodes' threads. Bars appear only where stderr is a terminal, unless `always`."""

    previews = False

    def __init__(self, titles: Mapping[str, str], quiet: bool = False, always: bool = False):
        self._titles = titles
        self._hidden: bool | None = True if quiet else (False if always else None)
        self._lock = threading.Lock()
        self._bars: dict[str, tqdm[Any]] = {}
        self._parts: dict[str, list[tqdm[Any]]] = {}  # lines below a node's bar
        self._stop = threading.Event()

    def progress(self, node_id: str, value: int, total: int, preview: Image.Image | None) -> None:
        with self._lock:
            bar = self._bar(node_id)
            bar.total = total
            bar.n = value
            bar.refresh()

    def say(self, node_id: str, doing: Doing | None) -> None:
        whole, *parts = [""] if doing is None else doing.lines
        with self._lock:
            self._bar(node_id).set_postfix_str(whole)
            lines = self._parts.setdefault(node_id, [])
            while len(lines) < len(parts):
                lines.append(tqdm(position=self._free_line(), disable=self._hidden, bar_format=_PART, leave=False))
            while len(lines) > len(parts):
                lines.pop().close()
            for line, part in zip(lines, parts, strict=True):
                line.set_description_str(part)

    def _bar(self, node_id: str) -> tqdm[Any]:
        if node_id not in self._bars:
            title = self._titles.get(node_id, node_id)
            self._bars[node_id] = tqdm(desc=title, position=self._free_line(), disable=self._hidden, bar_format=_FORMAT)
        return self._bars[node_id]

    def _free_line(self) -> int:
        """The first one of the screen's that nothing is written to."""
        taken = {-getattr(bar, "pos", 1) for bar in (*self._bars.values(), *(line for lines in self._parts.values() for line in lines))}
        return next(number for number in itertools.count() if number not in taken)

    def interrupted(self) -> bool:
        return self._stop.is_set()

    def stop(self) -> None:
        """Have every running node stop its server's run."""
        self._stop.set()

    def close(self) -> None:
        with self._lock:
            for line in (line for lines in self._parts.values() for line in lines):
                line.close()
            for bar in self._bars.values():
                bar.close()


@contextlib.contextmanager
def listening(progress: TerminalProgress) -> Iterator[None]:
    """Nodes report to `progress`; the first Ctrl-C (or SIGTERM) stops the servers' runs, a second one ends at once."""

    def on_signal(number: int, frame: FrameType | None) -> None:
        if progress.interrupted():
            raise KeyboardInterrupt
        progress.stop()

    before = host.listener
    host.listener = progress
    # Handlers can be set in the main thread only; elsewhere (a test) nobody sends signals.
    catches = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    handlers = {number: signal.signal(number, on_signal) for number in catches}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        host.listener = before
        progress.close()
