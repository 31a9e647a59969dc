"""What the app recommends for a model, as the values of a node's widgets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...drawthings_core import several
from ...drawthings_core.advice import Advice, advise
from ...drawthings_core.catalog import Catalog
from ...drawthings_core.client import Cancellation
from ...drawthings_core.configuration import CONFIGURATION, Configuration, LoRA
from ...drawthings_core.errors import AllServersFailed, ConnectionFailed, InvalidInput, SecretRejected
from ...drawthings_core.families import family
from ...drawthings_core.rules import version_of
from ...drawthings_core.servers import Server
from .. import known_files, widgets
from ..generate import FIELDS
from . import body as fields
from .body import Body
from .lists import SERVERS
from .newcomers import newcomers

MOST_LORAS = 64
MOST_WIDGETS = 200
_NOT_RECOMMENDED = ("seed", "strength", "batch_count", "batch_size")
"""Widgets that are the user's matter, not the model's."""


def recommended(body: Body, cancellation: Cancellation) -> dict[str, Any]:
    """{servers: [Load Server's values], model, loras: [{file, weight}], widgets: [names], image} -> {widgets, negative_prompt, notes}.

    servers: all that may run the node; the first that has a file describes it. widgets: of the names that were given, those that something is
    recommended for, with their values. image: whether an image is connected, whose proportions the size then keeps. negative_prompt: one that
    helps, for a node whose own is empty. Without a server, the model is known by its published name. Raises InvalidInput.
    """
    file = fields.text(body, "model").strip()
    if not file or file == widgets.NONE:
        raise InvalidInput("No model is chosen: choose one of the server's models, or type its file name.")
    names = fields.items(body, "widgets", MOST_WIDGETS)
    loras = [_lora(value) for value in fields.items(body, "loras", MOST_LORAS)]
    servers = dict.fromkeys(fields.server(value) for value in fields.items(body, "servers", SERVERS))
    catalog, notes = _catalog(tuple(servers), file, loras, cancellation)
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


def _catalog(servers: Sequence[Server], file: str, loras: Sequence[LoRA], cancellation: Cancellation) -> tuple[Catalog, list[str]]:
    """What the servers describe, of one that did not answer what it last did, and a note where none did."""
    if not servers:
        return Catalog.empty(), []
    for server in servers:
        newcomers.admit(server)
    found, notes = {}, []
    try:
        found = several.catalogs_with(servers, file, cancellation, [("LoRA", lora["file"]) for lora in loras])
    except (ConnectionFailed, SecretRejected, AllServersFailed) as error:
        notes.append(f"The server was not asked. {error}")
    known_files.remember_all(found)
    known = [found.get(server) or known_files.last_of(server.address) for server in servers]
    return Catalog.united([catalog for catalog in known if catalog is not None] or [Catalog.empty()]), notes


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
