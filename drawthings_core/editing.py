"""Models that follow instructions about pictures: which they are, and which read more pictures than one.

Facts: app_behaviour.md section 3, model_families.json (reference_images). The first picture is the request's image; further ones
travel as tensors of the one shuffle hint, at any size.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .catalog import Catalog, Entry
from .configuration import Configuration, ControlInputType
from .controls import reading_of_model
from .errors import NotAnEditingModel
from .families import families, name_of
from .hint_inputs import HintInput

_LAYERED = "qwenimage_layered"
_OTHER_USES = frozenset({"none", "inpainting", "depth", "canny", "double"})
"""Modifiers of models that follow no instructions. One that a newer server brings may well be of a model that does."""

_SUGGESTED = 3


def makes_layers(configuration: Configuration, catalog: Catalog) -> bool:
    """Whether the model takes a picture apart: the members of a batch are then its layers, with alpha."""
    modifying = catalog.modifying(configuration)
    return modifying is not None and modifying.modifier == _LAYERED


def makes_alpha(configuration: Configuration, catalog: Catalog) -> bool:
    """Whether results have an alpha channel: layers, and those of a LoRA with a transparent decoder."""
    loras = (catalog.find("LoRA", lora["file"]) for lora in configuration["loras"])
    decoders = [lora.specification.get("alternative_decoder_version") for lora in loras if lora is not None]
    return "transparent" in decoders or makes_layers(configuration, catalog)


def references(
    pictures: Sequence[np.ndarray], configuration: Configuration, version: str | None, catalog: Catalog
) -> tuple[list[HintInput], list[str]]:
    """What an instruction's further pictures, [N, H, W, C] each, travel as, and notes. They go before a moodboard: an instruction counts
    them from the image on.

    Raises NotAnEditingModel for a model that the server describes as none.
    """
    modifying = catalog.modifying(configuration)
    if pictures and modifying is not None and _follows(modifying) and not _reads_several(modifying.modifier, version):
        return [], [f"{modifying.name} reads one picture only: the further references were left out."]
    unknown = _check(modifying, configuration, catalog)
    return [HintInput(ControlInputType.shuffle, batch) for batch in pictures], [unknown] if unknown else []


def _check(modifying: Entry | None, configuration: Configuration, catalog: Catalog) -> str:
    """What to say of a model of which nothing is known, else ""."""
    if modifying is not None and _follows(modifying):
        return ""
    model = catalog.find("model", configuration["model"])
    undescribed = [lora["file"] for lora in configuration["loras"] if lora["file"] and catalog.find("LoRA", lora["file"]) is None]
    if model is None or (modifying is None and undescribed):  # such a LoRA may make any model one
        return f"Whether {configuration['model']} follows instructions is not known here: the server does not describe it."
    raise NotAnEditingModel(model.name, name_of(model.version), _families(), _on(catalog))


def _follows(entry: Entry) -> bool:
    return entry.modifier not in _OTHER_USES


def _reads_several(modifier: str, version: str | None) -> bool:
    """Whether a model reads pictures beside the request's image. Video families make the image their first frame."""
    reading = reading_of_model(modifier, version)
    return reading is None or "shuffle" in reading.sources


def _families() -> list[str]:
    return [known.name for known in families().values() if any(_reads_several(modifier, known.version) for modifier in known.modifiers)]


def _on(catalog: Catalog) -> list[str]:
    """Files of the server's own instruction models, those that read several pictures first."""
    found = [entry for entry in catalog.entries["model"].values() if _follows(entry) and entry.modifier != _LAYERED]
    found.sort(key=lambda entry: not _reads_several(entry.modifier, entry.version))
    return [entry.file for entry in found[:_SUGGESTED]]
