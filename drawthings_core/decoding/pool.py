"""A few worker processes that decode and make fpzip tensors, for all clients of this process."""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import tensor
from ..errors import DecoderFailed, DecoderUnavailable, DrawThingsError, TensorError
from . import worker
from .process import Worker, WorkerNotStarted

IDLE_SECONDS = 180.0
"""How long a worker without work is kept."""

_LEAST_SECONDS = 5.0
_VALUES_PER_SECOND = 500_000
"""A machine 20 times slower than a small one of today still has its time."""

_LEAST_MEMORY = 256 << 20

_AFTER_FAILURE_SECONDS = 60.0
"""How long none is started ahead of its tensor where the last one could not be: a run asks for them at every step."""


class NotFinite(TensorError):
    """A picture holds NaN or infinity."""


@dataclass
class _Task:
    """One tensor. outputs() allocates when the decoded bytes are there, and what `result` makes of them is the future's."""

    payload: memoryview
    header: tensor.Header
    output: int
    outputs: Callable[[], list[np.ndarray]]
    result: Callable[[list[np.ndarray]], Any]
    preview: bool = False
    future: Future[Any] = field(default_factory=Future)
    tried: bool = False

    def wanted(self) -> bool:
        """Whether it is to be decoded, since nobody has cancelled it; from here on nobody can."""
        return self.future.running() or self.future.set_running_or_notify_cancel()


class Pool:
    """At most `size` workers, started when there is work for them. Thread-safe; futures are concurrent.futures', bound to no loop.

    size: by default 4, or one more than a smaller machine has cores: while a worker waits for its picture to be taken away, there is one for
    each core.
    idle_seconds: after which a worker ends. start_seconds: that it has to say hello. tensor_seconds, memory: what one tensor may
    take instead of limits that follow from its size. executable: the Python to run instead of this process's own.
    """

    def __init__(
        self,
        size: int | None = None,
        *,
        idle_seconds: float = IDLE_SECONDS,
        start_seconds: float = 60.0,
        tensor_seconds: float | None = None,
        memory: int | None = None,
        executable: str | None = None,
    ):
        self.size = size or min(4, (os.cpu_count() or 1) + 1)
        self._idle_seconds = idle_seconds
        self._start_seconds = start_seconds
        self._tensor_seconds = tensor_seconds
        self._memory = memory
        self._executable = executable
        self._closed = False
        self._reset()
        _pools.add(self)

    def _reset(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._tasks: deque[_Task] = deque()
        self._later: deque[_Task] = deque()
        self._threads: set[threading.Thread] = set()
        self._workers: set[Worker] = set()
        self._places = 0  # threads that take tasks: at most `size`
        self._failed = float("-inf")  # when a worker last could not be started, while none could since
        self._failures = 0
        self._reason = ""  # of the last
        self._free = 0  # those that wait for work, or will when their worker has started

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers that run."""
        with self._changed:
            return [running.pid for running in self._workers]

    @property
    def failures(self) -> int:
        """How often no worker could be started. Those that were tried at once count as one."""
        return self._failures

    def unavailable(self, since: int) -> str | None:
        """Why none can be started, where none runs and none could be twice since there were as many failures: once is chance."""
        with self._changed:
            there = any(running.ready and running.alive for running in self._workers)
            return None if there or self._failures < since + 2 else self._reason

    def warm(self, workers: int = 1) -> None:
        """See to it that up to `workers` workers are there soon. Never raises: who cannot start one learns it from a tensor."""
        if time.monotonic() - self._failed < _AFTER_FAILURE_SECONDS:
            return
        with self._changed, contextlib.suppress(RuntimeError):
            while not self._closed and self._places < min(workers, self.size):
                self._add_thread()

    def submit(self, data: Any, *, header: tensor.Header | None = None, preview: bool = False) -> Future[np.ndarray]:
        """Decode a tensor (bytes-like, codec fpzip) into an array of its dims and dtype, as `tensor.decode`.

        header: what `tensor.check` gave for it, when that was done. preview: whether it gives way to everything else.
        The future raises TensorError for a damaged tensor, DecoderFailed for one that takes too long or too much memory, and
        DecoderUnavailable where no process can be started. Raises TensorError at once for what `tensor.check` refuses.
        """
        header = _compressed(header or tensor.check(data))
        shape, dtype = header.dims, header.dtype
        payload = memoryview(data)[tensor.HEADER_SIZE :]
        task = _Task(payload, header, dtype.itemsize, lambda: [np.empty(shape, dtype)], lambda arrays: arrays[0], preview)
        return self._add(task)

    def submit_picture(self, data: Any, rgb: np.ndarray, alpha: np.ndarray | None, *, header: tensor.Header | None = None) -> Future[None]:
        """Decode a result tensor [1, H, W, 3 or 4] (alpha first) into `rgb` and `alpha`, as `images.picture_from_tensor` would.

        rgb: contiguous float32 [H, W, 3], filled with 0..1. alpha: the same [H, W]; given exactly when there are 4 channels.
        The arrays are written to until the future is done. Errors: `submit`, and NotFinite.
        """
        header = _compressed(header or tensor.check(data))
        outputs = [rgb] if alpha is None else [rgb, alpha]
        channels = len(outputs) + 2
        if header.dims != (1, *rgb.shape[:2], channels) or not all(a.dtype == np.float32 and a.flags.c_contiguous for a in outputs):
            raise ValueError(f"{rgb.shape} float32 does not hold a picture of {header.dims}")
        payload = memoryview(data)[tensor.HEADER_SIZE :]
        return self._add(_Task(payload, header, worker.PICTURE + channels, lambda: outputs, lambda _: None))

    def compress(self, data: Any) -> Future[bytes | None]:
        """Compress a raw tensor (bytes-like, float16, four dims) as `tensor.encode` does; None when that does not make it smaller.

        fpzip in this process would hold up all of its threads. Errors of the future: `submit`.
        """
        header = tensor.check(data)
        if header.codec != tensor.Codec.RAW or header.datatype != tensor.DataType.FLOAT16 or len(header.dims) != 4:
            raise ValueError(f"{header.codec.name} {header.datatype.name} {header.dims} is not compressed here")
        size = worker.LENGTH.size + header.raw_size

        def result(arrays: list[np.ndarray]) -> bytes | None:
            written = arrays[0].data
            (length,) = worker.LENGTH.unpack_from(written)
            stream = written[worker.LENGTH.size :][:length]
            return b"".join((header._replace(codec=tensor.Codec.FPZIP).pack(), stream)) if length else None

        return self._add(_Task(memoryview(data), header, worker.COMPRESSED, lambda: [np.empty(size, np.uint8)], result))

    def close(self) -> None:
        """End all workers and threads. What was not decoded gets an error."""
        with self._changed:
            self._closed = True
            waiting, threads = [*self._tasks, *self._later], list(self._threads)
            self._tasks.clear()
            self._later.clear()
            for running in self._workers:
                running.kill()
            self._changed.notify_all()
        _fail(waiting, DecoderUnavailable("it was ended"))
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(15)

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _add(self, task: _Task) -> Future[Any]:
        with self._changed:
            if self._closed:
                raise DecoderUnavailable("it was ended")
            self._queue(task).append(task)
            if self._free < len(self._tasks) + len(self._later) and self._places < self.size:
                try:
                    self._add_thread()
                except RuntimeError as error:  # the system gives no more threads
                    if not self._places:
                        self._queue(task).remove(task)
                        raise DecoderUnavailable(str(error)) from error
            self._changed.notify()
        return task.future

    def _add_thread(self) -> None:
        thread = threading.Thread(target=self._serve, name="drawthings-decode", daemon=True)
        thread.start()
        self._threads.add(thread)
        self._places += 1
        self._free += 1

    def _serve(self) -> None:
        """The life of one place in the pool: a worker, replaced when it is spoiled, until there is nothing to do."""
        running: Worker | None = None
        try:
            while True:
                running = running or self._start()
                task = self._next()
                if task is None:
                    return
                if not running.alive or (task.wanted() and not self._decode(running, task)):
                    self._put_back(task)  # somebody ended the worker: not this tensor's fault
                    del task
                    self._end(running)
                    running = None
                    continue
                del task  # its bytes and arrays may be large, and the next one may be far
                if running.spoiled:
                    self._end(running)
                    running = None
                with self._changed:
                    self._free += 1
        except Exception as error:
            self._not_started(str(error) or repr(error))
        finally:
            if running is not None:
                self._end(running)
            with self._changed:
                self._threads.discard(threading.current_thread())

    def _start(self) -> Worker:
        began = time.monotonic()
        try:
            try:
                return self._started()
            except WorkerNotStarted as error:
                if not error.killed:  # by somebody else, which says nothing of the next one
                    raise
            return self._started()
        except Exception as error:
            with self._changed:
                self._failures += began > self._failed
                self._failed, self._reason = time.monotonic(), str(error) or repr(error)
            raise

    def _started(self) -> Worker:
        if self._closed:
            raise WorkerNotStarted("it was ended")
        started = Worker(self._executable)
        with self._changed:
            closed = self._closed
            if not closed:
                self._workers.add(started)
        try:
            if closed:
                raise WorkerNotStarted("it was ended")
            started.hello(self._start_seconds)
        except BaseException:
            self._end(started)
            raise
        self._failed = float("-inf")
        return started

    def _end(self, running: Worker) -> None:
        with self._changed:
            self._workers.discard(running)
        running.close()

    def _next(self) -> _Task | None:
        """The next task, results first; None when there was none for a while. Counts this thread out either way."""
        with self._changed:
            waited = True
            while not self._closed:
                for queue in (self._tasks, self._later):
                    if queue:
                        self._free -= 1
                        return queue.popleft()
                if not waited:
                    break
                waited = self._changed.wait(self._idle_seconds)
            self._free -= 1
            self._places -= 1  # whoever submits from here on needs another
            return None

    def _put_back(self, task: _Task) -> None:
        with self._changed:
            self._free += 1
            if not self._closed:
                self._queue(task).appendleft(task)
                self._changed.notify()
                return
        _fail([task], DecoderUnavailable("it was ended"))

    def _queue(self, task: _Task) -> deque[_Task]:
        return self._later if task.preview else self._tasks

    def _not_started(self, reason: str) -> None:
        """Without any other worker, nobody will come for what waits. The next tensor tries again."""
        with self._changed:
            self._free -= 1
            self._places -= 1
            waiting = [] if self._places else [*self._tasks, *self._later]
            if waiting:
                self._tasks.clear()
                self._later.clear()
        _fail(waiting, DecoderUnavailable(reason))

    def _decode(self, running: Worker, task: _Task) -> bool:
        """Whether the task has its outcome. It has none the first time that its worker is killed, as a system does that lacks memory."""
        try:
            header = task.header
            work = header.elements * max(4, header.dtype.itemsize)
            seconds = self._tensor_seconds or _LEAST_SECONDS + header.elements / _VALUES_PER_SECOND
            allowance = self._memory or _LEAST_MEMORY + 2 * work + 2 * len(task.payload)
            outputs = task.outputs()
            request = worker.Request(0, len(task.payload), header.elements, header.dtype.itemsize, task.output, 0, allowance)
            if running.decode(task.payload, request, outputs, seconds) == worker.NON_FINITE:
                raise NotFinite("The tensor holds values that are not numbers.")
            task.future.set_result(task.result(outputs))
        except DrawThingsError as error:
            if running.killed and not task.tried and not self._closed:
                task.tried = True
                return False
            task.future.set_exception(_without_frames(DecoderUnavailable("it was ended") if self._closed else error))
        except BaseException as error:  # no memory here, no thread for the time limit: nobody else could tell whoever waits
            running.spoiled = True
            failed = DecoderFailed(f"The tensor could not be decoded on this machine ({error or type(error).__name__}).")
            failed.__cause__ = error
            task.future.set_exception(_without_frames(failed))
        return True

    def _forget_parents(self) -> None:
        """In a forked child: the workers and threads are the parent's. What keeps workers alive is let go of, unharmed."""
        for running in self._workers:
            running.release()
        self._reset()


def _compressed(header: tensor.Header) -> tensor.Header:
    if header.codec != tensor.Codec.FPZIP:
        raise ValueError(f"{header.codec.name} is decoded in this process")
    return header


def _without_frames(error: DrawThingsError) -> DrawThingsError:
    """The same error; the frames of it and its causes hold the task, and with it the arrays of a whole clip."""
    inner: BaseException | None = error
    while inner is not None:
        inner.__traceback__ = None
        inner = inner.__cause__ or inner.__context__
    return error


def _fail(tasks: list[_Task], error: DrawThingsError) -> None:
    for task in tasks:
        if task.wanted():
            task.future.set_exception(error)


_pools: weakref.WeakSet[Pool] = weakref.WeakSet()
_shared: Pool | None = None
_shared_lock = threading.Lock()


def shared() -> Pool:
    """The process's pool, made when first asked for; ends with the process."""
    global _shared
    with _shared_lock:
        if _shared is None:
            _shared = Pool()
        return _shared


def _close_all() -> None:
    for pool in list(_pools):
        pool.close()


def _after_fork() -> None:
    global _shared_lock
    _shared_lock = threading.Lock()
    for pool in list(_pools):
        pool._forget_parents()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
