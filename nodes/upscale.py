"""Upscale: larger pictures and restored faces, without generating anew."""

from __future__ import annotations

from typing import Any

import torch

from ..drawthings_core import upscaling
from ..drawthings_core.catalog import FACE_RESTORATION
from ..drawthings_core.configuration import CONFIGURATION, Options
from ..drawthings_core.images import Extended
from ..drawthings_core.job import Job
from . import widgets
from .generate import Generating
from .generation import Generated
from .pictures import image_of_job, tensor_out

LARGEST_SCALE = 8.0


class Enlarged(Generated):
    """The pictures, cut and scaled to exactly the size that was asked for."""

    def images(self) -> torch.Tensor:
        planned, job = self._plan, self._plan.job
        assert job.images is not None
        assert job.scale is not None
        assert isinstance(job.fit, Extended)
        size = (job.images.shape[2], job.images.shape[1])
        return tensor_out(upscaling.finished(super().images().numpy(), job.scale, size, job.fit, planned.configuration))


class Upscale(Generating):
    """Enlarges pictures with an upscaler or a SeedVR2 model, and restores faces."""

    DESCRIPTION = (
        "Enlarges images with an upscaler or a SeedVR2 model on a Draw Things server, and restores faces, without generating them anew."
    )
    RETURN_TYPES = ("IMAGE", "STRING")
    RETURN_NAMES = ("images", "info")
    OUTPUT_TOOLTIPS = ("The images at their size times the scale, as one batch.", "What was sent, and notes, as JSON.")
    FUNCTION = "upscale"
    GATHERS = Enlarged

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "server": widgets.server(),
                "model": widgets.server_file(
                    "model",
                    "File name of a SeedVR2 model, which restores the image itself, or of any other: a server loads its text encoder first, "
                    "though nothing is generated.",
                ),
                "image": widgets.socket("IMAGE", "What to enlarge, of any size. Each picture of a batch is its own request."),
                "upscaler": widgets.server_file(
                    "upscaler", "File name of the upscaler. none: for SeedVR2 models, or to restore faces only.", none=True
                ),
                "scale": (
                    "FLOAT",
                    {
                        "default": 0.0,
                        "min": 0.0,
                        "max": LARGEST_SCALE,
                        "step": 0.05,  # ComfyUI rounds to as many digits as the step's first has: 0.25 would become 0.3
                        "tooltip": "How many times larger. 0: the upscaler's own factor, or twice with a SeedVR2 model. An upscaler makes 4 times at most.",
                    },
                ),
                "face_restoration": widgets.server_file(FACE_RESTORATION, CONFIGURATION["face_restoration"].tooltip, none=True),
                "seed": widgets.number(
                    CONFIGURATION["seed"], 0, control_after_generate=True, tooltip="Noise of a SeedVR2 model; upscalers use none."
                ),
            },
            "optional": {
                "options": widgets.socket(
                    "DT_OPTIONS", "Further settings, such as Tiling for large pictures with SeedVR2; they win over the widgets here."
                ),
                "model_file": widgets.typed_file("model", "for servers that do not list theirs"),
                "upscaler_file": widgets.typed_file("upscaler"),
                "face_restoration_file": widgets.typed_file(FACE_RESTORATION),
            },
            "hidden": cls.HIDDEN,
        }

    @classmethod
    def VALIDATE_INPUTS(cls, model: Any = None, upscaler: Any = None, face_restoration: Any = None) -> bool:
        """Any file names are taken here; the server is asked when the node runs."""
        return True

    async def upscale(self, server: Any, image: Any, scale: float, seed: int, **inputs: Any) -> tuple[Any, str]:
        files = {name: widgets.chosen_file(inputs[name], inputs.get(f"{name}_file")) for name in ("model", "upscaler", "face_restoration")}
        job = Job(
            model=files.pop("model"),
            settings={"seed": seed, **{name: file for name, file in files.items() if file}},
            options=Options.of(inputs.get("options")),
            images=image_of_job(image, "image"),
            scale=scale,
        )
        done = await self._generate(server, job, inputs)
        return done.images(), done.info()
