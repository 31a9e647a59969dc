"""Edit Image: an instruction to a model that reads pictures."""

from __future__ import annotations

from typing import Any

from . import widgets
from .generate import Generating, generating_sockets, generating_widgets
from .pictures import image_in, image_of_job

LAST_REFERENCE = 6
"""Number of the last socket for a picture; the first is `image`."""


class Edit(Generating):
    """Changes a picture as an instruction says, with further pictures to refer to."""

    DESCRIPTION = (
        "Changes an image as an instruction says, with an instruction model: Qwen Image Edit, FLUX.1 Kontext, FLUX.2. Further pictures can be "
        "referred to."
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        required = generating_widgets(strength=1.0)
        del required["prompt"]
        return {
            "required": {
                "server": required.pop("server"),
                "model": required.pop("model"),
                "image": widgets.socket(
                    "IMAGE",
                    "The picture to change: picture 1 of the instruction. Each picture of a batch is its own request, with the next seed.",
                ),
                "instruction": widgets.text(
                    "What to change, in words; may name pictures by their number.", multiline=True, dynamicPrompts=True
                ),
                **required,
            },
            "optional": {
                **{name: widgets.socket("IMAGE", _tooltip(name)) for name in _references()},
                **generating_sockets(),
            },
            "hidden": cls.HIDDEN,
        }

    async def generate(self, server: Any, image: Any, instruction: str, **inputs: Any) -> tuple[Any, Any, str]:
        pictures = tuple(image_in(inputs[name], name) for name in _references() if inputs.get(name) is not None)
        inputs["prompt"] = widgets.checked_text(instruction, "instruction")
        return await self._run(server, inputs, images=image_of_job(image, "image"), references=pictures)


def _references() -> list[str]:
    return [f"image_{number}" for number in range(2, LAST_REFERENCE + 1)]


def _tooltip(name: str) -> str:
    return f"A further picture to refer to, at its own size: picture {name.rpartition('_')[2]}, where every socket before it has one. A batch is several."
