"""Bytes <-> numpy for the server's tensor format: a 68-byte header, then raw, DEFLATE or fpzip payload.

Facts: the tensor library behind Draw Things (s4nnc `Tensor.swift` / `Store.swift`, ccv `ccv_nnc_tfb.h`). Everything that
can be checked is checked before anything is allocated or handed to fpzip, whose decoder does not check at all.
"""

from __future__ import annotations

import enum
import math
import struct
import zlib
from typing import Any, NamedTuple

import numpy as np

from .errors import CodecUnavailable, TensorCutOff, TensorError

try:
    import fpzip as _fpzip
except ImportError:  # no wheel for this Python: see CodecUnavailable
    _fpzip = None

HEADER_SIZE = 68
MAX_DIMS = 12
DEFAULT_LIMIT = 1 << 30
"""Largest decoded payload in bytes, unless the caller says otherwise: the largest message the server and we take."""

_HEADER = struct.Struct("<I4i12i")


class Codec(enum.IntEnum):
    """Codec identifier, header offset 0."""

    RAW = 0
    ZIP = 0x217  # raw DEFLATE: no zlib header, no checksum
    FPZIP = 0xF7217


class Memory(enum.IntEnum):
    """Memory kind, header offset 4. The decoder allocates there: a client sends CPU."""

    CPU = 1
    GPU = 2


class Format(enum.IntEnum):
    """Dimension order, header offset 8; any other value stops a server's process."""

    NCHW = 1  # also what two-dimensional tensors (masks, audio) carry
    NHWC = 2
    CHWN = 4


class DataType(enum.IntEnum):
    """Element type, header offset 12, in the bits 0xFF000."""

    UINT8 = 0x01000
    INT32 = 0x02000
    FLOAT32 = 0x04000
    INT64 = 0x08000
    FLOAT64 = 0x10000
    FLOAT16 = 0x20000
    QUANTIZED = 0x40000  # model files only: its element size is not fixed
    BFLOAT16 = 0x80000


_DATATYPE_BITS = 0xFF000

_NUMPY: dict[DataType, np.dtype] = {
    DataType.UINT8: np.dtype("u1"),
    DataType.INT32: np.dtype("<i4"),
    DataType.FLOAT32: np.dtype("<f4"),
    DataType.INT64: np.dtype("<i8"),
    DataType.FLOAT64: np.dtype("<f8"),
    DataType.FLOAT16: np.dtype("<f2"),
    DataType.BFLOAT16: np.dtype("<u2"),  # numpy has none: the bits
}


class _FpzipKind(NamedTuple):
    type: int  # 0 float, 1 double
    precision: int
    work: np.dtype


_FPZIP_KINDS: dict[DataType, _FpzipKind] = {
    DataType.FLOAT16: _FpzipKind(0, 19, np.dtype("<f4")),  # 19 bits keep every half value
    DataType.FLOAT32: _FpzipKind(0, 32, np.dtype("<f4")),
    DataType.FLOAT64: _FpzipKind(1, 64, np.dtype("<f8")),
}


class Header(NamedTuple):
    """The 68 bytes in front of every payload."""

    codec: Codec
    datatype: DataType
    dims: tuple[int, ...]
    format: Format
    memory: Memory = Memory.CPU

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.dims)

    @property
    def dtype(self) -> np.dtype:
        """The numpy type of the elements; bfloat16 is given as its bits."""
        return _NUMPY[self.datatype]

    @property
    def raw_size(self) -> int:
        """Payload size in bytes when not compressed."""
        return self.elements * _NUMPY[self.datatype].itemsize

    def pack(self) -> bytes:
        """The 68 bytes, little-endian."""
        dims = self.dims + (0,) * (MAX_DIMS - len(self.dims))
        return _HEADER.pack(self.codec, self.memory, self.format, self.datatype, 0, *dims)

    @classmethod
    def unpack(cls, data: Any) -> Header:
        """Parse and check the header at the start of `data` (bytes-like). Raises TensorError."""
        if len(data) < HEADER_SIZE:
            raise TensorError(f"A tensor of {len(data)} bytes is shorter than its {HEADER_SIZE}-byte header.")
        codec, memory, layout, datatype, _, *dims = _HEADER.unpack_from(data)
        if codec not in Codec._value2member_map_:
            raise TensorError(f"The tensor uses the unknown codec {codec:#x}.")
        if memory & 0xFF not in Memory._value2member_map_:
            raise TensorError(f"The tensor names the unknown memory kind {memory:#x}.")
        if layout not in Format._value2member_map_:
            raise TensorError(f"The tensor names the unknown format {layout}.")
        kind = datatype & _DATATYPE_BITS
        if kind not in DataType._value2member_map_:
            raise TensorError(f"The tensor names the unknown datatype {datatype:#x}.")
        if kind == DataType.QUANTIZED:
            raise TensorError("The tensor is quantised, which only model files are.")
        used = dims.index(0) if 0 in dims else MAX_DIMS
        if used == 0 or any(dims[used:]) or min(dims[:used]) < 0:
            raise TensorError(f"The tensor has the impossible dimensions {dims}.")
        return cls(Codec(codec), DataType(kind), tuple(dims[:used]), Format(layout), Memory(memory & 0xFF))


def fpzip_available() -> bool:
    """Whether compressed float tensors can be read and written here."""
    return _fpzip is not None


def encode(array: np.ndarray, *, compress: bool = False, datatype: DataType | None = None) -> bytes:
    """One tensor as the server reads it.

    array: any shape of 1..12 dims; uint8, int32, int64, float16, float32 or float64.
    compress: fpzip for 16/32/64-bit floats, DEFLATE for the rest; raw when that does not make it smaller.
    datatype: only needed for BFLOAT16, which takes a float32 array and rounds to nearest even.
    Raises TensorError for other dtypes or shapes, CodecUnavailable when compress needs fpzip and it is not installed.
    """
    header = raw_header(array.shape, array.dtype, datatype)
    if header.datatype == DataType.BFLOAT16:
        array = _to_bfloat16_bits(array)
    array = np.ascontiguousarray(array, dtype=header.dtype)
    if compress:
        codec, payload = _compress(array, header)
        if payload is not None:
            return header._replace(codec=codec).pack() + payload
    # join copies the payload once, straight from the array's memory
    return b"".join((header.pack(), array.data.cast("B")))


def raw_header(shape: tuple[int, ...], dtype: np.dtype, datatype: DataType | None = None) -> Header:
    """What stands before the values of an array that is not compressed. Arguments and errors: `encode`.

    Three or more dims travel as NHWC, fewer as NCHW, as the server's own constructors choose.
    """
    if not 1 <= len(shape) <= MAX_DIMS or 0 in shape:
        raise TensorError(f"A tensor has 1 to {MAX_DIMS} dimensions and no empty one, not the shape {shape}.")
    layout = Format.NHWC if len(shape) >= 3 else Format.NCHW
    return Header(Codec.RAW, _datatype_of(dtype) if datatype is None else datatype, shape, layout)


def decode(data: Any, *, limit: int = DEFAULT_LIMIT, datatypes: tuple[DataType, ...] | None = None) -> np.ndarray:
    """The array in `data` (bytes-like), in the dtype that its header names; bfloat16 comes back as float32.

    The result may be a read-only view of `data` when the payload is raw.
    limit: largest decoded size in bytes. datatypes: what the caller can use; None takes all.
    Raises TensorError for anything that is not exactly one well-formed tensor, CodecUnavailable without fpzip.
    """
    header = check(data, limit=limit, datatypes=datatypes)
    payload = memoryview(data)[HEADER_SIZE:]
    if header.codec == Codec.RAW:
        flat = np.frombuffer(payload, dtype=_NUMPY[header.datatype])
    elif header.codec == Codec.ZIP:
        flat = _decode_zip(payload, header)
    else:
        flat = _decode_fpzip(payload, header)
    if header.datatype == DataType.BFLOAT16:
        flat = (flat.astype("<u4") << 16).view("<f4")
    return flat.reshape(header.dims)


def check(data: Any, *, limit: int = DEFAULT_LIMIT, datatypes: tuple[DataType, ...] | None = None) -> Header:
    """The header of the tensor in `data`, after everything that can be checked without decoding. Arguments and errors: `decode`."""
    header = Header.unpack(data)
    if datatypes is not None and header.datatype not in datatypes:
        wanted = " or ".join(kind.name.lower() for kind in datatypes)
        raise TensorError(f"The tensor holds {header.datatype.name.lower()} values where {wanted} is needed.")
    if header.raw_size > limit:
        raise TensorError(f"The tensor would take {header.raw_size} bytes, above the limit of {limit}.")
    payload = memoryview(data)[HEADER_SIZE:]
    if header.codec == Codec.RAW and len(payload) != header.raw_size:
        problem = TensorCutOff if len(payload) < header.raw_size else TensorError
        raise problem(f"The tensor's payload has {len(payload)} bytes where its header means {header.raw_size}.")
    if header.codec == Codec.FPZIP:
        _check_fpzip(payload, header)
    return header


def _datatype_of(dtype: np.dtype) -> DataType:
    for datatype, candidate in _NUMPY.items():
        if datatype != DataType.BFLOAT16 and dtype == candidate:
            return datatype
    raise TensorError(f"No tensor can hold {dtype} values.")


def _to_bfloat16_bits(array: np.ndarray) -> np.ndarray:
    wide = np.ascontiguousarray(array, dtype="<f4").view("<u4")
    rounded = (wide + 0x7FFF + ((wide >> 16) & 1)) >> 16
    # Rounding may turn a NaN into an infinity: keep NaN by its quiet bit.
    return np.where(np.isnan(array), (wide >> 16) | 0x40, rounded).astype("<u2")


def _compress(array: np.ndarray, header: Header) -> tuple[Codec, bytes | None]:
    """The server's own choice (Store.swift): floats by fpzip only, the rest by DEFLATE; None where that does not pay."""
    kind = _FPZIP_KINDS.get(header.datatype)
    if kind is None:
        compressor = zlib.compressobj(zlib.Z_DEFAULT_COMPRESSION, zlib.DEFLATED, -15, 9)
        payload = compressor.compress(array.data.cast("B")) + compressor.flush()
        return Codec.ZIP, payload if len(payload) < header.raw_size else None
    if _fpzip is None:
        raise CodecUnavailable()
    shape = tuple(reversed(_fpzip_extents(header.dims)))
    payload = bytes(_fpzip.compress(array.astype(kind.work).reshape(shape), precision=kind.precision, order="C"))
    return Codec.FPZIP, payload if len(payload) <= header.raw_size else None


def _fpzip_extents(dims: tuple[int, ...]) -> tuple[int, int, int, int]:
    """fpzip's nx, ny, nz, nf: the last three dims reversed, and the product of all before them."""
    nx, ny, nz = (*reversed(dims), 1, 1)[:3]
    return nx, ny, nz, math.prod(dims[:-3])


def _decode_zip(payload: memoryview, header: Header) -> np.ndarray:
    inflater = zlib.decompressobj(-15)
    try:
        # One byte more than expected tells "too long" from "exact"; nothing beyond it is ever allocated.
        raw = inflater.decompress(payload, header.raw_size + 1)
    except zlib.error as error:
        raise TensorError(f"The tensor's compressed payload is damaged ({error}).") from error
    if len(raw) > header.raw_size:
        raise TensorError(f"The tensor's compressed payload is too long (its header means {header.raw_size} bytes).")
    if len(raw) < header.raw_size and inflater.eof:
        raise TensorError(f"The tensor's compressed payload is too short (its header means {header.raw_size} bytes).")
    if not inflater.eof:
        raise TensorCutOff(f"The tensor's compressed payload is cut off (its header means {header.raw_size} bytes).")
    return np.frombuffer(raw, dtype=_NUMPY[header.datatype])


def _check_fpzip(payload: memoryview, header: Header) -> None:
    kind = _FPZIP_KINDS.get(header.datatype)
    if kind is None:
        raise TensorError(f"The tensor claims fpzip for {header.datatype.name.lower()} values, which it cannot hold.")
    stream = FpzipStreamHeader.read(payload)
    if (stream.type, stream.precision) != (kind.type, kind.precision):
        raise TensorError(
            f"The tensor's fpzip stream has type {stream.type} and precision {stream.precision} where "
            f"{kind.type} and {kind.precision} are needed."
        )
    if stream.elements != header.elements:
        raise TensorError(f"The tensor's fpzip stream holds {stream.elements} values where its header means {header.elements}.")
    if _fpzip is None:
        raise CodecUnavailable()


def _decode_fpzip(payload: memoryview, header: Header) -> np.ndarray:
    """In this process, which a damaged stream may end: for tensors from the network there is `decoding`."""
    assert _fpzip is not None  # checked
    try:
        values = _fpzip.decompress(bytes(payload), order="C")
    except Exception as error:  # the binding raises its own FpzipError and bare ValueErrors
        raise TensorError(f"The tensor's fpzip payload is damaged ({error}).") from error
    if values.size != header.elements:
        raise TensorError(f"The tensor's fpzip payload gave {values.size} values where {header.elements} are needed.")
    # Values of a damaged stream may lie outside the half range; they become infinities, which callers refuse.
    with np.errstate(over="ignore"):
        return values.reshape(-1).astype(_NUMPY[header.datatype], copy=False)


class FpzipStreamHeader(NamedTuple):
    """The header inside an fpzip stream. It goes through the range coder, so it is decoded, not sliced."""

    type: int
    precision: int
    nx: int
    ny: int
    nz: int
    nf: int

    SIZE_AT_MOST = 28  # 24 bytes of fields, and what the range coder reads ahead

    @property
    def elements(self) -> int:
        """Number of values the stream says it holds."""
        return self.nx * self.ny * self.nz * self.nf

    @classmethod
    def read(cls, payload: Any) -> FpzipStreamHeader:
        """Decode the header of an fpzip stream (bytes-like) without fpzip. Raises TensorError."""
        coder = _RangeDecoder(bytes(payload[: cls.SIZE_AT_MOST]))
        magic = bytes(coder.bits(8) for _ in range(4))
        major, minor = coder.bits(16), coder.bits(8)
        if magic != b"fpz\0" or (major, minor) != (0x0110, 1):
            raise TensorError("The tensor's payload is not an fpzip stream of the version that Draw Things uses.")
        return cls(coder.bits(1), coder.bits(7), *(coder.bits(32) for _ in range(4)))


class _RangeDecoder:
    """The part of fpzip's range coder that reads fixed-width unsigned integers (LLNL fpzip, rcdecoder.inl)."""

    def __init__(self, data: bytes):
        self._data = data
        self._position = 0
        self._low = 0
        self._range = 0xFFFFFFFF
        self._code = 0
        self._shift_in(4)

    def bits(self, width: int) -> int:
        value, position = 0, 0
        while width > 16:
            value |= self._decode(16) << position
            position += 16
            width -= 16
        return value | self._decode(width) << position

    def _decode(self, width: int) -> int:
        self._range >>= width
        symbol = ((self._code - self._low) & 0xFFFFFFFF) // self._range
        if symbol >> width:
            raise TensorError("The tensor's payload is not an fpzip stream.")
        self._low = (self._low + self._range * symbol) & 0xFFFFFFFF
        while not ((self._low ^ (self._low + self._range)) & 0xFFFFFFFF) >> 24:
            self._shift_in(1)
            self._range = (self._range << 8) & 0xFFFFFFFF
        if not self._range >> 16:
            self._shift_in(2)
            self._range = -self._low & 0xFFFFFFFF
        if self._range == 0:
            raise TensorError("The tensor's payload is not an fpzip stream.")
        return symbol

    def _shift_in(self, count: int) -> None:
        for _ in range(count):
            if self._position >= len(self._data):
                raise TensorError("The tensor's fpzip payload ends inside its own header.")
            self._low = (self._low << 8) & 0xFFFFFFFF
            self._code = (self._code << 8 | self._data[self._position]) & 0xFFFFFFFF
            self._position += 1
