"""Tensors as a server sends them, their headers and payloads damaged: decoded as results and previews are, or refused in a sentence."""

from __future__ import annotations

import itertools

import numpy as np

from ..drawthings_core import decoding, tensor
from ..drawthings_core.errors import TensorError
from ..drawthings_core.images import Picture, check_result, write_picture
from ..drawthings_core.receiving import Received
from ..drawthings_core.response import FLOATS
from . import damage
from .damage import NUMBERS, Dice, damaged
from .page import Section

COUNT = 100_000
SECONDS = 60.0
"""That a decoder may take: it ends itself much earlier."""
SHAPES = ((1,), (3, 5), (2, 100), (1, 2, 2, 3), (1, 8, 8, 3), (1, 16, 8, 4), (2, 4, 4, 16), (1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 3))
TYPES = ("f2", "f2", "f2", "f4", "f8", "u1", "i4", "i8")
SPECIAL = (0.0, -0.0, 1.0, -1.0, 1.5, 70000.0, 1e-8, 1e30, np.nan, np.inf, -np.inf)


def sample(dice: Dice) -> bytes:
    """A tensor that is right; of its values some may be strange."""
    shape = dice.choice(SHAPES)
    values = np.random.default_rng(dice.randrange(2**32)).standard_normal(shape)
    for _ in range(dice.choice([0, 0, 1, 3])):
        values.flat[dice.randrange(values.size)] = dice.choice(SPECIAL)
    dtype = dice.choice(TYPES)
    with np.errstate(all="ignore"):
        array = values.astype(dtype)
        if dtype == "f4" and dice.often(0.3):
            return tensor.encode(array, datatype=tensor.DataType.BFLOAT16)
    return tensor.encode(array, compress=dice.often(0.6) and (dtype[0] != "f" or tensor.fpzip_available()))


def wrong(data: bytes, dice: Dice) -> bytes:
    """The same, damaged: fields of its header, its payload, or anywhere; a few stay right."""
    kind = dice.randrange(6)
    if kind == 0:
        return data
    if kind == 1:
        return damaged(data, dice)
    if kind == 2:
        return data[: tensor.HEADER_SIZE] + damaged(data[tensor.HEADER_SIZE :], dice)
    header = bytearray(data[: tensor.HEADER_SIZE])
    for _ in range(dice.choice([1, 1, 2, 3])):
        field = dice.randrange(tensor.HEADER_SIZE // 4) * 4
        known = itertools.chain(tensor.Codec, tensor.Memory, tensor.Format, tensor.DataType) if dice.often(0.5) else NUMBERS
        header[field : field + 4] = int(dice.choice(list(known))).to_bytes(4, "little")
    return bytes(header) + data[tensor.HEADER_SIZE :]


def as_array(number: int) -> str:
    """A preview or sound: any floats."""
    dice = Dice(number)
    received = Received.checked(wrong(sample(dice), dice), datatypes=FLOATS)
    if received.compressed:
        array = decoding.shared().submit(received.data, header=received.header).result(SECONDS)
    else:
        array = tensor.decode(received.data)
    if array.shape != received.shape or array.dtype != received.dtype:
        raise AssertionError(f"{array.dtype} {array.shape} came out where {received.dtype} {received.shape} was announced")
    return "array"


def as_picture(number: int) -> str:
    """A result: its pixels are all between 0 and 1, or it is refused."""
    dice = Dice(number)
    received = Received.checked(wrong(sample(dice), dice), datatypes=FLOATS)
    check_result(received.shape, received.dtype)
    _, height, width, channels = received.shape
    place = Picture(np.empty((height, width, 3), np.float32), np.empty((height, width), np.float32) if channels == 4 else None)
    if received.compressed:
        decoding.shared().submit_picture(received.data, *place, header=received.header).result(SECONDS)
    else:
        write_picture(tensor.decode(received.data), place)
    for values in place:
        if values is not None and not (values.min() >= 0 and values.max() <= 1):
            raise AssertionError("pixels outside of 0..1 came out")
    return "picture"


def of_any_type(number: int) -> str:
    """As the simulator and the uploads read them, in this process; damaged fpzip streams are only looked at."""
    dice = Dice(number)
    data = wrong(sample(dice), dice)
    header = tensor.check(data)
    if header.codec == tensor.Codec.FPZIP:
        return "header"
    array = tensor.decode(data)
    if tensor.decode(tensor.encode(array)).tobytes() != array.tobytes():
        raise AssertionError("it does not come back as it was written")
    return "array"


def stream_header(number: int) -> str:
    """The header inside a compressed tensor, which is decoded here."""
    dice = Dice(number)
    zeros = np.zeros(dice.choice([(1, 16, 16, 3), (1, 64, 8, 4), (40, 40)]), np.float16)
    payload = damaged(tensor.encode(zeros, compress=tensor.fpzip_available())[tensor.HEADER_SIZE :], dice)
    try:
        read = tensor.FpzipStreamHeader.read(payload if dice.often(0.8) else dice.randbytes(dice.randrange(64)))
    except TensorError:
        return "no stream"
    if not all(0 <= value < 2**32 for value in read):
        raise AssertionError(f"{read} is not what four bytes can hold")
    return "stream"


ATTEMPTS: dict[str, damage.Attempt] = {
    "tensor as an array": as_array,
    "tensor as a picture": as_picture,
    "tensor of any type": of_any_type,
    "header of a stream": stream_header,
}


def run(count: int, seed: int) -> Section:
    return damage.run(
        __name__,
        "Damaged tensors",
        "Tensors of all types, shapes and codecs, raw, DEFLATE and fpzip, of which headers and payloads were changed: decoded as arrays and as "
        "pictures, fpzip in its own process.",
        count,
        seed,
    )
