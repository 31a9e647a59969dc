"""What stands for video and sound files where there is no ComfyUI: an animated WebP and a WAV, which need no encoder of their own."""

from __future__ import annotations

import json
import math
import wave
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

QUALITY = 90
_EXIF_PROMPT, _EXIF_WORKFLOW = 0x0110, 0x010F
"""EXIF tags in which ComfyUI's own Save Animated WEBP keeps them."""


class Video(NamedTuple):
    """A VIDEO here. images: IMAGE; audio: AUDIO or None; fps: frames a second."""

    images: torch.Tensor
    audio: Mapping[str, Any] | None
    fps: float

    @property
    def sound(self) -> tuple[np.ndarray, int] | None:
        """(float [channels, N], rate), cut to the length of the pictures, as ComfyUI's Save Video does; None without sound."""
        if self.audio is None:
            return None
        waveform, rate = self.audio["waveform"], int(self.audio["sample_rate"])
        return waveform[0, :, : math.ceil(rate * Fraction(len(self.images)) / Fraction(self.fps))].cpu().numpy(), rate


def eight_bit(picture: torch.Tensor) -> Image.Image:
    """A picture float [H, W, C] in 0..1; truncates, as ComfyUI does."""
    return Image.fromarray(np.clip(255.0 * picture.cpu().numpy(), 0, 255).astype(np.uint8))


def write_webp(path: Path, video: Video, prompt: Any, extra: Mapping[str, Any] | None) -> None:
    """The frames as an animation that repeats, with prompt and workflow where ComfyUI looks for them."""
    first, *others = range(len(video.images))
    exif = Image.Exif()
    if prompt is not None:
        exif[_EXIF_PROMPT] = f"prompt:{json.dumps(prompt)}"
    for tag, (name, value) in zip(range(_EXIF_WORKFLOW, 0, -1), (extra or {}).items(), strict=False):
        exif[tag] = f"{name}:{json.dumps(value)}"
    eight_bit(video.images[first]).save(
        path,
        save_all=True,
        append_images=(eight_bit(video.images[number]) for number in others),
        duration=list(_durations(len(video.images), video.fps)),
        loop=0,
        quality=QUALITY,
        exif=exif,
    )


def _durations(frames: int, fps: float) -> Iterator[int]:
    """Milliseconds of each frame; whole ones, in which no rounding adds up."""
    for number in range(frames):
        yield round((number + 1) * 1000 / fps) - round(number * 1000 / fps)


def write_wav(path: Path, sound: np.ndarray, rate: int) -> None:
    """Float [channels, N] in -1..1 as 16-bit PCM."""
    samples = np.rint(np.clip(sound.T, -1, 1) * 32767).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(samples.itemsize)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())
