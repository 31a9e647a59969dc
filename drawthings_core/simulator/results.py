"""The end of a GenerateImage stream: encoded images and audio, whole or in pieces (protocol.md 6.2 to 6.4)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ...proto import messages
from .plan import AUDIO_RATES

CHUNK = 4194304
"""Bytes of a full piece; totals up to it are sent whole."""


def response(**fields: Any) -> Any:
    """An ImageGenerationResponse."""
    return messages.ImageGenerationResponse(**fields)


def result_messages(images: Sequence[bytes], audio: Sequence[bytes], *, chunked: bool, scale: int, limit: int = CHUNK) -> Iterator[Any]:
    """downloadSize, images, audio. No images: one message with the scale alone, which is how failure looks."""
    total = sum(map(len, images))
    if total > 0:
        yield response(downloadSize=total)
    split = chunked and total > limit
    for image in images:
        for piece, more in _pieces(image, split, limit):
            yield response(generatedImages=[piece], scaleFactor=scale, chunkState=_state(more))
    if not images:
        yield response(scaleFactor=scale)
    for sound in audio:
        # Upstream decides by the images' total whether the sound is cut.
        for piece, more in _pieces(sound, split, limit):
            yield response(generatedAudio=[piece], chunkState=_state(more))


def _pieces(data: bytes, split: bool, limit: int) -> Iterator[tuple[bytes, bool]]:
    """(piece, whether more follow)."""
    if not split or len(data) <= limit:
        yield data, False
        return
    for start in range(0, len(data), limit):
        yield data[start : start + limit], start + limit < len(data)


def _state(more: bool) -> int:
    return messages.MORE_CHUNKS if more else messages.LAST_CHUNK


def tone(version: str, samples: int, seed: int) -> np.ndarray:
    """float32 [2, samples]: a chord that fades in and out, its pitch by the seed; left and right differ."""
    rate = AUDIO_RATES[version]
    pitch = 196.0 * 2 ** ((seed % 12) / 12)
    time = np.arange(samples, dtype=np.float32) / np.float32(rate)
    envelope = np.sin(np.linspace(0, np.pi, samples, dtype=np.float32))
    left = np.sin(2 * np.pi * pitch * time) * 0.3 + np.sin(2 * np.pi * pitch * 1.5 * time) * 0.2
    right = np.sin(2 * np.pi * pitch * time) * 0.3 + np.sin(2 * np.pi * pitch * 1.26 * time) * 0.2
    return (np.stack([left, right]) * envelope).astype(np.float32)
