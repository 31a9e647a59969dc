"""Pictures as a request carries them, each fitted, encoded and hashed once for as long as it does not change.

A picture is recognised by its values, compared one by one with a copy. Nothing less is safe: ComfyUI hands out the same tensor for
run after run, and a node that writes into it leaves no trace (tensors of inference mode count no versions). The comparison costs a
twentieth of encoding.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from . import images
from .images import AnyFit, HintValues
from .packing import Packed, content_of

LIMIT = 256 << 20
"""Bytes that are kept for all nodes together."""

_SAMPLES = 16  # rows and columns that tell most pictures apart
_BLOCK = 1 << 16  # values that are compared at a time


class _Kept(NamedTuple):
    source: np.ndarray
    made: Packed

    @property
    def size(self) -> int:
        return self.source.nbytes + content_of(self.made).size


class Encodings:
    """The last used encodings, within `limit` bytes. Thread-safe."""

    def __init__(self, limit: int = LIMIT):
        self._limit = limit
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[Any, ...], _Kept] = OrderedDict()

    def image(self, picture: np.ndarray, canvas: tuple[int, int], fit: AnyFit) -> Packed:
        """images.image_tensor of a picture [1, H, W, C] fitted to the canvas (width, height)."""
        return self.get(picture, ("image", canvas, fit), lambda one: images.image_tensor(images.fit_image(one, *canvas, fit)))

    def mask(self, mask: np.ndarray, canvas: tuple[int, int], fit: AnyFit, image_size: tuple[int, int] | None) -> Packed:
        """images.mask_tensor of a mask [1, H, W] fitted as its image is."""
        purpose = ("mask", canvas, fit, image_size)
        return self.get(mask, purpose, lambda one: images.mask_tensor(images.fit_mask(one, *canvas, fit, image_size)[0]))

    def hint(self, picture: np.ndarray, values: HintValues, canvas: tuple[int, int] | None, fit: AnyFit) -> Packed:
        """images.hint_tensor of a picture [1, H, W, C], fitted to the canvas where there is one."""

        def make(one: np.ndarray) -> Packed:
            return images.hint_tensor(one if canvas is None else images.fit_image(one, *canvas, fit), values)

        return self.get(picture, ("hint", values, canvas, fit), make)

    def get(self, source: np.ndarray, purpose: tuple[Any, ...], make: Callable[[np.ndarray], Packed]) -> Packed:
        """make(source), or what it gave for the same values before. purpose: all else that the outcome depends on.

        source: [N, H, W, ...].
        """
        if source.nbytes > self._limit:
            return make(source)
        _, height, width, *_ = source.shape
        samples = source[:, :: max(1, height // _SAMPLES), :: max(1, width // _SAMPLES)].tobytes()
        key = (purpose, source.shape, source.dtype.str, samples)
        with self._lock:
            known = self._kept.get(key)
        if known is None or not _same(known.source, source):
            copy = np.array(source, order="C")  # encoded in its stead, so that the two belong together whatever becomes of it
            known = _Kept(copy, make(copy))
        with self._lock:
            self._kept[key] = known
            self._kept.move_to_end(key)
            size = sum(kept.size for kept in self._kept.values())
            while size > self._limit:
                size -= self._kept.popitem(last=False)[1].size
        return known.made

    def clear(self) -> None:
        """Keep nothing of what there is."""
        with self._lock:
            self._kept.clear()


def _same(left: np.ndarray, right: np.ndarray) -> bool:
    """Whether two arrays of one shape and dtype hold the same bits; found out in the first rows where they differ there."""
    bits = f"u{left.dtype.itemsize}"
    left, right = left.view(bits), right.view(bits)
    rows = max(1, _BLOCK // left[0, 0].size)
    return all(
        np.array_equal(one[start : start + rows], other[start : start + rows])
        for one, other in zip(left, right, strict=True)
        for start in range(0, len(one), rows)
    )


shared = Encodings()
"""For all nodes of this process."""
