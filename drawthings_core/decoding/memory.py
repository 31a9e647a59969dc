"""Memory that this process and one child share, which leaves nothing behind however either of them ends."""

from __future__ import annotations

import mmap
import os
import secrets
import sys
import tempfile
from typing import Any

_GRAIN = 1 << 20


class SharedMemory:
    """One mapping that grows. The child gets `handle` as an argument, and `descriptors` by inheritance."""

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

    def map(self, size: int) -> mmap.mmap:
        """The mapping, of at least `size` bytes. Raises OSError when there is no memory, or disk, for it.

        No view of it may be kept: it is closed when it grows.
        """
        if self._map is None or size > self._size:
            size = -(-size // _GRAIN) * _GRAIN
            self._close_map()
            if self._descriptor < 0:
                # In Windows' paging file, and gone with its last user. A name of its own for each size: mappings do not grow.
                self.name = f"drawthings-{secrets.token_hex(16)}".encode("ascii")
                arguments: dict[str, Any] = {"tagname": self.name.decode("ascii")}
                self._map = mmap.mmap(-1, size, **arguments)
            else:
                _reserve(self._descriptor, size)
                self._map = mmap.mmap(self._descriptor, size)
            self._size = size
        return self._map

    def close(self) -> None:
        """Give it back; the child's end lives until the child closes its own."""
        self._close_map()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _close_map(self) -> None:
        if self._map is not None:
            self._map.close()
        self._map, self._size = None, 0


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
