"""Small catalogues for tests that need no server."""

from __future__ import annotations

import json
from typing import Any

from comfyui_drawthings.drawthings_core.catalog import SECTIONS, Catalog
from comfyui_drawthings.proto import messages


def model(file: str, version: str, **more: Any) -> dict[str, Any]:
    return {
        "name": file.split("_f16")[0],
        "file": file,
        "prefix": "",
        "version": version,
        "upcast_attention": False,
        "default_scale": 8,
        **more,
    }


def catalog(files: tuple[str, ...] = (), **sections: list[dict[str, Any]]) -> Catalog:
    """A Catalog from an EchoReply with these specification lists, by MetadataOverride field name."""
    reply = messages.EchoReply(files=files, message="HELLO test", serverIdentifier=1)
    for name, specifications in sections.items():
        assert name in SECTIONS.values()
        setattr(reply.override, name, json.dumps(specifications).encode())
    return Catalog.from_echo(reply)
