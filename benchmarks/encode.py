"""What a graph's pictures cost on their way into a request, against the same arithmetic in bare numpy."""

# pyright: reportMissingImports=false

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from comfyui_drawthings.drawthings_core import encodings, images
from comfyui_drawthings.drawthings_core.catalog import Catalog
from comfyui_drawthings.drawthings_core.images import Fit
from comfyui_drawthings.drawthings_core.job import Job, plan
from comfyui_drawthings.drawthings_core.packing import content_of
from comfyui_drawthings.drawthings_core.request import build
from comfyui_drawthings.nodes.pictures import image_of_job, mask_of_job
from comfyui_drawthings.proto import messages
from measure import Row, compare, fresh
from other_client import OtherClient
from PIL import Image

IMAGE_FLOOR = "float32 to fp16 in -1..1, tobytes"
MASK_FLOOR = "a comparison, tobytes"


def rows(quick: bool, other: OtherClient) -> Iterator[Row]:
    budget = 0.3 if quick else 3.0
    for size in (512,) if quick else (512, 1024, 2048):
        yield compare(
            f"IMAGE {size}x{size} to request bytes",
            fresh(_images(size), lambda image: image_bytes(image)),
            fresh(_images(size), lambda image: (image.numpy() * 2 - 1).astype(np.float16).tobytes()),
            floor_is=IMAGE_FLOOR,
            most=1.5,
            other=other.work("encode_image", file=_file(other, _images(size)()[0])),
            budget=budget,
        )
    size = 512 if quick else 1024
    yield compare(
        f"MASK {size}x{size} to request bytes",
        fresh(_masks(size), lambda mask: mask_bytes(mask)),
        fresh(_masks(size), lambda mask: (mask.numpy() >= 0.5).tobytes()),
        floor_is=MASK_FLOOR,
        most=3,
        other=other.work("encode_mask", file=_file(other, _masks(size)())),
        budget=budget,
    )
    yield from _messages(size, budget)


def image_bytes(image: torch.Tensor) -> Any:
    """What a node and its job do to a picture of the canvas's size, up to the bytes that travel."""
    size = image.shape[2], image.shape[1]
    return content_of(encodings.shared.image(images.check_image(image_of_job(image, "image")), size, Fit.crop)).data


def mask_bytes(mask: torch.Tensor) -> Any:
    """The same of a mask."""
    size = mask.shape[2], mask.shape[1]
    return content_of(encodings.shared.mask(images.check_mask(mask_of_job(mask, "mask")), size, Fit.crop, size)).data


def _messages(size: int, budget: float) -> Iterator[Row]:
    """With everything else that a request needs, the SHA-256 of the bytes above all; and again with the same picture."""
    catalog = Catalog.from_echo(messages.EchoReply())

    def message(image: torch.Tensor) -> bytes:
        settings = {"start_width": size, "start_height": size, "strength": 0.5}
        (run,) = plan(Job("sd_xl_base_1.0_f16.ckpt", settings=settings, images=image_of_job(image, "image")), catalog).runs()
        assert run.request is not None
        return build(run.request, catalog)

    image = _images(size)()
    what = f"IMAGE {size}x{size} to the whole message, SHA-256 included"
    yield compare(what, fresh(_images(size), message), budget=budget)
    yield compare(f"{what}, the same image again", lambda: message(image), budget=budget)


def _images(size: int) -> Callable[[], torch.Tensor]:
    """Makers of new pictures that differ."""
    base = np.random.default_rng(0).random((1, size, size, 3), np.float32)
    return _different(torch.from_numpy(base))


def _masks(size: int) -> Callable[[], torch.Tensor]:
    """[1, H, W], half of it white, each time another half."""
    made = 0

    def make() -> torch.Tensor:
        nonlocal made
        made += 1
        mask = torch.zeros((1, size, size))
        start = made * 37 % (size // 2)
        mask[:, start : start + size // 2, :] = 1
        return mask

    return make


def _different(base: torch.Tensor) -> Callable[[], torch.Tensor]:
    made = 0

    def make() -> torch.Tensor:
        nonlocal made
        made += 1
        copy = base.clone()
        copy.view(-1)[0] = (made % 1000) / 1000
        return copy

    return make


def _file(other: OtherClient, values: torch.Tensor) -> str:
    """A PNG of [H, W, 3], or of [1, H, W]."""
    pixels = images.to_bytes(values.numpy())
    content = io.BytesIO()
    Image.fromarray(pixels[0] if pixels.shape[0] == 1 else pixels).save(content, "PNG")
    return other.file(f"{pixels.shape}.png", content.getvalue())
