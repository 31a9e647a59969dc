"""torch tensors <-> the numpy pictures of drawthings_core, and picture files as ComfyUI reads and writes them.

Inputs are never modified.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps, ImageSequence
from PIL.PngImagePlugin import PngInfo

from ..drawthings_core.errors import DrawThingsError, InvalidImage, short
from ..drawthings_core.images import check_image, check_mask, shaped_image, shaped_mask

NO_MASK_SIZE = 64
"""Side in pixels of the empty mask that a picture without alpha gives."""


def image_in(image: Any, name: str) -> np.ndarray:
    """A ComfyUI IMAGE [N, H, W, C] as a float array of the same shape, sharing memory where it can. Raises InvalidImage."""
    return check_image(_array(image, name), _what(name))


def mask_in(mask: Any, name: str) -> np.ndarray:
    """A ComfyUI MASK [N, H, W] (or [H, W]) as a float array [N, H, W]. Raises InvalidImage."""
    return check_mask(_array(mask, name), _what(name))


def image_of_job(image: Any, name: str) -> np.ndarray:
    """image_in without a look at the values, which the job's plan takes: of a long clip each takes its time."""
    return shaped_image(_array(image, name), _what(name))


def mask_of_job(mask: Any, name: str) -> np.ndarray:
    """mask_in without a look at the values, which the job's plan takes before its first run."""
    return shaped_mask(_array(mask, name), _what(name))


def _what(name: str) -> str:
    return f"The input {name!r}"


def _array(value: Any, name: str) -> np.ndarray:
    if not isinstance(value, torch.Tensor):
        raise InvalidImage(f"The input {name!r} is {type(value).__name__}, but needed is a picture: connect an IMAGE or MASK output.")
    tensor = value.detach()
    try:
        if tensor.dtype == torch.bfloat16:  # numpy has none
            tensor = tensor.float()
        return tensor.cpu().numpy()
    except (TypeError, RuntimeError) as error:  # sparse, quantized, of 4 bits, without memory, ...
        kind = str(tensor.dtype).removeprefix("torch.")
        raise InvalidImage(f"The input {name!r} is a tensor of {kind} that cannot be read: connect an IMAGE or MASK output.") from error


def tensor_out(array: np.ndarray) -> torch.Tensor:
    """A float32 array as a torch tensor that shares its memory."""
    return torch.from_numpy(np.ascontiguousarray(array, np.float32))


MOST_PIXELS = 400_000_000
"""Of all frames of a picture together, as floats 5 GB: twice what Pillow takes of a single one, or 400 frames of 1280x720."""


def opened(path: Path, name: str) -> Image.Image:
    """A picture file, its first frame read. Raises InvalidImage."""
    with reading(name):
        picture = Image.open(path)
        picture.load()
        return picture


@contextlib.contextmanager
def reading(name: str) -> Iterator[None]:
    """While the body has Pillow read a picture, whose readers raise whatever damaged bytes make them stumble over: raises InvalidImage."""
    try:
        yield
    except (DrawThingsError, MemoryError):
        raise
    except Exception as error:
        raise InvalidImage(f"The picture {short(name)} cannot be read: it is damaged, or not a picture that Pillow knows.") from error


def loaded(file: Image.Image, name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """What ComfyUI's Load Image gives: IMAGE [N, H, W, 3] of all frames of the first one's size, MASK [N, H, W] = 1 - alpha, 64x64
    zeros without alpha. Raises InvalidImage.
    """
    with reading(name):
        return _frames(file)


def _frames(file: Image.Image) -> tuple[torch.Tensor, torch.Tensor]:
    pictures, masks = [], []
    pixels = 0
    for frame in ImageSequence.Iterator(file):
        pixels += frame.width * frame.height
        if pixels > MOST_PIXELS:
            raise InvalidImage(f"The picture has more than {MOST_PIXELS // 10**6} million pixels in all its frames: load a part of them.")
        picture = upright(frame)
        rgb = picture.convert("RGB")
        if pictures and rgb.size != (pictures[0].shape[1], pictures[0].shape[0]):
            continue
        pictures.append(unit(rgb))
        masks.append(_transparency(picture))
        if file.format == "MPO":
            break  # further frames of a camera's file are other views
    same = [mask for mask in masks if mask.shape == masks[0].shape]
    return torch.from_numpy(np.stack(pictures)), torch.from_numpy(np.stack(same))


def upright(picture: Image.Image) -> Image.Image:
    """Turned as its EXIF data say; 16-bit grey brought to 8 bits, as ComfyUI does."""
    turned = ImageOps.exif_transpose(picture)
    return turned.point(lambda value: value * (1 / 255)) if turned.mode == "I" else turned


def unit(picture: Image.Image) -> np.ndarray:
    """float32 in 0..1, [H, W, 3] or [H, W]."""
    return np.asarray(picture).astype(np.float32) / 255.0


def _transparency(picture: Image.Image) -> np.ndarray:
    """float32 [H, W], 1 = transparent."""
    if picture.mode == "P" and "transparency" in picture.info:
        picture = picture.convert("RGBA")
    if "A" not in picture.getbands():
        return np.zeros((NO_MASK_SIZE, NO_MASK_SIZE), np.float32)
    return 1 - unit(picture.getchannel("A"))


def workflow_chunks(prompt: Any, extra: Mapping[str, Any] | None) -> PngInfo:
    """A PNG's text chunks with the prompt and the workflow, from which ComfyUI's page restores the graph."""
    chunks = PngInfo()
    if prompt is not None:
        chunks.add_text("prompt", json.dumps(prompt))
    for name, value in (extra or {}).items():
        chunks.add_text(name, json.dumps(value))
    return chunks
