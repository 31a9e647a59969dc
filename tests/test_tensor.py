"""The tensor format: the reference's vectors, round trips of every datatype and codec, and everything that must be refused."""

from __future__ import annotations

import contextlib
import hashlib
import struct
import zlib

import numpy as np
import pytest
from comfyui_drawthings.drawthings_core import tensor
from comfyui_drawthings.drawthings_core.errors import CodecUnavailable, TensorError
from comfyui_drawthings.drawthings_core.tensor import Codec, DataType, Format, FpzipStreamHeader, Header
from hypothesis import given, settings
from hypothesis import strategies as st

# Vectors A to D of the tensor reference.
RAW_HALF = bytes.fromhex("000000000100000002000000000002000000000001000000010000000200000003" + "00" * 35 + "00bc0000003c003800b80034")
FPZIP_HALF = bytes.fromhex(
    "17720f000100000002000000000002000000000001000000080000000800000003" + "00" * 35 + "66707929870ef111ed02fd000007f8000007f8000000ff"
    "001384c13c1448f00938563fcc3e88dd36806f19c1db1f7fa57f7a16d214ca63d3f7730179682f8ed28a59e9f6af3eaa77c946dafa90278746987b53e6b0a077bbba4f3b"
    "040daaca529d1b30422c9395e9acd1a201c975c08fca101e578908419ddc7f6129b264286de5d60caee4a159595b3b3bc6fe86060302ec7fe61b4abf7b174c9afc3754a5"
    "22be8929c7f4e90c915290481696b970857fb451ee73a58aabcf061c"
)
ZIP_BYTES = bytes.fromhex(
    "17020000010000000100000000100000000000004000000040000000" + "00" * 40 + "edc1310d00000002a0d93fb28f41041200e04d01803b03"
)
RAW_FLOAT = bytes.fromhex(
    "00000000010000000100000000400000000000000200000004000000"
    + "00" * 40
    + "000000000000803e000080be0000803f000000000000003f000000bf000080bf"
)


def test_vector_a_raw_half():
    values = np.array([-1, 0, 1, 0.5, -0.5, 0.25], np.float16).reshape(1, 1, 2, 3)
    assert hashlib.sha256(RAW_HALF).hexdigest() == "0d463ee565aad742590b93cb05e81a68b46bda4c07213db9501deb1770e9d983"
    assert tensor.encode(values) == RAW_HALF
    np.testing.assert_array_equal(tensor.decode(RAW_HALF), values)


def test_vector_b_fpzip_half():
    values = ((np.arange(192) % 17) / 8 - 1).astype(np.float16).reshape(1, 8, 8, 3)
    assert hashlib.sha256(FPZIP_HALF).hexdigest() == "799f29bcb8784c6cc88609731b56fb1e94e5020714ad60b93ae7c621532b21ec"
    assert tensor.encode(values, compress=True) == FPZIP_HALF
    decoded = tensor.decode(FPZIP_HALF)
    assert decoded.dtype == np.float16
    np.testing.assert_array_equal(decoded, values)


def test_vector_c_zip_bytes():
    mask = np.repeat(np.array([[1], [0xFB]], np.uint8), 32, axis=0).repeat(64, axis=1)
    np.testing.assert_array_equal(tensor.decode(ZIP_BYTES), mask)
    ours = tensor.encode(mask, compress=True)
    assert ours[: tensor.HEADER_SIZE] == ZIP_BYTES[: tensor.HEADER_SIZE]  # deflate bytes depend on the zlib version
    np.testing.assert_array_equal(tensor.decode(ours), mask)


def test_vector_d_raw_float():
    values = np.array([[0, 0.25, -0.25, 1], [0, 0.5, -0.5, -1]], np.float32)
    assert tensor.encode(values) == RAW_FLOAT
    np.testing.assert_array_equal(tensor.decode(RAW_FLOAT), values)


DTYPES = ["u1", "<i4", "<i8", "<f2", "<f4", "<f8"]


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1,), (7,), (3, 5), (2, 3, 4), (1, 8, 8, 3), (2, 3, 4, 5), (2, 2, 3, 4, 5), (1,) * 12])
def test_round_trip(dtype, shape, compress):
    values = np.linspace(-100, 100, int(np.prod(shape))).reshape(shape).astype(dtype)
    decoded = tensor.decode(tensor.encode(values, compress=compress))
    assert decoded.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(decoded, values)


def test_every_half_value_survives_fpzip():
    values = np.arange(65536, dtype=np.uint16).view(np.float16)
    values = values[~np.isnan(values)].reshape(1, -1)
    decoded = tensor.decode(tensor.encode(np.repeat(values, 2, axis=0), compress=True))
    np.testing.assert_array_equal(decoded[0].view(np.uint16), values[0].view(np.uint16))


def test_bfloat16_comes_back_as_float32():
    values = np.array([[1.0, -2.5, 3.14159, 1e30, 0.0, np.inf]], np.float32)
    decoded = tensor.decode(tensor.encode(values, datatype=DataType.BFLOAT16, compress=True))
    assert decoded.dtype == np.float32
    np.testing.assert_allclose(decoded, values, rtol=1 / 256)
    assert np.isnan(tensor.decode(tensor.encode(np.array([[np.nan]], np.float32), datatype=DataType.BFLOAT16))).all()


def test_incompressible_values_travel_raw():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    assert Header.unpack(tensor.encode(noise, compress=True)).codec == Codec.RAW
    latent = np.random.default_rng(0).normal(size=(1, 64, 64, 4)).astype(np.float16)
    assert Header.unpack(tensor.encode(latent, compress=True)).codec == Codec.RAW


def test_format_follows_the_number_of_dims():
    assert Header.unpack(tensor.encode(np.zeros((4, 4), np.uint8))).format == Format.NCHW
    assert Header.unpack(tensor.encode(np.zeros((1, 4, 4, 3), np.float16))).format == Format.NHWC


def test_non_contiguous_arrays_are_written_in_order():
    values = np.arange(24, dtype=np.float16).reshape(2, 3, 4)[:, ::-1, ::2]
    np.testing.assert_array_equal(tensor.decode(tensor.encode(values)), values)


@pytest.mark.parametrize(
    "values", [np.zeros((0, 3), np.float16), np.zeros((), np.float16), np.zeros((2, 2), "<c8"), np.zeros((1,) * 13, np.uint8)]
)
def test_encode_refuses(values):
    with pytest.raises(TensorError):
        tensor.encode(values)


def damaged(data: bytes, offset: int, value: int) -> bytes:
    return data[:offset] + struct.pack("<I", value & 0xFFFFFFFF) + data[offset + 4 :]


REFUSED = {
    "empty": b"",
    "shorter than a header": RAW_HALF[:67],
    "header only": RAW_HALF[:68],
    "payload too short": RAW_HALF[:-1],
    "payload too long": RAW_HALF + b"\0",
    "unknown codec": damaged(RAW_HALF, 0, 0x511),
    "unknown memory": damaged(RAW_HALF, 4, 0),
    "unknown format": damaged(RAW_HALF, 8, 3),
    "unknown datatype": damaged(RAW_HALF, 12, 0x3000),
    "no datatype": damaged(RAW_HALF, 12, 0),
    "quantised": damaged(RAW_HALF, 12, 0x40000),
    "negative dim": damaged(RAW_HALF, 28, -2),
    "zero dims": damaged(RAW_HALF, 20, 0),
    "hole in the dims": damaged(RAW_HALF, 24, 0),
    "hostile dims": damaged(RAW_HALF, 20, 0x7FFFFFFF),
    "dims of another size": damaged(RAW_HALF, 28, 3),
    "zip cut off": ZIP_BYTES[:-3],
    "zip that is not one": ZIP_BYTES[:68] + b"\xff" * 20,
    "zip too long": ZIP_BYTES[:68] + zlib.compress(bytes(64 * 64 + 1), wbits=-15),
    "zip too short": ZIP_BYTES[:68] + zlib.compress(bytes(64 * 64 - 1), wbits=-15),
    "zip without end mark": ZIP_BYTES[:68] + (lambda c: c.compress(bytes(4096)) + c.flush(zlib.Z_SYNC_FLUSH))(zlib.compressobj(wbits=-15)),
    "fpzip of bytes": damaged(damaged(ZIP_BYTES, 0, 0xF7217), 12, 0x1000),
    "fpzip too short for its header": FPZIP_HALF[:80],
    "fpzip empty": FPZIP_HALF[:68],
    "fpzip not a stream": FPZIP_HALF[:68] + bytes(100),
    "fpzip of other dims": damaged(FPZIP_HALF, 24, 9),
    "fpzip of another precision": damaged(FPZIP_HALF, 12, 0x4000),
    "fpzip of another type": damaged(FPZIP_HALF, 12, 0x10000),
}


@pytest.mark.parametrize("name", REFUSED)
def test_decode_refuses(name):
    with pytest.raises(TensorError) as caught:
        tensor.decode(REFUSED[name])
    assert str(caught.value).endswith(".")


def test_decode_limits_before_allocating():
    header = Header(Codec.ZIP, DataType.FLOAT32, (30000, 30000), Format.NCHW).pack()
    with pytest.raises(TensorError, match="limit"):
        tensor.decode(header + b"\3\0")
    with pytest.raises(TensorError, match="limit"):
        tensor.decode(RAW_HALF, limit=11)


def test_decode_wants_the_datatypes_of_its_use():
    with pytest.raises(TensorError, match="uint8"):
        tensor.decode(ZIP_BYTES, datatypes=(DataType.FLOAT16,))


def test_fpzip_stream_header_is_read_for_every_shape_and_precision():
    for dtype, precision, kind in ((np.float16, 19, 0), (np.float32, 32, 0), (np.float64, 64, 1)):
        for shape in ((500,), (30, 50), (20, 3, 50), (4, 20, 3, 50), (7, 4, 20, 3, 5), (1, 1000, 700, 3)):
            data = tensor.encode(np.ones(shape, dtype), compress=True)
            assert Header.unpack(data).codec == Codec.FPZIP, shape
            stream = FpzipStreamHeader.read(data[68:])
            assert (stream.type, stream.precision, stream.elements) == (kind, precision, int(np.prod(shape)))


@given(st.binary(max_size=120))
def test_any_bytes_are_a_tensor_or_a_tensor_error(data):
    with pytest.raises(TensorError):
        tensor.decode(data, limit=1 << 16)


@settings(max_examples=300)
@given(st.sampled_from([RAW_HALF, ZIP_BYTES, RAW_FLOAT]), st.integers(0, 90), st.integers(0, 255))
def test_one_changed_byte_never_escapes_as_another_error(data, position, value):
    changed = bytearray(data)
    changed[position % len(data)] = value
    with contextlib.suppress(TensorError):
        tensor.decode(bytes(changed), limit=1 << 24)


@settings(max_examples=300)
@given(st.integers(0, 67), st.integers(0, 255))
def test_a_damaged_header_never_reaches_fpzip(position, value):
    """Bytes of the tensor header only: what fpzip's own payload can do to a process is another matter."""
    changed = bytearray(FPZIP_HALF)
    changed[position] = value
    try:
        decoded = tensor.decode(bytes(changed), limit=1 << 24)
    except TensorError:
        return
    assert decoded.size == 192


def test_without_fpzip(monkeypatch):
    monkeypatch.setattr(tensor, "_fpzip", None)
    assert not tensor.fpzip_available()
    np.testing.assert_array_equal(tensor.decode(RAW_HALF).ravel()[:2], [-1, 0])
    assert tensor.decode(ZIP_BYTES).shape == (64, 64)
    with pytest.raises(CodecUnavailable, match="response compression"):
        tensor.decode(FPZIP_HALF)
    with pytest.raises(CodecUnavailable):
        tensor.encode(np.ones((1, 8, 8, 3), np.float16), compress=True)
