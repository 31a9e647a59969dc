"""LoRA Stack."""

from __future__ import annotations

import re
from typing import Any

from ..drawthings_core.configuration import LORA, LoRA
from ..drawthings_core.errors import InvalidInput
from . import widgets
from .load_server import CATEGORY

SLOTS = 5


class LoRAStack:
    """Up to five LoRAs, and more by chaining or as text."""

    CATEGORY = CATEGORY
    DESCRIPTION = "LoRAs with their weights. Chains; slots set to none, or to weight 0, are left out."
    RETURN_TYPES = ("DT_LORAS",)
    RETURN_NAMES = ("loras",)
    OUTPUT_TOOLTIPS = ("These LoRAs and those before them.",)
    FUNCTION = "stack"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        required: dict[str, Any] = {}
        for slot in range(1, SLOTS + 1):
            required[f"lora_{slot}"] = widgets.server_file("LoRA", f"File name of LoRA {slot} on the server.", none=True)
            required[f"weight_{slot}"] = widgets.number(LORA["weight"], 1.0)
            required[f"mode_{slot}"] = widgets.choice(LORA["mode"])
        return {
            "required": required,
            "optional": {
                "loras": widgets.socket("DT_LORAS", "LoRAs to add these to."),
                "more": widgets.text(
                    "Further LoRAs that the lists do not offer, one a line: file name, then weight, then mode (all, base or refiner) if you "
                    "like.",
                    multiline=True,
                ),
            },
        }

    @classmethod
    def VALIDATE_INPUTS(cls, lora_1: Any = None, lora_2: Any = None, lora_3: Any = None, lora_4: Any = None, lora_5: Any = None) -> bool:
        """Any LoRA name is taken here; the server is asked when Generate runs."""
        return True

    def stack(self, loras: Any = (), more: str = "", **slots: Any) -> tuple[tuple[LoRA, ...]]:
        stacked: list[LoRA] = list(widgets.checked_parts(loras, "loras", LoRA, "LoRA Stack"))
        for slot in range(1, SLOTS + 1):
            file = widgets.chosen_file(slots.get(f"lora_{slot}"), "")
            if file:
                weight, mode = slots.get(f"weight_{slot}", 1.0), slots.get(f"mode_{slot}", "All")
                with widgets.naming({LORA[field].label: f"{name}_{slot}" for field, name in _OF_SLOT.items()}):
                    stacked.append(LoRA(file=file, weight=weight, mode=mode))
        stacked.extend(_typed(widgets.checked_text(more, "more")))
        return (tuple(lora for lora in stacked if lora["weight"] != 0),)


_OF_SLOT = {"file": "lora", "weight": "weight", "mode": "mode"}
"""Fields of a LoRA, and how the inputs of a slot begin."""


def _typed(text: str) -> list[LoRA]:
    """One LoRA a line: file [weight [mode]]. File names may hold spaces. Raises InvalidInput, InvalidSetting."""
    found = []
    for line in filter(None, (line.strip() for line in text.splitlines())):
        match = _TYPED_LINE.fullmatch(line)
        assert match is not None  # the name takes whatever the rest leaves
        file, weight, mode = match.groups()
        last = file.split()[-1]
        if weight is None and len(file.split()) > 1 and not last.lower().endswith(".ckpt"):
            raise InvalidInput(f"The line {line[:100]!r} in 'more' has no number after the file name: write 'file weight mode'.")
        with widgets.naming({row.label: f"{row.label} in 'more'" for row in LORA.values()}):
            found.append(LoRA(file=file, weight=float(weight) if weight else 1.0, mode=mode or "All"))
    return found


_TYPED_LINE = re.compile(r"(.+?)(?:[\s,]+([-+]?\d+(?:\.\d*)?|[-+]?\.\d+)(?:[\s,]+([A-Za-z]+))?)?")
