"""ControlNet Hint and Moodboard: pictures that steer a generation."""

from __future__ import annotations

from typing import Any

from ..drawthings_core.configuration import CONTROL, Control, ControlInputType
from ..drawthings_core.errors import InvalidInput, InvalidSetting
from ..drawthings_core.hint_inputs import HintInput
from ..drawthings_core.hints import RULES
from . import widgets
from .load_server import CATEGORY
from .pictures import image_in

MOODBOARD_WEIGHTS = 8
"""Weight widgets of Moodboard; further pictures of the batch have the last one's weight."""


_FURTHER = ("global_average_pooling", "down_sampling_rate", "no_prompt")
"""Fields of a control that few controls read: optional inputs of their own names."""


class ControlNetHint:
    """A map (depth, pose, edges, ...) and the ControlNet that follows it."""

    CATEGORY = CATEGORY
    DESCRIPTION = "Steers a generation by a map such as depth, pose or edges, through a ControlNet on the server. Chains."
    RETURN_TYPES = ("DT_HINTS",)
    RETURN_NAMES = ("hints",)
    OUTPUT_TOOLTIPS = ("This hint and those before it.",)
    FUNCTION = "add"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        kinds = "; ".join(f"{kind.label}: {rule.advice}" for kind, rule in RULES.items())
        return {
            "required": {
                "image": widgets.socket("IMAGE", "The ready-made map; it is fitted to the canvas as the input image is."),
                "hint_type": (
                    [kind.label for kind in RULES],
                    {"default": ControlInputType.depth.label, "tooltip": f"What the map is. {kinds}."},
                ),
                "control": widgets.server_file(
                    "control", "File name of the ControlNet. none: for models that read this hint themselves.", none=True
                ),
                "weight": widgets.number(CONTROL["weight"]),
                "start": widgets.number(CONTROL["guidance_start"]),
                "end": widgets.number(CONTROL["guidance_end"]),
                "mode": widgets.choice(CONTROL["control_mode"]),
            },
            "optional": {
                "hints": widgets.socket("DT_HINTS", "Hints to add this one to."),
                "control_file": widgets.text("File name of a control that the list does not offer. Wins over the list."),
                **{name: widgets.setting(CONTROL[name]) for name in _FURTHER},
                "target_blocks": widgets.text(f"{CONTROL['target_blocks'].tooltip} Separate them by commas or lines.", multiline=True),
            },
        }

    @classmethod
    def VALIDATE_INPUTS(cls, control: Any = None) -> bool:
        """Any control name is taken here; the server is asked when Generate runs."""
        return True

    def add(
        self,
        image: Any,
        hint_type: str,
        control: str,
        weight: float,
        start: float,
        end: float,
        mode: str,
        hints: Any = (),
        control_file: str = "",
        target_blocks: str = "",
        **further: Any,
    ) -> tuple[tuple[HintInput, ...]]:
        kind = ControlInputType.parse(hint_type)
        if kind is None or kind not in RULES:
            raise InvalidSetting("hint_type", hint_type, f"one of {', '.join(kind.label for kind in RULES)}")
        record = control_record(widgets.chosen_file(control, control_file), kind, weight, start, end, mode)
        if record is not None:
            record = record.updated(further, target_blocks=target_blocks.replace(",", " ").split())
        picture = image_in(image, "image")
        if RULES[kind].one_tensor and len(picture) > 1:
            raise InvalidInput(f"A {kind.label} hint is one picture, but a batch of {len(picture)} is connected: choose one of them.")
        return ((*_chained(hints), HintInput(kind, picture, record, (1.0,) * len(picture))),)


class Moodboard:
    """Reference pictures for IP-Adapters and instruction models."""

    CATEGORY = CATEGORY
    DESCRIPTION = (
        "Reference pictures ('moodboard' in Draw Things) for an IP-Adapter, or for models that read references themselves. Chains."
    )
    RETURN_TYPES = ("DT_HINTS",)
    RETURN_NAMES = ("hints",)
    OUTPUT_TOOLTIPS = ("These pictures and the hints before them.",)
    FUNCTION = "add"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        weights = {
            f"weight_{number}": (
                "FLOAT",
                {
                    "default": 1.0,
                    "min": 0.0,
                    "max": 2.0,
                    "step": 0.05,
                    "tooltip": f"Weight of picture {number}"
                    + (" and all after it." if number == MOODBOARD_WEIGHTS else "; 0 leaves it out as a reference."),
                },
            )
            for number in range(1, MOODBOARD_WEIGHTS + 1)
        }
        return {
            "required": {
                "images": widgets.socket("IMAGE", "The reference pictures; each keeps its own proportions."),
                "control": widgets.server_file(
                    "control", "File name of the IP-Adapter that reads them. none: for instruction models.", none=True
                ),
                "control_weight": widgets.number(CONTROL["weight"]),
                **weights,
            },
            "optional": {
                "hints": widgets.socket("DT_HINTS", "Hints to add these to."),
                "control_file": widgets.text("File name of a control that the list does not offer. Wins over the list."),
            },
        }

    @classmethod
    def VALIDATE_INPUTS(cls, control: Any = None) -> bool:
        """Any control name is taken here; the server is asked when Generate runs."""
        return True

    def add(
        self, images: Any, control: str, control_weight: float, hints: Any = (), control_file: str = "", **weights: float
    ) -> tuple[tuple[HintInput, ...]]:
        pictures = image_in(images, "images")
        given = tuple(float(weights.get(f"weight_{min(number, MOODBOARD_WEIGHTS)}", 1.0)) for number in range(1, len(pictures) + 1))
        record = control_record(widgets.chosen_file(control, control_file), ControlInputType.shuffle, control_weight, 0.0, 1.0, "Balanced")
        return ((*_chained(hints), HintInput(ControlInputType.shuffle, pictures, record, given)),)


def _chained(hints: Any) -> tuple[HintInput, ...]:
    return widgets.checked_parts(hints, "hints", HintInput, "ControlNet Hint or Moodboard")


def control_record(file: str, kind: ControlInputType, weight: float, start: float, end: float, mode: str) -> Control | None:
    """The control that a hint drives, or None without a file. Raises InvalidSetting."""
    if not file:
        return None
    if start > end:
        raise InvalidSetting("start", start, f"at most the end, {end:g}")
    return Control(
        file=file,
        weight=weight,
        guidance_start=start,
        guidance_end=end,
        control_mode=mode,
        input_override=kind,
    )
