"""What the app recommends for a model, as the values of a node's widgets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...drawthings_core.advice import Advice, advise
from ...drawthings_core.catalog import Catalog
from ...drawthings_core.client import Cancellation, client_for
from ...drawthings_core.configuration import CONFIGURATION, Configuration, LoRA
from ...drawthings_core.errors import ConnectionFailed, InvalidInput, SecretRejected
from ...drawthings_core.families import family
from ...drawthings_core.rules import version_of
from .. import known_files, widgets
from ..generate import FIELDS
from . import body as fields
from .body import Body
from .newcomers import newcomers

MOST_LORAS = 64
MOST_WIDGETS = 200
_NOT_RECOMMENDED = ("seed", "strength", "batch_count", "batch_size")
"""Widgets that are the user's matter, not the model's."""


def recommended(body: Body, cancellation: Cancellation) -> dict[str, Any]:
    """{server: Load Server's values or null, model, loras: [{file, weight}], widgets: [names], image} -> {widgets, negative_prompt, notes}.

    widgets: of the names that were given, those that something is recommended for, with their values. image: whether an image is connected,
    whose proportions the size then keeps. negative_prompt: one that helps, for a node whose own is empty. Without the server, the model is
    known by its published name. Raises InvalidInput.
    """
    file = fields.text(body, "model").strip()
    if not file or file == widgets.NONE:
        raise InvalidInput("No model is chosen: choose one of the server's models, or type its file name.")
    names = fields.items(body, "widgets", MOST_WIDGETS)
    loras = [_lora(value) for value in fields.items(body, "loras", MOST_LORAS)]
    catalog, notes = _catalog(body.get("server"), file, loras, cancellation)
    advice = advise(file, catalog, loras)
    values = _values(file, advice, catalog, fields.switch(body, "image"))
    return {
        "widgets": {name: value for name, value in values.items() if name in names},
        "negative_prompt": advice.negative_prompt,
        "notes": [*notes, *advice.notes],
    }


def _lora(value: Any) -> LoRA:
    if not isinstance(value, dict):
        raise InvalidInput("The field 'loras' of the page's request holds something else than LoRAs: reload the page.")
    weight = value.get("weight", 1.0)
    return LoRA(file=fields.text(value, "file"), weight=weight)


def _catalog(server: Any, file: str, loras: Sequence[LoRA], cancellation: Cancellation) -> tuple[Catalog, list[str]]:
    """What the server describes, and a note where it could not be asked."""
    if server is None:
        return Catalog.empty(), []
    chosen = fields.server(server)
    newcomers.admit(chosen)
    try:
        catalog = client_for(chosen).catalog_with(file, cancellation, [("LoRA", lora["file"]) for lora in loras])
    except (ConnectionFailed, SecretRejected) as error:
        return known_files.last_of(chosen.address) or Catalog.empty(), [f"The server was not asked. {error}"]
    known_files.remember(chosen.address, catalog)
    return catalog, []


def _values(file: str, advice: Advice, catalog: Catalog, image: bool) -> dict[str, Any]:
    """By widget."""
    settings = Configuration(dict(advice.options))
    width, height = (0, 0) if image else advice.size
    values = {**settings, "start_width": width, "start_height": height}
    known = family(version_of(Configuration(model=file), catalog))
    given = {name: values[field] for name, field in FIELDS.items() if name not in _NOT_RECOMMENDED}
    if known is not None and not known.video:
        del given["num_frames"]
    return {name: widgets.shown(CONFIGURATION[FIELDS[name]], value) for name, value in given.items()}
