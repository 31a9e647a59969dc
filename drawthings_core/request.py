"""A typed generation request -> ImageGenerationRequest: content-addressed, de-duplicated, chunked.

`GenerationRequest` holds what the wire needs in numpy form; `rules.check` refuses what would harm a server; `build` packs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..proto import messages
from .catalog import Catalog
from .configuration import Configuration, flatbuffer
from .errors import InvalidInput
from .packing import Content, content_of
from .secret import Secret
from .secret import field as secret_field

MESSAGE_LIMIT = 1 << 30
"""Largest message in bytes that server and client accept."""


@dataclass(frozen=True)
class Hint:
    """All tensors of one hintType, each with its weight (read for shuffle only). Tensors are float16 [N, H, W, C]."""

    type: str
    tensors: tuple[tuple[np.ndarray, float], ...]


@dataclass(frozen=True)
class GenerationRequest:
    """One run of the server's generator.

    image: float16 [N, H, W, 3] in -1..1 (N > 1 for video families only). mask: uint8 [H, W] of 2 = repaint, 3 = keep.
    scale_factor: how many times larger `image` is than the canvas. user: the client name that the server shows.
    """

    configuration: Configuration
    prompt: str = ""
    negative_prompt: str = ""
    image: np.ndarray | None = field(default=None, repr=False)
    mask: np.ndarray | None = field(default=None, repr=False)
    hints: tuple[Hint, ...] = ()
    scale_factor: int = 1
    user: str = "ComfyUI"

    @property
    def working_size(self) -> tuple[int, int]:
        """(width, height) in pixels that the run works at: the image's when there is one, else the configuration's."""
        if self.image is not None and self.scale_factor > 0:
            return self.image.shape[2] // self.scale_factor, self.image.shape[1] // self.scale_factor
        return self.configuration["start_width"], self.configuration["start_height"]

    @property
    def largest_size(self) -> tuple[int, int]:
        """(width, height) of the pictures that come back, before an upscaler, at most: a run that does not begin with the image makes them in
        the configuration's size (server_semantics.md section 4).
        """
        return max(self.working_size, (self.configuration["start_width"], self.configuration["start_height"]), key=math.prod)

    @property
    def first_pass_size(self) -> tuple[int, int] | None:
        """(width, height) of the first of two passes, or None for a run of one pass."""
        return first_pass_size(self.configuration, self.image is not None, self.mask is not None)

    @property
    def tensors(self) -> tuple[np.ndarray, ...]:
        """Everything that travels as a tensor."""
        given = (self.image, self.mask, *(array for hint in self.hints for array, _ in hint.tensors))
        return tuple(array for array in given if array is not None)

    @property
    def texts(self) -> tuple[str, ...]:
        """Every text that a text encoder reads, in which <keyword> names a textual inversion."""
        return texts_of(self.prompt, self.negative_prompt, self.configuration)


def texts_of(prompt: str, negative_prompt: str, settings: Configuration) -> tuple[str, ...]:
    """See GenerationRequest.texts."""
    separate = (("separate_clip_l", "clip_l_text"), ("separate_open_clip_g", "open_clip_g_text"), ("separate_t5", "t5_text"))
    return (prompt, negative_prompt, *(settings[text] or "" for switch, text in separate if settings[switch]))


def first_pass_size(settings: Configuration, with_image: bool, with_mask: bool) -> tuple[int, int] | None:
    """(width, height) of the first pass where the high-resolution fix can take effect (server_semantics.md section 3)."""
    size = (settings["hires_fix_start_width"], settings["hires_fix_start_height"])
    smaller = 0 < size[0] < settings["start_width"] and 0 < size[1] < settings["start_height"]
    text_path = not with_image or (settings["strength"] == 1 and not with_mask)
    return size if settings["hires_fix"] and smaller and settings["hires_fix_strength"] < 1 and text_path else None


class _Contents:
    """Encoded tensors by the SHA-256 of their bytes; equal ones collapse."""

    def __init__(self, content: Callable[[np.ndarray], Content]) -> None:
        self._content = content
        self._found: dict[bytes, Any] = {}

    def reference(self, array: np.ndarray) -> bytes:
        """Add the encoded tensor and return its 32-byte reference."""
        content = self._content(array)
        self._found[content.digest] = content.data
        return content.digest

    def appended_to(self, message: messages.ImageGenerationRequest, secret: Secret | None) -> bytes:
        """The message serialized, with the tensors as its contents: joined here, since protobuf would copy each of them twice."""
        parts = [message.SerializeToString()]
        for data in self._found.values():
            parts += (_CONTENTS_TAG, _varint(len(data)), data)
        check_size(sum(map(len, parts)))
        if secret:
            parts.append(secret_field(messages.ImageGenerationRequest, secret))
        return b"".join(parts)


def check_size(size: int) -> None:
    """Raise InvalidInput where so many bytes are more than a server takes."""
    if size > MESSAGE_LIMIT:
        raise InvalidInput(
            f"The pictures of this request take {size / 2**20:.0f} MiB, but a server takes {MESSAGE_LIMIT >> 20} MiB at most: "
            f"use fewer or smaller ones."
        )


def _varint(number: int) -> bytes:
    groups = bytearray()
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    groups.append(number)
    return bytes(groups)


_LENGTH_DELIMITED = 2  # protobuf's wire type of bytes
_CONTENTS_TAG = _varint(messages.ImageGenerationRequest.DESCRIPTOR.fields_by_name["contents"].number << 3 | _LENGTH_DELIMITED)


def build(
    request: GenerationRequest,
    catalog: Catalog,
    *,
    secret: Secret | None = None,
    content: Callable[[np.ndarray], Content] = content_of,
) -> bytes:
    """The ImageGenerationRequest to send, serialized. Call `rules.check` first: this only packs.

    content: the encoded form of each of its tensors. Raises InvalidInput when the message would be larger than a server accepts.
    """
    contents = _Contents(content)
    keywords = catalog.keywords_in(request.texts, request.configuration)
    message = messages.ImageGenerationRequest(
        scaleFactor=request.scale_factor,
        prompt=request.prompt,
        negativePrompt=request.negative_prompt,
        configuration=flatbuffer.pack(request.configuration),
        override=catalog.override(request.configuration, keywords),
        keywords=[str(entry.specification.get("keyword", "")) for entry in keywords],
        user=request.user,
        device=messages.LAPTOP,
        chunked=True,
    )
    if request.image is not None:
        message.image = contents.reference(request.image)
    if request.mask is not None:
        message.mask = contents.reference(request.mask)
    for hint in request.hints:
        message.hints.add(
            hintType=hint.type,
            tensors=[messages.TensorAndWeight(tensor=contents.reference(array), weight=weight) for array, weight in hint.tensors],
        )
    return contents.appended_to(message, secret)
