"""Generate and Inpaint."""

from __future__ import annotations

from typing import Any, ClassVar

from ..drawthings_core.client import Cancellation
from ..drawthings_core.configuration import CONFIGURATION, LoRA, Options
from ..drawthings_core.images import Fit
from ..drawthings_core.job import HintInput, Job
from . import host, unfinished, widgets
from .generation import Generated, generate
from .load_server import CATEGORY
from .pictures import image_of_job, mask_of_job


def generating_widgets(strength: float) -> dict[str, Any]:
    """The required inputs that nodes which generate share, in the order that saved workflows rely on: only ever append."""
    return {
        "server": widgets.server(),
        "model": widgets.server_file(
            "model", "File name of the model. The list holds those of the connected server; press R to ask it again."
        ),
        "prompt": widgets.text("What the picture shows.", multiline=True, dynamicPrompts=True),
        "negative_prompt": widgets.text(
            "What the picture must not show. Has no effect where guidance is off or built in.", multiline=True, dynamicPrompts=True
        ),
        "seed": widgets.number(CONFIGURATION["seed"], 0, control_after_generate=True),
        "width": widgets.recommended_number(CONFIGURATION["start_width"], ", in the image's proportions"),
        "height": widgets.recommended_number(CONFIGURATION["start_height"], ", in the image's proportions"),
        "steps": widgets.recommended_number(CONFIGURATION["steps"]),
        "guidance": widgets.recommended_number(CONFIGURATION["guidance_scale"]),
        "sampler": widgets.sampler(CONFIGURATION["sampler"]),
        "strength": widgets.number(CONFIGURATION["strength"], strength),
        "batch_count": widgets.number(CONFIGURATION["batch_count"], 1),
        "batch_size": widgets.number(CONFIGURATION["batch_size"], 1),
        "fit": widgets.fit(),
    }


def generating_sockets() -> dict[str, Any]:
    """Their optional inputs."""
    return {
        "loras": widgets.socket("DT_LORAS", "LoRAs, from LoRA Stack."),
        "hints": widgets.socket("DT_HINTS", "ControlNet hints and moodboards."),
        "options": widgets.socket("DT_OPTIONS", "Further settings; they win over the widgets here."),
        "model_file": widgets.typed_file("model", "for servers that do not list theirs"),
    }


FIELDS = {
    "seed": "seed",
    "width": "start_width",
    "height": "start_height",
    "num_frames": "num_frames",
    "steps": "steps",
    "guidance": "guidance_scale",
    "sampler": "sampler",
    "strength": "strength",
    "batch_count": "batch_count",
    "batch_size": "batch_size",
}
"""Widgets of nodes that generate, and the configuration field that each fixes."""


class Generating:
    """What all nodes that generate have in common."""

    CATEGORY = CATEGORY
    RETURN_TYPES = ("IMAGE", "MASK", "STRING")
    RETURN_NAMES = ("images", "mask", "info")
    OUTPUT_TOOLTIPS = (
        "The pictures, as one batch.",
        "1 where a picture is transparent, for models that make transparency; otherwise all 0.",
        "What was sent, every picture's seed, and notes, as JSON.",
    )
    FUNCTION = "generate"
    HIDDEN = {"unique_id": "UNIQUE_ID"}
    GATHERS: ClassVar[type[Generated]] = Generated
    """What the results go into."""

    @classmethod
    def VALIDATE_INPUTS(cls, model: Any = None) -> bool:
        """Any model name is taken here: the list is only what was last seen, and the server is asked when the node runs."""
        return True

    @classmethod
    def IS_CHANGED(cls, unique_id: Any = None, **_inputs: Any) -> int:
        """A result that is not whole is not kept: with the same inputs the node runs again."""
        return unfinished.times(unique_id)

    async def _run(self, server: Any, inputs: dict[str, Any], **more: Any) -> tuple[Any, Any, str]:
        """more: as `job`."""
        done = await self._generate(server, self.job(inputs, **more), inputs)
        return done.images(), done.masks(), done.info()

    def job(self, inputs: dict[str, Any], **more: Any) -> Job:
        """What the widgets and sockets ask for. more: fields of the job that a node has inputs of its own for."""
        return Job(
            model=widgets.chosen_file(inputs["model"], inputs.get("model_file")),
            prompt=widgets.checked_text(inputs["prompt"], "prompt"),
            negative_prompt=widgets.checked_text(inputs["negative_prompt"], "negative_prompt"),
            settings=widgets.fixed_settings({field: inputs[name] for name, field in FIELDS.items() if name in inputs}),
            options=Options.of(inputs.get("options")),
            fit=widgets.member(Fit, "fit", inputs["fit"]),
            loras=widgets.checked_parts(inputs.get("loras"), "loras", LoRA, "LoRA Stack"),
            hints=widgets.checked_parts(inputs.get("hints"), "hints", HintInput, "ControlNet Hint or Moodboard"),
            **more,
        )

    async def _generate(self, server: Any, job: Job, inputs: dict[str, Any]) -> Generated:
        node_id = inputs.get("unique_id")

        def work(cancellation: Cancellation) -> Generated:
            return generate(server, job, node_id, cancellation, self.GATHERS)

        return await host.run(work)


class Generate(Generating):
    """Text to image, and image to image when an image is connected."""

    DESCRIPTION = "Makes pictures from text on a Draw Things server; with an image connected, from that image."

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {**generating_widgets(strength=0.7), "fit": widgets.fit(outpaint=True)},
            "optional": {
                "image": widgets.socket(
                    "IMAGE", "Start from this picture. Each picture of a batch is its own request, with the next seed."
                ),
                **generating_sockets(),
            },
            "hidden": cls.HIDDEN,
        }

    async def generate(self, server: Any, image: Any = None, **inputs: Any) -> tuple[Any, Any, str]:
        images = None if image is None else image_of_job(image, "image")
        return await self._run(server, inputs, images=images)


class Inpaint(Generating):
    """Repaints the masked part of an image."""

    DESCRIPTION = "Repaints what the mask covers and keeps the rest of the image."

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        required = {**generating_widgets(strength=1.0), "fit": widgets.fit(outpaint=True)}
        return {
            "required": {
                "server": required.pop("server"),
                "image": widgets.socket("IMAGE", "The picture to repaint a part of."),
                "mask": widgets.socket(
                    "MASK", "White (1) is repainted, black (0) is kept. Masks and images of different number are repeated."
                ),
                **required,
            },
            "optional": generating_sockets(),
            "hidden": cls.HIDDEN,
        }

    async def generate(self, server: Any, image: Any, mask: Any, **inputs: Any) -> tuple[Any, Any, str]:
        return await self._run(server, inputs, images=image_of_job(image, "image"), masks=mask_of_job(mask, "mask"))
