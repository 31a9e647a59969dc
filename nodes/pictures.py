"""torch tensors <-> the numpy pictures of drawthings_core. Inputs are never modified."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ..drawthings_core.errors import InvalidImage
from ..drawthings_core.images import check_image, check_mask


def image_in(image: Any, name: str) -> np.ndarray:
    """A ComfyUI IMAGE [N, H, W, C] as a float array of the same shape, sharing memory where it can. Raises InvalidImage."""
    return check_image(_array(image, name), f"The input {name!r}")


def mask_in(mask: Any, name: str) -> np.ndarray:
    """A ComfyUI MASK [N, H, W] (or [H, W]) as a float array [N, H, W]. Raises InvalidImage."""
    return check_mask(_array(mask, name), f"The input {name!r}")


def _array(value: Any, name: str) -> np.ndarray:
    if not isinstance(value, torch.Tensor):
        raise InvalidImage(f"The input {name!r} is {type(value).__name__}, but needed is a picture: connect an IMAGE or MASK output.")
    tensor = value.detach()
    if tensor.dtype == torch.bfloat16:  # numpy has none
        tensor = tensor.float()
    return tensor.cpu().numpy()


def tensor_out(array: np.ndarray) -> torch.Tensor:
    """A float32 array as a torch tensor that shares its memory."""
    return torch.from_numpy(np.ascontiguousarray(array, np.float32))
