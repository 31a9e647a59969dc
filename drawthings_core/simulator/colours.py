"""Colour calibration as the server's: the histogram of each channel of CIE Lab is matched to another picture's."""

from __future__ import annotations

import numpy as np

_TO_XYZ = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]], np.float32)
"""sRGB (linear) to XYZ, D65."""
_WHITE = _TO_XYZ.sum(axis=1)
_DELTA = np.float32(6 / 29)
_LEVELS = 1024
"""Quantiles that a histogram is compared at."""


def matched(picture: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3] with the distribution of colours of `reference`, uint8 [h, w, 3]."""
    lab, wanted = _lab(picture), _lab(reference)
    steps = np.linspace(0, 1, _LEVELS)
    for channel in range(3):
        have, want = (np.quantile(values[..., channel], steps) for values in (lab, wanted))
        have = np.maximum.accumulate(have + np.arange(_LEVELS) * 1e-6)  # interpolation needs rising places
        lab[..., channel] = np.interp(lab[..., channel], have, want)
    return _rgb(lab)


def _lab(picture: np.ndarray) -> np.ndarray:
    srgb = picture.astype(np.float32) / np.float32(255)
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4).astype(np.float32)
    xyz = linear @ _TO_XYZ.T / _WHITE
    f = np.where(xyz > _DELTA**3, np.cbrt(xyz), xyz / (3 * _DELTA**2) + 4 / 29)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1)


def _rgb(lab: np.ndarray) -> np.ndarray:
    y = (lab[..., 0] + 16) / 116
    f = np.stack([y + lab[..., 1] / 500, y, y - lab[..., 2] / 200], axis=-1)
    xyz = np.where(f > _DELTA, f**3, (f - 4 / 29) * 3 * _DELTA**2) * _WHITE
    linear = np.clip(xyz @ np.linalg.inv(_TO_XYZ).T, 0, 1)
    srgb = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    return (srgb * 255 + 0.5).astype(np.uint8)
