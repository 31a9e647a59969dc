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
_BLOCK = 1 << 16  # bytes that are compared at a time


class _Kept(NamedTuple):
    source: np.ndarray
    made: Packed

    @property
    def size(self) -> int:
        return content_of(self.made).size + (self.source.nbytes if self.source is not self.made else 0)


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

        def make(one: np.ndarray) -> Packed:
            return images.mask_tensor(images.fit_mask(one, *canvas, fit, image_size)[0])

        size = (mask.shape[2], mask.shape[1])
        if size == canvas and image_size in (None, size):
            return self._whole_mask(mask)
        return self.get(mask, ("mask", canvas, fit, image_size), make)

    def hint(self, picture: np.ndarray, values: HintValues, canvas: tuple[int, int] | None, fit: AnyFit) -> Packed:
        """images.hint_tensor of a picture [1, H, W, C], fitted to the canvas where there is one."""

        def make(one: np.ndarray) -> Packed:
            return images.hint_tensor(one if canvas is None else images.fit_image(one, *canvas, fit), values)

        return self.get(picture, ("hint", values, canvas, fit), make)

    def get(self, source: np.ndarray, purpose: tuple[Any, ...], make: Callable[[np.ndarray], Packed]) -> Packed:
        """make(source), or what it gave for the same values before. purpose: all else that the outcome depends on.

        source: [N, H, W, ...].
        """
        if 2 * source.nbytes > self._limit:  # with its encoded form it would take the place of all others
            return make(source)
        key = (purpose, _signature(source))
        known = self._known(key, source)
        if known is None:
            copy = np.array(source, order="C")  # encoded in its stead, so that the two belong together whatever becomes of it
            known = _Kept(copy, make(copy))
        self._keep(key, known)
        return known.made

    def _whole_mask(self, mask: np.ndarray) -> Packed:
        """A mask [1, H, W] of the canvas's size, of which no copy is kept: compared with its tensor it takes less memory and time."""
        key = ("unscaled", mask.shape, images.repainted(_samples(mask)).tobytes())
        with self._lock:
            known = self._kept.get(key)
        if known is None or not images.is_mask_tensor(known.made, mask[0]):
            made = images.mask_tensor(mask[0])
            known = _Kept(made, made)
        self._keep(key, known)
        return known.made

    def _known(self, key: tuple[Any, ...], source: np.ndarray) -> _Kept | None:
        with self._lock:
            known = self._kept.get(key)
        return known if known is not None and _same(known.source, source) else None

    def _keep(self, key: tuple[Any, ...], kept: _Kept) -> None:
        if kept.size > self._limit:
            return
        with self._lock:
            self._kept[key] = kept
            self._kept.move_to_end(key)
            size = sum(each.size for each in self._kept.values())
            while size > self._limit:
                size -= self._kept.popitem(last=False)[1].size

    def clear(self) -> None:
        """Keep nothing of what there is."""
        with self._lock:
            self._kept.clear()


def _signature(source: np.ndarray) -> tuple[Any, ...]:
    """What tells most arrays [N, H, W, ...] apart."""
    return source.shape, source.dtype.str, _samples(source).tobytes()


def _samples(source: np.ndarray) -> np.ndarray:
    _, height, width, *_ = source.shape
    return source[:, :: max(1, height // _SAMPLES), :: max(1, width // _SAMPLES)]


def _same(left: np.ndarray, right: np.ndarray) -> bool:
    """Whether two arrays [N, H, W, ...] of one shape and dtype hold the same bits; found out in the first rows where they differ."""
    rows = max(1, _BLOCK // left[0, 0].nbytes)
    # As bytes: a copy that stays in the processor's cache and C's memcmp take half as long as numpy's comparison
    return all(
        one[start : start + rows].tobytes() == other[start : start + rows].tobytes()
        for one, other in zip(left, right, strict=True)
        for start in range(0, len(one), rows)
    )


shared = Encodings()
"""For all nodes of this process."""
