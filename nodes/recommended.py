"""Recommended Settings: what suits a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..drawthings_core import several
from ..drawthings_core.advice import advise
from ..drawthings_core.catalog import Catalog
from ..drawthings_core.client import Cancellation
from ..drawthings_core.configuration import LoRA, Options
from ..drawthings_core.errors import InvalidInput
from . import host, known_files, widgets
from .load_server import CATEGORY, checked_servers


class RecommendedSettings:
    """Steps, guidance, sampler, shift, size and negative prompt for a model."""

    CATEGORY = CATEGORY
    DESCRIPTION = "The settings that Draw Things recommends for a model, its size, and a negative prompt where one helps."
    RETURN_TYPES = ("DT_OPTIONS", "INT", "INT", "STRING", "STRING")
    RETURN_NAMES = ("options", "width", "height", "negative_prompt", "notes")
    OUTPUT_TOOLTIPS = (
        "Steps, guidance, sampler, shift and what else is recommended, without the size and the strength.",
        "Recommended width in pixels.",
        "Recommended height in pixels.",
        "A negative prompt that helps this family; empty where guidance is off.",
        "Where this comes from, the figures, and what goes with the model, one sentence a line.",
    )
    FUNCTION = "recommend"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "server": widgets.server(),
                "model": widgets.server_file(
                    "model", "File name of the model. The list holds those of the connected server; press R to ask it again."
                ),
            },
            "optional": {
                "loras": widgets.socket("DT_LORAS", "LoRAs that will be used: some have recommendations of their own, such as few steps."),
                "options": widgets.socket("DT_OPTIONS", "Settings to lay these over."),
                "model_file": widgets.typed_file("model"),
            },
        }

    @classmethod
    def VALIDATE_INPUTS(cls, model: Any = None) -> bool:
        """Any model name is taken here; the server is asked when the node runs."""
        return True

    async def recommend(
        self, server: Any, model: str, loras: Any = (), options: Any = None, model_file: str = ""
    ) -> tuple[Options, int, int, str, str]:
        pool = checked_servers(server)
        file = widgets.chosen_file(model, model_file)
        if not file:
            raise InvalidInput("No model is chosen: choose one of the server's models, or type its file name.")
        chosen = widgets.checked_parts(loras, "loras", LoRA, "LoRA Stack")

        def work(cancellation: Cancellation) -> Catalog:
            found = several.catalogs_with(pool.different, file, cancellation)
            known_files.remember_all(found)
            return Catalog.united(list(found.values()))

        return self.given(file, await host.run(work), chosen, options)

    @staticmethod
    def given(file: str, catalog: Catalog, loras: Sequence[LoRA], options: Any) -> tuple[Options, int, int, str, str]:
        """The outputs, once the server's files are known."""
        advice = advise(file, catalog, loras)
        return Options.of(options).updated(advice.options), *advice.size, advice.negative_prompt, "\n".join(advice.notes)
