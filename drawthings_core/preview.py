"""Latent preview tensors -> small RGB pictures, one matrix product per family (families/latent_rgb.json)."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .halves import widened

_BLOCK = 1 << 16  # values; what is done to them one after the other stays in the processor's cache
_DATA_FILE = Path(__file__).parent / "families" / "latent_rgb.json"


class LatentRGB(NamedTuple):
    """How one family's latent of `channels` channels becomes RGB.

    kind: linear, oklab, direct_rgb, pixel_patches or none. matrix [channels, 3] and bias [3] give 0..255 (linear) or OKLab's LMS.
    """

    kind: str
    channels: int
    matrix: np.ndarray | None
    bias: np.ndarray | None
    patch_size: int = 0


@functools.cache
def _data() -> dict[str, Any]:
    return json.loads(_DATA_FILE.read_text(encoding="utf-8"))


@functools.cache
def formulas() -> dict[tuple[str, int], LatentRGB]:
    """Every formula, by (version, channels): Stable Cascade has two."""
    table = {}
    for entry in _data()["entries"]:
        matrix = np.array(entry["matrix"], np.float32) if "matrix" in entry else None
        bias = np.array(entry["bias"], np.float32) if "bias" in entry else None
        if matrix is not None and bias is not None and entry["scale"] == "-1..1":
            matrix, bias = matrix * np.float32(127.5), bias * np.float32(127.5) + np.float32(127.5)
        if matrix is not None and bias is not None and entry["kind"] == "oklab":
            to_lms = np.concatenate([np.ones((1, 3)), np.array(_data()["oklab_to_rgb"]["lms"]).T])
            matrix, bias = (matrix @ to_lms).astype(np.float32), (bias @ to_lms).astype(np.float32)
        formula = LatentRGB(entry["kind"], entry["channels"], matrix, bias, entry.get("patch_size", 0))
        for version in entry["versions"]:
            table[version, entry["channels"]] = formula
    return table


@np.errstate(invalid="ignore", over="ignore")
def rgb(latent: np.ndarray, version: str | None, largest: int | None = None) -> np.ndarray | None:
    """Preview pictures of a latent tensor [N, h, w, C] (any float dtype): uint8 [N, H, W, 3], or None when not viewable.

    H, W are h, w, times 32 for pixel patches; where that is more than `largest`, every second, third, ... is left out beforehand. Not
    viewable: families without a formula (LTX), a channel count that does not belong to the version, or an unknown version. NaN and
    infinity become 0.
    """
    if latent.ndim != 4:
        return None
    formula = formulas().get((version or "", latent.shape[3]))
    if formula is None or formula.kind == "none":
        return None
    if formula.kind == "pixel_patches":
        return _pixel_patches(latent, formula.patch_size, largest)
    step = _step(max(latent.shape[1:3]), largest)
    top, left = (min(step // 2, side - 1) for side in latent.shape[1:3])  # a strip may be narrower than a step
    shown = latent[:, top::step, left::step]
    if formula.kind == "direct_rgb":
        return _scaled(shown, formula.kind)
    values = widened(shown)
    assert formula.matrix is not None  # both remaining kinds have them
    assert formula.bias is not None
    n, h, w, _ = values.shape
    mixed = values @ formula.matrix
    rows = mixed.reshape(n * h, w * 3)
    rows += np.tile(formula.bias, w)  # rows of pixels: numpy is slow with rows of three
    if formula.kind == "linear":
        return _to_bytes(mixed)
    lms = mixed.reshape(-1, 3)
    return _curved((lms * lms * lms) @ _lms_to_rgb()).reshape(mixed.shape)


@functools.cache
def _lms_to_rgb() -> np.ndarray:
    return np.array(_data()["oklab_to_rgb"]["rgb"], np.float32).T.copy()


def _step(side: int, largest: int | None) -> int:
    """Of how many rows and columns one is shown, so that no more than `largest` are."""
    return max(1, -(-side // largest)) if largest else 1


def _pixel_patches(latent: np.ndarray, patch: int, largest: int | None) -> np.ndarray:
    """Channel = colour * patch^2 + row * patch + column, values in -1..1."""
    n, h, w, _ = latent.shape
    wanted = _step(max(h, w) * patch, largest)
    step = next((divisor for divisor in range(wanted, patch) if patch % divisor == 0), patch)
    patches = latent.reshape(n * h, w, 3, patch, patch)[..., step // 2 :: step, step // 2 :: step]
    side = patch // step
    pictures = np.empty((n * h, side, w, side, 3), np.uint8)
    rows = max(1, _BLOCK // patches[0].size)
    for start in range(0, n * h, rows):
        levels = _scaled(patches[start : start + rows], "pixel_patches")
        for number, colour in enumerate(levels.transpose(2, 0, 3, 1, 4)):
            pictures[start : start + rows, ..., number] = colour
    return pictures.reshape(n, h * side, w * side, 3)


def _scaled(values: np.ndarray, kind: str) -> np.ndarray:
    """Values of any float dtype and shape -> bytes, each for itself."""
    if values.dtype == np.float16:
        return np.take(_levels(kind), values.view(np.uint16))
    return _to_bytes(_scale(widened(values), kind))


@functools.cache
def _levels(kind: str) -> np.ndarray:
    """The byte of each half, by its bits: looking it up takes a third of the time."""
    return _to_bytes(_scale(np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32), kind))


def _scale(values: np.ndarray, kind: str) -> np.ndarray:
    """0..1 (direct_rgb) or -1..1 (pixel_patches) -> 0..255, in place."""
    if kind == "direct_rgb":
        values *= np.float32(255)
        values += np.float32(0.5)
    else:
        values += np.float32(1)
        values *= np.float32(127.5)
    return values


_CURVE_STEPS = 1 << 16


def _curved(linear: np.ndarray) -> np.ndarray:
    """Linear 0..1 -> bytes on the curve of sRGB."""
    steps = _clamped(linear * np.float32(_CURVE_STEPS - 1), _CURVE_STEPS - 1)
    return np.take(_curve(), steps.astype(np.uint16))


@functools.cache
def _curve() -> np.ndarray:
    linear = np.arange(_CURVE_STEPS) / (_CURVE_STEPS - 1)
    # Upstream applies this direction of the transfer curve although its helper is named the other way round.
    curved = np.where(linear >= 0.04045, ((linear + 0.055) / 1.055) ** 2.4, linear / 12.92)
    return (curved * 255).astype(np.uint8)


def _to_bytes(scaled: np.ndarray) -> np.ndarray:
    """Truncated and clamped to bytes, as the app does; what is not finite becomes 0."""
    return _clamped(scaled, 255).astype(np.uint8)


def _clamped(values: np.ndarray, most: float) -> np.ndarray:
    """The same array, within 0..most; what is not finite becomes 0."""
    if not np.isfinite(values.sum()):  # finite whenever all are, but for values that no latent has
        np.nan_to_num(values, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    return np.clip(values, 0, most, out=values)
