"""Memory that this process and one child share, which leaves nothing behind however either of them ends."""

from __future__ import annotations

import mmap
import os
import secrets
import sys
import tempfile
from typing import Any

import numpy as np

_READS_FILES = hasattr(os, "preadv")

_GRAIN = 1 << 20

KEPT = 32 << 20
"""Bytes that are kept for the next tensor: a picture of 1024x1024 has 12 million. What a larger one took is given back."""


class SharedMemory:
    """One piece of memory that grows. The child gets `handle` as an argument, and `descriptors` by inheritance.

    Where it is a file, this process reads and writes it as one: pages that it mapped would count as its own memory, once for each child.
    """

    def __init__(self) -> None:
        self._map: mmap.mmap | None = None
        self._size = 0
        self.name = b""
        """What the child maps it by, where it has no descriptor (Windows)."""
        self._descriptor = -1 if sys.platform == "win32" else _anonymous_file()

    @property
    def handle(self) -> str:
        return "-" if self._descriptor < 0 else str(self._descriptor)

    @property
    def descriptors(self) -> tuple[int, ...]:
        return () if self._descriptor < 0 else (self._descriptor,)

    @property
    def size(self) -> int:
        """Bytes mapped."""
        return self._size

    def reserve(self, size: int) -> None:
        """See to it that it has at least `size` bytes. Raises OSError when there is no memory, or disk, for them."""
        if size <= self._size:
            return
        size = -(-size // _GRAIN) * _GRAIN
        self._close_map()
        if self._descriptor < 0:
            # In Windows' paging file, and gone with its last user. A name of its own for each size: mappings do not grow.
            self.name = f"drawthings-{secrets.token_hex(16)}".encode("ascii")
            arguments: dict[str, Any] = {"tagname": self.name.decode("ascii")}
            self._map = mmap.mmap(-1, size, **arguments)
        else:
            _reserve(self._descriptor, size)
            if not _READS_FILES:
                self._map = mmap.mmap(self._descriptor, size)
        self._size = size

    def write(self, data: Any) -> None:
        """Put bytes-like `data` at its start; there is room for it. Like `read`, without holding up the threads of this process."""
        if self._map is not None:
            source = np.frombuffer(data, np.uint8)
            np.copyto(np.frombuffer(self._map, np.uint8, source.size), source)
            return
        rest, position = memoryview(data).cast("B"), 0
        while rest:
            written = os.pwrite(self._descriptor, rest, position)
            rest, position = rest[written:], position + written

    def read(self, array: np.ndarray, position: int) -> None:
        """Fill a contiguous array with the bytes from `position` on. Raises OSError when there are too few."""
        if self._map is not None:
            np.copyto(array.reshape(-1), np.frombuffer(self._map, array.dtype, array.size, position))
            return
        rest = array.reshape(-1).data.cast("B")
        while rest:
            count = os.preadv(self._descriptor, [rest], position)
            if not count:
                raise OSError("the shared memory ended")
            rest, position = rest[count:], position + count

    def trim(self) -> None:
        """Give back what a large tensor took, between two tensors."""
        if self._size <= KEPT:
            return
        self._close_map()
        if self._descriptor >= 0:
            os.ftruncate(self._descriptor, 0)
        self._size = 0

    def close(self) -> None:
        """Give it back; the child's end lives until the child closes its own."""
        self._close_map()
        self._size = 0
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _close_map(self) -> None:
        if self._map is not None:
            self._map.close()
        self._map = None


def _anonymous_file() -> int:
    """A file without a name. Linux has them in memory, without the small limit that a container puts on /dev/shm."""
    if hasattr(os, "memfd_create"):
        try:
            return os.memfd_create("drawthings", os.MFD_CLOEXEC)
        except OSError:  # an old kernel, or one that forbids it
            pass
    folder = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    descriptor, path = tempfile.mkstemp(prefix="drawthings-decode-", dir=folder)
    os.unlink(path)
    return descriptor


def _reserve(descriptor: int, size: int) -> None:
    """Make the file `size` bytes long, with room for all of them: a page that finds no room kills whoever touches it."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
        return
    zeros = bytes(_GRAIN)
    for start in range(os.fstat(descriptor).st_size, size, _GRAIN):
        os.pwrite(descriptor, zeros[: size - start], start)
