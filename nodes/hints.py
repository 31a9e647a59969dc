"""ControlNet Hint and Moodboard: pictures that steer a generation."""

from __future__ import annotations

from typing import Any

from ..drawthings_core.configuration import CONTROL, Control, ControlInputType
from ..drawthings_core.errors import InvalidInput, InvalidSetting
from ..drawthings_core.hint_inputs import HintInput
from ..drawthings_core.hints import AUDIO, FROM_IMAGE, NO_AUDIO, RULES, rule_of
from . import widgets
from .load_server import CATEGORY
from .pictures import image_in

MOODBOARD_WEIGHTS = 8
"""Weight widgets of Moodboard; further pictures of the batch have the last one's weight."""
LARGEST_WEIGHT = 2.0


_FURTHER = ("global_average_pooling", "down_sampling_rate", "no_prompt")
"""Fields of a control that few controls read: optional inputs of their own names."""

_TARGET_BLOCKS = widgets.text(f"{CONTROL['target_blocks'].tooltip} Separate them by commas or lines.", multiline=True)


class ControlNetHint:
    """A map (depth, pose, edges, ...) and the ControlNet that follows it, or a ControlNet whose map the server makes."""

    CATEGORY = CATEGORY
    DESCRIPTION = (
        "Steers a generation by a map such as depth, pose or edges, through a ControlNet on the server. Without a map of its own, the control "
        "follows the image that the generation starts from. Chains."
    )
    RETURN_TYPES = ("DT_HINTS",)
    RETURN_NAMES = ("hints",)
    OUTPUT_TOOLTIPS = ("This hint and those before it.",)
    FUNCTION = "add"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        advice = {kind: rule.advice for kind, rule in RULES.items()}
        advice.update({kind: f"no map, follows {what}" for kind, what in FROM_IMAGE.items()})
        kinds = "; ".join(f"{kind.label}: {words}" for kind, words in advice.items())
        return {
            "required": {
                "hint_type": (
                    [*(kind.label for kind in advice), AUDIO],
                    {
                        "default": ControlInputType.depth.label,
                        "tooltip": f"What the map is, and what a union control is told. {kinds}; {AUDIO}: not supported.",
                    },
                ),
                "control": widgets.server_file(
                    "control",
                    "File name of the ControlNet. none: for models that read this hint themselves, or when the options name the control.",
                    none=True,
                ),
                "weight": widgets.number(CONTROL["weight"]),
                "start": widgets.number(CONTROL["guidance_start"]),
                "end": widgets.number(CONTROL["guidance_end"]),
                "mode": widgets.choice(CONTROL["control_mode"]),
            },
            "optional": {
                "image": widgets.socket(
                    "IMAGE",
                    "The ready-made map; it is fitted to the canvas as the input image is. Leave it open for a control that follows the input "
                    "image itself (Inpaint, Tile, ...) or a map that the server makes from it (Canny, Depth, ...).",
                ),
                "hints": widgets.socket("DT_HINTS", "Hints to add this one to."),
                "control_file": widgets.typed_file("control"),
                **{name: widgets.setting(CONTROL[name]) for name in _FURTHER},
                "target_blocks": _TARGET_BLOCKS,
            },
        }

    @classmethod
    def VALIDATE_INPUTS(cls, control: Any = None) -> bool:
        """Any control name is taken here; the server is asked when Generate runs."""
        return True

    def add(
        self,
        hint_type: str,
        control: str,
        weight: float,
        start: float,
        end: float,
        mode: str,
        image: Any = None,
        hints: Any = (),
        control_file: str = "",
        target_blocks: str = "",
        **further: Any,
    ) -> tuple[tuple[HintInput, ...]]:
        kind = _kind(hint_type)
        file = widgets.chosen_file(control, control_file)
        record = control_record(file, kind, weight, start, end, mode, target_blocks=target_blocks, **further)
        if image is None:
            if record is None:
                raise InvalidInput("ControlNet Hint has neither an image nor a control: connect a map, or choose a control.")
            return ((*_chained(hints), HintInput(kind, control=record)),)
        picture, rule = image_in(image, "image"), rule_of(kind)
        if rule.one_tensor and len(picture) > 1:
            raise InvalidInput(f"A {kind.label} hint is one picture, but a batch of {len(picture)} is connected: choose one of them.")
        return ((*_chained(hints), HintInput(kind, picture, record, (1.0,) * len(picture))),)


def _kind(hint_type: str) -> ControlInputType:
    """The type that the combo names. Raises InvalidInput, InvalidSetting."""
    if hint_type == AUDIO:
        raise InvalidInput(NO_AUDIO)
    kind = ControlInputType.parse(hint_type)
    if kind is None or not (kind in RULES or kind in FROM_IMAGE):
        raise InvalidSetting("hint_type", hint_type, f"one of {', '.join(kind.label for kind in (*RULES, *FROM_IMAGE))}")
    return kind


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
                    "max": LARGEST_WEIGHT,
                    "step": 0.05,
                    "tooltip": f"Weight of picture {number}"
                    + (" and all after it." if number == MOODBOARD_WEIGHTS else "; 0 leaves it out."),
                },
            )
            for number in range(1, MOODBOARD_WEIGHTS + 1)
        }
        return {
            "required": {
                "images": widgets.socket("IMAGE", "The reference pictures; each keeps its own proportions."),
                "control": widgets.server_file(
                    "control",
                    "File name of the IP-Adapter that reads them. none: for instruction models, or when the options name the adapter.",
                    none=True,
                ),
                "control_weight": widgets.number(CONTROL["weight"]),
                **weights,
            },
            "optional": {
                "hints": widgets.socket("DT_HINTS", "Hints to add these to."),
                "control_file": widgets.typed_file("control"),
                "start": widgets.number(CONTROL["guidance_start"]),
                "end": widgets.number(CONTROL["guidance_end"]),
                "mode": widgets.choice(CONTROL["control_mode"]),
                "global_average_pooling": widgets.setting(CONTROL["global_average_pooling"]),
                "target_blocks": _TARGET_BLOCKS,
            },
        }

    @classmethod
    def VALIDATE_INPUTS(cls, control: Any = None) -> bool:
        """Any control name is taken here; the server is asked when Generate runs."""
        return True

    def add(
        self,
        images: Any,
        control: str,
        control_weight: float,
        hints: Any = (),
        control_file: str = "",
        start: float = 0.0,
        end: float = 1.0,
        mode: str = "Balanced",
        global_average_pooling: bool = True,
        target_blocks: str = "",
        **weights: float,
    ) -> tuple[tuple[HintInput, ...]]:
        pictures = image_in(images, "images")
        names = [f"weight_{min(number, MOODBOARD_WEIGHTS)}" for number in range(1, len(pictures) + 1)]
        given = tuple(float(widgets.within(name, weights.get(name, 1.0), 0, LARGEST_WEIGHT)) for name in names)
        record = control_record(
            widgets.chosen_file(control, control_file),
            ControlInputType.shuffle,
            control_weight,
            start,
            end,
            mode,
            target_blocks=target_blocks,
            weight_input="control_weight",
            global_average_pooling=global_average_pooling,
        )
        return ((*_chained(hints), HintInput(ControlInputType.shuffle, pictures, record, given)),)


def _chained(hints: Any) -> tuple[HintInput, ...]:
    return widgets.checked_parts(hints, "hints", HintInput, "ControlNet Hint or Moodboard")


def control_record(
    file: str,
    kind: ControlInputType,
    weight: float,
    start: float,
    end: float,
    mode: str,
    *,
    target_blocks: str = "",
    weight_input: str = "weight",
    **further: Any,
) -> Control | None:
    """The control that a hint drives, or None without a file. further: more of its fields, by name; weight_input: what the input of
    the weight is called. Raises InvalidSetting.
    """
    if not file:
        return None
    if start > end:
        raise InvalidSetting("start", start, f"at most the end, {end:g}")
    inputs = {**{name: name for name in further}, **_INPUTS, "weight": weight_input}
    with widgets.naming({CONTROL[field].label: name for field, name in inputs.items()}):
        return Control(
            file=file,
            weight=weight,
            guidance_start=start,
            guidance_end=end,
            control_mode=mode,
            input_override=kind,
            target_blocks=widgets.checked_text(target_blocks, "target_blocks").replace(",", " ").split(),
            **further,
        )


_INPUTS = {"file": "control", "guidance_start": "start", "guidance_end": "end", "control_mode": "mode"}
"""Fields of a control, and the inputs whose names are others."""
