"""Pictures, masks and hints <-> the values Draw Things puts into tensors. numpy only; inputs are never modified.

A picture here is float [N, H, W, C] in 0..1 or uint8 in 0..255, C = 1, 3 or 4 (alpha last, as in ComfyUI). On the wire
(tensors.md sections 4 to 6) a picture is float16 [N, H, W, 3] in -1..1 and a result may be 4 channels, alpha FIRST.
"""

from __future__ import annotations

import enum
import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image

from . import halves
from .decoding.worker import to_unit
from .errors import InvalidImage, NonFiniteImage, TensorError
from .packing import Packed, pack

_BLOCK = 1 << 16
_BAND = 1 << 21  # values of a picture that are floats at once while it is scaled: larger ones take no more memory
_GAP = 6.0
"""A much larger picture is first averaged, to no less than so many times its place (as with Pillow's `reducing_gap`): filtering all of one
of 16384x16384 takes a quarter of a minute.
"""
_LEVEL = np.float32(1 / 255)

MASK_EMPTY = 1
MASK_REPAINT = 2
MASK_KEEP = 3
MASK_CLASS = 0x07
"""The bits of a mask's value that hold one of these; the others hold the alpha of the pixel that lies there."""


class Fit(str, enum.Enum):
    """How a picture of another shape comes onto the canvas."""

    crop = "crop"  # fill the canvas, cut what stands over, centred
    pad = "pad"  # show everything, black borders, centred
    stretch = "stretch"  # ignore the aspect ratio
    outpaint = "outpaint"  # show everything, centred, with transparent borders, which are then generated

    @property
    def of_maps(self) -> Fit:
        """How a hint's map is placed, so that it lies where the image does."""
        return Fit.pad if self is Fit.outpaint else self


class Extended(NamedTuple):
    """A picture scaled to width x height pixels, at the top left of the canvas; its edge is repeated to the right and lower borders."""

    width: int
    height: int

    @property
    def of_maps(self) -> Extended:
        return self


AnyFit = Fit | Extended


class Placement(NamedTuple):
    """Where a picture of one size lands on a canvas: the part that is used, and the pixels that it fills."""

    box: tuple[float, float, float, float]  # left, top, right, bottom in the source
    left: int
    top: int
    width: int
    height: int


def placement(source: tuple[int, int], canvas: tuple[int, int], fit: AnyFit) -> Placement:
    """Where a (width, height) source lands on a (width, height) canvas. Centred unless extended; odd leftovers go right and down.

    Raises InvalidImage for a picture that would be extended to less than it is.
    """
    (sw, sh), (cw, ch) = source, canvas
    whole = (0.0, 0.0, float(sw), float(sh))
    if isinstance(fit, Extended):
        if not (0 < fit.width <= cw and 0 < fit.height <= ch):
            raise InvalidImage(f"A picture of {fit.width}x{fit.height} does not fit on a canvas of {cw}x{ch}: make the canvas larger.")
        return Placement(whole, 0, 0, fit.width, fit.height)
    if fit == Fit.stretch or sw * ch == sh * cw:
        return Placement(whole, 0, 0, cw, ch)
    too_wide = sw * ch > sh * cw
    if fit == Fit.crop:
        if too_wide:
            used = sh * cw / ch
            return Placement(((sw - used) / 2, 0.0, (sw + used) / 2, float(sh)), 0, 0, cw, ch)
        used = sw * ch / cw
        return Placement((0.0, (sh - used) / 2, float(sw), (sh + used) / 2), 0, 0, cw, ch)
    if too_wide:
        height = max(1, _round_half_up(sh * cw, sw))
        return Placement(whole, 0, (ch - height) // 2, cw, height)
    width = max(1, _round_half_up(sw * ch, sh))
    return Placement(whole, (cw - width) // 2, 0, width, ch)


def _round_half_up(numerator: int, denominator: int) -> int:
    return (2 * numerator + denominator) // (2 * denominator)


def fit_image(image: np.ndarray, width: int, height: int, fit: AnyFit = Fit.crop) -> np.ndarray:
    """A [N, H, W, C] picture on a canvas of width x height pixels: float32 [N, height, width, C] in 0..1, Lanczos.

    A picture of that size already comes back with its values untouched (uint8 becomes float32), whatever they are. Borders that are
    to be outpainted make it one of 4 channels.
    """
    image = shaped_image(image)
    source = (image.shape[2], image.shape[1])
    place = placement(source, (width, height), fit)
    if isinstance(fit, Extended):
        scaled = fit_image(image, fit.width, fit.height, Fit.stretch)
        return np.pad(scaled, ((0, 0), (0, height - fit.height), (0, width - fit.width), (0, 0)), mode="edge")
    if source == (width, height):
        return _as_float(image)
    channels = 4 if fit == Fit.outpaint and leaves_borders(source, (width, height), fit) else image.shape[3]
    result = np.zeros((image.shape[0], height, width, channels), np.float32)
    for n, c in np.ndindex(image.shape[0], channels):
        result[n, place.top : place.top + place.height, place.left : place.left + place.width, c] = _resize(
            functools.partial(_plane, image[n], c), source, place, Image.Resampling.LANCZOS
        )
    if channels == 4:
        np.divide(result[..., :3], result[..., 3:], out=result[..., :3], where=result[..., 3:] > _LEVEL / 2)
    return np.clip(result, 0.0, 1.0, out=result)


def leaves_borders(source: tuple[int, int], canvas: tuple[int, int], fit: AnyFit) -> bool:
    """Whether a (width, height) source covers less than the canvas."""
    place = placement(source, canvas, fit)
    return (place.width, place.height) != canvas


def _plane(picture: np.ndarray, channel: int, rows: slice) -> np.ndarray:
    """Rows of one channel of a picture [H, W, C] as float32; alpha, 3, is 1 where it has none. Colours are multiplied by alpha: what is
    transparent has none to lend to its neighbours.
    """
    given = picture.shape[2]
    if channel == 3 and given < 4:
        return np.ones(picture[rows].shape[:2], np.float32)
    plane = _as_float(picture[rows, :, min(channel, given - 1)])
    return plane * _as_float(picture[rows, :, 3]) if given == 4 and channel < 3 else plane


def any_transparent(alpha: np.ndarray) -> bool:
    """Whether an alpha of any shape, in 0..1 or bytes, is not opaque somewhere, to 8 bits."""
    return bool(to_bytes(alpha.min(keepdims=True)).min() < 255)


def fit_mask(mask: np.ndarray, width: int, height: int, fit: AnyFit = Fit.crop, image_size: tuple[int, int] | None = None) -> np.ndarray:
    """A [N, H, W] mask (1 = repaint) on the canvas, placed exactly as its image: bool [N, height, width].

    image_size: (width, height) of the picture it belongs to; a mask of another size is first stretched to it, which is
    what ComfyUI's own nodes do. A pixel is repainted where the scaled mask is at least one half; padding is kept.
    """
    mask = shaped_mask(mask)
    size = image_size or (mask.shape[2], mask.shape[1])
    place = placement(size, (width, height), fit)
    if size != (mask.shape[2], mask.shape[1]):
        mask, place = _stretched_to(mask, size, place)
    if size == (width, height):
        return repainted(mask)
    source = (mask.shape[2], mask.shape[1])
    result = np.zeros((mask.shape[0], height, width), bool)
    for n in range(mask.shape[0]):
        result[n, place.top : place.top + place.height, place.left : place.left + place.width] = (
            _resize(functools.partial(_lines, mask[n]), source, place, Image.Resampling.BILINEAR) >= 0.5
        )
    return result


def _stretched_to(mask: np.ndarray, size: tuple[int, int], place: Placement) -> tuple[np.ndarray, Placement]:
    """A mask [N, h, w] in the (width, height) of its picture, and its place. For a picture that is much larger than its place it has the
    size to which that is averaged: it would take gigabytes.
    """
    left, top, right, bottom = place.box
    wide = math.ceil(size[0] / _averaged(right - left, place.width))
    high = math.ceil(size[1] / _averaged(bottom - top, place.height))
    box = (left * wide / size[0], top * high / size[1], right * wide / size[0], bottom * high / size[1])
    return np.stack([stretched_mask(one, wide, high) for one in mask]), place._replace(box=box)


def repainted(mask: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Where a mask is True or at least one half; in `out`, when it is given."""
    return np.greater_equal(_as_float(mask), np.float32(0.5), out=out)


def stretched_mask(mask: np.ndarray, width: int, height: int) -> np.ndarray:
    """One mask [h, w] in the size of its picture, as ComfyUI's own nodes do when they differ: float32 [height, width]."""
    if mask.shape == (height, width):
        return _as_float(mask)
    source = (mask.shape[1], mask.shape[0])
    return _resize(functools.partial(_lines, mask), source, placement(source, (width, height), Fit.stretch), Image.Resampling.BILINEAR)


def _lines(mask: np.ndarray, rows: slice) -> np.ndarray:
    return _as_float(mask[rows])


def _resize(channel: Callable[[slice], np.ndarray], source: tuple[int, int], place: Placement, method: Image.Resampling) -> np.ndarray:
    """A channel of (width, height) source in the size of its place, float32. channel: gives rows of it, float32 [rows, width].

    First across, some rows at a time, then down, as Pillow itself does it for a whole picture: of a large one only what is left of its
    width is held.
    """
    left, top, right, bottom = place.box
    across, down = _averaged(right - left, place.width), _averaged(bottom - top, place.height)
    bands = []
    step = max(1, _BAND // (source[0] * down)) * down
    for start in range(0, source[1], step):
        band = _picture(channel(slice(start, start + step)))
        if across > 1 or down > 1:
            band = band.reduce((across, down))
        bands.append(np.asarray(band.resize((place.width, band.height), method, box=(left / across, 0, right / across, band.height))))
    narrow = np.concatenate(bands) if len(bands) > 1 else bands[0]
    return np.asarray(_picture(narrow).resize((place.width, place.height), method, box=(0, top / down, place.width, bottom / down)))


def _averaged(length: float, wanted: int) -> int:
    """How many pixels of a side become one before it is resampled to `wanted`."""
    return max(1, int(length / wanted / _GAP))


def _picture(values: np.ndarray) -> Image.Image:
    """Float32 [height, width]: mode "F" keeps them from end to end, where an 8-bit picture would lose everything between two levels."""
    return Image.fromarray(np.ascontiguousarray(values, np.float32))


def check_image(image: np.ndarray, what: str = "The image") -> np.ndarray:
    """[N, H, W, C] of float or uint8 with C = 1, 3 or 4, nothing empty, all finite; [H, W, C] gains N = 1.

    Raises InvalidImage, whose sentence begins with `what`.
    """
    image = shaped_image(image, what)
    halves.check_finite(image, what)
    return image


def shaped_image(image: np.ndarray, what: str = "The image") -> np.ndarray:
    """check_image without a look at the values."""
    if image.ndim == 3:
        image = image[None]
    if image.ndim != 4 or image.shape[3] not in (1, 3, 4) or 0 in image.shape:
        raise InvalidImage(f"{what} has the shape {tuple(image.shape)}, but needed is [batch, height, width, 1, 3 or 4]: connect an IMAGE.")
    _check_dtype(image, what)
    return image


def check_mask(mask: np.ndarray, what: str = "The mask") -> np.ndarray:
    """[N, H, W] of float, uint8 or bool, nothing empty, all finite; [H, W] gains N = 1. Raises InvalidImage."""
    mask = shaped_mask(mask, what)
    halves.check_finite(mask, what)
    return mask


def shaped_mask(mask: np.ndarray, what: str = "The mask") -> np.ndarray:
    """check_mask without a look at the values."""
    if mask.ndim == 2:
        mask = mask[None]
    if mask.ndim != 3 or 0 in mask.shape:
        raise InvalidImage(f"{what} has the shape {tuple(mask.shape)}, but needed is [batch, height, width]: connect a MASK.")
    if mask.dtype != np.bool_:
        _check_dtype(mask, what)
    return mask


def _check_dtype(values: np.ndarray, what: str) -> None:
    if values.dtype != np.uint8 and values.dtype.kind != "f":
        raise InvalidImage(f"{what} holds {values.dtype} values, but needed are floats in 0..1 or bytes.")


def _as_float(values: np.ndarray) -> np.ndarray:
    if values.dtype == np.uint8:
        return values.astype(np.float32) / np.float32(255)
    return values.astype(np.float32, copy=False)


def image_tensor(image: np.ndarray) -> Packed:
    """A picture as an input tensor: float16 [N, H, W, 3] in -1..1. Values outside 0..1 are clamped.

    One channel is repeated; of four, alpha is dropped and fully transparent pixels become mid-grey, as in the app.
    """
    image = shaped_image(image)
    return pack((*image.shape[:3], 3), np.float16, lambda out: halves.write_signed(image, out, "The image"))


def mask_tensor(repaint: np.ndarray, alpha: np.ndarray | None = None, fills: bool = True) -> Packed:
    """One mask [H, W] as uint8 [H, W] of MASK_REPAINT, where it is True or at least one half, and MASK_KEEP.

    alpha: float [H, W] of the picture. Where it is not opaque there is MASK_EMPTY, with the alpha in the upper bits (tensors.md
    section 5). fills: the model generates what is empty, whether or not it is to be repainted; a model that makes alpha does not,
    and leaves it as it is where nothing is to be repainted.
    """
    if repaint.ndim != 2:
        raise InvalidImage(f"A mask tensor is made of one [height, width] mask, not of {repaint.shape}.")
    shaped_mask(repaint)

    def write(out: np.ndarray) -> None:
        for rows in _mask_rows(repaint):
            _write_mask(repaint[rows], out[rows])
        if alpha is not None:
            levels = to_bytes(alpha)
            empty = levels < 255 if fills else (out == MASK_KEEP) & (levels < 255)
            np.copyto(out, levels & ~np.uint8(MASK_CLASS) | np.uint8(MASK_EMPTY), where=empty)

    return pack(repaint.shape, np.uint8, write)


def is_mask_tensor(tensor: np.ndarray, repaint: np.ndarray) -> bool:
    """Whether mask_tensor of this mask [H, W] would be `tensor`, which takes less time than making it."""
    if tensor.shape != repaint.shape:
        return False
    blocks = _mask_rows(repaint)
    scratch = np.empty(tensor[blocks[0]].shape, np.uint8)
    for rows in blocks:
        part = repaint[rows]
        _write_mask(part, scratch[: len(part)])
        if scratch[: len(part)].tobytes() != tensor[rows].tobytes():
            return False
    return True


def _mask_rows(mask: np.ndarray) -> list[slice]:
    """Rows of a mask [H, W], so few at a time that what is done to them one after the other stays in the processor's cache."""
    rows = max(1, _BLOCK // mask.shape[1])
    return [slice(start, start + rows) for start in range(0, len(mask), rows)]


def _write_mask(repaint: np.ndarray, out: np.ndarray) -> None:
    if repaint.dtype != np.bool_:
        repainted(repaint, out=out.view(np.bool_))  # new memory for it would take as long as the comparison
    else:
        np.not_equal(repaint.view(np.uint8), 0, out=out.view(np.bool_))  # one that is a view of bytes may hold others than 0 and 1
    np.subtract(np.uint8(MASK_KEEP), out, out=out)


class HintValues(enum.Enum):
    """What a hint's tensor holds; see tensors.md section 6."""

    rgb_signed = "three channels, -1..1"
    rgb_unit = "three channels, 0..1"
    gray_signed = "one channel, -1..1"


def hint_size(image: np.ndarray, values: HintValues) -> int:
    """Bytes of the values of hint_tensor for one picture of [N, H, W, C]."""
    return image.shape[1] * image.shape[2] * _channels(values) * np.dtype(np.float16).itemsize


def _channels(values: HintValues) -> int:
    return 1 if values == HintValues.gray_signed else 3


def hint_tensor(image: np.ndarray, values: HintValues) -> Packed:
    """A hint picture as float16 [N, H, W, C] in the range and channel count that its type needs."""
    image = shaped_image(image, "The hint image")
    write = {
        HintValues.rgb_signed: halves.write_signed,
        HintValues.rgb_unit: halves.write_unit,
        HintValues.gray_signed: halves.write_gray_signed,
    }[values]
    return pack((*image.shape[:3], _channels(values)), np.float16, lambda out: write(image, out, "The hint image"))


class Picture(NamedTuple):
    """One result: rgb float32 [H, W, 3] in 0..1, alpha float32 [H, W] in 0..1 or None."""

    rgb: np.ndarray
    alpha: np.ndarray | None


def picture_from_tensor(tensor: np.ndarray, index: int = 0) -> Picture:
    """A result tensor [1, H, W, 3] or [1, H, W, 4] (alpha first, 0..1; colour -1..1) as a picture, clamped.

    Raises NonFiniteImage (with `index`) for NaN or infinity anywhere, TensorError for another shape or dtype.
    """
    check_result(tensor.shape, tensor.dtype, index)
    size = tensor.shape[1:3]
    picture = Picture(np.empty((*size, 3), np.float32), np.empty(size, np.float32) if tensor.shape[3] == 4 else None)
    write_picture(tensor, picture, index)
    return picture


def check_result(shape: tuple[int, ...], dtype: np.dtype, index: int = 0) -> None:
    """Raise TensorError, naming the image, for what cannot be a result: see picture_from_tensor."""
    if len(shape) != 4 or shape[0] != 1 or shape[3] not in (3, 4) or dtype.kind != "f":
        raise TensorError(
            f"Image {index + 1} came back as {dtype} {list(shape)}, but an image is float [1, height, width, 3 or 4]: update this package, or report it."
        )


def write_picture(tensor: np.ndarray, place: Picture, index: int = 0) -> None:
    """picture_from_tensor into arrays of the right shapes. The decoders' `worker.write_picture` does the same to a stream."""
    rows = max(1, _BLOCK // tensor[0, 0].size)  # what is done to them one after the other stays in the processor's cache
    for start in range(0, tensor.shape[1], rows):
        colour = place.rgb[start : start + rows]
        _write_unit(tensor[0, start : start + rows, :, -3:], colour)
        # a sum is NaN whenever one of its values is, and is several times faster than a test of each
        if np.isnan(colour.sum()):
            raise NonFiniteImage(index)
    if place.alpha is not None:
        np.clip(_nan_for_infinity(tensor[0, :, :, 0]), 0, 1, out=place.alpha)
        if np.isnan(place.alpha.sum()):
            raise NonFiniteImage(index)


def _write_unit(signed: np.ndarray, out: np.ndarray) -> None:
    """Values in -1..1 -> float32 in 0..1, clamped; NaN and infinity -> NaN.

    What a half can mean of the 256 levels becomes exactly that level. ComfyUI's own Save Image truncates: a level that came back a
    rounding error too low would be saved one too dark.
    """
    if signed.dtype == np.float16:
        # "clip" changes nothing here, and unlike the other modes writes straight into `out`
        np.take(_half_to_unit(), signed.view(np.uint16).astype(np.intp), out=out, mode="clip")
    else:
        out[:] = to_unit(signed, np)


@functools.lru_cache(maxsize=1)
def _half_to_unit() -> np.ndarray:
    """float32 [65536]: the unit value of every half, by its bits."""
    return to_unit(np.arange(1 << 16, dtype=np.uint16).view(np.float16), np)


def _nan_for_infinity(values: np.ndarray) -> np.ndarray:
    wide = values.astype(np.float32)
    return np.where(np.isinf(wide), np.float32(np.nan), wide)


def to_bytes(image: np.ndarray) -> np.ndarray:
    """float 0..1 -> uint8 0..255, clamped and rounded to nearest; bytes stay. Any shape."""
    if image.dtype == np.uint8:
        return image
    scaled = np.multiply(image, np.float32(255), dtype=np.float32)
    return np.rint(np.clip(scaled, 0, 255, out=scaled)).astype(np.uint8)
