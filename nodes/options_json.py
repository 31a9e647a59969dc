"""Options from JSON and Options to JSON: the configuration that the app copies and pastes."""

from __future__ import annotations

from typing import Any

from ..drawthings_core import metadata
from ..drawthings_core.configuration import Configuration, LoRA, Options, app_json
from ..drawthings_core.errors import InvalidInput
from ..drawthings_core.hint_inputs import HintInput
from . import widgets
from .load_server import CATEGORY


class OptionsFromJSON:
    """A configuration from the app, or the metadata of a picture, as options."""

    CATEGORY = CATEGORY
    DESCRIPTION = "Reads a configuration copied in Draw Things, complete or in part. All that it names wins over the widgets of Generate."
    RETURN_TYPES = ("DT_OPTIONS", "STRING", "STRING", "STRING")
    RETURN_NAMES = ("options", "notes", "prompt", "negative_prompt")
    OUTPUT_TOOLTIPS = (
        "The settings that the JSON names, over those before them.",
        "What was changed or ignored, one sentence a line.",
        "The prompt, if the JSON is the metadata of a picture or the info of Generate; a configuration has none.",
        "The negative prompt, if the JSON is the metadata of a picture or the info of Generate.",
    )
    FUNCTION = "read"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "json": widgets.text(
                    "What 'Copy configuration' in Draw Things gives, or a part of it; or the comment (UserComment) in a picture that it wrote.",
                    multiline=True,
                ),
                **widgets.taking("the JSON"),
            },
            "optional": {"options": widgets.socket("DT_OPTIONS", "Settings to lay these over.")},
        }

    def read(self, json: str, options: Any = None, **switches: bool) -> tuple[Options, str, str, str]:
        text = widgets.checked_text(json, "json")
        if not text.strip():
            raise InvalidInput("Nothing is pasted yet: copy the configuration in Draw Things, and paste it into 'json'.")
        found = metadata.pasted(text)
        taken = widgets.taken(found.settings, switches)
        return Options.of(options).updated(taken), "\n".join(found.notes), found.prompt, found.negative_prompt


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
                "loras": widgets.socket("DT_LORAS", "LoRAs to add; those that info has already are left out."),
                "hints": widgets.socket(
                    "DT_HINTS",
                    "Hints whose controls to add, but for those that info has already; their pictures are not part of a configuration.",
                ),
            },
        }

    def write(self, complete: bool, model: str, info: str = "", options: Any = None, loras: Any = (), hints: Any = ()) -> tuple[str]:
        sent, chosen = _sent(widgets.checked_text(info, "info")), Options.of(options)
        given: dict[str, Any] = {**sent, **chosen}
        file = widgets.chosen_file("", widgets.checked_text(model, "model"))
        if file:
            given.setdefault("model", file)
        stacked = widgets.checked_parts(loras, "loras", LoRA, "LoRA Stack")
        chained = widgets.checked_parts(hints, "hints", HintInput, "ControlNet Hint or Moodboard")
        controls = tuple(hint.control for hint in chained if hint.control is not None)
        for name, more in (("loras", stacked), ("controls", controls)):
            if more:
                told = sent.get(name, ()) if name not in chosen else ()  # what was sent holds what is connected here
                given[name] = (*given.get(name, ()), *(record for record in more if record not in told))
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
