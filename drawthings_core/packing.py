"""Tensors that lie in their own encoded form, so that nothing is copied between a picture's values and a request."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from . import tensor


class Content:
    """One encoded tensor (bytes-like `data`) as requests carry it, and the SHA-256 that they name it by. Thread-safe."""

    def __init__(self, data: Any):
        self.data = data
        self.smaller: Content | None = None
        """The same tensor compressed, once somebody did that (see `compression`) and it became smaller."""
        self.incompressible = False
        """Whether that was tried in vain."""
        self._lock = threading.Lock()
        self._digest: bytes | None = None

    @property
    def size(self) -> int:
        """Bytes of memory that it takes."""
        return len(self.data) + (len(self.smaller.data) if self.smaller is not None else 0)

    @property
    def digest(self) -> bytes:
        """32 bytes; computed when first asked for."""
        with self._lock:
            if self._digest is None:
                self._digest = hashlib.sha256(self.data).digest()
            return self._digest


class Packed(np.ndarray):
    """A read-only array in the payload of its encoded form, `content`. Arrays made from it have none."""

    content: Content | None

    def __array_finalize__(self, parent: Any) -> None:
        self.content = None


def pack(shape: tuple[int, ...], dtype: Any, fill: Callable[[np.ndarray], Any]) -> Packed:
    """A tensor of this shape and dtype, whose values `fill` writes into the array that it is given."""
    header = tensor.raw_header(shape, np.dtype(dtype))
    memory = np.empty(tensor.HEADER_SIZE + header.raw_size, np.uint8)
    memory[: tensor.HEADER_SIZE] = np.frombuffer(header.pack(), np.uint8)
    values = memory[tensor.HEADER_SIZE :].view(header.dtype).reshape(shape)
    fill(values)
    memory.flags.writeable = False
    packed = values.view(Packed)
    packed.flags.writeable = False
    packed.content = Content(memory)
    return packed


def content_of(array: np.ndarray) -> Content:
    """The encoded form of a tensor: its own where it has one. Raises TensorError."""
    content = array.content if isinstance(array, Packed) else None
    return content or Content(tensor.encode(array))
