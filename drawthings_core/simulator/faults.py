"""Faults on request: by --fault NAME[=VALUE][@CALLS] or through the control channel, for the next calls or until cleared."""

from __future__ import annotations

import json
import random
import re
import struct
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .. import tensor
from .jobs import Ended
from .results import response

FAULTS: dict[str, str] = {
    "delay_first": "seconds before the first message",
    "stall_first": "no message ever",
    "stall_sampling": "no message after this many sampling events (default 2)",
    "stall_chunk": "no message after this many image messages (default 1)",
    "stall_inside": "half of image message k (default 0) comes, and no byte more on that connection, which stays open; needs --relay",
    "drop_after": "the connection drops after this many messages",
    "kill_after": "the process ends after this many messages",
    "kill_unaccepted": "the process ends when a generation arrives, before it accepts it",
    "truncated_tensor": "image k (default 0) loses the second half of its bytes",
    "oversized_tensor": "image k (default 0) has 4096 bytes too many",
    "huge_header": "image k's header promises a terabyte",
    "corrupt_header": "image k names an unknown datatype",
    "corrupt_fpzip": "image k's compressed payload is damaged in its own header",
    "flipped_bit": "one bit of image 0's payload is flipped, at this part of it (0 to 1, default 0.5)",
    "damaged_payload": 'image 0 is damaged by chance behind its headers: {"kind": "cut", "bytes" or "bit", "seed": NUMBER}',
    "nan_image": "image k holds a NaN",
    "inf_image": "image k holds an infinity",
    "wrong_shape": "image k has two dimensions",
    "wrong_dtype": "image k holds bytes",
    "mixed_sizes": "image k is 64 pixels narrower than the others",
    "giant_image": "image k is 6 times as wide and high as it should be",
    "extra_image": "one image too many",
    "missing_image": "the last image does not come",
    "missing_last_chunk": "the last image message does not come",
    "mixed_chunks": "a piece of another image between two pieces",
    "wrong_download_size": "downloadSize is twice what follows",
    "empty_result": "status OK without an image",
    "error_status": 'status by name, or {"code": NAME, "details": TEXT, "after": MESSAGES}; as a flag NAME:TEXT',
    "unknown_signpost": "progress of a stage that no client knows",
    "unknown_fields": "every message has a field that no client knows",
    "bad_preview": "previews are not tensors",
    "heartbeats": "seconds between empty messages while queued and sampling",
    "slow_transfer": "seconds before each image message",
    "slow_upload": "seconds before each answer of an upload",
    "upload_error": 'an upload ends with this status (default INTERNAL), or {"code": NAME, "details": TEXT, "after": CHUNKS}',
    "upload_stalls": "no answer to an upload after this many chunks (default 0)",
    "upload_kill": "the process ends after this many chunks of an upload",
    "upload_spoils": "a byte of an upload changes on its way",
    "disk_full": "bytes that fit on the disk (default 0)",
    "slow_hash": "seconds that FilesExist takes for each file that it hashes",
    "audio_without_images": "audio comes, the images do not",
    "missing_audio": "an LTX video comes without its sound",
    "nan_audio": "the sound holds a NaN",
    "truncated_audio": "the sound loses the second half of its bytes",
    "wrong_shape_audio": "the sound has three dimensions",
    "secret_missing_flips": "every second Echo says that the secret is missing",
    "slow_echo": "seconds before Echo answers",
    "unavailable": "Echo, FilesExist and GenerateImage, or the one named, end with UNAVAILABLE before they give any answer",
}

_HEADERS = tensor.HEADER_SIZE + tensor.FpzipStreamHeader.SIZE_AT_MOST
_UNKNOWN_FIELD = b"\xa2\x06\x07unknown"  # field 100, seven bytes
_UNKNOWN_SIGNPOST = b"\x7a\x00"  # field 15 of the oneof's message, empty


class UnknownFault(ValueError):
    """No such fault."""


class Faults:
    """The faults that are set, with how many calls each still applies to. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._set: dict[str, tuple[Any, int | None]] = {}

    def set(self, name: str, value: Any = None, calls: int | None = None) -> None:
        """Set a fault for the next `calls` calls, None: until cleared."""
        if name not in FAULTS:
            raise UnknownFault(f"There is no fault {name!r}; there are: {', '.join(FAULTS)}.")
        with self._lock:
            self._set[name] = (value, calls)

    def clear(self) -> None:
        """Nothing goes wrong any more."""
        with self._lock:
            self._set.clear()

    def listing(self) -> dict[str, Any]:
        """Name -> value of what is set."""
        with self._lock:
            return {name: value for name, (value, _) in self._set.items()}

    def take(self, *names: str) -> dict[str, Any]:
        """The faults of one call among `names` (all when none are given); counts down those with a number of calls."""
        taken = {}
        with self._lock:
            for name, (value, calls) in list(self._set.items()):
                if names and name not in names:
                    continue
                taken[name] = value
                if calls is not None:
                    if calls <= 1:
                        del self._set[name]
                    else:
                        self._set[name] = (value, calls - 1)
        return taken


UPLOAD = ("slow_upload", "upload_error", "upload_stalls", "upload_kill", "upload_spoils", "disk_full")
OTHER_CALLS = (*UPLOAD, "slow_hash", "secret_missing_flips", "slow_echo", "unavailable", "kill_unaccepted")
"""Faults that do not concern what GenerateImage makes."""

CAN_BE_UNAVAILABLE = ("Echo", "FilesExist", "GenerateImage")
GENERATION = tuple(name for name in FAULTS if name not in OTHER_CALLS)


def parse(text: str) -> tuple[str, Any, int | None]:
    """NAME[=VALUE][@CALLS] as (name, value, calls); values are JSON where they can be, else text."""
    calls = None
    match = re.search(r"@(\d+)$", text)
    if match:
        text, calls = text[: match.start()], int(match.group(1))
    name, _, value = text.partition("=")
    try:
        return name, json.loads(value) if value else None, calls
    except ValueError:
        return name, value, calls


def number(value: Any, default: float) -> float:
    """A fault's value as a number; a bare flag means `default`."""
    return float(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else default


def error_of(value: Any) -> tuple[Ended, int]:
    """The error of an error_status fault, and after how many messages it comes."""
    if isinstance(value, dict):
        return Ended(value.get("code", "INTERNAL"), value.get("details", "")), int(value.get("after", 0))
    code, _, details = str(value or "INTERNAL").partition(":")
    return Ended(code, details), 0


def spoil_pictures(pictures: list[np.ndarray], faults: dict[str, Any]) -> list[np.ndarray]:
    """Faults of the values: pictures float16 [1, H, W, C] before they are encoded."""
    pictures = list(pictures)
    if "empty_result" in faults:
        return []
    for name, worth in (("nan_image", np.nan), ("inf_image", np.inf)):
        index = _index(faults, name, pictures)
        if index is not None:
            pictures[index] = pictures[index].copy()
            pictures[index][0, -1, -1, -1] = worth
    for name, change in (
        ("wrong_shape", lambda picture: np.ascontiguousarray(picture[0, :, :, 0])),
        ("wrong_dtype", lambda picture: np.zeros(picture.shape, np.uint8)),
        ("mixed_sizes", lambda picture: np.ascontiguousarray(picture[:, :, : max(8, picture.shape[2] - 64)])),
        ("giant_image", lambda picture: picture.repeat(6, axis=1).repeat(6, axis=2)),
    ):
        index = _index(faults, name, pictures)
        if index is not None:
            pictures[index] = change(pictures[index])
    if "extra_image" in faults and pictures:
        pictures.append(pictures[-1])
    if "missing_image" in faults:
        del pictures[-1:]
    return pictures


def spoil_sound(sound: np.ndarray, faults: dict[str, Any]) -> np.ndarray:
    """Faults of the sound, float32 [2, N], before it is encoded."""
    if "nan_audio" in faults:
        sound = sound.copy()
        sound[0, 0] = np.nan
    return sound[None] if "wrong_shape_audio" in faults else sound


def spoil_bytes(images: list[bytes], faults: dict[str, Any]) -> list[bytes]:
    """Faults of the encoded tensors."""
    images = list(images)
    index = _index(faults, "truncated_tensor", images)
    if index is not None:
        images[index] = half(images[index])
    index = _index(faults, "oversized_tensor", images)
    if index is not None:
        images[index] += bytes(4096)
    index = _index(faults, "huge_header", images)
    if index is not None:
        header = tensor.Header.unpack(images[index])
        images[index] = header._replace(dims=(1, 1 << 19, 1 << 19, 3)).pack() + images[index][tensor.HEADER_SIZE :]
    index = _index(faults, "corrupt_header", images)
    if index is not None:
        images[index] = images[index][:12] + struct.pack("<i", 0x77000) + images[index][16:]
    index = _index(faults, "corrupt_fpzip", images)
    if index is not None:
        # Only the stream's own header is damaged: a damaged body makes the fpzip of a careless client crash.
        start = tensor.HEADER_SIZE
        images[index] = images[index][:start] + bytes(64) + images[index][start + 64 :]
    if "flipped_bit" in faults and images:
        place = tensor.HEADER_SIZE + int(number(faults["flipped_bit"], 0.5) * (len(images[0]) - tensor.HEADER_SIZE - 1))
        images[0] = images[0][:place] + bytes([images[0][place] ^ 0x10]) + images[0][place + 1 :]
    if "damaged_payload" in faults and images:
        wanted = faults["damaged_payload"] if isinstance(faults["damaged_payload"], dict) else {}
        images[0] = damaged(images[0], wanted.get("kind", "bytes"), int(wanted.get("seed", 0)))
    return images


def half(data: bytes) -> bytes:
    """A tensor without the second half of its payload."""
    return data[: tensor.HEADER_SIZE + (len(data) - tensor.HEADER_SIZE) // 2]


def damaged(data: bytes, kind: str, seed: int) -> bytes:
    """A compressed tensor that is damaged by chance where only its decoder can notice. kind: cut, bytes (1 to 8 of them) or bit."""
    chance = random.Random(f"{kind} {seed}")
    places = range(min(_HEADERS, len(data) - 8), len(data))
    if kind == "cut":
        return data[: chance.choice(places)]
    changed = bytearray(data)
    if kind == "bit":
        changed[chance.choice(places)] ^= 1 << chance.randrange(8)
    else:
        for place in chance.sample(places, chance.randint(1, 8)):
            changed[place] ^= chance.randint(1, 255)
    return bytes(changed)


def _index(faults: dict[str, Any], name: str, items: Sequence[Any]) -> int | None:
    if name not in faults or not items:
        return None
    return min(int(number(faults[name], 0)), len(items) - 1)


def spoil_results(results: Iterator[Any], faults: dict[str, Any]) -> Iterator[Any]:
    """Faults of the closing messages."""
    found = list(results)
    if "audio_without_images" in faults:
        found = [message for message in found if not message.generatedImages and not message.HasField("downloadSize")]
    if "wrong_download_size" in faults:
        for message in found:
            if message.HasField("downloadSize"):
                message.downloadSize *= 2
    images = [place for place, message in enumerate(found) if message.generatedImages]
    if "missing_last_chunk" in faults and images:
        del found[images[-1]]
    if "mixed_chunks" in faults and images:
        stranger = response(generatedImages=[bytes(range(256)) * 4], scaleFactor=1, chunkState=1)
        found.insert(images[-1], stranger)
    yield from found


def mark(message: Any, faults: dict[str, Any]) -> Any:
    """Faults inside one message."""
    if "bad_preview" in faults and message.HasField("previewImage"):
        message.previewImage = b"not a tensor" * 8
    if "unknown_fields" in faults:
        message.MergeFromString(_UNKNOWN_FIELD)
    return message


def spoil_upload(request: Any) -> Any:
    """An upload's message with the first byte of its chunk changed."""
    if request.HasField("chunk") and request.chunk.content:
        request.chunk.content = bytes([request.chunk.content[0] ^ 1]) + request.chunk.content[1:]
    return request


def unknown_signpost() -> Any:
    """A progress message whose stage has a number that imageService.proto does not have."""
    message = response()
    message.currentSignpost.MergeFromString(_UNKNOWN_SIGNPOST)
    message.signposts.add().MergeFromString(_UNKNOWN_SIGNPOST)
    return message
