"""The process that runs fpzip: its decoder ends or hangs its process on damaged input, and its encoder stops all threads. Run by path, never imported as a part
of the package: besides the standard library it knows numpy and fpzip only.

    worker.py MEMORY [FOLDER...]

MEMORY: the inherited descriptor of the shared memory, or "-" where each request names it (Windows). FOLDERs are searched last,
for a host that found numpy and fpzip in places of its own. Requests come on stdin, answers go to stdout, and the process ends
when stdin does. Bytes come and pixels go through the shared memory, both from its first byte.
"""

from __future__ import annotations

import contextlib
import faulthandler
import functools
import mmap
import os
import signal
import struct
import sys
from typing import Any, NamedTuple

REQUEST = struct.Struct("<QQQIIdQ48s")
"""The fields of Request."""

ANSWER = struct.Struct("<4sII")
"""Mark, status, length of the text that follows."""

MARK = b"dtw1"

READY, NON_FINITE, DAMAGED, OUT_OF_MEMORY, FAILED = range(5)

HALF, FLOAT, DOUBLE = 2, 4, 8
"""What is written: the values themselves, by element size."""

PICTURE = 100
"""What is written: PICTURE + channels means a picture; see write_picture."""

COMPRESSED = 200
"""What is written: the fpzip stream of a raw tensor of halves; see compress."""

LENGTH = struct.Struct("<Q")
"""What stands before that stream."""

LARGEST_HALF = 65504.0
HALF_ERROR = 2.0**-13
"""Largest difference, in 0..1, between a level of 256 and the half that it was rounded to."""

_PRECISION = 19  # fpzip's: the bits of a float32 that keep every half
_UNUSED_BITS = 32 - _PRECISION
_DIMS = (12, 20)  # of a tensor's header: how many int32, and where
_HEADER_SIZE = 68
_BLOCK = 1 << 16  # values; what is done to them one after the other stays in the processor's cache
_PATROL_SECONDS = 20.0


class Request(NamedTuple):
    """memory: bytes of the shared memory; name: of it, where it has one. payload: bytes of the fpzip stream, or of the raw tensor.

    elements: values in it, checked beforehand. itemsize: of the tensor's element type, 2, 4 or 8. output: HALF, FLOAT, DOUBLE,
    PICTURE + channels or COMPRESSED. seconds: after which this process ends itself, should nobody else do it. allowance: bytes that decoding
    may allocate.
    """

    memory: int
    payload: int
    elements: int
    itemsize: int
    output: int
    seconds: float
    allowance: int
    name: bytes = b""


class _Refused(Exception):
    """An answer other than READY."""

    def __init__(self, status: int, text: str = ""):
        super().__init__(text)
        self.status = status


class _Memory:
    """The shared memory, mapped again when it has grown."""

    def __init__(self, handle: str):
        self._descriptor = None if handle == "-" else int(handle)
        self._map: mmap.mmap | None = None
        self._key: tuple[int, bytes] | None = None

    def map(self, request: Request) -> mmap.mmap:
        key = (request.memory, request.name)
        if self._map is None or key != self._key:
            if self._map is not None:
                self._map.close()
            if self._descriptor is None:
                self._map = mmap.mmap(-1, request.memory, tagname=request.name.rstrip(b"\0").decode("ascii"))  # type: ignore[call-overload]
            else:
                self._map = mmap.mmap(self._descriptor, request.memory)
            self._key = key
        return self._map


def decode(request: Request, memory: mmap.mmap, np: Any, fpzip: Any) -> None:
    """Replace what is at the start of `memory` by what the request wants of it. Raises _Refused, MemoryError."""
    if request.output == COMPRESSED:
        compress(request, memory, np, fpzip)
        return
    stream = memory[: request.payload]
    try:
        values = fpzip.decompress(stream, order="C").reshape(-1)
    except MemoryError:
        raise
    except Exception as error:  # the binding raises its own FpzipError and bare ValueErrors
        raise _Refused(DAMAGED, str(error)) from error
    del stream
    work = np.dtype("<f8") if request.itemsize == DOUBLE else np.dtype("<f4")
    if values.size != request.elements or values.dtype != work:
        raise _Refused(DAMAGED, f"{values.size} {values.dtype} values came out where {request.elements} {work} are needed")
    if request.output > PICTURE:
        write_picture(values, memory, request, np)
    else:
        write_values(values, memory, request, np)


def compress(request: Request, memory: mmap.mmap, np: Any, fpzip: Any) -> None:
    """A raw float16 tensor of four dims, header included -> LENGTH and the fpzip stream; length 0 when it would not be smaller."""
    shape = np.frombuffer(memory, "<i4", *_DIMS)[:4]
    values = np.frombuffer(memory, "<f2", request.elements, _HEADER_SIZE).astype("<f4").reshape(shape)
    stream = fpzip.compress(values, precision=_PRECISION, order="C")
    if len(stream) > request.elements * HALF:
        stream = b""
    memory[: LENGTH.size + len(stream)] = LENGTH.pack(len(stream)) + stream


def write_values(values: Any, memory: mmap.mmap, request: Request, np: Any) -> None:
    """The values as little-endian floats of `output` bytes each."""
    out = np.frombuffer(memory, f"<f{request.output}", request.elements)
    for start in range(0, values.size, _BLOCK):
        block = values[start : start + _BLOCK]
        _in_range(block, np)
        out[start : start + _BLOCK] = block


def write_picture(values: Any, memory: mmap.mmap, request: Request, np: Any) -> None:
    """A result's pixels [.., 3] or [.., 4] (alpha first) as float32 in 0..1, clamped: all colours, then all alphas.

    As `images.write_picture`. Refuses NaN and infinity.
    """
    channels = request.output - PICTURE
    values = values.reshape(-1, channels)
    count = len(values)
    rgb = np.frombuffer(memory, "<f4", count * 3).reshape(-1, 3)
    alpha = np.frombuffer(memory, "<f4", count, count * 12) if channels == 4 else None
    step = _BLOCK // channels
    table = _half_table(np) if request.itemsize == HALF else None
    which = np.empty((step, channels), np.intp)  # kept: new memory for each block would take as long as the look-up
    for start in range(0, count, step):
        block = values[start : start + step]
        colour = rgb[start : start + step]
        if alpha is not None:
            _check_finite(block[:, 0], np)
            np.clip(block[:, 0], 0, 1, out=alpha[start : start + step], casting="same_kind")
        if table is None:
            _check_finite(block, np)
            colour[:] = to_unit(block[:, -3:], np)
            continue
        indices = which[: len(block)]
        np.right_shift(block.view("<u4"), _UNUSED_BITS, out=indices)
        np.take(table, indices[:, -3:], out=colour, mode="wrap")  # none is out of range; the other modes take twice as long
        if np.isnan(colour.sum()):
            _check_finite(block, np)
            raise _Refused(DAMAGED, "it holds values that are no halves")


def to_unit(signed: Any, np: Any) -> Any:
    """Values in -1..1 -> float32 in 0..1, clamped, exact where they can mean one of 256 levels; NaN and infinity -> NaN."""
    with np.errstate(invalid="ignore", over="ignore"):  # a table of all values has every NaN there is; doubles may be larger than floats
        wide = signed.astype(np.float32)
        unit = np.clip(np.where(np.isinf(wide), np.float32(np.nan), wide) * np.float32(0.5) + np.float32(0.5), 0, 1)
    level = np.rint(unit * np.float32(255)) / np.float32(255)
    return np.where(np.abs(unit - level) <= HALF_ERROR, level, unit).astype(np.float32)


@functools.lru_cache(maxsize=1)
def _half_table(np: Any) -> Any:
    """to_unit of every half, by the bits that fpzip keeps of it as a float32; NaN for what no half is."""
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    table = np.full(1 << 32 - _UNUSED_BITS, np.nan, np.float32)
    table[halves.astype(np.float32).view(np.uint32) >> _UNUSED_BITS] = to_unit(halves, np)
    return table


def _check_finite(block: Any, np: Any) -> None:
    """Refuse NaN and infinity."""
    if not _in_range(block, np):
        raise _Refused(NON_FINITE)


def _in_range(block: Any, np: Any) -> bool:
    """Whether all values are finite. Refuses a stream with values that no half has, which nothing of a model comes near: it is damaged."""
    low, high = block.min(), block.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        return False
    if not -LARGEST_HALF <= low <= high <= LARGEST_HALF:
        raise _Refused(DAMAGED, "it holds values that are out of range")
    return True


class _Limits:
    """What keeps one tensor from taking the machine.

    The limit of memory holds on Linux only: macOS neither tells what is taken (no /proc) nor keeps to RLIMIT_AS, and Windows has no such
    limit. There the time limit ends a decoder that goes astray, or the system does when memory runs out: this process, not the host's.
    """

    def __init__(self) -> None:
        self._log = open(os.devnull, "w")  # noqa: SIM115  kept for the watchdog
        try:
            import resource
        except ImportError:  # Windows
            resource = None
        self._resource = resource
        if resource is not None:
            with contextlib.suppress(ValueError, OSError):
                resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))

    def begin(self, request: Request) -> None:
        # Python's own watchdog thread: it needs no GIL, and works when the parent is gone
        faulthandler.dump_traceback_later(request.seconds, exit=True, file=self._log)
        self._allow(request.allowance)

    def end(self) -> None:
        faulthandler.cancel_dump_traceback_later()
        self._allow(None)

    def _allow(self, more: int | None) -> None:
        if self._resource is None:
            return
        with contextlib.suppress(OSError, ValueError, AttributeError):  # no /proc, no such limit
            hard = self._resource.getrlimit(self._resource.RLIMIT_AS)[1]
            soft = hard
            if more is not None:
                with open("/proc/self/statm", "rb") as file:
                    soft = int(file.read().split()[0]) * mmap.PAGESIZE + more
                if hard != self._resource.RLIM_INFINITY:
                    soft = min(soft, hard)
            self._resource.setrlimit(self._resource.RLIMIT_AS, (soft, hard))


def _die_quietly() -> None:
    """A crash ends the process without core file, crash report or dialog: none of them would tell the user anything."""
    with contextlib.suppress(Exception):
        import ctypes

        if os.name == "nt":
            ctypes.windll.kernel32.SetErrorMode(0x1 | 0x2)  # type: ignore[attr-defined]  no critical-error, no crash box
            return
        libc = ctypes.CDLL(None)
        libc.signal.restype = ctypes.c_void_p
        leave = ctypes.cast(libc._exit, ctypes.c_void_p)
        for number in (signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGABRT):
            libc.signal(int(number), leave)  # _exit(number): safe in a handler, unlike anything of Python's


def _wait_for_input(descriptor: int, parent: int) -> None:
    """Wait for a request; end when the parent is gone although somebody (a fork of it) still holds our stdin open."""
    if os.name == "nt":
        return
    import select

    while not select.select([descriptor], [], [], _PATROL_SECONDS)[0]:
        if os.getppid() != parent:
            os._exit(0)


def _read(descriptor: int, size: int) -> bytes:
    """Exactly `size` bytes; ends the process when there are no more."""
    data = b""
    while len(data) < size:
        piece = os.read(descriptor, size - len(data))
        if not piece:
            os._exit(0)
        data += piece
    return data


def _answer(descriptor: int, status: int, text: str = "") -> None:
    words = text.encode("utf-8", "replace")[:1000]
    data = ANSWER.pack(MARK, status, len(words)) + words
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    except OSError:  # nobody reads any more
        os._exit(0)


def _channel() -> tuple[int, int]:
    """Descriptors for requests and answers; what any library prints goes nowhere."""
    answers = os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    if os.name == "nt":
        import msvcrt

        for descriptor in (0, answers):
            msvcrt.setmode(descriptor, os.O_BINARY)  # type: ignore[attr-defined]
    return 0, answers


def main(handle: str, folders: list[str]) -> None:
    """Say hello, then answer one request after the other until stdin ends."""
    parent = os.getppid()
    requests, answers = _channel()
    here = os.path.dirname(os.path.abspath(__file__))
    # Nothing beside this file may stand in for a library's module
    sys.path[:] = [entry for entry in sys.path if entry and os.path.abspath(entry) != here]
    sys.path += [folder for folder in folders if folder not in sys.path]
    _die_quietly()
    try:
        import fpzip
        import numpy
    except Exception as error:
        _answer(answers, FAILED, f"{type(error).__name__}: {error}")
        return
    np: Any = numpy
    memory, limits = _Memory(handle), _Limits()
    with np.errstate(all="ignore"):
        _half_table(np)  # before somebody waits for it
    _answer(answers, READY)
    while True:
        _wait_for_input(requests, parent)
        request = Request(*REQUEST.unpack(_read(requests, REQUEST.size)))
        status, text = READY, ""
        try:
            shared = memory.map(request)
            limits.begin(request)
            with np.errstate(all="ignore"):
                decode(request, shared, np, fpzip)
        except _Refused as refused:
            status, text = refused.status, str(refused)
        except MemoryError:
            status = OUT_OF_MEMORY
        except Exception as error:
            status, text = FAILED, f"{type(error).__name__}: {error}"
        finally:
            limits.end()
        _answer(answers, status, text)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main(sys.argv[1], sys.argv[2:])
    os._exit(0)
