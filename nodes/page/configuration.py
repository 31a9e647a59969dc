"""Pasting a configuration into a graph, and copying one from it."""

from __future__ import annotations

import base64
import binascii
import io
import warnings
from typing import Any

from PIL import Image

from ...drawthings_core import metadata
from ...drawthings_core.client import Cancellation
from ...drawthings_core.errors import DrawThingsError, InvalidImage, InvalidInput
from .. import NODE_CLASS_MAPPINGS, graph_form, known_files
from ..graph_values import CHAINS
from . import body as read
from .body import Body

_MOST_NODES = 200
"""In one chain."""
_MOST_INPUTS = 500
"""Of one node."""


def paste(body: Body, cancellation: Cancellation) -> dict[str, Any]:
    """What to change in a graph so that it sends what was pasted.

    body: text (JSON), or picture (a PNG in base64; its pixels may be missing); node {kind, widgets, linked}, or null for a new one; chains
    {options | loras | hints: [{kind, widgets, linked, bypassed}, the nearest to the node first]}. The answer is a graph_form.Pasted.
    """
    picture = read.text(body, "picture", "")
    found = _in_picture(picture) if picture else metadata.pasted(read.text(body, "text"))
    target = None if body.get("node") is None else _seen(body["node"])
    told = read.part(body, "chains")
    chains = {chain: [_seen(node) for node in read.items(told, chain, _MOST_NODES)] for chain in CHAINS}
    pasted = graph_form.paste(found, NODE_CLASS_MAPPINGS, known_files.known(), target, chains)
    return {**pasted._asdict(), "nodes": [change._asdict() for change in pasted.nodes]}


def copy(body: Body, cancellation: Cancellation) -> dict[str, Any]:
    """The configuration that a node would send. body: prompt, the graph in API format; node, an id in it."""
    copied = graph_form.copy(read.part(body, "prompt"), read.text(body, "node"), NODE_CLASS_MAPPINGS, known_files.known())
    return copied._asdict()


def _seen(told: Any) -> graph_form.Seen:
    node = read.part({"node": told}, "node")
    linked = frozenset(read.text({"linked": name}, "linked") for name in read.items(node, "linked", _MOST_INPUTS))
    return graph_form.Seen(read.text(node, "kind"), read.part(node, "widgets"), linked, read.switch(node, "bypassed"))


def _in_picture(encoded: str) -> metadata.Found:
    try:
        data = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidInput("The picture did not arrive in one piece: try again.") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # its pixels are not decoded
            with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
                return metadata.in_picture(picture)
    except (DrawThingsError, MemoryError):
        raise
    except Exception as error:  # Pillow's readers raise whatever damaged bytes make them stumble over
        raise InvalidImage("This file is no PNG picture, or it is damaged.") from error
