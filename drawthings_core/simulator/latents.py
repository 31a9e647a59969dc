"""Preview tensors: latents which a client's preview formula turns back into the coarse picture being painted.

Each family's formula (preview.formulas) is a matrix with fewer colours than channels; its pseudo-inverse gives the smallest
latent that shows a given picture. Noise on top fades as the steps go on.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path

import numpy as np

from .. import preview
from .plan import Shape

_NOISE_SEED = 7


def latent(version: str, shape: Shape, picture: np.ndarray, done: float) -> np.ndarray:
    """float16 [n, h, w, c] that shows `picture`. picture: uint8, of picture_size(). done: 0..1 of the steps."""
    formula = preview.formulas().get((version, shape.c))
    fade = np.float32(max(0.0, 1 - done))
    if formula is None or formula.kind == "none" or (shape.c == 16 and version.startswith("wurstchen")):
        clean = np.zeros(shape, np.float32)
        rows = min(picture.shape[1], shape.h)
        clean[:, :rows, :, :3] = picture[:, :rows] / np.float32(127.5) - 1
        return (clean + _noise(shape) * (np.float32(0.2) + fade)).astype(np.float16)
    if formula.kind == "direct_rgb":
        clean = picture.astype(np.float32) / np.float32(255)
        return (clean + _noise(shape) * fade * np.float32(0.2)).astype(np.float16)
    if formula.kind == "pixel_patches":
        clean = _patches(picture, formula.patch_size)
        return (clean + _noise(shape) * fade * np.float32(0.4)).astype(np.float16)
    assert formula.bias is not None  # both remaining kinds have one
    wanted = picture.astype(np.float32)
    if formula.kind == "oklab":
        wanted = _bytes_to_lms(wanted)
    inverse, spread = _inverse(version, shape.c)
    clean = (wanted - formula.bias) @ inverse
    return (clean + _noise(shape) * (fade * spread)).astype(np.float16)


def picture_size(version: str, shape: Shape) -> tuple[int, int]:
    """(width, height) of the picture that `latent` wants."""
    formula = preview.formulas().get((version, shape.c))
    scale = formula.patch_size if formula is not None and formula.kind == "pixel_patches" else 1
    return shape.w * scale, shape.h * scale


@functools.lru_cache(maxsize=8)
def _noise(shape: Shape) -> np.ndarray:
    """One draw per shape: what matters is that it looks like noise, not that it is fresh."""
    return np.random.default_rng(_NOISE_SEED).standard_normal(shape, np.float32)


@functools.cache
def _inverse(version: str, channels: int) -> tuple[np.ndarray, np.float32]:
    """The pseudo-inverse [3, channels] of a family's matrix, and how large noise must be to shift a colour by about 60 levels."""
    formula = preview.formulas()[version, channels]
    assert formula.matrix is not None
    inverse = np.linalg.pinv(formula.matrix.astype(np.float64)).astype(np.float32)
    levels = 60.0 if formula.kind == "linear" else 0.06
    return inverse, np.float32(levels / float(np.linalg.norm(formula.matrix, axis=0).mean()))


def _patches(picture: np.ndarray, patch: int) -> np.ndarray:
    """uint8 [n, h * patch, w * patch, 3] -> [n, h, w, 3 * patch * patch] in -1..1, colour by colour, row by row."""
    n, height, width, _ = picture.shape
    values = picture.astype(np.float32) / np.float32(127.5) - 1
    split = values.reshape(n, height // patch, patch, width // patch, patch, 3).transpose(0, 1, 3, 5, 2, 4)
    return split.reshape(n, height // patch, width // patch, 3 * patch * patch)


@functools.cache
def _rgb_to_lms() -> np.ndarray:
    """The inverse of the matrix with which the preview ends."""
    path = Path(preview.__file__).parent / "families" / "latent_rgb.json"
    return np.linalg.inv(np.array(json.loads(path.read_text(encoding="utf-8"))["oklab_to_rgb"]["rgb"])).astype(np.float32)


def _bytes_to_lms(picture: np.ndarray) -> np.ndarray:
    """0..255 -> OKLab's LMS, backwards through the preview's own transfer curve."""
    values = picture / np.float32(255)
    linear = np.where(values > 0.0031, np.float32(1.055) * values ** np.float32(1 / 2.4) - np.float32(0.055), values * np.float32(12.92))
    return np.cbrt(linear @ _rgb_to_lms().T)
