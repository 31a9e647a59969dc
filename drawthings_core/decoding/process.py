"""One worker process as its parent sees it: start, hello, one tensor at a time, end."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DecoderFailed, TensorError
from ..servers import SECRET_VARIABLE
from . import worker
from .memory import SharedMemory

_SCRIPT = Path(worker.__file__)
_GRACE_SECONDS = 5.0
"""How much longer than its parent a worker waits before it ends itself."""
_MOST_NOISE = 1 << 16
_TIMER_SECONDS = 5.0
"""At most, for a timer's thread that was told to end."""

_ONE_THREAD = {
    **dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"),
    "MALLOC_ARENA_MAX": "1",  # glibc reserves 128 MiB of addresses for a thread's own, which the memory limit would count
}
_NOT_INHERITED = ("PYTHONINSPECT", "PYTHONSTARTUP", "PYTHONPROFILEIMPORTTIME", "PYTHONVERBOSE")


class WorkerNotStarted(Exception):
    """The process could not be started or did not say hello; the text is a reason without a full stop. killed: by somebody else."""

    def __init__(self, reason: str, killed: bool = False):
        super().__init__(reason)
        self.killed = killed


class Worker:
    """A running worker process. One thread uses it; `kill` may be called from any.

    executable: the Python to run, by default this process's own. Raises WorkerNotStarted. Before anything else comes `hello`.
    """

    def __init__(self, executable: str | None = None):
        self._lock = threading.Lock()
        self._deadline: threading.Timer | None = None
        self._timer: threading.Timer | None = None
        self._expired = False
        self.spoiled = False
        """Whether it must not get another tensor: it is dead, or a damaged one may have harmed it."""
        self.ready = False
        """Whether it has said hello."""
        self.killed = False
        """Whether somebody else ended it, so that its tensor may be as good as any."""
        command = _command(executable)
        try:
            self._memory = SharedMemory()
        except OSError as error:
            raise WorkerNotStarted(f"no shared memory: {error.strerror or error}") from error
        try:
            self._process = _start(command, self._memory)
        except (OSError, ValueError, RuntimeError) as error:
            self._memory.close()
            raise WorkerNotStarted(str(error)) from error

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process is still there, as far as is known."""
        return self._process.poll() is None

    def hello(self, seconds: float) -> None:
        """Wait until it is ready. Raises WorkerNotStarted."""
        try:
            with self._limited(seconds):
                status, text = self._read_answer(_MOST_NOISE)
        except EOFError as error:
            if self._expired:
                raise WorkerNotStarted(f"it did not answer within {seconds:.0f} s") from error
            raise WorkerNotStarted(str(error), self._ended_from_outside()) from error
        if status != worker.READY:
            raise WorkerNotStarted(text)
        self.ready = True

    def decode(self, payload: Any, request: worker.Request, outputs: list[np.ndarray], seconds: float) -> int:
        """Decode one fpzip stream into `outputs`, contiguous arrays that together hold what the request's `output` means.

        payload: bytes-like. request: without `memory`, `seconds` and `name`, which are filled in here. The status, READY or
        NON_FINITE. Raises TensorError for a damaged stream, DecoderFailed for what took more than `seconds` or too much memory,
        or when the process was `killed`.
        """
        size = max(len(payload), sum(array.nbytes for array in outputs))
        try:
            self._memory.reserve(size)
            self._memory.write(payload)
        except (OSError, ValueError) as error:
            raise DecoderFailed(f"There is no memory for the {size} bytes of the decoded tensor ({error}).") from error
        request = request._replace(memory=self._memory.size, name=self._memory.name, seconds=seconds + _GRACE_SECONDS)
        status, text = self._exchange(request, seconds)
        if status != worker.READY:
            self.spoiled = True
            if status == worker.DAMAGED:
                raise TensorError(f"The tensor's fpzip payload is damaged ({text}).")
            if status == worker.OUT_OF_MEMORY:
                raise DecoderFailed(f"Decoding the tensor took more than the {request.allowance >> 20} MiB of memory that it may take.")
            if status != worker.NON_FINITE:
                raise DecoderFailed(f"The tensor's decoder failed ({text}).")
            return status
        offset = 0
        for array in outputs:
            self._memory.read(array, offset)
            offset += array.nbytes
        self._memory.trim()
        return status

    def kill(self) -> None:
        """End the process at once; its user gets an error."""
        with contextlib.suppress(OSError):
            self._process.kill()

    def close(self) -> None:
        """End and reap the process, and give everything back."""
        self.spoiled = True
        self.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):  # one that hangs in the kernel is reaped by a later Popen
            self._process.wait(10)
        self._join_timer()
        self.release()

    def release(self) -> None:
        """Close this process's ends: what a forked child does with a worker that is its parent's."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self._memory.close()

    def _exchange(self, request: worker.Request, seconds: float) -> tuple[int, str]:
        assert self._process.stdin is not None
        try:
            with self._limited(seconds):
                try:
                    self._process.stdin.write(worker.REQUEST.pack(*request))
                except OSError as error:
                    raise EOFError(self._how_it_ended()) from error
                return self._read_answer()
        except EOFError as error:
            self.spoiled = True
            if self._expired:
                raise DecoderFailed(
                    f"The tensor was not decoded within {seconds:.0f} s: it is damaged, or this machine too busy."
                ) from error
            if self._ended_from_outside():
                self.killed = True
                raise DecoderFailed(
                    f"The tensor's decoder was stopped ({error}), perhaps since memory ran out: close other programs, or make smaller pictures."
                ) from error
            raise TensorError("The tensor's fpzip payload ended its decoder.") from error

    @contextlib.contextmanager
    def _limited(self, seconds: float) -> Iterator[None]:
        """Kill the process when the block takes longer: that ends a blocking read on every system."""
        timer = threading.Timer(seconds, self._expire)
        timer.daemon = True
        timer.name = "drawthings-decode-limit"
        self._join_timer()
        self._timer = timer
        with self._lock:
            self._deadline = timer
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            with self._lock:
                self._deadline = None  # one that is on its way finds nothing to kill

    def _join_timer(self) -> None:
        """Wait for the last timer's thread. It was told to end; who waits for a result need not wait for that."""
        if self._timer is not None and self._timer.ident is not None:
            self._timer.join(_TIMER_SECONDS)
        self._timer = None

    def _expire(self) -> None:
        with self._lock:
            if self._deadline is None:
                return
            self._expired = True
            self.spoiled = True
        self.kill()

    def _read_answer(self, noise: int = 0) -> tuple[int, str]:
        """noise: bytes that may come before it, which Python's own start-up (sitecustomize) may print."""
        head = self._read(worker.ANSWER.size)
        while not head.startswith(worker.MARK):
            if not noise:
                raise EOFError("it does not speak as a decoder")
            head, noise = head[1:] + self._read(1), noise - 1
        _, status, length = worker.ANSWER.unpack(head)
        return status, self._read(length).decode("utf-8", "replace")

    def _read(self, size: int) -> bytes:
        assert self._process.stdout is not None
        data = b""
        while len(data) < size:
            try:
                piece = self._process.stdout.read(size - len(data))
            except (OSError, ValueError):  # closed by close()
                piece = b""
            if not piece:
                raise EOFError(self._how_it_ended())
            data += piece
        return data

    def _how_it_ended(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1)
        code = self._process.returncode
        if code is None:
            return "it closed its output"
        return f"signal {-code}" if code < 0 else f"exit code {code}"

    def _ended_from_outside(self) -> bool:
        code = self._process.returncode
        return code is not None and code < 0 and -code in (2, 9, 15)  # SIGINT, SIGKILL, SIGTERM: no decoder raises these


def _command(executable: str | None) -> list[str]:
    if executable is None:
        if getattr(sys, "frozen", False):
            raise WorkerNotStarted("ComfyUI runs here as a packed application, without a Python of its own")
        executable = sys.executable
    if not executable:
        raise WorkerNotStarted("Python does not know its own executable")
    return [executable, *_own_flags(), str(_SCRIPT)]


def _own_flags() -> list[str]:
    """Those of this Python that decide where modules come from: ComfyUI's portable edition keeps a user's own packages out with -s."""
    flags = {"-I": sys.flags.isolated, "-s": sys.flags.no_user_site, "-E": sys.flags.ignore_environment, "-S": sys.flags.no_site}
    return [flag for flag, is_set in flags.items() if is_set]


def _kept_back(variable: str) -> bool:
    return variable in _NOT_INHERITED or variable.startswith(SECRET_VARIABLE)


def _start(command: list[str], memory: SharedMemory) -> subprocess.Popen[bytes]:
    environment = {name: value for name, value in os.environ.items() if not _kept_back(name)} | _ONE_THREAD
    arguments = [*command, memory.handle, *_library_folders()]
    if sys.platform == "win32":
        return _popen(arguments, environment, creationflags=subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP)
    # A session of its own: Ctrl-C in ComfyUI's terminal is for ComfyUI, which then closes our pipes
    return _popen(arguments, environment, start_new_session=True, pass_fds=memory.descriptors)


def _popen(arguments: list[str], environment: dict[str, str], **of_the_system: Any) -> subprocess.Popen[bytes]:
    pipe, nowhere = subprocess.PIPE, subprocess.DEVNULL
    return subprocess.Popen[bytes](arguments, bufsize=0, stdin=pipe, stdout=pipe, stderr=nowhere, env=environment, **of_the_system)


def _library_folders() -> list[str]:
    """Where this process found numpy and fpzip, for a host that added folders to its path by itself."""
    folders = []
    for name in ("numpy", "fpzip"):
        module = sys.modules.get(name)
        file = getattr(module, "__file__", None)
        if file:
            inside = 2 if getattr(module, "__path__", None) is not None else 1
            folders.append(str(Path(file).absolute().parents[inside - 1]))
    return list(dict.fromkeys(folders))
