"""One generation at a time: a serial queue whose jobs talk to their calls through a mailbox (protocol.md section 6.5)."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any


class Cancelled(Exception):
    """Raised at a job's checkpoint after its call has ended."""


class Ended(Exception):
    """The call ends with an error: `code` is a gRPC status name, `details` its text."""

    def __init__(self, code: str, details: str):
        super().__init__(details)
        self.code = code
        self.details = details


_END = object()


class Job:
    """One generation. The worker runs `work(job)`, the call reads `messages`."""

    def __init__(self, work: Callable[[Job], None]):
        self._work = work
        self._mail: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._cancelled = threading.Event()
        self.started = threading.Event()
        self.outcome = "queued"
        self.failed = False
        self.stage = ""
        self.facts: dict[str, Any] = {}

    def cancel(self) -> None:
        """The call has ended. A queued job still starts when its turn comes and stops at its first checkpoint."""
        self._cancelled.set()
        self._mail.put(_END)

    @property
    def cancelled(self) -> bool:
        return self._cancelled.is_set()

    def checkpoint(self, seconds: float = 0.0) -> None:
        """Spend `seconds`; raises Cancelled as soon as the call is gone."""
        if self._cancelled.wait(seconds) if seconds > 0 else self._cancelled.is_set():
            raise Cancelled

    def send(self, message: Any) -> None:
        """Hand one message to the call."""
        self._mail.put(message)

    def messages(self, every: float | None = None, idle: Callable[[], Any] = dict, *, also_running: bool = False) -> Iterator[Any]:
        """Everything the job sends until it ends; what it failed with is raised.

        every: seconds of silence after which `idle()` goes out, while the job waits its turn, and `also_running` later.
        """
        while True:
            beats = every is not None and (also_running or not self.started.is_set())
            try:
                # A job that starts meanwhile is noticed at the next beat at the latest.
                item = self._mail.get(timeout=every if beats else None)
            except queue.Empty:
                if also_running or not self.started.is_set():
                    yield idle()
                continue
            if item is _END:
                return
            if isinstance(item, BaseException):
                raise item
            yield item

    def run(self) -> None:
        """On the worker's thread."""
        self.started.set()
        self.outcome = "running"
        try:
            self._work(self)
            self.outcome = "done"
        except Cancelled:
            self.outcome = "cancelled"
        except Exception as error:  # the call reports it: a worker that died would stop every later call
            self.failed, self.outcome = True, f"failed: {error}"
            self._mail.put(error)
        finally:
            self._mail.put(_END)


class SerialQueue:
    """Runs jobs one after another on a thread of its own; at_once: on so many, as a proxy with so many GPUs does."""

    def __init__(self, at_once: int = 1) -> None:
        self._jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._open: list[Job] = []
        self.history: list[Job] = []
        for _ in range(at_once):
            threading.Thread(target=self._loop, name="generation queue", daemon=True).start()

    def submit(self, job: Job) -> None:
        """Queue a job."""
        with self._lock:
            self._open.append(job)
        self._jobs.put(job)

    def counts(self) -> dict[str, int]:
        """Jobs that run and that wait."""
        with self._lock:
            running = sum(job.started.is_set() for job in self._open)
            return {"running": running, "queued": len(self._open) - running}

    def wait_for_turn(self, alive: Callable[[], bool]) -> None:
        """Return when everything queued before has run (--echo-on-queue), or the call is gone."""
        job = Job(lambda _: None)
        self.submit(job)
        while alive() and not job.started.wait(0.05):
            pass

    def _loop(self) -> None:
        while True:
            job = self._jobs.get()
            job.run()
            with self._lock:
                self._open.remove(job)
                self.history.append(job)
                del self.history[:-100]


def pause(seconds: float, alive: Callable[[], bool]) -> None:
    """Sleep on a call's own thread, at most until the call is gone."""
    end = time.monotonic() + seconds
    while alive() and (left := end - time.monotonic()) > 0:
        time.sleep(min(left, 0.02))
