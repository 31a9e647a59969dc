"""Save Image: PNG files from which both ComfyUI and Draw Things restore the settings."""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from ..drawthings_core import images as core_images
from ..drawthings_core import metadata, xmp
from ..drawthings_core.client import Cancellation
from ..drawthings_core.configuration import Configuration, app_json
from ..drawthings_core.errors import FileNotWritten, InvalidInput
from ..drawthings_core.stages import Doing
from . import host, prefixes, widgets
from .load_server import CATEGORY
from .pictures import image_in, mask_in, workflow_chunks

DEFAULT_PREFIX = "DrawThings"
COMPRESSION = 4
"""ComfyUI's own: 9 takes several times as long and saves a few percent."""
SMALLEST = 9
"""zlib's own limit."""
MOST_PICTURES = 100_000
LONGEST_NAME = 200
"""Bytes that leave room for the number and the ending: file systems take 255."""


class SaveImage:
    """Pictures as PNG files with ComfyUI's workflow and Draw Things' settings in them."""

    CATEGORY = CATEGORY
    DESCRIPTION = (
        "Saves pictures as PNG, from which both ComfyUI (the workflow) and Draw Things (prompt and settings) restore what made them."
    )
    RETURN_TYPES = ()
    RETURN_NAMES = ()
    OUTPUT_TOOLTIPS = ()
    FUNCTION = "save"
    OUTPUT_NODE = True

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "images": widgets.socket("IMAGE", "The pictures to save."),
                "filename_prefix": (
                    "STRING",
                    {
                        "default": DEFAULT_PREFIX,
                        "tooltip": "How the names begin; folders too, below ComfyUI's output folder. %date:yyyy-MM-dd%, %width%, %height% and "
                        "inputs of other nodes such as %DrawThingsGenerate.seed% are filled in, as in ComfyUI's Save Image.",
                    },
                ),
                "compression": (
                    "INT",
                    {
                        "default": COMPRESSION,
                        "min": 0,
                        "max": SMALLEST,
                        "step": 1,
                        "tooltip": "Of the PNG: 0 is fast and large, 9 is slow and a little smaller. The picture is the same.",
                    },
                ),
                "first_picture": (
                    "INT",
                    {
                        "default": 0,
                        "min": 0,
                        "max": MOST_PICTURES,
                        "step": 1,
                        "tooltip": "When only some pictures of what info tells are saved: the number of the first of them, counted from 1. "
                        "0: all of them.",
                    },
                ),
            },
            "optional": {
                "info": ("STRING", {"forceInput": True, "tooltip": "The info of Generate, which Draw Things' settings are made of."}),
                "mask": widgets.socket("MASK", "Makes the PNG transparent where it is 1 (white)."),
            },
            "hidden": {"prompt": "PROMPT", "extra_pnginfo": "EXTRA_PNGINFO", "unique_id": "UNIQUE_ID"},
        }

    async def save(
        self,
        images: Any,
        filename_prefix: str,
        compression: int,
        first_picture: int,
        info: str | None = None,
        mask: Any = None,
        prompt: Any = None,
        extra_pnginfo: Mapping[str, Any] | None = None,
        unique_id: str | None = None,
    ) -> dict[str, Any]:
        pictures = image_in(images, "images")
        compression = int(widgets.within("compression", compression, 0, SMALLEST))
        first_picture = int(widgets.within("first_picture", first_picture, 0, MOST_PICTURES))
        masks = None if mask is None else mask_in(mask, "mask")
        made = _made(widgets.checked_text(info, "info"), len(pictures), first_picture)
        prefix = prefixes.filled(widgets.checked_text(filename_prefix, "filename_prefix").strip() or DEFAULT_PREFIX, prompt)
        if any(len(part.encode()) > LONGEST_NAME for part in re.split(r"[/\\]", prefix)):
            raise InvalidInput(f"The prefix {prefix[:40]!r}… is too long for the name of a file: shorten filename_prefix.")
        progress = host.Progress(unique_id)

        def work(cancellation: Cancellation) -> list[dict[str, str]]:
            place = _place(prefix, pictures)
            rows = []
            for number, picture in enumerate(pictures):
                cancellation.check()
                progress.say(Doing("writing", {"number": number + 1, "total": len(pictures)}))
                alpha = None if masks is None else masks[number % len(masks)]
                chunks = None
                if host.metadata_wanted():
                    chunks = workflow_chunks(prompt, extra_pnginfo)
                    if made is not None:
                        chunks.add_itxt(xmp.PNG_KEYWORD, metadata.packet(made.of(number)))
                path = _write(_file(_picture(picture, alpha), chunks, compression), place, number)
                host.wrote(path)
                rows.append({"filename": path.name, "subfolder": place.subfolder, "type": "output"})
                progress.update(number + 1, len(pictures))
            progress.silence()
            return rows

        return {"ui": {"images": await host.run(work)}}


def _place(prefix: str, pictures: np.ndarray) -> host.Place:
    try:
        return host.place(prefix, pictures.shape[2], pictures.shape[1])
    except OSError as error:
        raise FileNotWritten(prefix, error.strerror or str(error)) from error


def _picture(picture: np.ndarray, mask: np.ndarray | None) -> Image.Image:
    """One picture [H, W, C] as 8 bits, each value rounded to the nearest level; with a mask [h, w], RGBA."""
    levels = core_images.to_bytes(picture)
    if levels.shape[2] == 1:
        levels = np.repeat(levels, 3, axis=2)
    if mask is not None:
        opacity = core_images.to_bytes(1 - core_images.stretched_mask(mask, levels.shape[1], levels.shape[0]))
        levels = np.dstack([levels[..., :3], opacity])
    return Image.fromarray(levels)


def _file(picture: Image.Image, chunks: Any, compression: int) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", pnginfo=chunks, compress_level=compression)
    return buffer.getvalue()


def _write(content: bytes, place: host.Place, number: int) -> Path:
    """Under the next free name; what is there is never overwritten, and nothing half written is left."""
    paths = place.paths(number, ".png")
    while True:
        path = next(paths)
        try:
            with path.open("xb"):
                break
        except FileExistsError:
            continue
        except OSError as error:
            raise FileNotWritten(path.name, error.strerror or str(error)) from error
    try:
        path.write_bytes(content)
    except OSError as error:
        path.unlink()
        raise FileNotWritten(path.name, error.strerror or str(error)) from error
    return path


# -- info


class _Made(NamedTuple):
    """What the pictures that are saved were made with, each with its seed."""

    settings: metadata.PictureSettings
    seeds: list[int]

    def of(self, number: int) -> metadata.PictureSettings:
        return replace(self.settings, configuration=self.settings.configuration.updated(seed=self.seeds[number]))


def _made(info: str, count: int, first: int) -> _Made | None:
    """What info tells of `count` pictures from number `first` (from 1; 0: of all) on; None without info. Raises InvalidInput."""
    if not info:
        return None
    try:
        settings, seeds = _told(info)
    except (ValueError, OverflowError, RecursionError, LookupError, TypeError, InvalidInput) as error:
        raise InvalidInput(
            "The input 'info' is not what Generate tells: connect the output 'info' of the node that made the pictures, or nothing, and "
            "they are saved without the settings for Draw Things."
        ) from error
    if isinstance(seeds, int):
        return _Made(settings, [seeds] * count)
    if first == 0 and count != len(seeds):
        raise InvalidInput(
            f"There are {count} pictures to save, but info tells of {len(seeds)}, each with its own seed: connect the same batch, or set "
            f"first_picture to the number of the first that is saved."
        )
    chosen = seeds[max(0, first - 1) :][:count]
    if len(chosen) < count:
        raise InvalidInput(f"From picture {first} on info tells of {len(chosen)}, but there are {count} to save: lower first_picture.")
    return _Made(settings, chosen)


def _told(info: str) -> tuple[metadata.PictureSettings, list[int] | int]:
    """Settings, and the seed of each picture, or the one of a video. Raises LookupError, TypeError, ValueError or InvalidInput for
    anything else than info.
    """
    told = json.loads(info)
    configuration = app_json.read(told["configuration"]).configuration()
    version, seconds = told["family"], told["seconds"]
    if not all(isinstance(text, str) for text in (told["prompt"], told["negative_prompt"], version or "")) or not math.isfinite(seconds):
        raise TypeError("values of other types")
    settings = metadata.PictureSettings(told["prompt"], told["negative_prompt"], configuration, version, seconds)
    if "video" in told:
        return settings, _seed(told["seeds"][0])
    return settings, [_seed(row["request_seed"] if row["seed"] is None else row["seed"]) for row in told["images"]]


def _seed(value: Any) -> int:
    return Configuration.checked({"seed": value})["seed"]
