"""Textual Inversion and Trigger Words: what a server's files want to see in the prompt."""

from __future__ import annotations

from typing import Any

from ..drawthings_core import prompts, several
from ..drawthings_core.catalog import Catalog, Entry
from ..drawthings_core.client import Cancellation
from ..drawthings_core.configuration import LoRA
from ..drawthings_core.errors import InvalidSetting
from . import host, known_files, widgets
from .load_server import CATEGORY, checked_servers

POSITIONS = ("at the end", "at the start")
LARGEST_WEIGHT = 2.0


class TextualInversion:
    """A prompt with the keyword of a textual inversion."""

    CATEGORY = CATEGORY
    DESCRIPTION = "Writes the keyword of a textual inversion on the server into a prompt, positive or negative. Chains through the text."
    RETURN_TYPES = ("STRING",)
    RETURN_NAMES = ("text",)
    OUTPUT_TOOLTIPS = ("The prompt with the keyword.",)
    FUNCTION = "insert"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "server": widgets.server(),
                "inversion": widgets.server_file(
                    "textual inversion",
                    "File name of the textual inversion. It must be made for the model's family. none: the text stays as it is.",
                    none=True,
                ),
                "text": widgets.text("The prompt to write it into.", multiline=True, dynamicPrompts=True),
                "weight": (
                    "FLOAT",
                    {
                        "default": 1.0,
                        "min": 0.0,
                        "max": LARGEST_WEIGHT,
                        "step": 0.05,
                        "tooltip": "Attention to the keyword; other than 1, it stands in parentheses with this number. 0 leaves it out.",
                    },
                ),
                "position": (list(POSITIONS), {"default": POSITIONS[0], "tooltip": "Where the keyword goes."}),
            },
            "optional": {
                "inversion_file": widgets.typed_file("textual inversion"),
            },
        }

    @classmethod
    def VALIDATE_INPUTS(cls, inversion: Any = None) -> bool:
        """Any name is taken here; the server is asked when the node runs."""
        return True

    async def insert(self, server: Any, inversion: str, text: str, weight: float, position: str, inversion_file: str = "") -> tuple[str]:
        given = widgets.checked_text(text, "text")
        widgets.within("weight", weight, 0, LARGEST_WEIGHT)
        if position not in POSITIONS:
            raise InvalidSetting("position", position, " or ".join(POSITIONS))
        file = widgets.chosen_file(inversion, inversion_file)
        if not file or weight == 0:
            return (given,)

        def find(cancellation: Cancellation) -> Entry:
            found = _catalog(server, cancellation, "", ("textual inversion", file))
            return prompts.textual_inversion(found, file, checked_servers(server).address)

        entry = await host.run(find)
        return (prompts.with_keyword(given, entry, weight, at_start=position == POSITIONS[1]),)


class TriggerWords:
    """A prompt with the trigger words of a model and of LoRAs."""

    CATEGORY = CATEGORY
    DESCRIPTION = "Puts the trigger words of LoRAs, and of the model itself, before a prompt. The app adds the model's words by itself, a server adds none."
    RETURN_TYPES = ("STRING", "STRING", "STRING")
    RETURN_NAMES = ("text", "trigger_words", "notes")
    OUTPUT_TOOLTIPS = (
        "The trigger words that the prompt does not hold yet, then the prompt.",
        "The model's words and one part for each LoRA that has some, each once, with commas between.",
        "What each file wants, and which have none or are not known, one sentence a line.",
    )
    FUNCTION = "add"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "server": widgets.server(),
                "text": widgets.text("The prompt to put them before.", multiline=True, dynamicPrompts=True),
                "model": widgets.server_file(
                    "model", "File name of the model, whose own trigger words go first. none: those of the LoRAs only.", none=True
                ),
            },
            "optional": {
                "loras": widgets.socket("DT_LORAS", "The LoRAs that Generate gets, from LoRA Stack."),
                "model_file": widgets.typed_file("model"),
            },
        }

    @classmethod
    def VALIDATE_INPUTS(cls, model: Any = None) -> bool:
        """Any model name is taken here; the server is asked when the node runs."""
        return True

    async def add(self, server: Any, text: str, model: str, loras: Any = (), model_file: str = "") -> tuple[str, str, str]:
        given = widgets.checked_text(text, "text")
        file = widgets.chosen_file(model, model_file)
        stacked = widgets.checked_parts(loras, "loras", LoRA, "LoRA Stack")

        def find(cancellation: Cancellation) -> tuple[list[str], list[str]]:
            described = _catalog(server, cancellation, file, *(("LoRA", lora["file"]) for lora in stacked))
            return prompts.trigger_words(described, file, stacked)

        words, notes = await host.run(find)
        return prompts.with_words(words, given), prompts.joined(words), "\n".join(notes)


def _catalog(server: Any, cancellation: Cancellation, model: str, *more: tuple[str, str]) -> Catalog:
    """See Client.catalog_with; of a pool, what its servers have together. Raises InvalidInput."""
    found = several.catalogs_with(checked_servers(server).different, model, cancellation, more)
    known_files.remember_all(found)
    return Catalog.united(list(found.values()))
