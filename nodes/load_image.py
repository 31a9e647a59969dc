"""Load Draw Things Image: a picture with the settings that made it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from ..drawthings_core import metadata
from ..drawthings_core.configuration import Options, SeedMode
from ..drawthings_core.errors import DrawThingsError
from . import host, widgets
from .load_server import CATEGORY
from .pictures import loaded, opened


class LoadImage:
    """A picture that Draw Things, or Save Image of this package, wrote: pixels, prompts and settings."""

    CATEGORY = CATEGORY
    DESCRIPTION = "Loads a picture that Draw Things or Save Image (Draw Things) wrote, with its prompts and settings, to make it again or go on from it."
    RETURN_TYPES = ("IMAGE", "MASK", "STRING", "STRING", "DT_OPTIONS", "STRING")
    RETURN_NAMES = ("image", "mask", "prompt", "negative_prompt", "options", "notes")
    OUTPUT_TOOLTIPS = (
        "The picture.",
        "1 where it is transparent, as ComfyUI's Load Image gives it.",
        "The prompt that it was made with.",
        "The negative prompt that it was made with.",
        "The settings that it was made with: model, size, seed, LoRAs, controls and all others, over those of the options input.",
        "What could not be read or used, one sentence a line.",
    )
    FUNCTION = "load"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "image": (
                    host.input_pictures(),
                    {"image_upload": True, "tooltip": "A picture in ComfyUI's input folder. Upload one, or drop it on the node."},
                ),
                **widgets.taking("the picture"),
                "take_batch": widgets.switch(
                    "Use batch count and batch size of the picture. Off: those of Generate, so that one picture comes back.", False
                ),
            },
            "optional": {"options": widgets.socket("DT_OPTIONS", "Settings to lay these over.")},
        }

    @classmethod
    def VALIDATE_INPUTS(cls, image: Any = None) -> bool | str:
        try:
            return image is None or bool(host.input_picture(str(image)))
        except DrawThingsError as error:
            return str(error)

    @classmethod
    def IS_CHANGED(cls, image: Any = None, **others: Any) -> str:
        """A hash of the file: one of the same name may have been uploaded anew."""
        return "" if image is None else hashlib.sha256(host.input_picture(str(image)).read_bytes()).hexdigest()

    def load(self, image: str, options: Any = None, **switches: bool) -> tuple[Any, Any, str, str, Options, str]:
        image = widgets.checked_text(image, "image")
        with opened(host.input_picture(image), image) as file:
            found = metadata.in_picture(file)
            pixels, mask = loaded(file, image)
        taken = widgets.taken(found.settings, switches)
        notes = "\n".join([*found.notes, *_about_batch(found.settings, taken)])
        return pixels, mask, found.prompt, found.negative_prompt, Options.of(options).updated(taken), notes


def _about_batch(settings: Mapping[str, Any], taken: Mapping[str, Any]) -> Iterator[str]:
    """Only Scale Alike gives each picture of a batch a seed of its own."""
    size, mode = settings.get("batch_size", 1), settings.get("seed_mode", SeedMode.scale_alike)
    if size > 1 and "batch_size" not in taken and mode != SeedMode.scale_alike:
        yield f"It is one of {size} that were made together from one seed ({mode.label}): for the same picture switch take_batch on."
