"""Pictures' values as float16, in one pass over blocks that stay in the processor's cache.

numpy converts to half one value at a time, in software on every processor (half.hpp). A picture's values are all in 0..1, where a
few operations on whole blocks give the same bits several times faster.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np

from .errors import InvalidImage

_BLOCK = 1 << 15  # values
_ONE = np.uint32(0x3F800000)  # the bits of float32 1: those of 0..1, and of nothing else, are no larger

# Multiplied by this, a float32 has the exponent that its half has, subnormal halves included: its upper bits are the half's.
_SCALE = np.float32(2.0**-112)
_SIGN = np.uint16(0x8000)
_DROPPED = np.uint32(13)  # bits that a half does not have
_ALMOST_HALF = np.uint32(0x0FFF)  # of the last bit that it has
_LAST = np.uint32(1)
_SIGN_AND_BELOW_28 = np.int32(-0x7000_0001)  # all bits but 28 to 30, which shifting fills with the sign
_INFINITE = 0x7C00


def write_signed(image: np.ndarray, out: np.ndarray, what: str) -> None:
    """0..1 (or bytes) [N, H, W, 1, 3 or 4] -> -1..1 in float16 [N, H, W, 3].

    What is outside is clamped. One channel is repeated; of four, alpha is dropped and fully transparent pixels become 0. Raises
    InvalidImage, whose sentence begins with `what`, for NaN and infinity.
    """
    channels = image.shape[3]
    for source, target in _blocks(image, out):
        if channels == 3:
            _signed(source, target, what)
            continue
        halves = np.empty(source.shape, np.float16)
        _signed(source, halves, what)
        target[...] = halves if channels == 1 else halves[..., :3]
        if channels == 4:
            target[source[..., 3] <= 0] = 0


def write_gray_signed(image: np.ndarray, out: np.ndarray, what: str) -> None:
    """The same, of the mean of the colours, in float16 [N, H, W, 1]."""
    for source, target in _blocks(image, out):
        gray = _unit(source[..., :1])
        if source.shape[2] > 1:
            gray = (gray + _unit(source[..., 1:2]) + _unit(source[..., 2:3])) / np.float32(3)
        _signed(gray, target, what)


def write_unit(image: np.ndarray, out: np.ndarray, what: str) -> None:
    """0..1 (or bytes) -> 0..1 in float16 [N, H, W, 3]. Otherwise as `write_signed`, but transparent pixels stay."""
    for source, target in _blocks(image, out):
        unit = _unit(source[..., :3])
        check_finite(unit, what)
        target[...] = np.clip(unit, 0, 1)


def check_finite(values: np.ndarray, what: str) -> None:
    """Raise InvalidImage, whose sentence begins with `what`, for NaN and infinity among float values; bytes and bools have none."""
    if values.dtype.kind != "f":
        return
    if values.dtype == np.float32 and values.view(np.uint32).max() <= _ONE:
        return
    # min and max are NaN or infinite whenever any value is, and need no array of their own
    if not (np.isfinite(values.min()) and np.isfinite(values.max())):
        raise InvalidImage(f"{what} holds values that are not numbers (NaN or infinity): look at the node that makes it.")


def all_finite(halves: np.ndarray) -> bool:
    """Whether no float16 value is NaN or infinite."""
    bits = halves.reshape(-1).view(np.uint16)
    return all(int((bits[start : start + _BLOCK] & 0x7FFF).max()) < _INFINITE for start in range(0, bits.size, _BLOCK))


def widened(values: np.ndarray) -> np.ndarray:
    """A new float32 array of the same values, of any float dtype; contiguous."""
    values = np.ascontiguousarray(values)
    if values.dtype != np.float16 or not all_finite(values):
        return values.astype(np.float32)
    wide = values.view(np.int16).astype(np.int32)
    wide <<= np.int32(_DROPPED)
    wide &= _SIGN_AND_BELOW_28
    floats = wide.view(np.float32)
    floats *= 1 / _SCALE
    return floats


def _blocks(image: np.ndarray, out: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows of both that belong together, [h, W, C], few enough for the cache."""
    rows = max(1, _BLOCK // image[0, 0].size)
    for source, target in zip(image, out, strict=True):
        for start in range(0, len(source), rows):
            yield source[start : start + rows], target[start : start + rows]


def _unit(values: np.ndarray) -> np.ndarray:
    if values.dtype == np.uint8:
        return values.astype(np.float32) / np.float32(255)
    return values.astype(np.float32, copy=False)


def _signed(values: np.ndarray, out: np.ndarray, what: str) -> None:
    """half(2 * value - 1), clamped, as numpy rounds it: to nearest, ties to even. out: contiguous."""
    bits = out.view(np.uint16)
    if values.dtype == np.uint8:
        bits[...] = _signed_levels()[values]
        return
    within = values.dtype == np.float32 and values.view(np.uint32).max() <= _ONE
    signed = np.multiply(values, 2 * _SCALE, dtype=np.float32, order="C")
    signed -= _SCALE
    if not within:
        check_finite(values, what)
        np.clip(signed, -_SCALE, _SCALE, out=signed)
    wide = signed.view(np.uint32)
    rounded = np.right_shift(wide, _DROPPED)
    rounded &= _LAST
    rounded += wide
    rounded += _ALMOST_HALF
    rounded >>= _DROPPED
    bits[...] = rounded
    bits |= wide.view(np.uint16)[..., 1::2] & _SIGN  # the upper halves: every machine that we know is little-endian


@functools.cache
def _signed_levels() -> np.ndarray:
    """uint16 [256]: the half, by its bits, of every byte."""
    signed = np.arange(256, dtype=np.float32) * np.float32(2 / 255) - np.float32(1)
    return np.clip(signed, -1, 1).astype(np.float16).view(np.uint16)
