"""What arrived, as plain JSON for tests and people: every call since the start or the last clear. Never a secret."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from .. import tensor
from ..configuration import Choice, Record
from ..errors import TensorError
from .inputs import Trap, read_configuration

_KEPT = 1000
_PENDING_BYTES = 1 << 28


class _Pending(NamedTuple):
    """A summary that nobody has asked for yet: decoding pictures would cost the call more time than painting does."""

    size: int
    make: Callable[[], dict[str, Any]]


class CallLog:
    """The list of calls, newest last. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: list[dict[str, Any] | _Pending] = []

    def add(self, call: dict[str, Any]) -> None:
        """Append one call; the oldest fall away."""
        self._append(call)

    def add_later(self, size: int, make: Callable[[], dict[str, Any]]) -> None:
        """Append a call of `size` bytes whose summary is made when it is asked for, or when too much has piled up."""
        self._append(_Pending(size, make))

    def _append(self, call: dict[str, Any] | _Pending) -> None:
        with self._lock:
            self._calls.append(call)
            del self._calls[:-_KEPT]
            pending = [place for place, item in enumerate(self._calls) if isinstance(item, _Pending)]
            excess = sum(item.size for item in self._calls if isinstance(item, _Pending)) - _PENDING_BYTES
            while excess > 0 and len(pending) > 1:
                oldest = self._calls[pending[0]]
                assert isinstance(oldest, _Pending)
                excess -= oldest.size
                self._calls[pending.pop(0)] = oldest.make()

    def all(self) -> list[dict[str, Any]]:
        """Every call, oldest first."""
        with self._lock:
            self._calls = [call.make() if isinstance(call, _Pending) else call for call in self._calls]
            return [call for call in self._calls if not isinstance(call, _Pending)]

    def clear(self) -> None:
        """Forget them."""
        with self._lock:
            self._calls.clear()


def of_generation(request: Any, secret_right: bool, metadata: Mapping[str, str]) -> dict[str, Any]:
    """One ImageGenerationRequest. configuration: field name -> value in user units, choices as their wire names."""
    blobs = {hashlib.sha256(blob).digest(): blob for blob in request.contents}
    return {
        "method": "GenerateImage",
        "prompt": request.prompt,
        "negative_prompt": request.negativePrompt,
        "configuration": _configuration(request.configuration),
        "configuration_sha256": hashlib.sha256(request.configuration).hexdigest(),
        "scale_factor": request.scaleFactor,
        "image": _blob(request.image, blobs) if request.HasField("image") else None,
        "mask": _mask(request.mask, blobs) if request.HasField("mask") else None,
        "hints": [
            {
                "type": hint.hintType,
                "tensors": [{**_blob(item.tensor, blobs), "weight": round(item.weight, 6)} for item in hint.tensors],
            }
            for hint in request.hints
        ],
        "override": {
            "models": _json(request.override.models),
            "loras": _json(request.override.loras),
            "control_nets": _json(request.override.controlNets),
            "textual_inversions": _json(request.override.textualInversions),
            "upscalers": _json(request.override.upscalers),
        },
        "keywords": list(request.keywords),
        "user": request.user,
        "device": request.device,
        "chunked": request.chunked,
        "contents": len(request.contents),
        "contents_bytes": sum(map(len, request.contents)),
        "request_bytes": request.ByteSize(),
        "secret_given": request.HasField("sharedSecret"),
        "secret_right": secret_right,
        "metadata": dict(metadata),
    }


def _configuration(buffer: bytes) -> dict[str, Any] | None:
    try:
        return _plain(read_configuration(buffer))
    except Trap:
        return None


def _plain(value: Any) -> Any:
    if isinstance(value, Record):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Choice):
        return value.wire_name
    return value


def _blob(data: bytes, blobs: Mapping[bytes, bytes]) -> dict[str, Any]:
    """How a tensor came and what it is; `sha256` is over its encoded bytes, `values_sha256` over its decoded ones."""
    referenced = len(data) == 32
    found = blobs.get(data) if referenced else data
    if found is None:
        return {"referenced": True, "missing": True, "sha256": data.hex()}
    summary: dict[str, Any] = {"referenced": referenced, "missing": False, "sha256": hashlib.sha256(found).hexdigest(), "bytes": len(found)}
    try:
        header = tensor.Header.unpack(found)
        array = tensor.decode(found)
    except TensorError as error:
        return {**summary, "undecodable": str(error)}
    finite = np.nan_to_num(array.astype(np.float64))
    return {
        **summary,
        "shape": list(array.shape),
        "dtype": array.dtype.name,
        "codec": header.codec.name.lower(),
        "format": header.format.name,
        "minimum": float(finite.min()),
        "maximum": float(finite.max()),
        "mean": float(finite.mean()),
        "values_sha256": hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest(),
    }


def _mask(data: bytes, blobs: Mapping[bytes, bytes]) -> dict[str, Any]:
    """As `_blob`, with the number of pixels of each low-3-bit code."""
    summary = _blob(data, blobs)
    if summary.get("dtype") == "uint8":
        found = blobs[data] if summary["referenced"] else data
        codes, counts = np.unique(tensor.decode(found) & 7, return_counts=True)
        summary["codes"] = {str(code): int(count) for code, count in zip(codes, counts, strict=True)}
    return summary


def _json(data: bytes) -> Any:
    try:
        return json.loads(data.decode("utf-8")) if data else []
    except ValueError:
        return None
