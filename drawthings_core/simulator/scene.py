"""A small landscape in numpy: what the simulator paints where the real server diffuses.

Prompt and model choose the palette and the number of hills, the seed their shapes and the sun's place, steps the detail,
guidance the saturation; a negative prompt hangs a second disc into the sky. Time moves everything, for video.
"""

from __future__ import annotations

import colorsys
import hashlib
from typing import NamedTuple

import numpy as np
from PIL import Image

_PAINTED = 100_000
"""Pixels that are painted at most; larger pictures are enlarged from it, which keeps edges soft and painting cheap."""


class SceneKey(NamedTuple):
    """All that a landscape depends on. `member` tells apart pictures of one batch that share a seed."""

    prompt: str
    negative_prompt: str
    model: str
    seed: int
    member: int
    steps: int
    guidance: float
    sampler: int

    def generator(self, *parts: object) -> np.random.Generator:
        """A random stream that depends on `parts` alone."""
        digest = hashlib.sha256("\x1f".join(map(str, parts)).encode("utf-8", "surrogatepass")).digest()
        return np.random.default_rng(int.from_bytes(digest[:8], "little"))


def paint(key: SceneKey, width: int, height: int, time: float = 0.0) -> np.ndarray:
    """float32 [height, width, 3] in 0..1; the same key gives the same picture at every size. time: 0..1 of a video."""
    scale = min(1.0, (_PAINTED / (width * height)) ** 0.5)
    w, h = max(1, round(width * scale)), max(1, round(height * scale))
    art = _paint(key, w, h, time)
    if (w, h) == (width, height):
        return art
    picture = Image.fromarray((art * 255 + 0.5).astype(np.uint8))
    return np.asarray(picture.resize((width, height), Image.Resampling.BICUBIC), np.float32) / np.float32(255)


def _paint(key: SceneKey, w: int, h: int, time: float) -> np.ndarray:
    words, chance = key.generator("words", key.prompt, key.model), key.generator("seed", key.seed, key.member)
    saturation = float(np.clip(0.35 + 0.04 * key.guidance, 0.2, 0.85))
    hue = (words.random() + 0.012 * key.sampler) % 1.0
    x = (np.arange(w, dtype=np.float32) + 0.5) / w * max(1.0, w / h)
    y = ((np.arange(h, dtype=np.float32) + 0.5) / h)[:, None]
    zenith, horizon = _colour(hue, saturation, 0.55), _colour(hue + 0.08 + 0.1 * words.random(), saturation * 0.45, 0.98)
    art = _mix(zenith, horizon, np.broadcast_to(np.clip(y * 1.3, 0, 1), (h, w)))
    sun = _colour(hue + 0.45, 0.3 + saturation * 0.4, 1.0)
    reach = float(x[-1]) + float(x[0])
    place = ((0.15 + 0.7 * chance.random() + 0.5 * time) % 1.0 * reach, 0.14 + 0.26 * chance.random())
    _disc(art, x, y, place, 0.07 + 0.05 * words.random(), sun)
    if key.negative_prompt:
        other = key.generator("negative", key.negative_prompt)
        _disc(art, x, y, (other.random() * reach, 0.1 + 0.25 * other.random()), 0.035, _colour(other.random(), 0.6, 0.35))
    layers = int(words.integers(3, 6))
    ground = _colour(hue + 0.55 + 0.2 * words.random(), saturation, 0.22)
    octaves = int(np.clip(1 + key.steps // 8, 1, 5))
    for layer in range(layers):
        depth = (layer + 1) / layers
        ridge = _ridge(chance, x, octaves, time * (0.6 + 2.4 * depth)) * (0.05 + 0.06 * depth) + 0.42 + 0.42 * depth
        cover = np.clip((y - ridge) * h * 0.5 + 0.5, 0, 1)
        _blend(art, horizon * (1 - depth) ** 1.3 + ground * (1 - (1 - depth) ** 1.3), cover)
    return np.clip(art, 0, 1, out=art)


def _ridge(chance: np.random.Generator, x: np.ndarray, octaves: int, shift: float) -> np.ndarray:
    """A line of hills in about -1..1; always five octaves are drawn from `chance`, so that detail does not move the hills."""
    frequency, phases = 3.0 + 4.0 * chance.random(), chance.random(5) * 2 * np.pi
    line = np.zeros_like(x)
    for octave in range(octaves):
        line += np.sin(x * np.float32(frequency * 2.03**octave) + np.float32(phases[octave] + shift)) * np.float32(0.5**octave)
    return line


def subject(key: SceneKey, width: int, height: int) -> np.ndarray:
    """Alpha float32 [height, width] in 0..1 of the thing in a picture with transparency: a soft blob near the middle."""
    chance = key.generator("subject", key.seed, key.member, key.prompt)
    cx, cy = 0.5 + 0.25 * (chance.random() - 0.5), 0.5 + 0.25 * (chance.random() - 0.5)
    x = (np.arange(width, dtype=np.float32) + 0.5) / width - cx
    y = ((np.arange(height, dtype=np.float32) + 0.5) / height - cy)[:, None]
    radius = 0.3 + 0.06 * np.sin(np.arctan2(y, x) * int(chance.integers(3, 8)) + chance.random() * 6)
    return np.clip((radius - np.sqrt(x * x + y * y)) * 60 + 0.5, 0, 1).astype(np.float32)


def _colour(hue: float, saturation: float, value: float) -> np.ndarray:
    return np.array(colorsys.hsv_to_rgb(hue % 1.0, min(saturation, 1.0), value), np.float32)


def _mix(low: np.ndarray, high: np.ndarray, amount: np.ndarray) -> np.ndarray:
    return low + (high - low) * amount[..., None].astype(np.float32)


def _disc(art: np.ndarray, x: np.ndarray, y: np.ndarray, centre: tuple[float, float], radius: float, colour: np.ndarray) -> None:
    distance = np.sqrt((x - np.float32(centre[0])) ** 2 + (y - np.float32(centre[1])) ** 2)
    glow = np.clip(1 - distance / np.float32(radius * 3.2), 0, 1) ** 2 * np.float32(0.35)
    _blend(art, colour, np.maximum(np.clip((radius - distance) * 90 + 0.5, 0, 1), glow))


def _blend(art: np.ndarray, colour: np.ndarray, cover: np.ndarray) -> None:
    art += (colour.astype(np.float32) - art) * cover[..., None].astype(np.float32)
