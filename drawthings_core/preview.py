"""Latent preview tensors -> small RGB pictures, one matrix product per family (families/latent_rgb.json)."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

_DATA_FILE = Path(__file__).parent / "families" / "latent_rgb.json"


class LatentRGB(NamedTuple):
    """How one family's latent of `channels` channels becomes RGB.

    kind: linear, oklab, direct_rgb, pixel_patches or none. matrix [channels, 3] and bias [3] give 0..255 (linear) or OKLab.
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
        formula = LatentRGB(entry["kind"], entry["channels"], matrix, bias, entry.get("patch_size", 0))
        for version in entry["versions"]:
            table[version, entry["channels"]] = formula
    return table


def rgb(latent: np.ndarray, version: str | None) -> np.ndarray | None:
    """Preview pictures of a latent tensor [N, h, w, C] (any float dtype): uint8 [N, H, W, 3], or None when not viewable.

    H, W are h, w, times 32 for pixel patches. Not viewable: families without a formula (LTX), a channel count that does not
    belong to the version, or an unknown version. NaN and infinity become 0.
    """
    if latent.ndim != 4:
        return None
    formula = formulas().get((version or "", latent.shape[3]))
    if formula is None or formula.kind == "none":
        return None
    values = latent.astype(np.float32, copy=False)
    if formula.kind == "pixel_patches":
        return _pixel_patches(values, formula.patch_size)
    if formula.kind == "direct_rgb":
        return _to_bytes(values * np.float32(255) + np.float32(0.5))
    assert formula.matrix is not None  # both remaining kinds have them
    assert formula.bias is not None
    mixed = values @ formula.matrix + formula.bias
    if formula.kind == "oklab":
        mixed = _oklab_to_bytes_scale(mixed)
    return _to_bytes(mixed)


def _pixel_patches(values: np.ndarray, patch: int) -> np.ndarray:
    """Channel = colour * patch^2 + row * patch + column, values in -1..1."""
    n, h, w, _ = values.shape
    pixels = values.reshape(n, h, w, 3, patch, patch).transpose(0, 1, 4, 2, 5, 3).reshape(n, h * patch, w * patch, 3)
    return _to_bytes((pixels + np.float32(1)) * np.float32(127.5))


def _oklab_to_bytes_scale(lab: np.ndarray) -> np.ndarray:
    constants = _data()["oklab_to_rgb"]
    lms = lab[..., :1] + lab[..., 1:] @ np.array(constants["lms"], np.float32).T
    linear = lms**3 @ np.array(constants["rgb"], np.float32).T
    # Upstream applies this direction of the transfer curve although its helper is named the other way round.
    curved = ((np.maximum(linear, np.float32(0.04045)) + np.float32(0.055)) / np.float32(1.055)) ** np.float32(2.4)
    return np.where(linear >= 0.04045, curved, linear / np.float32(12.92)) * np.float32(255)


def _to_bytes(scaled: np.ndarray) -> np.ndarray:
    """Truncated and clamped to bytes, as the app does; what is not finite becomes 0."""
    finite = np.nan_to_num(scaled, nan=0.0, posinf=0.0, neginf=0.0)
    return np.clip(finite, 0, 255, out=finite).astype(np.uint8)
