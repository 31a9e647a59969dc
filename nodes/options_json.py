"""Options from JSON and Options to JSON: the configuration that the app copies and pastes."""

from __future__ import annotations

from typing import Any

from ..drawthings_core.configuration import Configuration, LoRA, Options, app_json
from ..drawthings_core.errors import InvalidInput
from ..drawthings_core.hint_inputs import HintInput
from . import widgets
from .load_server import CATEGORY

_LEFT_OUT: dict[str, tuple[str, ...]] = {
    "take_model": ("model",),
    "take_size": ("start_width", "start_height"),
    "take_seed": ("seed",),
}
"""Switches and the settings that they leave to the node that generates."""


class OptionsFromJSON:
    """A configuration from the app, as options."""

    CATEGORY = CATEGORY
    DESCRIPTION = "Reads a configuration copied in Draw Things, complete or in part. All that it names wins over the widgets of Generate."
    RETURN_TYPES = ("DT_OPTIONS", "STRING")
    RETURN_NAMES = ("options", "notes")
    OUTPUT_TOOLTIPS = ("The settings that the JSON names, over those before them.", "What was changed or ignored, one sentence a line.")
    FUNCTION = "read"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "json": widgets.text("What 'Copy configuration' in Draw Things gives, or a part of it.", multiline=True),
                "take_model": widgets.switch("Use the model that the JSON names. Off: the model of Generate."),
                "take_size": widgets.switch("Use width and height of the JSON. Off: the size of Generate."),
                "take_seed": widgets.switch(
                    "Use the seed of the JSON. Off: the seed of Generate. A random seed (-1) is always Generate's."
                ),
            },
            "optional": {"options": widgets.socket("DT_OPTIONS", "Settings to lay these over.")},
        }

    def read(self, json: str, options: Any = None, **switches: bool) -> tuple[Options, str]:
        imported = app_json.read(widgets.checked_text(json, "json"), draw_seed=False)
        left_out = {name for switch, names in _LEFT_OUT.items() if not switches.get(switch, True) for name in names}
        taken = {name: value for name, value in imported.settings.items() if name not in left_out}
        return Options.of(options).updated(taken), "\n".join(imported.notes)


class OptionsToJSON:
    """Options and what goes with them, as a configuration for the app."""

    CATEGORY = CATEGORY
    DESCRIPTION = "Writes options, LoRAs and controls, or what Generate sent, as a configuration that Draw Things can paste."
    RETURN_TYPES = ("STRING",)
    RETURN_NAMES = ("json",)
    OUTPUT_TOOLTIPS = ("The configuration, for Paste configuration in Draw Things, and for Options from JSON.",)
    FUNCTION = "write"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "complete": widgets.switch(
                    "Write every setting, with the app's defaults for those that are not given. Off: only those that are given."
                ),
                "model": widgets.text("File name of the model to write into it, if the other inputs name none."),
            },
            "optional": {
                "info": ("STRING", {"forceInput": True, "tooltip": "The info of Generate: exactly what was sent, seed and size included."}),
                "options": widgets.socket("DT_OPTIONS", "Settings, which win over those of info."),
                "loras": widgets.socket("DT_LORAS", "LoRAs to add."),
                "hints": widgets.socket("DT_HINTS", "Hints whose controls to add; their pictures are not part of a configuration."),
            },
        }

    def write(self, complete: bool, model: str, info: str = "", options: Any = None, loras: Any = (), hints: Any = ()) -> tuple[str]:
        given: dict[str, Any] = {**_sent(widgets.checked_text(info, "info")), **Options.of(options)}
        file = widgets.chosen_file("", widgets.checked_text(model, "model"))
        if file:
            given.setdefault("model", file)
        stacked = widgets.checked_parts(loras, "loras", LoRA, "LoRA Stack")
        chained = widgets.checked_parts(hints, "hints", HintInput, "ControlNet Hint or Moodboard")
        controls = tuple(hint.control for hint in chained if hint.control is not None)
        for name, more in (("loras", stacked), ("controls", controls)):
            if more:
                given[name] = (*given.get(name, ()), *more)
        settings = Options(given)
        if complete:
            everything = Configuration(settings)
            # Without a model the key is left out: pasted, an empty one would unset the app's.
            settings = Options({name: everything[name] for name in everything if name != "model" or everything[name]})
        return (app_json.dumps(settings),)


def _sent(info: str) -> dict[str, Any]:
    """The configuration in Generate's info, if it is connected. Raises InvalidInput."""
    if not info:
        return {}
    try:
        return app_json.read(info).settings
    except InvalidInput as error:
        raise InvalidInput(f"The input 'info' is not what Generate tells: {error}") from error
