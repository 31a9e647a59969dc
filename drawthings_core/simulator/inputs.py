"""What arrived in a request, decoded as the real server does: hashes looked up, damaged tensors absent, and traps.

A `Trap` is raised where the real server's process would stop (server_semantics.md section 6); the reason says why.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .. import tensor
from ..configuration import Configuration, Control, flatbuffer
from ..controls import Reading, reading_of_control, reading_of_model
from ..errors import TensorCutOff, TensorError
from ..schedule import Schedule, divides_by_zero
from .plan import UNIT

HINT_TYPES = frozenset(
    [
        "custom",
        "depth",
        "canny",
        "scribble",
        "pose",
        "normalbae",
        "color",
        "lineart",
        "softedge",
        "seg",
        "inpaint",
        "ip2p",
        "shuffle",
        "mlsd",
        "tile",
        "blur",
        "lowquality",
        "gray",
        "audio",
    ]
)
"""hintType strings that the server knows; others are logged and skipped."""

_LAST_WINS = ("scribble", "color")
_REFERENCE_SIZE = 32
_FORMATS = frozenset(map(int, tensor.Format))
_DATATYPES = frozenset(map(int, tensor.DataType))
_FLOATS = ("float16", "float32", "float64")


class Trap(Exception):
    """The real server's process would stop here."""


@dataclass(frozen=True)
class Hint:
    """One hint type as the server reads it: its tensors, with their weights."""

    type: str
    tensors: tuple[tuple[np.ndarray, float], ...]


@dataclass(frozen=True)
class Inputs:
    """The decoded inputs of a request. image float16 [N, H, W, C] in -1..1, mask uint8 [H, W]."""

    image: np.ndarray | None
    mask: np.ndarray | None
    hints: Mapping[str, Hint]
    notes: tuple[str, ...]

    @property
    def mask_codes(self) -> frozenset[int]:
        """Low-3-bit codes that occur."""
        return frozenset(int(code) for code in np.unique(self.mask & 7)) if self.mask is not None else frozenset()


def read_configuration(buffer: bytes) -> Configuration:
    """The settings of a request. Raises Trap for a buffer that the server would read out of bounds."""
    if not buffer:
        raise Trap("the configuration is empty")
    try:
        return flatbuffer.unpack(buffer)
    except Exception as error:  # flatbuffers raises whatever its reads run into
        raise Trap(f"the configuration is not a GenerationConfiguration buffer ({type(error).__name__})") from error


def read(request: Any) -> Inputs:
    """Image, mask and hints of an ImageGenerationRequest. Raises Trap for headers that stop the real server."""
    contents = {hashlib.sha256(blob).digest(): blob for blob in request.contents}
    notes: list[str] = []
    image = _tensor(request.image, contents, "image", notes) if request.HasField("image") else None
    mask = _tensor(request.mask, contents, "mask", notes, checked=False) if request.HasField("mask") else None
    hints: dict[str, Hint] = {}
    for entry in request.hints:
        if entry.hintType not in HINT_TYPES:
            notes.append(f"unknown hint type {entry.hintType!r} skipped")
            continue
        if entry.hintType in hints and entry.hintType not in _LAST_WINS:
            continue
        hints[entry.hintType] = Hint(entry.hintType, tuple(_weighted(entry, contents, notes)))
    if image is not None:
        image = _as_half(image, "image")
    hints = {name: hint for name, hint in hints.items() if hint.tensors}
    return Inputs(image, mask, hints, tuple(notes))


def _weighted(entry: Any, contents: Mapping[bytes, bytes], notes: list[str]) -> Iterable[tuple[np.ndarray, float]]:
    for item in entry.tensors:
        array = _tensor(item.tensor, contents, f"{entry.hintType} hint", notes)
        if array is not None:
            yield (array if entry.hintType == "scribble" else _as_half(array, f"{entry.hintType} hint")), item.weight


def _tensor(data: bytes, contents: Mapping[bytes, bytes], what: str, notes: list[str], checked: bool = True) -> np.ndarray | None:
    """The array, or None where the server sees nothing: a reference that misses, or bytes that do not decode."""
    if len(data) == _REFERENCE_SIZE:
        found = contents.get(data)
        if found is None:
            notes.append(f"{what}: no such content")
            return None
        data = found
    if checked:
        _trap_on_header(data, what)
    header = None
    try:
        header = tensor.Header.unpack(data)
        if header.codec == tensor.Codec.RAW:
            data = data[: tensor.HEADER_SIZE + header.raw_size]  # the server ignores what follows
        return tensor.decode(data)
    except TensorError as error:
        if isinstance(error, TensorCutOff) and header is not None and header.codec == tensor.Codec.ZIP:
            raise Trap(f"the {what}'s compressed payload has no end mark, on which a server's queue hangs") from error
        notes.append(f"{what}: {error}")
        return None


def _trap_on_header(data: bytes, what: str) -> None:
    """A complete header with a known codec and an unknown format or datatype stops the process; a short one is just absent."""
    if len(data) < tensor.HEADER_SIZE:
        return
    codec, _, layout, datatype = struct.unpack_from("<I3i", data)
    if codec not in set(map(int, tensor.Codec)):
        return
    if layout not in _FORMATS:
        raise Trap(f"the {what}'s header names the unknown format {layout}")
    if datatype & 0xFF000 not in _DATATYPES:
        raise Trap(f"the {what}'s header names the unknown datatype {datatype:#x}")


def _as_half(array: np.ndarray, what: str) -> np.ndarray:
    """32- and 64-bit floats become half. The server has no conversion for other kinds."""
    if array.dtype.name not in _FLOATS:
        raise Trap(f"the {what} holds {array.dtype.name} values, which the server cannot convert to half")
    with np.errstate(over="ignore"):
        return array.astype(np.float16, copy=False)


def check_image(image: np.ndarray, scale: int, *, unit: int, what: str) -> None:
    """The sizes that the generator insists on. unit: 64 on the image and mask paths, 1 where the run goes to the text path."""
    if image.ndim != 4:
        raise Trap(f"the image has {image.ndim} dimensions where 4 are needed")
    if image.shape[3] != 3:
        raise Trap(f"the image has {image.shape[3]} channels where 3 are needed")
    if scale < 1:
        raise Trap(f"scaleFactor is {scale} on the {what}")
    height, width = image.shape[1:3]
    if height % (unit * scale) or width % (unit * scale):
        raise Trap(f"the image of {width}x{height} is not a multiple of {unit * scale} on the {what}")


def check_mask_type(mask: np.ndarray) -> None:
    """uint8 [H, W]: nothing converts a mask."""
    if mask.dtype != np.uint8 or mask.ndim != 2:
        raise Trap(f"the mask is {mask.dtype.name} with {mask.ndim} dimensions where uint8 with 2 is needed")


def check_mask_size(mask: np.ndarray, image: np.ndarray, scale: int) -> None:
    """[H, W] of the image's pooled size."""
    wanted = (image.shape[1] // scale, image.shape[2] // scale)
    if mask.shape != wanted:
        raise Trap(f"the mask of {mask.shape[1]}x{mask.shape[0]} differs from the image of {wanted[1]}x{wanted[0]}")


def pooled(image: np.ndarray, scale: int) -> np.ndarray:
    """Average pooling by `scale`: float16 [N, H / scale, W / scale, C]."""
    if scale <= 1:
        return image
    n, h, w, c = image.shape
    return image.astype(np.float32).reshape(n, h // scale, scale, w // scale, scale, c).mean(axis=(2, 4)).astype(np.float16)


class Fed(NamedTuple):
    """What a control, or the model itself, is fed from: a hintType, "image", or None where there is nothing for it.

    sees_image: it looks at the image, perhaps beside its source.
    """

    file: str
    modifier: str
    source: str | None
    sees_image: bool = False


def feeds(
    controls: Iterable[tuple[Mapping[str, Any], Control]], modifier: str, version: str, inputs: Inputs, present: Callable[[str], bool]
) -> tuple[Fed, ...]:
    """Every control that acts, in order, then the model where it reads hints itself. present: whether a file is on the server."""
    with_image = inputs.image is not None

    def fed(file: str, reading: Reading) -> Fed:
        source = reading.taken(inputs.hints, with_image, present)
        return Fed(file, reading.modifier, source, with_image and reading.reads_image(source))

    found = []
    for specification, control in controls:
        reading = reading_of_control(specification, control["input_override"]) or Reading("", ())
        found.append(fed(specification["file"], reading))
    of_model = reading_of_model(modifier, version)
    if of_model is not None and of_model.sources:
        found.append(fed("", of_model))
    return tuple(found)


def used_hints(fed: Iterable[Fed], inputs: Inputs) -> frozenset[str]:
    """The hint types that something in the run reads."""
    sources = {one.source for one in fed} | {"audio"}
    return frozenset(name for name in inputs.hints if name in sources)


def check_hints(used: Iterable[str], inputs: Inputs, passes: Sequence[tuple[int, int]]) -> None:
    """The shapes and types that a control insists on once it reads a hint. passes: (width, height) of each pass."""
    for name in sorted(used):
        for array, _ in inputs.hints[name].tensors:
            if name == "audio":
                continue
            if name == "scribble" and array.dtype != np.float16:
                raise Trap(f"the scribble hint is {array.dtype.name} where float16 is needed")
            channels = 1 if name == "depth" else 3
            if array.ndim != 4 or array.shape[3] != channels:
                raise Trap(f"the {name} hint has the shape {list(array.shape)} where [1, H, W, {channels}] is needed")
    if "pose" in used:
        tensors = inputs.hints["pose"].tensors
        for (array, _), (width, height) in ((tensors[0], passes[0]), (tensors[-1], passes[-1])):
            if array.shape[1:3] != (height, width):
                raise Trap(f"the pose hint of {array.shape[2]}x{array.shape[1]} is not of the pass's size {width}x{height}")


def check_settings(configuration: Configuration, *, still: bool, spaced: Schedule) -> None:
    """Settings that stop the real server whatever the inputs are."""
    if configuration["steps"] < 1:
        raise Trap(f"steps is {configuration['steps']}")
    if still and configuration["batch_size"] < 1:
        raise Trap("batch_size is 0")
    if spaced.kind != "flow" and divides_by_zero(configuration["steps"], configuration["sampler"], spaced):
        raise Trap(f"steps 1 with {configuration['sampler'].label} divides 0 by 0")


def check_canvas(configuration: Configuration) -> None:
    """The canvas where it comes from the configuration."""
    if configuration["start_width"] < UNIT or configuration["start_height"] < UNIT:
        raise Trap(f"the canvas is {configuration['start_width']}x{configuration['start_height']}")


def check_strength(strength: float) -> None:
    """Outside 0..1 there is no start step; NaN, too."""
    if not 0 <= strength <= 1:
        raise Trap(f"strength is {strength}, outside 0..1")
